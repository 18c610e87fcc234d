"""A directory server of the lab: Debian's own OpenLDAP, on the hosts' bridge with a network namespace of its own.

It runs in the box and ends with it. Users and groups are always the same ones, seeded before each start; the database
lives in the lab's state directory and is made anew each time. TLS comes with a small CA of its own: ldap with StartTLS
on 389, ldaps on 636. Searching needs a login, as in most companies; a login may be in clear.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from lab import cache, certificates, process, rootfs
from lab.box import Box
from lab.console import Report, say
from lab.errors import LabError, tail
from lab.network import BRIDGE
from lab.paths import Instance

BASE = "dc=lab,dc=test"
READER = f"cn=reader,{BASE}"  # the login that OpenNebula's driver searches with
GROUP = f"cn=cloud,ou=groups,{BASE}"
ADMIN_GROUP = f"cn=admins,ou=groups,{BASE}"
NAME = "ldap.lab.test"  # beside the address in the certificate; the lab's DNS does not know it
PORT, PORT_TLS = 389, 636

# Made up for the lab, worth nothing elsewhere.
_READER_PASSWORD = "reader-in-the-lab"
_PEOPLE = {"alice": "alice-in-the-lab", "bob": "bob-in-the-lab", "carol": "carol-in-the-lab"}
_MEMBERS = {GROUP: ("alice", "bob"), ADMIN_GROUP: ("alice",)}

_Attributes = Mapping[str, str | tuple[str, ...]]

_INIT = Path(__file__).resolve().parent / "ldap_init.sh"
_NUMBER = 5  # of the address in the hosts' network: below every hypervisor host
_START_LIMIT = 10.0  # seconds
_SCHEMAS = ("core", "cosine", "nis", "inetorgperson")


@dataclass(frozen=True, kw_only=True)
class LdapInfo:
    """What a client needs. `ca` is the PEM of the authority that signed the server's certificate."""

    ip: str
    ca: str
    base: str = BASE
    user: str = READER
    password: str = _READER_PASSWORD
    group: str = GROUP
    admin_group: str = ADMIN_GROUP
    people: Mapping[str, str] = field(default_factory=lambda: dict(_PEOPLE))


def ip(instance: Instance) -> str:
    """The server's address."""
    return str(instance.hypervisors[_NUMBER])


def start(instance: Instance, report: Report = say) -> LdapInfo:
    """Start the server unless it runs; the box must. Raises LabError with the log when it does not answer in 10 s."""
    place = instance.state / "ldap"
    record = place / "pid.json"
    info = LdapInfo(ip=ip(instance), ca=_certificates(place, instance))
    if process.load(record) is not None:
        return info
    root = ensure_root(report)
    config = _seed(place, root)
    log = Box(instance).logs / "ldap.log"
    urls = f"ldap://{info.ip}:{PORT}/ ldaps://{info.ip}:{PORT_TLS}/"
    # -d keeps it in the foreground. As root, like the box's other daemons: root's cache is closed to anybody else.
    slapd = ["-h", urls, "-f", str(config), "-d", "0"]
    hardware = ":".join(f"{byte:02x}" for byte in (2, 0, *instance.hypervisors[_NUMBER].packed))
    network = [f"{info.ip}/{instance.hypervisors.prefixlen}", str(instance.node_ip), BRIDGE]
    command = ["unshare", "--net", "--", "sh", str(_INIT), str(root), "ldap0", hardware, *network, *slapd]
    server = Box(instance).spawn(command, log)
    process.save(server, record)
    _await(server, info.ip, log)
    return info


def stop(instance: Instance) -> None:
    """Stop the server. Stopping the box does it too."""
    server = process.load(instance.state / "ldap" / "pid.json")
    if server is not None:
        process.kill(server)


def ensure_root(report: Report = say) -> Path:
    """The Debian root that slapd runs from, made if the cache has none; half a minute once. Raises LabError."""
    tar = rootfs.debian(("slapd",), report=report)

    def unpack(into: Path) -> None:
        _run(["tar", "--extract", "--file", str(tar), "--directory", str(into), "--exclude=./dev/*"])

    return cache.entry("ldap", tar.parent.name, unpack)


