"""Executables of the stand-ins, and a real sshd on loopback."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from lab.plugins.install import ensure_plugins
from tests.lab.plugins.harness import Plugin
from tests.lab.plugins.stack import Stack

_SSHD = "/usr/sbin/sshd"


@pytest.fixture(scope="session")
def bin_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the stand-ins' executables."""
    directory = tmp_path_factory.mktemp("plugins")
    ensure_plugins(directory, Path(sys.executable))
    return directory


@pytest.fixture
def start(bin_dir: Path) -> Iterator[Callable[..., Plugin]]:
    """Starts plugins by resource type, and stops them after the test."""
    running: list[Plugin] = []

    def starter(type_: str, environment: dict[str, str] | None = None) -> Plugin:
        running.append(Plugin(bin_dir / f"pulumi-resource-{type_.partition(':')[0]}", type_, environment))
        return running[-1]

    yield starter
    for plugin in running:
        if plugin.process.poll() is None:
            plugin.stop()


@pytest.fixture
def remote_command(start: Callable[..., Plugin]) -> Plugin:
    """The command plugin for remote commands, without an SSH agent."""
    environment = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
    plugin = start("command:remote:Command", environment)
    plugin.configure()
    return plugin


@pytest.fixture
def stack(tmp_path: Path, bin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    from lab.toolchain import tool

    # Where the Automation API looks for the CLI, and the CLI for its plugins.
    monkeypatch.setenv("PATH", os.pathsep.join((str(bin_dir), str(tool("pulumi").parent), os.environ["PATH"])))
    return Stack(tmp_path)


@dataclass(frozen=True)
class Sshd:
    """A server that lets the present user in with one key."""

    port: int
    host_key: str  # public, authorized_keys style
    private_key: str
    log: Path

    def connection(self, **changed: Any) -> dict[str, Any]:
        """Inputs of a connection to it."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "privateKey": self.private_key,
            "hostKey": self.host_key,
            "dialErrorLimit": 1,
        } | changed


@pytest.fixture(scope="session")
def start_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Sshd]]:
    """Starts sshd processes with a host key of their own; they end with the session."""
    if not Path(_SSHD).exists():
        pytest.skip("needs openssh-server")
    Path("/run/sshd").mkdir(exist_ok=True)  # Debian's privilege separation directory
    running: list[subprocess.Popen[bytes]] = []
    login = asyncssh.generate_private_key("ssh-ed25519")

    def starter(
        key_type: str = "ssh-ed25519", *lines: str, port: int | None = None, host_key: asyncssh.SSHKey | None = None
    ) -> Sshd:
        home = tmp_path_factory.mktemp("sshd")
        host = host_key or asyncssh.generate_private_key(key_type)
        host.write_private_key(str(home / "host"))
        (home / "host").chmod(0o600)
        (home / "authorized").write_bytes(login.export_public_key())
        port = port or free_port()
        settings = (
            f"Port {port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {home / 'host'}",
            f"AuthorizedKeysFile {home / 'authorized'}",
            f"PidFile {home / 'pid'}",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "MaxStartups 500",
            "Subsystem sftp internal-sftp",
            *lines,
        )
        (home / "config").write_text("\n".join(settings) + "\n")
        log = home / "log"
        with log.open("wb") as output:
            process = subprocess.Popen([_SSHD, "-D", "-e", "-f", home / "config"], stderr=output)
        running.append(process)
        _wait_for(port, process, log)
        public = host.export_public_key().decode().strip()
        return Sshd(port, public, login.export_private_key().decode(), log)

    yield starter
    for process in running:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def sshd(start_sshd: Callable[..., Sshd]) -> Sshd:
    """The ordinary one."""
    return start_sshd("ssh-ed25519", "AcceptEnv ONE_*")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise AssertionError(f"sshd ended: {log.read_text()}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"sshd does not listen: {log.read_text()}")
