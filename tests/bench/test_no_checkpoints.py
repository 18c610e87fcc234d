"""A killed run without checkpoints: it kept nothing, and the next one takes over everything that it did (ADR 12)."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from pulumi import automation

from bench.hosts.__main__ import nowhere
from bench.hosts.oned import Oned
from bench.hosts.ours import Ours
from lab.standins.opennebula.local import running_oned

pytestmark = pytest.mark.engine


def engine_of_this_process() -> int | None:
    """Pid of the running `pulumi up` that this process has started."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == os.getpid() and words[0].endswith(b"pulumi") and b"up" in words:
            return int(process.name)
    return None


@pytest.mark.parametrize("after", [1, 7, 15])
def test_the_next_run_adopts_what_a_killed_one_registered(tmp_path: Path, after: int) -> None:
    hosts = nowhere(20)
    with running_oned() as oned:
        look = Oned(oned.endpoint, oned.session)
        stack = Ours(tmp_path, oned.endpoint, "rehearsal", parallel=8, per_second=20, fast=True)

        def kill() -> None:
            while len(look.hosts()) < after:
                time.sleep(0.01)
            if (pid := engine_of_this_process()) is not None:
                os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(automation.CommandError):
            stack.up(hosts)
        killer.join()
        ids = Oned(oned.endpoint, oned.session).hosts()
        assert after <= len(ids) < 20
        stack.unlock()
        stack.up(hosts)
        assert look.wrong([host.name for host in hosts]) == []
        assert ids.items() <= look.hosts().items(), "taken over, not made anew"
        stack.destroy()
        assert look.hosts() == {}
