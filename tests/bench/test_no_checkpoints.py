"""A killed run without checkpoints: it kept nothing, and the next one takes over everything that it did (ADR 12)."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from pulumi import automation

from bench.hosts.__main__ import nowhere
from bench.hosts.oned import Oned
from bench.hosts.ours import Ours
from lab.standins.opennebula.local import running_oned
from tests.faults import processes

pytestmark = pytest.mark.engine
HOSTS = nowhere(20)
LIMIT = 120  # seconds for the run that is killed


def engine_of(parent: int) -> int | None:
    """Pid of the running `pulumi up` that a process has started."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            started_by = (process / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(started_by) == parent and words[0].endswith(b"pulumi") and b"up" in words:
            return int(process.name)
    return None


def stack_at(place: Path, oned: str) -> Ours:
    return Ours(place, oned, "rehearsal", parallel=8, per_second=20, fast=True)


def doomed(place: Path, oned: str) -> None:
    """A run in a process of its own. The program of a killed engine is left suspended in its coroutine, and whenever that
    is collected as garbage it closes the callback server of whatever program runs in its process by then: the `finally` of
    `run_pulumi_func` calls `_CallbackServicer.shutdown`, which is for all servers of the process (pulumi 3.255)."""
    try:
        stack_at(place, oned).up(HOSTS)
    except automation.CommandError:
        os._exit(7)
    os._exit(0)


@pytest.mark.parametrize("after", [1, 7, 15])
def test_the_next_run_adopts_what_a_killed_one_registered(tmp_path: Path, after: int) -> None:
    with running_oned() as oned:
        look = Oned(oned.endpoint, oned.session)
        run = multiprocessing.get_context("spawn").Process(target=doomed, args=(tmp_path, oned.endpoint))
        run.start()
        limit = time.monotonic() + LIMIT
        while len(look.hosts()) < after and run.is_alive():
            assert time.monotonic() < limit, "no host was registered"
            time.sleep(0.01)
        assert run.pid is not None
        engine = engine_of(run.pid)
        assert engine is not None, "the run had ended before it could be killed"
        below = processes.descendants(engine)
        os.kill(engine, signal.SIGKILL)
        run.join(LIMIT)
        for pid in processes.ended(below):  # a provider's host that had nothing to do waits for an engine that is gone
            processes.kill(pid)
        assert run.exitcode == 7, "the engine was killed in the middle of its run"
        ids = Oned(oned.endpoint, oned.session).hosts()
        assert after <= len(ids) < 20
        stack = stack_at(tmp_path, oned.endpoint)
        stack.unlock()
        stack.up(HOSTS)
        assert look.wrong([host.name for host in HOSTS]) == []
        assert ids.items() <= look.hosts().items(), "taken over, not made anew"
        stack.destroy()
        assert look.hosts() == {}
