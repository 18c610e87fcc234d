"""Writes whose answer is lost: wait until their effect shows, never send them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from components.registration.clock import SYSTEM_CLOCK, Clock
from components.registration.errors import Ambiguous

SETTLE: Final = 15.0
"""Seconds for which a lost answer is looked for. A follower passes writes on to the leader with a limit of 10 s."""
LOOK_AGAIN: Final = 0.5


class Settle:
    """Bounded patience for effects."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock

    def write(self, write: Callable[[], None], done: Callable[[], bool]) -> None:
        """`write`; where its answer is lost, `done` says whether it happened. Raises Ambiguous."""
        try:
            write()
        except Ambiguous as lost:
            self.look_for(lost, done)

    def look_for(self, lost: Ambiguous, done: Callable[[], bool]) -> None:
        """Wait until the effect of a write whose answer is lost shows; raise `lost` when it does not."""
        limit = self._clock.monotonic() + SETTLE
        while not done():
            if self._clock.monotonic() >= limit:
                raise lost
            self._clock.sleep(LOOK_AGAIN)
