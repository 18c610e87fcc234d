"""What the engine's steps mean for hosts: whose step it is, and progress as counts when there are many.

Pure. With few hosts each has lines of its own and this stays silent; with many, one line says how far each phase is, as
often as its reader wants, so that a thousand hosts are readable on a terminal and in a log alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MANY: Final = 5
"""Hosts from which on counts replace lines of single hosts."""

PREPARED, REGISTERED, REMOVED, MONITORED = "prepared", "registered", "removed", "monitored"
_COMPONENT = "opennebula:index:Hosts$"
# The providers of the wait say how far it is; the engine hands their output over as messages.
_WAIT = re.compile(r"monitored (\d+)/(\d+) hosts")
_DELETES = ("delete", "delete-replaced", "discard", "discard-replaced")


def host_step(urn: str, operation: str = "create") -> tuple[str, str] | None:
    """Phase and host of a step of one host; None for any other step."""
    chain, name = urn.split("::")[2], urn.rsplit("::", maxsplit=1)[-1]
    if _COMPONENT not in chain:
        return None
    type_ = chain.split("$")[-1]
    if type_.endswith(":Command"):
        host = name.partition("-prepare-")[2]
        # A preparation that leaves the state does nothing on the host.
        return (PREPARED, host) if host and operation not in _DELETES else None
    if type_.endswith("opennebula:Host"):
        return (REMOVED if operation in _DELETES else REGISTERED), name.partition("-")[2]
    return None


@dataclass
class FleetProgress:
    """Counts of one operation. `total`: declared hosts; `pace`: seconds between two lines."""

    total: int
    report: Callable[[str], None]
    clock: Callable[[], float]
    pace: float
    _done: dict[str, set[str]] = field(default_factory=dict)
    _failed: dict[str, set[str]] = field(default_factory=dict)
    _working: set[str] = field(default_factory=set)
    _monitored: tuple[int, int] | None = None
    _said: str = ""
    _said_at: float = float("-inf")

    @property
    def counts(self) -> bool:
        """Whether hosts are counted, not told one by one. More can leave than stay."""
        return max(self.total, len(self._done.get(REMOVED, ()))) >= MANY

    def finished(self, phase: str, host: str, *, failed: bool, worked: bool) -> None:
        """A step of one host has ended. `worked`: it did more than find everything as it should be."""
        (self._failed if failed else self._done).setdefault(phase, set()).add(host)
        if worked or failed:
            self._working.add(phase)
        self._tell(self.clock())

    def message(self, text: str) -> bool:
        """Take a message of the wait for monitoring; False for any other."""
        match = _WAIT.search(text)
        if match is None:
            return False
        self._monitored = int(match.group(1)), int(match.group(2))
        self._tell(self.clock())
        return True

    def close(self) -> None:
        """The last counts."""
        self._tell(float("inf"))

    def _tell(self, now: float) -> None:
        line = self._line()
        if not self.counts or not line or line == self._said or now - self._said_at < self.pace:
            return
        self._said, self._said_at = line, now
        self.report(line)

    def _line(self) -> str:
        parts = []
        for phase in (REMOVED, PREPARED, REGISTERED):
            if phase in self._working:
                done, failed = len(self._done.get(phase, ())), len(self._failed.get(phase, ()))
                count = f"{done}" if phase == REMOVED else f"{done}/{self.total}"
                parts.append(f"{phase} {count}" + (f" ({failed} failed)" if failed else ""))
        if self._monitored is not None:
            parts.append(f"{MONITORED} {self._monitored[0]}/{self._monitored[1]}")
        return f"hosts: {', '.join(parts)}" if parts else ""
