"""A run whose engine is killed in the middle, and what is left of it ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pulumi import automation

from bench import processes
from bench.hosts.endpoints import Host
from bench.hosts.ours import Ours
from bench.memory import family

LIMIT = 300.0  # seconds until enough is registered, and for the run to notice that its engine is gone
_KILLED = 7


def kill(stack: Mapping[str, Any], hosts: Sequence[Host], enough: Callable[[], bool], **declared: Any) -> None:
    """An `up` of Ours(**stack) whose engine is killed as soon as it is `enough`. Raises RuntimeError when it ended before."""
    run = multiprocessing.get_context("spawn").Process(target=_doomed, args=(stack, hosts, declared))
    below: set[int] = set()
    run.start()
    try:
        engine = _engine_when(run, enough)
        below = family(engine) - {engine}
        os.kill(engine, signal.SIGKILL)
        run.join(LIMIT)
        if run.exitcode != _KILLED:
            raise RuntimeError(f"the run whose engine was killed ended with {run.exitcode}")
    finally:
        run.kill()
        run.join()
        # A provider's host that had nothing to do yet waits for an engine that is gone; all others see it and end.
        for left in processes.ended(below):
            processes.kill(left)


def _engine_when(run: multiprocessing.process.BaseProcess, enough: Callable[[], bool]) -> int:
    limit = time.monotonic() + LIMIT
    while not enough():
        if not run.is_alive() or time.monotonic() > limit:
            raise RuntimeError("the run ended, or took too long, before its engine could be killed")
        time.sleep(0.01)
    engine = None if run.pid is None else _engine(run.pid)
    if engine is None:
        raise RuntimeError("the run had ended before its engine could be killed")
    return engine


def _doomed(stack: Mapping[str, Any], hosts: Sequence[Host], declared: Mapping[str, Any]) -> None:
    """A run in a process of its own. The program of a killed engine is left suspended in its coroutine, and whenever that
    is collected as garbage it closes the callback server of whatever program runs in its process by then: the `finally` of
    `run_pulumi_func` calls `_CallbackServicer.shutdown`, which is for all servers of the process (pulumi 3.255)."""
    try:
        Ours(**stack).up(hosts, **declared)
    except automation.CommandError:
        os._exit(_KILLED)
    os._exit(0)


def _engine(parent: int) -> int | None:
    """Pid of the running `pulumi up` that a process has started."""
    for pid in family(parent):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"pulumi") and b"up" in words:
                return pid
    return None
