"""What shall be true on a host, as values: package source, node package, keys, trusted control plane.

Every field is checked where it is made, so that none can break out of the file it is written to (sources.list,
authorized_keys, ssh_config). Rules for host names as OpenNebula knows them are the settings' business, not ours.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Literal, get_args

from components.bootstrap import openpgp, systems
from components.bootstrap.systems import RELEASES, Family, System

Kind = Literal["kvm", "lxc"]

_KEY_TYPES = frozenset({"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_VERSION = re.compile(r"(\d+\.\d+)(\.\d+)?([-~+][A-Za-z0-9.~+]+)*")
_URL = re.compile(r"(https?|file)://[A-Za-z0-9.:\[\]_-]*(/[A-Za-z0-9._~:{}%+-]*)*")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~+/-]*")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_NFS = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\]):/[A-Za-z0-9._/+-]*")
_PATH = re.compile(r"(/[A-Za-z0-9._+-]+)+")
_OPTIONS = re.compile(r"[A-Za-z0-9_.:/=-]+(,[A-Za-z0-9_.:/=-]+)*")
# What a host is made of, by the file system hierarchy: a file system mounted there would hide it.
_SYSTEM = frozenset(
    {
        *("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "lost+found", "proc", "root", "run", "sbin"),
        *("sys", "tmp", "usr"),
    }
)
_SYSTEM_VAR = frozenset({"backups", "cache", "lib", "lock", "log", "mail", "run", "spool", "tmp"})
_DATASTORES = "/var/lib/one/datastores"


def _hides_the_system(target: str) -> bool:
    first, *rest = target.split("/")[1:]
    if first != "var":
        return first in _SYSTEM or target in ("/home", "/opt")
    if target == _DATASTORES or target.startswith(f"{_DATASTORES}/"):
        return False
    return not rest or rest[0] in _SYSTEM_VAR


_BRACKETED = re.compile(r"\[([^\]]+)\]:(\d{1,5})")


@dataclass(frozen=True, kw_only=True)
class Repository:
    """Where packages come from: `deb [signed-by=key] url suite component` for apt, `baseurl=url` for dnf and zypper.

    `{os}` in the url becomes `Debian/12`, `AlmaLinux/9/x86_64` or the like on the host, as in OpenNebula's own layout.
    `key_armored` None means that the host already has /etc/apt/keyrings/opennebula.gpg, or with rpm
    /etc/pki/rpm-gpg/RPM-GPG-KEY-opennebula; its fingerprint is then checked there. `enable_dependencies` lets the
    bootstrap enable CRB and EPEL on AlmaLinux and Rocky Linux where packages are missing; otherwise, and on RHEL, what has these
    must be enabled already.
    Raises ValueError for anything that is no plain url or word, and for a key with another fingerprint.
    """

    url: str
    key_fingerprint: str
    key_armored: str | None = None
    suite: str = "stable"
    component: str = "opennebula"
    enable_dependencies: bool = True

    def __post_init__(self) -> None:
        if "@" in self.url:
            raise ValueError(
                "the package source's url holds a user or token: put it into a file of the host's package manager, "
                "such as /etc/apt/auth.conf.d/, instead"
            )
        if not _URL.fullmatch(self.url):
            raise ValueError(f"{self.url!r} is no http, https or file url without blanks and query")
        for word in (self.suite, self.component):
            if not _WORD.fullmatch(word):
                raise ValueError(f"{word!r} is no name of a suite or component")
        normal = self.key_fingerprint.replace(" ", "").upper()
        if not re.fullmatch(r"[0-9A-F]{40}", normal):
            raise ValueError("the key's fingerprint must be the full one: 40 hex digits (gpg --show-keys prints it)")
        object.__setattr__(self, "key_fingerprint", normal)
        if self.key_armored is not None:
            found = openpgp.fingerprint(self.key_armored)
            if found != normal:
                raise ValueError(f"the repository key has fingerprint {found}, the config says {normal}")

    @property
    def key(self) -> str:
        """The key in one spelling, whatever the operator's had of comments; empty if the host brings it."""
        return "" if self.key_armored is None else openpgp.armor(openpgp.dearmor(self.key_armored))


