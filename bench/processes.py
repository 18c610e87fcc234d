"""Processes whose parent was killed: are they there still, and the end of one. Reads /proc."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path


def kill(pid: int) -> bool:
    """SIGKILL; whether it was there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def ended(pids: Collection[int], seconds: float = 15.0) -> list[int]:
    """Those that are still there after so long. They had another parent, so nobody's wait is needed."""
    limit = time.monotonic() + seconds
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < limit:
        time.sleep(0.1)
    return left


def alive(pid: int) -> bool:
    """Whether it runs; one that only waits to be collected does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
