"""Starting the cluster's processes once, and starting one again when it died or what it is made from has changed.

A daemon is a command and the files it reads. Which process runs it, and a digest of both, is kept with the lab's state.
There is no supervisor: a daemon that dies stays dead until the next start, with its log kept: a defect is seen.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab import cache, cgroups, process
from lab.box import Box
from lab.errors import LabError, tail


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """One process of the cluster: `files` are written (mode 0600) before it starts."""

    name: str
    argv: tuple[str, ...]
    files: Mapping[Path, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        texts = [*self.argv, *(f"{k}={v}" for k, v in self.environment.items())]
        texts += [text for path, content in self.files.items() for text in (str(path), content)]
        return cache.digest(text.encode() for text in texts)


@dataclass(frozen=True)
class Daemons:
    """The daemons of one box."""

    box: Box

    @property
    def _directory(self) -> Path:
        return self.box.instance.state / "daemons"

    def log(self, name: str) -> Path:
        return self.box.logs / f"{name}.log"

    def identity(self, name: str) -> process.Identity | None:
        return process.load(self._directory / f"{name}.json")

    def ensure(self, daemon: Daemon) -> bool:
        """Make it run as described; True if it had to be started."""
        self._directory.mkdir(parents=True, exist_ok=True)
        stamp = self._directory / f"{daemon.name}.digest"
        running = self.identity(daemon.name)
        if running and stamp.exists() and stamp.read_text() == daemon.digest:
            return False
        if running:
            process.kill(running)
        for forgotten in self._unrecorded(daemon):
            process.kill(forgotten)
        for path, content in daemon.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                stream.write(content)
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", **daemon.environment}
        started = self.box.spawn(daemon.argv, self.log(daemon.name), env=environment)
        process.save(started, self._directory / f"{daemon.name}.json")
        stamp.write_text(daemon.digest)
        return True

    def _unrecorded(self, daemon: Daemon) -> list[process.Identity]:
        """Left by a start that was killed before it wrote down which process it had made; it holds the daemon's ports."""
        words = b"".join(os.fsencode(str(word)) + b"\0" for word in daemon.argv)
        found = []
        for pid in cgroups.pids(self.box.instance):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes() == words:
                    found.append(process.identify(pid))
        return [identity for identity in found if identity is not None]

    def require(self, name: str) -> None:
        """Raise LabError, with the end of its log, when the daemon is not running."""
        if self.identity(name) is None:
            raise LabError(
                f"{name} of the lab ended",
                cause=tail(self.log(name)),
                fix="run `make down`, then `make up`; if it ends again, the log above says why",
            )

    def wait(self, name: str, ready: Callable[[], bool], *, limit: float, what: str) -> None:
        """Wait until `ready()`; LabError names the daemon when it dies or `limit` (seconds) passes."""
        deadline = time.monotonic() + limit
        while not ready():
            self.require(name)
            if time.monotonic() > deadline:
                raise LabError(
                    f"{what} was not ready after {limit:.0f} s",
                    cause=tail(self.log(name)),
                    fix="run `make down`, then `make up`; a busy machine may only need the second try",
                )
            time.sleep(0.05)
