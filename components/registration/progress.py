"""How far a long wait is, as lines on standard output, which the engine shows as messages of the running stack.

Quiet where it would only be noise: for few hosts, when nothing has changed, and more than once in some seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from components.registration.clock import SYSTEM_CLOCK, Clock

MANY: Final = 5
"""Hosts from which on a wait is told at all."""
INTERVAL: Final = 5.0
"""Seconds between two lines."""


def _out(line: str) -> None:
    print(line, flush=True)


def counting(say: Callable[[str], None] = _out, clock: Clock = SYSTEM_CLOCK) -> Callable[[int, int], None]:
    """A function to call with (monitored, all) as often as one likes."""
    told = -1
    at = float("-inf")

    def tell(done: int, total: int) -> None:
        nonlocal told, at
        now = clock.monotonic()
        last = done == total
        if total < MANY or done == told or (now - at < INTERVAL and not last):
            return
        told, at = done, now
        say(f"monitored {done}/{total} hosts")

    return tell
