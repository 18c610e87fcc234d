"""A real sshd on loopback, a real agent, and the preparation as the engine runs it: a process of its own."""

from __future__ import annotations

import getpass
import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.preparing.agent import Agent
from components.preparing.values import HOST, Endpoint, Target, Way, script_path
from lab.paths import PROJECT
from tests.lab.plugins.conftest import Sshd, start_sshd

__all__ = ["start_sshd"]

RUN = ("sh", "components/preparing/run.sh", "test")
SHELL = f"exec sh -c 'exec timeout 20 sh -s' one-bootstrap {HOST}"


@dataclass
class Bench:
    """One project directory, one agent; hosts are given."""

    place: Path
    agent: str
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.place / ".state/prepare/test"

    def way(self, **changes: Any) -> Way:
        values: dict[str, Any] = {
            "bastion": None,
            "connect": 3,
            "attempts": 1,
            "login": 8,
            "silence": 8,
            "limit": 20,
            "handshakes": 8,
            "command": SHELL,
            "agent": self.agent,
        }
        return Way(**(values | changes))

    def start(
        self,
        sshd: Sshd | Endpoint,
        script: str,
        *,
        name: str = "kvm-1",
        digest: str | None = None,
        run: Sequence[str] = RUN,
        **way: Any,
    ) -> subprocess.Popen[str]:
        """The command of one host, begun."""
        target = Target(name, endpoint(sshd), digest or hashlib.sha256(script.encode()).hexdigest())
        self.folder.mkdir(parents=True, exist_ok=True)
        self.way(**way).write(str(self.folder))
        Path(script_path(str(self.folder), target.script)).write_text(script)
        plain = {key: value for key, value in os.environ.items() if key != "SSH_AUTH_SOCK"}
        return subprocess.Popen(
            run,
            cwd=self.place,
            env=plain | target.environment() | self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def prepare(self, sshd: Sshd | Endpoint, script: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """The same, waited for."""
        process = self.start(sshd, script, **more)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess([], process.returncode, out, err)


def endpoint(of: Sshd | Endpoint, **changes: Any) -> Endpoint:
    if isinstance(of, Sshd):
        of = Endpoint(getpass.getuser(), "127.0.0.1", of.port, of.host_key)
    return of._replace(**changes)


@pytest.fixture
def host(start_sshd: Callable[..., Sshd]) -> Sshd:
    return start_sshd()


@pytest.fixture
def agent(host: Sshd) -> Iterator[Agent]:
    made = Agent(host.private_key)
    yield made
    made.close()


@pytest.fixture
def bench(tmp_path: Path, agent: Agent) -> Bench:
    for name in ("components", ".venv"):
        (tmp_path / name).symlink_to(PROJECT / name)
    return Bench(tmp_path, agent.socket)
