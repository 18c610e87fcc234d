"""How much is done, and what came of it: one setting for the counts, one seed for everything random, one table.

`FAULTS` is the share of the full counts in percent: 0, the default, is the short version that `make test` runs;
`make test-faults` sets 100. No scenario ever does less than its short count. `SEED` repeats a run's random choices.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SHARE = int(os.environ.get("FAULTS") or 0)
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**9))
FULL = SHARE > 0
_ENOUGH = 3  # failed rounds after which a scenario stops


def count(full: int, short: int) -> int:
    """So many rounds, or hosts, of a scenario."""
    return max(short, full * SHARE // 100)


@dataclass
class Tally:
    """One scenario's rounds. A failed round is noted, and the next one tried."""

    scenario: str
    rounds: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    expected: int = 1

    @contextmanager
    def round(self, what: str = "") -> Iterator[None]:
        self.rounds += 1
        try:
            yield
        except Exception as error:
            self.failures.append(f"round {self.rounds} {what}: {type(error).__name__}: {error}")
            if len(self.failures) >= _ENOUGH or self.expected == 1:
                raise

    def row(self) -> str:
        more = f"  {'; '.join(self.notes)}" if self.notes else ""
        return f"{self.scenario:<58} {self.rounds:>7} {len(self.failures):>8}{more}"


TALLIES: list[Tally] = []


def table() -> str:
    """Every scenario that was begun, in order."""
    lines = [f"{'scenario':<58} {'rounds':>7} {'failures':>8}", *(tally.row() for tally in TALLIES)]
    return "\n".join([*lines, f"FAULTS={SHARE} SEED={SEED}"])


def dice(scenario: str) -> random.Random:
    """The scenario's own, so that one scenario alone is the same as among others."""
    return random.Random(f"{SEED} {scenario}")  # noqa: S311 -- moments, not secrets
