"""How long oned is waited for, and how hard it is leaned on, in simulated time."""

from __future__ import annotations

import pytest

from components.registration.pace import MAX_CONNECTIONS, Pace, Patience
from tests.registration.memory import ManualClock


def test_patience_is_counted_from_the_first_silence_and_is_one_for_all() -> None:
    clock = ManualClock()
    patience = Patience(10, clock)
    assert patience.left() == 10
    clock.now += 4
    assert patience.left() == 6
    clock.now += 7
    assert patience.left() == -1


def test_an_answer_makes_the_next_silence_a_new_one() -> None:
    clock = ManualClock()
    patience = Patience(10, clock)
    patience.left()
    clock.now += 20
    patience.answered()
    assert patience.left() == 10


@pytest.mark.parametrize(("per_second", "requests"), [(30, 90), (1, 5)])
def test_requests_are_spaced_evenly(per_second: int, requests: int) -> None:
    clock = ManualClock()
    pace = Pace(8, per_second, clock)
    begun = clock.now
    for _ in range(requests):
        with pace.slot():
            pass
    assert clock.now - begun == pytest.approx((requests - 1) / per_second)


def test_a_pause_is_not_made_up_for_by_a_burst() -> None:
    clock = ManualClock()
    pace = Pace(8, 10, clock)
    with pace.slot():
        clock.now += 60
    for _ in range(3):
        with pace.slot():
            pass
    assert clock.slept == pytest.approx([0.1, 0.1])


def test_more_connections_than_oned_can_spare_are_not_taken() -> None:
    pace = Pace(64, 1000, ManualClock())
    taken = [pace.slot() for _ in range(MAX_CONNECTIONS)]
    for slot in taken:
        slot.__enter__()
    assert pace._slots.acquire(blocking=False) is False
