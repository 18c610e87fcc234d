"""Progress as lines on standard error, so that standard output stays for results.

Long steps say at once that they started, then how long they took; on a terminal the line counts the seconds.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str], None]

_lock = threading.Lock()
_QUIET_INTERVAL = 30.0  # seconds between signs of life when the output is a file or a CI log
_BUSY_INTERVAL = 3.0  # between lines of progress that somebody watches


def say(line: str) -> None:
    with _lock:
        print(line, file=sys.stderr, flush=True)


def pace() -> float:
    """Seconds between two lines of progress of the same work."""
    return _BUSY_INTERVAL if sys.stderr.isatty() else _QUIET_INTERVAL


@contextmanager
def timed(label: str, report: Report = say) -> Iterator[None]:
    """Announce a long step, keep showing that it lives, and say how it ended."""
    began = time.monotonic()
    done = threading.Event()
    terminal = report is say and sys.stderr.isatty()

    def tick() -> None:
        while not done.wait(1.0 if terminal else _QUIET_INTERVAL):
            line = f"{label} … {time.monotonic() - began:.0f} s"
            if terminal:
                with _lock:
                    print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)
            else:
                report(line)

    report(f"{label} …")
    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    outcome = "failed after"
    try:
        yield
        outcome = "done in"
    finally:
        done.set()
        ticker.join()
        if terminal:
            with _lock:
                print("\r\033[K", end="", file=sys.stderr, flush=True)
        report(f"{label}: {outcome} {time.monotonic() - began:.1f} s")
