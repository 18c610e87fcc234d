"""Driver processes: started with a pipe each way, asked `INIT`, read line by line, started again when they die.

A driver's fd 2 is closed, as the real daemons close it. Source: OpenNebula 7.4.0 include/Driver.h,
include/DriverManager.h.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from standin.log import Log, surviving

_INIT_SECONDS = 10
_STOP_SECONDS = 5
_RESTART_PAUSE_SECONDS = 1.0


class DriverError(RuntimeError):
    """A driver that cannot be had; the daemon stops."""


class Driver:
    """One driver process."""

    def __init__(self, executable: Path, arguments: str, on_line: Callable[[str], None], log: Log) -> None:
        self.on_restart: Callable[[], None] = lambda: None
        self._executable = executable
        self._arguments = arguments
        self._on_line = on_line
        self._log = log
        self._lock = threading.Lock()
        self._stopping = False
        self._pid = -1
        self._to = -1
        self._from = -1

    def start(self) -> None:
        """:raises DriverError: when it does not answer INIT SUCCESS within 10 s."""
        self._spawn()
        threading.Thread(target=self._listen, daemon=True).start()

    def write(self, line: str) -> None:
        """Send a line; lost while the driver is down."""
        data = line.encode(errors="replace")
        with self._lock, contextlib.suppress(OSError):
            while data and self._to != -1:
                data = data[os.write(self._to, data) :]

    def stop(self) -> None:
        """FINALIZE, a few seconds of patience, then SIGKILL."""
        self._stopping = True
        self.write("FINALIZE\n")
        with self._lock:
            self._reap(_STOP_SECONDS)

    def _spawn(self) -> None:
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        try:
            self._pid = os.posix_spawn(
                self._executable,
                [str(self._executable), self._arguments],
                dict(os.environ),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, to_read, 0),
                    (os.POSIX_SPAWN_DUP2, from_write, 1),
                    (os.POSIX_SPAWN_CLOSE, 2),
                ],
                setsigmask=(),
                setsigdef=(signal.SIGPIPE,),
            )
        except OSError as error:
            os.close(to_write)
            os.close(from_read)
            raise DriverError(f"Error starting driver, {error.strerror}") from None
        finally:
            os.close(to_read)
            os.close(from_write)
        self._to, self._from = to_write, from_read
        with contextlib.suppress(BrokenPipeError):  # it has ended already: its silence below says so
            os.write(self._to, b"INIT\n")
        if not select.select([self._from], [], [], _INIT_SECONDS)[0]:
            raise DriverError("Driver initialization time out")
        if os.read(self._from, 31).split()[:2] != [b"INIT", b"SUCCESS"]:
            raise DriverError("Driver initialization failed, expected INIT SUCCESS message")

    def _listen(self) -> None:
        rest = b""
        while True:
            try:
                chunk = os.read(self._from, 65536)
            except OSError:
                chunk = b""
            if chunk:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    with surviving(self._log, "DrM", f"reading what {self._executable.name} says"):
                        self._on_line(line.decode(errors="replace"))
                continue
            rest = b""
            if self._stopping or not self._restart():
                return

    def _restart(self) -> bool:
        while not self._stopping:
            with self._lock:
                self._reap(1)
            time.sleep(_RESTART_PAUSE_SECONDS)
            try:
                with self._lock:
                    self._spawn()
            except DriverError:
                continue
            self.on_restart()
            return True
        return False

    def _reap(self, seconds: int) -> None:
        for descriptor in (self._to, self._from):
            if descriptor != -1:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self._to = self._from = -1
        if self._pid == -1:
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if os.waitpid(self._pid, os.WNOHANG)[0] != 0:
                self._pid = -1
                return
            time.sleep(0.01)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._pid = -1


def load(vectors: list[dict[str, str]], mads: Path, log: Log) -> list[tuple[str, Path, str]]:
    """Name, executable and arguments of every driver of one kind; nothing is started.

    :raises DriverError: when an executable is missing or two drivers share a name; the log has which.
    """
    found: list[tuple[str, Path, str]] = []
    failed = False
    for vector in vectors:
        name, executable = vector.get("NAME", ""), vector.get("EXECUTABLE", "")
        log.info("DrM", f"Loading driver: {name}")
        path = mads / executable  # an absolute executable wins over mads
        if not executable:
            log.error("DrM", f"\tEmpty executable for driver: {name}")
            failed = True
        elif not path.exists():
            log.error("DrM", f"File not exists: {path}")
            failed = True
        elif name in (known for known, _, _ in found):
            log.error("DrM", f"\tDriver already exists: {name}")
            failed = True
        else:
            found.append((name, path, vector.get("ARGUMENTS", "")))
            log.info("DrM", f"\tDriver loaded: {name}")
    if failed:
        log.error("ONE", "Could not load driver")
        raise DriverError("Could not load an OpenNebula driver")
    return found
