"""The lock of a host name, over the real Kubernetes client against an API server on loopback."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.registration.errors import AccessError, LockBusy
from components.registration.kube import Cluster
from components.registration.lease import LEASE_SECONDS, LeaseLocks
from tests.registration.kubeapi import NAMESPACE, KubeApi
from tests.registration.memory import ManualClock
from tests.registration.races import racers
from tests.registration.servers import PASSWORD, OnedServer


class Setup:
    def __init__(self, kubeconfig: str, api: KubeApi) -> None:
        self.kubeconfig, self.api = kubeconfig, api

    def cluster(self) -> Cluster:
        return Cluster(kubeconfig=self.kubeconfig, context=None, namespace=NAMESPACE)

    def locks(self) -> LeaseLocks:
        """Those of one process."""
        return LeaseLocks(self.cluster(), ManualClock())


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    api = KubeApi()
    with api.running(tmp_path) as kubeconfig:
        yield Setup(kubeconfig, api)


def test_two_calls_hold_and_release(setup: Setup) -> None:
    with setup.locks().hold("kvm_1.Example"):
        (name,) = setup.api.leases
        assert re.fullmatch(r"onehost-[0-9a-f]{24}", name)
        lease = setup.api.leases[name]
        assert lease["metadata"]["annotations"] == {"opennebula/host": "kvm_1.Example"}
        assert lease["spec"]["leaseDurationSeconds"] == LEASE_SECONDS
    assert setup.api.leases == {}
    assert [request.split()[0] for request in setup.api.requests] == ["POST", "DELETE"]


def test_different_names_do_not_wait_for_each_other(setup: Setup) -> None:
    locks = setup.locks()
    with locks.hold("a"), locks.hold("b"):
        assert len(setup.api.leases) == 2


def test_a_held_lock_is_waited_for_a_bounded_time_and_the_error_names_the_holder(setup: Setup) -> None:
    with setup.locks().hold("kvm-1"):
        busy = pytest.raises(LockBusy, match=r"'kvm-1' is not free after 180 s: held by \S+/\d+/\w+ for \d+ s.*kubectl")
        with busy, setup.locks().hold("kvm-1"):
            pass
        assert len(setup.api.leases) == 1


def test_the_lock_of_a_dead_process_is_taken_over_by_the_servers_clock(setup: Setup) -> None:
    dead = setup.locks().hold("kvm-1")
    dead.__enter__()
    before = dict(setup.api.leases)
    setup.api.shift = LEASE_SECONDS + 3
    with setup.locks().hold("kvm-1"):
        assert setup.api.leases.keys() == before.keys()
        assert setup.api.leases != before


def test_a_lock_that_was_taken_over_is_not_released_by_its_old_holder(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    slow = setup.locks().hold("kvm-1")
    slow.__enter__()
    setup.api.shift = LEASE_SECONDS + 3
    with setup.locks().hold("kvm-1"):
        slow.__exit__(None, None, None)
        assert len(setup.api.leases) == 1
    assert "was taken over" in caplog.text


def test_a_lost_answer_to_our_own_create_does_not_lock_us_out(setup: Setup) -> None:
    lost = [True]

    def drop(verb: str, _path: str) -> bool:
        return verb == "POST" and bool(lost) and lost.pop()

    setup.api.drop_answer_of = drop
    with setup.locks().hold("kvm-1"):
        assert len(setup.api.leases) == 1
    assert setup.api.leases == {}


def test_an_api_server_that_is_away_for_a_moment_is_waited_for(setup: Setup) -> None:
    answers = [503, 503]
    setup.api.refuse = lambda _verb, _path: answers.pop() if answers else 0
    with setup.locks().hold("kvm-1"):
        assert len(setup.api.leases) == 1


def test_without_permission_threads_are_kept_apart_and_it_is_said_once(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    setup.api.refuse = lambda _verb, path: 403 if "/leases" in path else 0
    locks = setup.locks()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with locks.hold("kvm-1"):
                pass
    assert caplog.text.count("are not kept apart") == 1
    assert "may not create Leases in namespace opennebula" in caplog.text
    inside: list[int] = []

    def enter() -> None:
        with locks.hold("kvm-1"):
            inside.append(1)
            time.sleep(0.01)
            assert len(inside) == 1
            inside.clear()

    threads = [threading.Thread(target=enter) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)


def test_a_missing_namespace_is_an_error(setup: Setup) -> None:
    setup.api.refuse = lambda _verb, _path: 404
    with pytest.raises(AccessError, match="no namespace opennebula"), setup.locks().hold("kvm-1"):
        pass


def test_an_exception_inside_releases_the_lock(setup: Setup) -> None:
    with pytest.raises(ZeroDivisionError), setup.locks().hold("kvm-1"):
        raise ZeroDivisionError
    assert setup.api.leases == {}


def test_two_hundred_races_of_two_processes_make_two_hundred_hosts(setup: Setup) -> None:
    server = OnedServer()
    server.oned.in_the_race = lambda: time.sleep(0.003)
    with server.running() as url, racers(url, PASSWORD, setup.kubeconfig) as both:
        for number in range(200):
            answers = both.race(f"h-{number}")
            assert [int(answer) for answer in answers] == server.oned.ids(f"h-{number}") * 2
    assert len(server.oned.rows) == 200


def test_without_leases_the_same_races_do_make_duplicates_and_they_are_reported(setup: Setup) -> None:
    """Otherwise the test above could not fail; and a duplicate is never left unsaid."""
    server = OnedServer()
    server.oned.in_the_race = lambda: time.sleep(0.003)
    duplicates = 0
    with server.running() as url, racers(url, PASSWORD, "") as both:
        for number in range(40):
            answers = both.race(f"h-{number}")
            if len(server.oned.ids(f"h-{number}")) > 1:
                duplicates += 1
                assert any(answer.startswith("DuplicateHosts") for answer in answers), answers
    assert duplicates
