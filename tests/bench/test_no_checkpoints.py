"""A killed run without checkpoints: it kept nothing, and the next one takes over everything that it did (ADR 12)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.hosts import killed
from bench.hosts.oned import Oned
from bench.hosts.ours import Ours
from bench.hosts.run import nowhere
from lab.standins.opennebula.local import running_oned

pytestmark = pytest.mark.engine
HOSTS = nowhere(20)


@pytest.mark.parametrize("after", [1, 7, 15])
def test_the_next_run_adopts_what_a_killed_one_registered(tmp_path: Path, after: int) -> None:
    with running_oned() as oned:
        look = Oned(oned.endpoint, oned.session)
        run = {"url": oned.endpoint, "password": "rehearsal", "parallel": 8, "per_second": 20, "fast": True}
        killed.kill({"place": tmp_path, **run}, HOSTS, lambda: len(look.hosts()) >= after)
        ids = Oned(oned.endpoint, oned.session).hosts()
        assert after <= len(ids) < 20
        stack = Ours(tmp_path, oned.endpoint, "rehearsal", parallel=8, per_second=20, fast=True)
        stack.unlock()
        stack.up(HOSTS)
        assert look.wrong([host.name for host in HOSTS]) == []
        assert ids.items() <= look.hosts().items(), "taken over, not made anew"
        stack.destroy()
        assert look.hosts() == {}
