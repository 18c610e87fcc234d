"""SIGKILL for an engine or a plugin of it, in the middle of an operation of this very process."""

from __future__ import annotations

import threading
from enum import Enum

from tests.faults import processes


class Victim(Enum):
    ENGINE = "engine"
    PROVIDER = "provider"


class Killer:
    """Waits for so many events of the engine and a moment more, then kills. `killed`: how many."""

    def __init__(self, victim: Victim, stack: str, after: int, moment: float) -> None:
        self._victim, self._stack, self._after, self._moment = victim, stack, after, moment
        self._timer: threading.Timer | None = None
        self._events = 0
        self.killed = 0
        self._below: list[int] = []

    def __call__(self, _event: object) -> None:
        self._events += 1
        if self._events >= self._after and self._timer is None:
            self._timer = threading.Timer(self._moment, self._kill)
            self._timer.start()

    def _kill(self) -> None:
        victims = self._victims()
        self._below = [below for pid in victims for below in processes.descendants(pid)]
        self.killed = sum(processes.kill(pid) for pid in victims)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.join(10)

    def left(self) -> list[str]:
        """Command lines of processes below the killed ones that did not end with them, and could do something; all are
        ended now."""
        left = processes.ended(self._below)
        lines = [processes.words(pid) for pid in left if not processes.idle_provider_host(pid)]
        for pid in left:
            processes.kill(pid)
        return lines

    def _victims(self) -> list[int]:
        engine = processes.engine(self._stack)
        if engine is None:
            return []
        if self._victim is Victim.ENGINE:
            return [engine]
        marks = ("pulumi.dynamic", "lab.plugins.command", "pulumi-resource-")
        below = processes.descendants(engine)
        plugins = [pid for pid in below if any(mark in processes.words(pid) for mark in marks)]
        # The first or the last of them: which one follows from the moment.
        return plugins[:1] if int(self._moment * 1000) % 2 else plugins[-1:]
