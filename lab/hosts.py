"""Hypervisor hosts of the lab: Debian machines with an SSH server, as far as a program that logs in can tell.

Each lives in the box with a network, mounts, processes and a host name of its own, on the bridge `hv0`, with its own
file system and its own SSH host key. Login is the user `deploy` with a key and sudo without password; oneadmin does not
exist before the bootstrap. No systemd and no other service runs: libvirt and LXC are installed at most, never started.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from lab import cache, host_root, process
from lab.box import Box
from lab.errors import LabError, tail
from lab.host_keys import authorized_line, ensure_key
from lab.network import BRIDGE
from lab.paths import Instance
from lab.process import Identity

Kind = Literal["kvm", "lxc"]

MOST = 100
"""Hosts that one lab may have: each takes some 20 MB while it is monitored."""

_INIT = Path(__file__).resolve().parent / "host_init.sh"
_NAMESPACES = ("--net", "--mount", "--pid", "--uts", "--ipc")
_START_LIMIT = 15.0  # seconds until sshd answers


@dataclass(frozen=True, kw_only=True)
class LabHost:
    """What a client needs: where to log in, as whom, with which key, and which host key to expect."""

    name: str
    kind: Kind
    ip: str
    host_key_public: str
    user: str
    private_key_path: Path


def kinds(count: int) -> dict[str, Kind]:
    """Names and kinds of a lab's hosts: half of them KVM (one more where the count is odd), half LXC."""
    lxc = count // 2
    found: dict[str, Kind] = {f"kvm-{number}": "kvm" for number in range(1, count - lxc + 1)}
    return found | {f"lxc-{number}": "lxc" for number in range(1, lxc + 1)}


def start_hosts(instance: Instance, kinds: Mapping[str, Kind]) -> list[LabHost]:
    """Start those of the named hosts that do not run; the box must. A host keeps its address and files while the lab's
    state directory lives. Raises LabError with the log when sshd does not answer in 15 s.
    """
    lower = host_root.ensure_root()
    box = Box(instance)
    login = ensure_key(_home(instance) / "login_ed25519")
    hosts = []
    for name, kind in kinds.items():
        record = _record(instance, name, kind)
        place = _home(instance) / name
        key = ensure_key(place / "ssh_host_ed25519_key")
        hosts.append(
            LabHost(
                name=name,
                kind=record.kind,
                ip=str(instance.host_ip(record.number)),
                host_key_public=authorized_line(key),
                user=host_root.LOGIN,
                private_key_path=login,
            )
        )
        if _running(instance, name) is None:
            _lower(place, lower)
            _seed(place, key, login)
            _spawn(box, place, name, record.number)
    for host in hosts:
        _await_ssh(instance, host)
    _write_names(instance)
    return hosts


def stop(instance: Instance, names: Sequence[str] | None = None, *, forget: bool = False) -> None:
    """Stop the named hosts (default: all). Their files stay, unless `forget`: then the next start is from nothing."""
    for name in list(_records(instance)) if names is None else names:
        identity = process.load(_home(instance) / name / "pid.json")
        if identity is not None:
            # Process 1 of the host ends only after every other process of it has. Its files must not be mounted again,
            # or removed, under a process that is still writing.
            first = _first_child(identity)
            first_identity = process.identify(first) if first else None
            if first_identity is not None:
                process.kill(first_identity)
            process.kill(identity)
        if forget:
            cache.remove_tree(_home(instance) / name)


def others(instance: Instance, names: Collection[str]) -> list[str]:
    """Hosts that the lab has beside the named ones."""
    return [name for name in _records(instance) if name not in names]


def inside(instance: Instance, name: str) -> list[str]:
    """Words to put before a command so that it runs in the host as root, SSH and sudo aside (for tests)."""
    init = _running(instance, name)
    if init is None:
        raise LabError(f"the host {name} does not run", fix="run `make up`")
    return ["nsenter", "--target", str(init), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "--"]


@dataclass(frozen=True, kw_only=True)
class _Record:
    number: int
    kind: Kind


def _home(instance: Instance) -> Path:
    return instance.state / "hosts"


def _records(instance: Instance) -> dict[str, _Record]:
    found = _home(instance).glob("*/host.json")
    return {path.parent.name: _Record(**json.loads(path.read_text())) for path in sorted(found)}