def _seed(place: Path, root: Path) -> Path:
    """Configuration and a fresh database; returns the configuration's path."""
    database = place / "database"
    cache.remove_tree(database)
    database.mkdir(parents=True)
    config, entries = place / "slapd.conf", place / "entries.ldif"
    config.write_text(_config(place, root))
    entries.write_text(_ldif())
    loader = [str(root / "lib64/ld-linux-x86-64.so.2"), "--library-path", str(root / "usr/lib/x86_64-linux-gnu")]
    _run([*loader, str(root / "usr/sbin/slapd"), "-T", "add", "-f", str(config), "-l", str(entries)])
    return config


def _config(place: Path, root: Path) -> str:
    """slapd.conf: the overlay keeps memberOf, which OpenNebula's driver reads, true for what is changed later."""
    schemas = "".join(f"include {root}/etc/ldap/schema/{name}.schema\n" for name in _SCHEMAS)
    return f"""{schemas}
modulepath {root}/usr/lib/ldap
moduleload back_mdb
moduleload memberof
TLSCACertificateFile {place}/ca.crt
TLSCertificateFile {place}/server.crt
TLSCertificateKeyFile {place}/server.key
database mdb
suffix "{BASE}"
directory {place}/database
maxsize 16777216
index objectClass,uid,cn,member,memberOf eq
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by users read by anonymous auth
"""


def _ldif() -> str:
    """The entries. slapd adds them without its overlays, so memberOf is written out."""
    entries: list[_Attributes] = [
        {"dn": BASE, "objectClass": ("organization", "dcObject"), "o": "lab", "dc": "lab"},
        {"dn": f"ou=people,{BASE}", "objectClass": ("organizationalUnit",), "ou": "people"},
        {"dn": f"ou=groups,{BASE}", "objectClass": ("organizationalUnit",), "ou": "groups"},
        {
            "dn": READER,
            "objectClass": ("organizationalRole", "simpleSecurityObject"),
            "cn": "reader",
            "userPassword": _READER_PASSWORD,
        },
    ]
    for name, password in _PEOPLE.items():
        groups = tuple(group for group, members in _MEMBERS.items() if name in members)
        names = {"dn": _person(name), "cn": name, "sn": name, "uid": name, "userPassword": password}
        entries.append({**names, "objectClass": ("inetOrgPerson",), "memberOf": groups})
    for group, members in _MEMBERS.items():
        cn = group.partition(",")[0].removeprefix("cn=")
        entries.append(
            {
                "dn": group,
                "objectClass": ("groupOfNames",),
                "cn": cn,
                "member": tuple(_person(name) for name in members),
            }
        )
    unix = f"cn=unix,ou=groups,{BASE}"
    entries.append({"dn": unix, "objectClass": ("posixGroup",), "cn": "unix", "gidNumber": "1000", "memberUid": "bob"})
    return "\n".join(_entry(entry) for entry in entries)


def _person(name: str) -> str:
    return f"uid={name},ou=people,{BASE}"


def _entry(attributes: _Attributes) -> str:
    lines = []
    for name, value in attributes.items():
        lines += [f"{name}: {item}" for item in ((value,) if isinstance(value, str) else value)]
    return "\n".join([*lines, ""])


def _certificates(place: Path, instance: Instance) -> str:
    """The CA's certificate; both are made when the CA's is not there, which is written last."""
    authority = place / "ca.crt"
    if not authority.exists():
        place.mkdir(parents=True, exist_ok=True)
        key, server_key = certificates.new_key(), certificates.new_key()
        root = certificates.authority("lab directory CA", key)
        server = certificates.leaf(
            certificates.name(NAME),
            server_key,
            issuer=root,
            signer=key,
            purpose=ExtendedKeyUsageOID.SERVER_AUTH,
            alternatives=[x509.DNSName(NAME), x509.IPAddress(instance.hypervisors[_NUMBER])],
        )
        certificates.write(place / "server.key", server_key)
        certificates.write(place / "server.crt", server)
        certificates.write(authority, root)
    return authority.read_text()


def _await(server: process.Identity, address: str, log: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT
    while server.alive and time.monotonic() < deadline:
        try:
            socket.create_connection((address, PORT_TLS), timeout=0.5).close()
            return
        except OSError:
            time.sleep(0.03)  # not listening yet: told below when the time is up
    raise LabError(f"the directory server does not answer at {address}", cause=tail(log))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise LabError(f"`{Path(command[0]).name}` failed", cause=done.stderr.strip()[-1500:])
