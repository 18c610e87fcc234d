"""Which process a pid file means: pids are reused, a pid with its start time is not.

Only identities recorded by the lab are ever signalled.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.errors import LabError

PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One process for as long as the machine runs: pid, start time in clock ticks since boot, and the boot."""

    pid: int
    started: int
    boot: str

    @property
    def alive(self) -> bool:
        return identify(self.pid) == self


def _boot() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Identity | None:
    """The process that has this pid now; None if there is none, or only its unread exit status (a zombie)."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name in parentheses may hold spaces
    state, started = fields[0], int(fields[19])
    return None if state in "ZX" else Identity(pid=pid, started=started, boot=_boot())


def began(pid: int) -> float | None:
    """When the process that has this pid now began, in seconds since 1970, by the clock as it is now; None as in `identify`."""
    identity = identify(pid)
    if identity is None:
        return None
    lines = (PROC / "stat").read_text().splitlines()
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return boot + identity.started / os.sysconf("SC_CLK_TCK")


def save(identity: Identity, path: Path) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(identity)))
    draft.replace(path)


def load(path: Path) -> Identity | None:
    """The recorded process if it still runs; None for a missing, foreign or stale file."""
    try:
        identity = Identity(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return identity if identity.alive else None


def kill(
    identity: Identity, *, first: signal.Signals = signal.SIGKILL, grace: float = 5.0, limit: float = 10.0
) -> None:
    """End a process and wait until it is gone. A pidfd makes sure that it is this process and no later one.

    `first` may be SIGTERM: it then has `grace` seconds before SIGKILL. LabError if it outlives that by `limit` seconds.
    """
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        for number, patience in ((first, grace), (signal.SIGKILL, limit)):
            if not identity.alive:
                return
            signal.pidfd_send_signal(handle, number)
            deadline = time.monotonic() + patience
            while identity.alive and time.monotonic() < deadline:
                time.sleep(0.01)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
    if identity.alive:
        raise LabError(
            f"process {identity.pid} does not end after SIGKILL",
            cause="it hangs in the kernel, most likely on a file system that does not answer",
            fix=f"look at /proc/{identity.pid}/stack, then run `make down` again",
        )


def tied(command: Sequence[str]) -> list[str]:
    """The command, so that the kernel ends it when the thread that starts it ends: a copy or a build that outlives a
    killed run would write into a directory that the next run has begun anew. Its own children are not covered.
    """
    return ["setpriv", "--pdeathsig", "KILL", "--", *command]
