"""N real sshd endpoints on loopback: 127.1.x.y, one port, each with its own host key, settings and directory.

`sshd -i` for every connection, started by a process of its own, so that MaxStartups is nobody's bottleneck but each host's
own. All run on this machine as root; what a host would have under `/` lies in its directory, named by `ONE_ROOT`.
"""

from __future__ import annotations

import json
import subprocess
import sys
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


@dataclass(frozen=True)
class Fleet:
    """Running endpoints, and the one key that they let in."""

    hosts: tuple[Host, ...]
    private_key: str
    key_file: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def start(place: Path, count: int, port: int = PORT) -> Fleet:
    """Make keys and settings below `place`, and listen."""
    place.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)  # Debian's privilege separation directory
    login = asyncssh.generate_private_key("ssh-ed25519")
    key_file = place / "login"
    login.write_private_key(str(key_file))
    key_file.chmod(0o600)
    login.write_public_key(str(place / "login.pub"))
    hosts, table = [], {}
    for number in range(count):
        home = place / f"host-{number:04d}"
        for inside in ("root", "login"):
            (home / inside).mkdir(parents=True)
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(home / "key"))
        (home / "key").chmod(0o600)
        lines = (
            f"HostKey {home / 'key'}",
            f"AuthorizedKeysFile {place / 'login.pub'}",
            "PermitRootLogin prohibit-password",
            "StrictModes no",
            "UsePAM no",
            "PidFile none",
            # HOME: what root's own .bashrc on this machine does (bash reads it under sshd) is no part of any host.
            f"SetEnv ONE_ROOT={home / 'root'} HOME={home / 'login'}",
            "Subsystem sftp internal-sftp",
        )
        (home / "sshd_config").write_text("\n".join(lines) + "\n")
        address = f"127.1.{number // 250}.{number % 250 + 1}"
        public = " ".join(key.export_public_key().decode().split()[:2])
        hosts.append(Host(f"bench-{number:04d}", Endpoint("root", address, port, public), home / "root"))
        table[address] = str(home / "sshd_config")
    (place / "table.json").write_text(json.dumps(table))
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.hosts.inetd", _SSHD, str(port), str(place / "table.json")], stdout=subprocess.PIPE
    )
    if process.stdout is None or process.stdout.readline() != b"ready\n":
        raise RuntimeError("the endpoints do not listen")
    return Fleet(tuple(hosts), login.export_private_key().decode(), key_file, process)
