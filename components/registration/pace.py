"""How hard this program may lean on oned, and how long it waits for it.

`Pace` bounds connections and requests a second: oned serves 15 connections at once and stops accepting beyond that
(fault R4 of its XML-RPC server), so one deployment never takes more than half of them. `Patience` counts the time
since oned last answered *anyone* in this process: when it is down, a thousand hosts fail after one wait, not after a
thousand.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from components.registration.clock import Clock

MAX_CONNECTIONS: Final = 8


class Pace:
    """At most `connections` requests at once and `per_second` a second, evenly spaced."""

    def __init__(self, connections: int, per_second: float, clock: Clock) -> None:
        self._slots = threading.BoundedSemaphore(min(connections, MAX_CONNECTIONS))
        self._gap = 1.0 / per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0.0

    @contextmanager
    def slot(self) -> Iterator[None]:
        with self._slots:
            with self._lock:
                now = self._clock.monotonic()
                start = max(now, self._next)
                self._next = start + self._gap
            if start > now:
                self._clock.sleep(start - now)
            yield


class Patience:
    """Shared by all calls of a process: the wait for oned is `limit` seconds in all, not for each call."""

    def __init__(self, limit: float, clock: Clock) -> None:
        self._limit, self._clock = limit, clock
        self._lock = threading.Lock()
        self._since: float | None = None

    def answered(self) -> None:
        with self._lock:
            self._since = None

    def left(self) -> float:
        """Seconds that may still be waited; starts the count if it does not run. Not positive: give up."""
        with self._lock:
            now = self._clock.monotonic()
            if self._since is None:
                self._since = now
            return self._since + self._limit - now