@dataclass(frozen=True, kw_only=True)
class Mount:
    """An NFS mount: `server:/path` on an absolute path of the host. Raises ValueError for what fstab would misread.

    The source loses slashes at its end, as the kernel's own list of mounts has it (nfs_path in fs/nfs/namespace.c).
    """

    source: str
    target: str
    options: str = "_netdev,nofail,hard"

    def __post_init__(self) -> None:
        if not _NFS.fullmatch(self.source):
            raise ValueError(f"{self.source!r} is no server:/path")
        server, _, path = self.source.partition(":/")
        object.__setattr__(self, "source", f"{server}:/{path.rstrip('/')}")
        if self.target == "/" or not _PATH.fullmatch(self.target) or {".", ".."} & set(self.target.split("/")):
            raise ValueError(f"{self.target!r} is no plain absolute path below /, such as /var/lib/one/datastores/100")
        if _hides_the_system(self.target):
            raise ValueError(
                f"{self.target} is the system's own, which a mount would hide: choose a directory for the data, such as "
                "/var/lib/one/datastores/100 or /srv/data"
            )
        if not _OPTIONS.fullmatch(self.options):
            raise ValueError(f"{self.options!r} are no mount options, in one word and separated by commas")


@dataclass(frozen=True, kw_only=True)
class Firewall:
    """What a running firewall lets in. `sources` are the networks that may: those of the control plane's pods, as hosts
    see them, and of the other hosts. Without any, a host with a firewall at work is refused by its preflight. `ssh_port` is
    where they reach the host's sshd. Raises ValueError for a range or a network that is none.
    """

    first_console: int = 5900
    last_console: int = 32767  # oned.conf's VNC_PORTS keeps what lies above for others
    sources: tuple[str, ...] = ()
    ssh_port: int = 22

    def __post_init__(self) -> None:
        if not 0 < self.ssh_port < 65536:
            raise ValueError("sshd's port must be between 1 and 65535")
        if not 1024 <= self.first_console <= self.last_console <= 65535:
            raise ValueError("the consoles' ports must be a range between 1024 and 65535")
        for source in self.sources:
            IPv4Network(source)


@dataclass(frozen=True)
class Pin:
    """Host keys of one control plane endpoint, under all the names that hosts call it by."""

    names: tuple[str, ...]
    port: int
    keys: tuple[str, ...]


def parse_public_key(line: str) -> str:
    """`type base64` of a public key line, comment dropped. Raises ValueError if it is none."""
    fields = line.split()
    if _CONTROL.search(line) or len(fields) < 2 or fields[0] not in _KEY_TYPES:
        raise ValueError("expected an SSH public key in one line: type (such as ssh-ed25519), base64, comment")
    try:
        blob = base64.b64decode(fields[1], validate=True)
    except ValueError as broken:
        raise ValueError(f"the {fields[0]} key is no base64: {broken}") from broken
    kind = fields[0].encode()
    if blob[: 4 + len(kind)] != len(kind).to_bytes(4, "big") + kind:
        raise ValueError(f"the key says {fields[0]}, its base64 part says otherwise")
    return f"{fields[0]} {fields[1]}"


def parse_known_host(line: str) -> tuple[tuple[str, ...], int, str]:
    """Names, port and key of a known_hosts line such as `[oned.example]:30022,[oned]:30022 ssh-ed25519 AAAA…`.

    Raises ValueError for hashed names, patterns and markers: an ssh_config stanza is made from the names.
    """
    names_field, _, key = line.strip().partition(" ")
    names: list[str] = []
    ports: set[int] = set()
    for entry in names_field.split(","):
        bracketed = _BRACKETED.fullmatch(entry)
        name, port = (bracketed[1], int(bracketed[2])) if bracketed else (entry, 22)
        if not _HOST.fullmatch(name) or not 0 < port < 65536:
            raise ValueError(f"{entry!r} in a known_hosts line is no plain name, address or [name]:port")
        names.append(name)
        ports.add(port)
    if len(ports) != 1:
        raise ValueError(f"{names_field!r}: all names of a known_hosts line must have the same port")
    return tuple(names), ports.pop(), parse_public_key(key)


