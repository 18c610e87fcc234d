"""Whose memory the bench counts."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from bench.memory import family, watched
from lab.paths import Instance


def test_descendants_count_and_others_do_not() -> None:
    script = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        assert {os.getpid(), child.pid, grandchild} <= family(os.getpid())
        assert {child.pid, grandchild} == family(child.pid)
        os.kill(grandchild, 15)
    assert 1 not in family(os.getpid())


def test_what_a_block_uses_is_seen() -> None:
    with watched(Instance(name="nobody", index=9)) as peak:
        held = bytearray(os.urandom(64 * 2**20))
        while peak.bytes < len(held):
            time.sleep(0.05)
    assert peak.bytes > len(held)
