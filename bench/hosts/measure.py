"""Wall time, CPU time and the peak of resident memory of one operation, with everything that it starts."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.memory import family

_EVERY = 0.5  # seconds between two looks at the memory
_PAGE = resource.getpagesize() // 1024  # KiB


@dataclass(frozen=True)
class Sample:
    """Seconds, seconds, MiB. `load` is the machine's before: figures of a busy one are to be read with care."""

    wall: float
    cpu: float
    memory: float
    load: float

    def as_json(self) -> dict[str, Any]:
        return {name: round(value, 2) for name, value in asdict(self).items()}


def measured(operation: Callable[[], object]) -> Sample:
    """Run it; what it raises comes out."""
    done, peak = threading.Event(), [0]

    def watch() -> None:
        while not done.wait(_EVERY):
            peak[0] = max(peak[0], _resident())

    load, cpu = os.getloadavg()[0], _cpu()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.monotonic()
    try:
        operation()
    finally:
        wall = time.monotonic() - began
        done.set()
        watcher.join()
    return Sample(wall, _cpu() - cpu, peak[0] / 1024, load)


def _cpu() -> float:
    """Of this process and of all its descendants that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _resident() -> int:
    """KiB of this process and its descendants now. It runs beside what is measured, so one short file a process is all it reads."""
    sizes = {}
    for pid in family(os.getpid()):
        try:
            sizes[pid] = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue  # ended meanwhile
    return sum(sizes.values()) * _PAGE
