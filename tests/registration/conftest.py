"""Fixtures of this directory."""

from __future__ import annotations

import pytest

from components.registration.lease import ProcessLocks
from components.registration.pool import Pool
from components.registration.reconcile import Registrar
from tests.registration.memory import ManualClock, MemoryOned


class Zone:
    """A zone with its rules and a clock that only the test moves."""

    def __init__(self) -> None:
        self.oned, self.clock = MemoryOned(), ManualClock()
        self.run_again()

    def run_again(self) -> Registrar:
        """A new process: nothing remembered but what oned knows."""
        self.rules = Registrar(self.oned, Pool(self.oned, self.clock), ProcessLocks(), self.clock)
        return self.rules


@pytest.fixture
def zone() -> Zone:
    return Zone()
