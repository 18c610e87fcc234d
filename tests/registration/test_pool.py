"""One list for many askers: shared when it may be, never older than the question."""

from __future__ import annotations

import threading
import time

import pytest

from components.registration.client import HostRecord
from components.registration.errors import Unavailable
from components.registration.pool import GATHER_SECONDS, RECENT_SECONDS, REFRESH_SECONDS, Pool
from tests.registration.conftest import Zone
from tests.registration.memory import ManualClock, MemoryOned


class SlowOned(MemoryOned):
    def hosts(self) -> tuple[HostRecord, ...]:
        rows = super().hosts()
        time.sleep(0.02)
        return rows


def test_recent_is_one_call_until_it_is_too_old() -> None:
    oned, clock = MemoryOned(), ManualClock()
    pool = Pool(oned, clock)
    for _ in range(10):
        pool.recent()
    clock.now += RECENT_SECONDS + 0.1
    pool.recent()
    assert oned.counted()["hosts"] == 2


def test_readers_join_the_request_that_is_under_way() -> None:
    """A refresh begins with as many questions as the provider has threads: one call all the same."""
    oned = SlowOned()
    ids = [oned.insert(f"h-{number}") for number in range(40)]
    pool = Pool(oned)
    seen: list[int] = []

    def ask(part: int) -> None:
        seen.extend(row.id for number in ids[part::4] if (row := pool.row(number)))

    threads = [threading.Thread(target=ask, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(seen) == ids
    assert oned.counted() == {"hosts": 1}


def test_a_refresh_is_one_moment_and_ends(zone: Zone) -> None:
    oned, clock = zone.oned, zone.clock
    pool = Pool(oned, clock)
    host_id = oned.insert("a")
    pool.row(host_id)
    clock.now += REFRESH_SECONDS - 1
    pool.row(host_id)
    assert oned.counted() == {"hosts": 1}
    clock.now += 1
    pool.row(host_id)
    assert oned.counted() == {"hosts": 2}


def test_fresh_never_answers_from_before_the_question() -> None:
    """Each thread inserts a host and must find it; all ask at once, and still share."""
    oned = SlowOned()
    pool = Pool(oned)
    missing: list[str] = []

    def ask(thread: int) -> None:
        for number in range(10):
            name = f"h-{thread}-{number}"
            oned.insert(name)
            if name not in {row.name for row in pool.fresh()}:
                missing.append(name)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert missing == []
    assert oned.counted()["hosts"] <= 45, "80 questions, at most two lists a round of eight"


def test_an_error_reaches_all_who_shared_and_nobody_after() -> None:
    class Failing(SlowOned):
        fails = True

        def hosts(self) -> tuple[HostRecord, ...]:
            rows = super().hosts()
            if self.fails:
                raise Unavailable("down")
            return rows

    oned = Failing()
    pool = Pool(oned)
    errors: list[Exception] = []

    def ask() -> None:
        try:
            pool.fresh()
        except Unavailable as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(errors) == 5
    oned.fails = False
    assert pool.recent() == ()


def test_a_row_that_was_written_to_is_not_answered_from_the_past() -> None:
    oned = MemoryOned()
    pool = Pool(oned, ManualClock())
    first, second = oned.insert("a"), oned.insert("b")
    assert pool.row(first)
    pool.changed(first)
    assert pool.row(first) is None
    assert pool.row(second)
    pool.fresh()
    assert pool.row(first)


@pytest.mark.parametrize("missing", [5, -1])
def test_an_unknown_row_is_none(missing: int) -> None:
    assert Pool(MemoryOned(), ManualClock()).row(missing) is None


def test_those_who_have_just_written_share_one_list() -> None:
    """Four registrations that overlap: one list, asked for after the last of them, and none waits longer than a moment."""
    oned, started = SlowOned(), threading.Barrier(4)
    pool = Pool(oned)
    seen: list[set[str]] = []

    def register(number: int) -> None:
        with pool.writing() as write:
            started.wait(10)
            time.sleep(0.01 * number)
            oned.insert(f"h-{number}")
            seen.append({record.name for record in pool.fresh(write)})

    threads = [threading.Thread(target=register, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [{f"h-{number}" for number in range(4)}] * 4
    assert oned.counted() == {"hosts": 1}


def test_a_write_that_hangs_keeps_nobody_waiting() -> None:
    oned, clock = MemoryOned(), ManualClock()
    pool = Pool(oned, clock)
    with pool.writing(), pool.writing() as write:
        asker = threading.Thread(target=lambda: pool.fresh(write))
        asker.start()
        clock.now += GATHER_SECONDS + 1
        asker.join(10)
        assert not asker.is_alive()
    assert oned.counted() == {"hosts": 1}
