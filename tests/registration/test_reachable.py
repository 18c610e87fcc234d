"""Who leaves the configuration stays reachable for oned until it has really left, and longer does no harm."""

from __future__ import annotations

import base64
from typing import Any

from pulumi.dynamic.dynamic import serialize_provider

from components.hosts import host_files
from components.registration.reachable import LEAVERS, ReachableHostsProvider

PROVIDER = ReachableHostsProvider()


def entries(*names: str, address: str = "192.0.2.1") -> dict[str, Any]:
    return {"entries": {name: [address, "22", f"ssh-ed25519 {name}"] for name in names}, "declared": None}


def first(*names: str) -> dict[str, Any]:
    outputs = PROVIDER.create(entries(*names)).outs
    assert outputs is not None
    return outputs


def then(olds: dict[str, Any], *names: str, **more: Any) -> dict[str, Any]:
    assert PROVIDER.diff("hosts", olds, entries(*names, **more)).changes
    outputs = PROVIDER.update("hosts", olds, entries(*names, **more)).outs
    assert outputs is not None
    assert not PROVIDER.diff("hosts", outputs, entries(*names, **more)).changes, "the next run has nothing to do"
    return outputs


def test_a_host_that_leaves_is_still_reached_in_that_run() -> None:
    outputs = then(first("kvm-1", "kvm-2"), "kvm-2")
    assert list(outputs["entries"]) == ["kvm-2", "kvm-1"]
    assert "Host kvm-1\n    HostName 192.0.2.1\n" in host_files(outputs["entries"])["hosts.conf"]
    assert "kvm-1 ssh-ed25519 kvm-1\n" in host_files(outputs["entries"])["known_hosts"]
    assert PROVIDER.read("hosts", outputs).outs == outputs


def test_also_when_its_removal_stopped_and_the_next_run_changes_something_else() -> None:
    outputs = then(then(first("kvm-1", "kvm-2"), "kvm-2"), "kvm-2", "kvm-3")
    assert set(outputs["entries"]) == {"kvm-1", "kvm-2", "kvm-3"}


def test_a_host_that_is_declared_counts_as_it_is_declared_now() -> None:
    outputs = then(first("kvm-1"), "kvm-1", address="192.0.2.9")
    assert outputs["entries"]["kvm-1"][0] == "192.0.2.9"
    back = then(then(outputs), "kvm-1", address="192.0.2.7")
    assert back["entries"]["kvm-1"][0] == "192.0.2.7"


def test_those_that_left_long_ago_are_forgotten_first() -> None:
    many = [f"h-{number}" for number in range(LEAVERS)]
    outputs = then(then(first("old", *many), *many), "new")
    assert set(outputs["entries"]) == {"new", *many}


def test_however_many_leave_at_once_all_are_reached_in_that_run() -> None:
    many = [f"h-{number}" for number in range(2 * LEAVERS + 50)]
    outputs = then(then(first("old", *many), *many), "stays")
    assert set(outputs["entries"]) == {"stays", *many}
    assert len(then(outputs, "stays", "new")["entries"]) == 2 + LEAVERS, "they are of an earlier change now"


def test_state_holds_a_reference_and_no_code() -> None:
    text = serialize_provider(ReachableHostsProvider())
    assert len(text) <= 130
    assert b"components.registration.reachable" in base64.b64decode(text)
