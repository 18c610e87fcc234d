"""One `…pool.info` for many askers, without giving anyone an answer that is older than their question allows.

`fresh` returns a list whose request began after the caller asked: callers that ask while one request is under way
share the next one. `recent` may be some seconds old, or be under way already, and serves only where nothing hangs on it:
to find objects that exist already (a stale miss ends in oned's own "NAME is already taken"). `row` reads for a refresh,
which shows one moment of the zone: one list serves all of it, however many objects it has.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, Protocol, TypeVar

from components.registration.client import HostRecord, OnedClient
from components.registration.clock import SYSTEM_CLOCK, Clock

RECENT_SECONDS: Final = 5.0
GATHER_SECONDS: Final = 0.5
"""For which a list waits for askers that are about to come. Longer than four writes take at oned's usual pace."""
REFRESH_SECONDS: Final = 60.0
"""A refresh of a thousand hosts takes part of that; a process lives as long as one run of the engine."""


class Row(Protocol):
    """One object of oned."""

    @property
    def id(self) -> int: ...


_R = TypeVar("_R", bound=Row)


class Write:
    """One write that is under way."""


class Listing(Generic[_R]):
    """Thread-safe view of all objects of one kind in the zone. `read` is the call that lists them."""

    def __init__(self, read: Callable[[], tuple[_R, ...]], clock: Clock = SYSTEM_CLOCK) -> None:
        self._read, self._clock = read, clock
        self._changed = threading.Condition()
        self._running = False
        self._begun = 0
        """Number of the request that began last; answers carry the number of theirs."""
        self._written: set[int] = set()
        self._writing: set[Write | None] = set()
        self._answer: tuple[int, float, tuple[_R, ...] | BaseException] = (0, 0.0, ())

    def recent(self, seconds: float = RECENT_SECONDS) -> tuple[_R, ...]:
        """At most `seconds` old, or as old as the request takes that is under way now."""
        with self._changed:
            number, since, rows = self._answer
            if number and isinstance(rows, tuple) and self._clock.monotonic() - since < seconds:
                return rows
            if self._running:
                joined = self._begun
                while self._answer[0] < joined:
                    self._changed.wait()
                return self._given()
        return self.fresh()

    def row(self, row_id: int) -> _R | None:
        """An object out of a list of this minute; None when it is not there or this process has written to it since."""
        found = next((record for record in self.recent(REFRESH_SECONDS) if record.id == row_id), None)
        with self._changed:
            return None if row_id in self._written else found

    def changed(self, row_id: int) -> None:
        """This process writes to the object: answers from before do not speak for it."""
        with self._changed:
            self._written.add(row_id)

    @contextmanager
    def writing(self) -> Iterator[Write]:
        """Around a write and the `fresh` that looks at what came of it."""
        write = Write()
        with self._changed:
            self._writing.add(write)
        try:
            yield write
        finally:
            with self._changed:
                self._ended(write)

    def fresh(self, after: Write | None = None) -> tuple[_R, ...]:
        """Asked for after this call began. Raises what the client raises, to everyone who shared the request.

        `after` a write, the list waits a moment for those who are still writing, so that all of them share it. Else every
        registration would cost a list of its own, which grows with the fleet.
        """
        limit = self._clock.monotonic() + GATHER_SECONDS
        with self._changed:
            wanted = self._begun + 1
            self._ended(after)
            while self._answer[0] < wanted:
                left = limit - self._clock.monotonic()
                if self._running:
                    self._changed.wait()
                elif after and self._writing and left > 0:
                    self._changed.wait(left)
                else:
                    break
            if self._answer[0] >= wanted:
                return self._given()
            self._running = True
            self._written.clear()
            self._begun += 1
            number = self._begun
        since = self._clock.monotonic()
        try:
            outcome: tuple[_R, ...] | BaseException = self._read()
        except BaseException as error:
            outcome = error
        with self._changed:
            self._running = False
            self._answer = (number, since, outcome)
            self._changed.notify_all()
            return self._given()

    def _ended(self, write: Write | None) -> None:
        if write in self._writing:
            self._writing.remove(write)
            self._changed.notify_all()

    def _given(self) -> tuple[_R, ...]:
        outcome = self._answer[2]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Pool(Listing[HostRecord]):
    """The zone's hosts."""

    def __init__(self, client: OnedClient, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(client.hosts, clock)
