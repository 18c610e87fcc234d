"""Races for one name, answers that are lost, servers that lag: exactly one host, or an error that says so."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

import pytest

from components.registration.errors import Ambiguous, DuplicateHosts, Inconsistent, NameTaken
from components.registration.lease import LEASE_SECONDS, ProcessLocks
from components.registration.pool import Pool
from components.registration.reconcile import ALLOCATE_WITHIN, Registrar
from components.registration.settle import SETTLE
from components.registration.spec import AdoptPolicy, HostSpec
from components.registration.xmlrpc import Limits
from tests.registration.conftest import Zone

KVM = HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm")
MATCHING = AdoptPolicy.MATCHING


def test_a_foreign_registration_in_the_window_is_reported(zone: Zone) -> None:
    zone.oned.in_the_race = lambda: zone.oned.insert("kvm-1")
    with pytest.raises(DuplicateHosts) as caught:
        zone.rules.register(KVM, MATCHING)
    assert caught.value.ids == (0, 1)


def test_two_hundred_races_of_threads_for_one_name_leave_one_row_each(zone: Zone) -> None:
    gap = threading.Event()
    zone.oned.in_the_race = lambda: gap.wait(0.0005)  # lets the other thread run inside the window
    for number in range(200):
        spec = HostSpec(name=f"h-{number}", im_mad="kvm", vm_mad="kvm")
        ids: list[int] = []

        def register(spec: HostSpec = spec, ids: list[int] = ids) -> None:
            ids.append(zone.rules.register(spec, MATCHING))

        threads = [threading.Thread(target=register) for _ in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(ids) == 2
        assert set(ids) == set(zone.oned.ids(spec.name))
        assert len(zone.oned.ids(spec.name)) == 1


def test_another_stack_does_not_adopt_a_host_before_its_mark_is_there(zone: Zone) -> None:
    """One call after the allocate it looks like nobody's. The lock is held until it does not."""
    locks = ProcessLocks()
    first, second = (Registrar(zone.oned, Pool(zone.oned, zone.clock), locks, zone.clock) for _ in "ab")
    real = zone.oned.update
    other: list[threading.Thread] = []
    said: list[str] = []

    def adopt() -> None:
        try:
            second.register(replace(KVM, owner="b"), MATCHING)
        except NameTaken as taken:
            said.append(str(taken))

    def update(host_id: int, attributes: Mapping[str, str]) -> None:
        if not other:
            other.append(threading.Thread(target=adopt))
            other[0].start()
            other[0].join(0.2)
            assert other[0].is_alive(), "it did not wait"
        real(host_id, attributes)

    zone.oned.update = update  # type: ignore[method-assign]
    host_id = first.register(replace(KVM, owner="a"), MATCHING)
    other[0].join(10)
    assert zone.oned.rows[host_id].attribute("MANAGED_BY") == "a"
    assert len(said) == 1 and "it belongs to a (MANAGED_BY), and this stack is b" in said[0]


def test_without_the_lock_those_races_do_make_duplicates(zone: Zone) -> None:
    """Otherwise the test above could not fail."""
    meet = threading.Barrier(2)
    zone.oned.in_the_race = lambda: meet.wait(5)
    threads = [threading.Thread(target=lambda: zone.oned.allocate("x", "kvm", "kvm", 0, within=1)) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(zone.oned.ids("x")) == 2


def test_an_answer_lost_after_the_commit_is_looked_up_two_hundred_times(zone: Zone) -> None:
    for number in range(200):
        zone.oned.lose("allocate", executed=True)
        host_id = zone.rules.register(HostSpec(name=f"h-{number}", im_mad="kvm", vm_mad="kvm"), MATCHING)
        assert zone.oned.ids(f"h-{number}") == [host_id]
    assert zone.oned.counted()["allocate"] == 200


def test_an_answer_lost_after_the_commit_is_ours_even_where_nothing_may_be_adopted(zone: Zone) -> None:
    zone.oned.lose("allocate", executed=True)
    assert zone.rules.register(KVM, AdoptPolicy.REFUSE) == 0


def test_an_answer_lost_before_the_commit_is_never_sent_again(zone: Zone) -> None:
    zone.oned.lose("allocate", executed=False)
    with pytest.raises(Ambiguous):
        zone.rules.register(KVM, MATCHING)
    assert zone.oned.counted()["allocate"] == 1
    assert sum(zone.clock.slept) >= SETTLE
    assert zone.run_again().register(KVM, MATCHING) == 0


def test_a_leader_that_commits_late_is_waited_for(zone: Zone) -> None:
    zone.oned.lose("allocate", executed=False)

    def commit_late() -> None:
        if not zone.oned.rows and zone.clock.now > 1_009:
            zone.oned.insert("kvm-1")

    zone.clock.at_tick = commit_late
    assert zone.rules.register(KVM, MATCHING) == 0
    assert zone.oned.counted()["allocate"] == 1


def test_a_lagging_follower_is_asked_again(zone: Zone) -> None:
    zone.rules.register(HostSpec(name="other", im_mad="kvm", vm_mad="kvm"), MATCHING)
    zone.oned.lag = 0
    zone.clock.now += 60
    original = zone.oned.allocate

    def allocate(*args: object, **kwargs: object) -> int:
        host_id = original(*args, **kwargs)  # type: ignore[arg-type]
        zone.oned.lag = 3
        return host_id

    zone.oned.allocate = allocate  # type: ignore[method-assign]
    assert zone.rules.register(KVM, MATCHING) == 1
    assert len(zone.clock.slept) == 3


def test_a_mixed_up_answer_is_found_out(zone: Zone) -> None:
    other = zone.oned.insert("other")
    zone.oned.answers_id = other
    with pytest.raises(Inconsistent, match=r"answered id 0 for host 'kvm-1', but that is host 'other'.*7\.2 or newer"):
        zone.rules.register(KVM, MATCHING)


def test_a_host_deleted_while_it_is_confirmed_is_an_error(zone: Zone) -> None:
    original = zone.oned.allocate

    def allocate(*args: object, **kwargs: object) -> int:
        host_id = original(*args, **kwargs)  # type: ignore[arg-type]
        del zone.oned.rows[host_id]
        return host_id

    zone.oned.allocate = allocate  # type: ignore[method-assign]
    with pytest.raises(Inconsistent, match="is not listed 15 s later"):
        zone.rules.register(KVM, MATCHING)


def test_the_lock_outlives_every_allocate_that_may_still_begin() -> None:
    usual = Limits()
    assert ALLOCATE_WITHIN + usual.connect + usual.read < LEASE_SECONDS
