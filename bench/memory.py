"""Memory of the processes that `make up` runs outside the lab: this one with the program in it, the engine, its plugins."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import cgroups
from lab.paths import Instance

_PERIOD = 0.5  # seconds between two looks


class Peak:
    """The most that was seen, in bytes; shared pages are divided among those who share them (Pss)."""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def watched(instance: Instance) -> Iterator[Peak]:
    """Look at this process and its descendants, those in the lab's cgroup apart, while the block runs."""
    peak, ended = Peak(), threading.Event()

    def watch() -> None:
        while not ended.wait(_PERIOD):
            lab = cgroups.pids(instance)
            peak.bytes = max(peak.bytes, sum(_proportional(pid) for pid in family(os.getpid()) if pid not in lab))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def family(root: int) -> set[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name, in parentheses, may hold anything; the parent's pid is the second field after it.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it ended while we looked
            children.setdefault(parent, []).append(int(entry.name))
    found, open_ = set(), [root]
    while open_:
        pid = open_.pop()
        found.add(pid)
        open_ += children.get(pid, [])
    return found


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it ended, or belongs to the kernel
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
