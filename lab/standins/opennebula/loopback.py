"""One process of the stand-in on loopback, installed under a directory of its own (ONE_LOCATION). Base of `local` and
`services`, which say what is started and with which configuration.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from lab.standins.opennebula.database import free_port

ROOT = Path(__file__).resolve().parent / "root"


class LoopbackProcess(ABC):
    """It may be started again and again. `environment` comes on top of this process's own."""

    ready_seconds: ClassVar[float]
    stop_seconds: ClassVar[float]

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.environment: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    @abstractmethod
    def output(self) -> Path:
        """Everything it said on stdout and stderr, over all its starts."""

    @abstractmethod
    def not_serving(self, code: int | None) -> Exception:
        """The error of a start that led to nothing; `code` is the exit code, None while it runs."""

    @abstractmethod
    def launch(self) -> subprocess.Popen[bytes]:
        """Write the configuration, start, and return at once."""

    def start(self) -> None:
        """Start and wait until it takes connections. Raises `not_serving` when it ends before or takes too long."""
        process = self.launch()
        deadline = time.monotonic() + self.ready_seconds
        while not self.listening():
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise self.not_serving(process.returncode)
            time.sleep(0.05)

    def stop(self) -> int:
        """SIGTERM; the exit code, or -9 when it had to be killed."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the process alone, as an out-of-memory kill would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def listening(self) -> bool:
        """Whether somebody takes connections at its port."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def said(self) -> str:
        """What is in `output`."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def _spawn(
        self, command: Sequence[str | Path], own: Mapping[str, str], *, session: bool
    ) -> subprocess.Popen[bytes]:
        """Run it with `own` variables besides ONE_LOCATION. `session`: in one of its own, as a service manager does."""
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self.directory,
                env={**os.environ, "ONE_LOCATION": str(self.directory), **own, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=session,
            )
        return self._process

    def _link_programs(self) -> None:
        """What the packages install and nobody changes."""
        for name, source in (("bin", "usr/bin"), ("lib", "usr/lib/one"), ("share", "usr/share/one")):
            target = self.directory / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(ROOT / source)