def _record(instance: Instance, name: str, kind: Kind) -> _Record:
    """The host's number decides its address: the lowest free one when it is new, the same one ever after."""
    known = _records(instance)
    if name in known:
        if known[name].kind != kind:
            raise LabError(f"the host {name} is a {known[name].kind} host, not {kind}", fix="give it another name")
        return known[name]
    taken = {record.number for record in known.values()}
    record = _Record(number=next(number for number in range(1, 1000) if number not in taken), kind=kind)
    place = _home(instance) / name
    place.mkdir(parents=True, exist_ok=True)
    draft = place / "host.json.draft"
    draft.write_text(json.dumps({"number": record.number, "kind": kind}))
    draft.replace(place / "host.json")
    return record


def _running(instance: Instance, name: str) -> int | None:
    """Pid, seen from outside, of the host's process 1."""
    identity = process.load(_home(instance) / name / "pid.json")
    return None if identity is None else _first_child(identity)


def _first_child(identity: Identity) -> int | None:
    """unshare starts process 1 of the new namespace as its only child, and ends with it."""
    try:
        children = Path(f"/proc/{identity.pid}/task/{identity.pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(children[0]) if children else None


def _lower(place: Path, newest: Path) -> None:
    """A host's files lie over the root that it was made with, also when the recipe has changed since."""
    link = place / "lower"
    if not link.is_symlink():
        link.symlink_to(newest)
    elif not link.exists():
        raise LabError(
            f"the file system under the host {place.name} is gone",
            cause=str(link.readlink()),
            fix="make down, then make up",
        )


def _seed(place: Path, key: Path, login: Path) -> None:
    """Put the host's own files into its layer, before it is mounted."""
    ssh = place / "upper" / "etc" / "ssh"
    ssh.mkdir(parents=True, exist_ok=True)
    _write(ssh / key.name, key.read_text(), 0o600)
    _write(ssh / f"{key.name}.pub", authorized_line(key) + "\n", 0o644)
    home = place / "upper" / "home" / host_root.LOGIN
    (home / ".ssh").mkdir(parents=True, exist_ok=True)
    _write(home / ".ssh" / "authorized_keys", authorized_line(login) + "\n", 0o600)
    (home / ".ssh").chmod(0o700)
    for path in (home, home / ".ssh", home / ".ssh" / "authorized_keys"):
        os.chown(path, host_root.LOGIN_ID, host_root.LOGIN_ID)
    _write(place / "upper" / "etc" / "hostname", place.name + "\n", 0o644)
    _write(place / "upper" / "etc" / "hosts", f"127.0.0.1 localhost\n127.0.1.1 {place.name}\n", 0o644)


def _write(path: Path, text: str, mode: int) -> None:
    path.write_text(text)
    path.chmod(mode)


def _spawn(box: Box, place: Path, name: str, number: int) -> None:
    instance = box.instance
    ip, gateway = instance.host_ip(number), instance.node_ip
    arguments = [name, str(place), f"host{number}", _hardware(ip)]
    arguments += [f"{ip}/{instance.hypervisors.prefixlen}", str(gateway), BRIDGE, _hardware(gateway)]
    command = ["unshare", *_NAMESPACES, "--fork", "--kill-child=KILL", "--", "sh", str(_INIT), *arguments]
    process.save(box.spawn(command, place / "host.log"), place / "pid.json")


def _hardware(ip: IPv4Address) -> str:
    """The same hardware address at every start: neighbours remember it for half a minute."""
    return ":".join(f"{byte:02x}" for byte in (2, 0, *ip.packed))


def _await_ssh(instance: Instance, host: LabHost) -> None:
    deadline = time.monotonic() + _START_LIMIT
    place = _home(instance) / host.name
    while time.monotonic() < deadline:
        if process.load(place / "pid.json") is None:
            break
        try:
            with socket.create_connection((host.ip, 22), timeout=0.3) as connection:
                connection.settimeout(2.0)
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass  # not there yet: told below when the time is up
        time.sleep(0.03)
    raise LabError(f"the lab host {host.name} ({host.ip}) does not answer on port 22", cause=tail(place / "host.log"))


def _write_names(instance: Instance) -> None:
    """Every running host knows every host of the lab by name."""
    records = _records(instance)
    others = "".join(f"{instance.host_ip(record.number)} {name}\n" for name, record in records.items())
    for name in records:
        init = _running(instance, name)
        if init is not None:
            text = f"127.0.0.1 localhost\n127.0.1.1 {name}\n{others}"
            Path(f"/proc/{init}/root/etc/hosts").write_text(text)
