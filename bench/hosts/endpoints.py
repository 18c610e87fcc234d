"""N real sshd endpoints on loopback: 127.1.x.y, one port, each with its own host key, settings and directory.

`sshd -i` for every connection, started by a process of its own, so that MaxStartups is nobody's bottleneck but each host's
own. All run on this machine as root; what a host would have under `/` lies in its directory, named by `ONE_ROOT`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from components.preparing.values import Endpoint

PORT = 40022
_SSHD = "/usr/sbin/sshd"


@dataclass(frozen=True)
class Host:
    """One endpoint and where its files are."""

    name: str
    endpoint: Endpoint
    root: Path


class Fleet:
    """Endpoints, and the one key that they let in. `listen` makes them answer, `stop` ends that."""

    def __init__(self, place: Path, hosts: Sequence[Host], private_key: str, key_file: Path) -> None:
        self.hosts, self.private_key, self.key_file = tuple(hosts), private_key, key_file
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None

    def listen(self, *, gone: Collection[str] = (), hung: Collection[str] = ()) -> None:
        """By name: where nothing listens, and who takes connections and says nothing. Raises RuntimeError."""
        self.stop()
        table = {
            host.endpoint.address: "" if host.name in hung else str(_settings(host))
            for host in self.hosts
            if host.name not in gone
        }
        file = self._place / "table.json"
        file.write_text(json.dumps(table))
        port = str(self.hosts[0].endpoint.port)
        command = [sys.executable, "-m", "bench.hosts.inetd", _SSHD, port, str(file)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        if self._process.stdout is None or self._process.stdout.readline() != b"ready\n":
            raise RuntimeError("the endpoints do not listen")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


def start(place: Path, count: int, port: int = PORT) -> Fleet:
    """Make keys and settings below `place`, and listen."""
    place.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)  # Debian's privilege separation directory
    login = asyncssh.generate_private_key("ssh-ed25519")
    key_file = place / "login"
    login.write_private_key(str(key_file))
    key_file.chmod(0o600)
    login.write_public_key(str(place / "login.pub"))
    hosts = [_host(place, number, port) for number in range(count)]
    fleet = Fleet(place, hosts, login.export_private_key().decode(), key_file)
    fleet.listen()
    return fleet


def _settings(host: Host) -> Path:
    return host.root.parent / "sshd_config"


def _host(place: Path, number: int, port: int) -> Host:
    home = place / f"host-{number:04d}"
    for inside in ("root", "login"):
        (home / inside).mkdir(parents=True)
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(home / "key"))
    (home / "key").chmod(0o600)
    public = " ".join(key.export_public_key().decode().split()[:2])
    address = f"127.1.{number // 250}.{number % 250 + 1}"
    host = Host(f"bench-{number:04d}", Endpoint("root", address, port, public), home / "root")
    lines = (
        f"HostKey {home / 'key'}",
        f"AuthorizedKeysFile {place / 'login.pub'}",
        "PermitRootLogin prohibit-password",
        "StrictModes no",
        "UsePAM no",
        "PidFile none",
        # HOME: what root's own .bashrc on this machine does (bash reads it under sshd) is no part of any host.
        f"SetEnv ONE_ROOT={host.root} HOME={home / 'login'}",
        "Subsystem sftp internal-sftp",
    )
    _settings(host).write_text("\n".join(lines) + "\n")
    return host