@dataclass(frozen=True, kw_only=True)
class HostPlan:
    """One host. Times in seconds.

    `version` is a release (7.4), a full version (7.4.0) or a package version (7.4.0-1); an installed package that fits
    is left alone. `also_accepted_keys` let the next key in, or a former one, while oneadmin's is being replaced. `frontend_known_hosts` are
    known_hosts lines of the control plane's sshd; `frontend_address`, if given, is where those names are reached.
    `os` is a key of the table of systems: the host must then be that one, and gets only what its family needs. `driver`
    kvm demands hardware virtualisation, qemu does not. `firewall` None opens nothing, and shuts what was opened before.
    `owners` are the names of whose host this will be; one that is noted there under none of them is refused, unless `take_over`.
    Raises ValueError with the reason if a field cannot be written safely.
    """

    name: str
    kind: Kind
    version: str
    repository: Repository
    oneadmin_public_key: str
    also_accepted_keys: tuple[str, ...] = ()
    frontend_known_hosts: tuple[str, ...] = ()
    frontend_address: str | None = None
    os: str | None = None
    driver: Literal["kvm", "qemu", "lxc"] | None = None
    ceph: bool = False
    mounts: tuple[Mount, ...] = ()
    firewall: Firewall | None = Firewall()
    owners: tuple[str, ...] = ()
    take_over: bool = False
    clock_tolerance: int = 120
    minimum_free_mib: int = 2048
    lock_wait: int = 120
    install_limit: int = 900

    def __post_init__(self) -> None:
        if not self.name or _CONTROL.search(self.name):
            raise ValueError("a host's name must not be empty or hold control characters")
        if not all(self.owners) or any(map(_CONTROL.search, self.owners)):
            raise ValueError("an owner must not be empty or hold control characters")
        if self.kind not in get_args(Kind):
            raise ValueError(f"{self.kind!r} is no kind of host: {', '.join(get_args(Kind))}")
        version = _VERSION.fullmatch(self.version)
        if version is None or version[1] not in RELEASES:
            raise ValueError(f"{self.version!r} is no version of a known release: {', '.join(RELEASES)}")
        if self.os is not None and (reason := systems.why_not(self.os, self.release, self.kind)):
            raise ValueError(reason)
        if self.driver is not None and (self.driver == "lxc") != (self.kind == "lxc"):
            raise ValueError(f"a {self.kind} host has no driver {self.driver}")
        targets = [mount.target for mount in self.mounts]
        if len(set(targets)) != len(targets):
            raise ValueError("two mounts on one path")
        if self.frontend_address is not None and not _HOST.fullmatch(self.frontend_address):
            raise ValueError(f"{self.frontend_address!r} is no name or address")
        if min(self.minimum_free_mib, self.lock_wait, self.install_limit, self.clock_tolerance) < 0:
            raise ValueError("limits must not be negative")
        for key in (self.oneadmin_public_key, *self.also_accepted_keys):
            parse_public_key(key)
        for line in self.frontend_known_hosts:
            parse_known_host(line)

    @property
    def release(self) -> str:
        """The release that the version belongs to."""
        return ".".join(self.version.split(".")[:2]).split("-")[0]

    @property
    def systems(self) -> tuple[System, ...]:
        """What the host may be: the declared system, or all that have packages of this release for this kind."""
        return (systems.BY_KEY[self.os],) if self.os else systems.supported(self.release, self.kind)

    @property
    def families(self) -> tuple[Family, ...]:
        return tuple(dict.fromkeys(system.family for system in self.systems))

    @property
    def pins(self) -> tuple[Pin, ...]:
        keys: dict[tuple[tuple[str, ...], int], list[str]] = {}
        for line in self.frontend_known_hosts:
            names, port, key = parse_known_host(line)
            keys.setdefault((names, port), []).append(key)
        return tuple(Pin(names, port, tuple(found)) for (names, port), found in keys.items())
