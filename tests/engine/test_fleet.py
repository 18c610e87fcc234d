"""Several hosts by groups: one that is dead stops nobody else, the next run does what is missing, fewer is fewer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from components.host_groups import numbers
from lab import hosts, pin, rehearsal
from lab.errors import Incomplete, LabError
from lab.hosts import LabHost
from tests.engine.conftest import INSTANCE, STACK, World

pytestmark = pytest.mark.engine

DEAD = "lxc-3"
FAST = {"opennebula:ssh": {"user": "deploy", "dialTimeout": 2, "dialAttempts": 2}}
MONITORING = 150  # seconds in which a host is probed that was not pinned in oned's pod when its first probe came


@pytest.fixture(scope="module")
def fleet(world: World) -> Iterator[list[LabHost]]:
    """Three hosts of each kind; the first two are registered already."""
    world.core().up()
    started = hosts.start_hosts(INSTANCE, hosts.kinds(6))
    yield started
    hosts.stop(INSTANCE, hosts.others(INSTANCE, rehearsal.HOSTS), forget=True)


def groups(fleet: list[LabHost]) -> dict[str, Any]:
    """The fleet as an operator with many hosts writes it."""
    by_name = {host.name: host for host in fleet}
    found = {
        kind: {
            "kind": kind,
            "members": f"{kind}-[1-3]",
            "addresses": [by_name[name].ip for name in numbers(f"{kind}-[1-3]")],
            "labels": {"RACK": kind},
        }
        for kind in ("kvm", "lxc")
    }
    found["lxc"]["overrides"] = {"lxc-2": {"labels": {"SLOT": "2"}}}
    keys = {host.name: host.host_key_public for host in fleet}
    return {**FAST, "opennebula:hosts": [], "opennebula:hostGroups": found, "opennebula:hostKeys": keys}


def states(world: World) -> dict[str, str]:
    return {record.name: record.state_name for record in world.oned().hosts()}


def test_one_dead_host_of_six_leaves_five_done(world: World, fleet: list[LabHost]) -> None:
    before = world.rows()
    hosts.stop(INSTANCE, [DEAD])
    with pytest.raises(Incomplete) as caught:
        world.core(groups(fleet)).up()
    text = str(caught.value)
    dead = next(host for host in fleet if host.name == DEAD)
    assert "1 of 6 hosts failed, the others are done" in text
    assert f"{DEAD}: " in text and f"ssh deploy@{dead.ip}" in text
    assert not any(f"{host.name}: " in text for host in fleet if host.name != DEAD)
    rows = world.rows()
    assert set(rows) == {host.name for host in fleet} - {DEAD}
    assert {name: rows[name] for name in before} == before, "a host that moved into a group is the same host"
    record = world.oned().host(rows["lxc-2"])
    assert (record.attribute("RACK"), record.attribute("SLOT")) == ("lxc", "2")
    deadline = time.monotonic() + MONITORING
    while set(states(world).values()) != {"MONITORED"}:
        assert time.monotonic() < deadline, states(world)
        time.sleep(1)


def test_the_next_run_touches_only_what_is_missing(world: World, fleet: list[LabHost]) -> None:
    before, restarts = world.rows(), world.restarts()
    hosts.start_hosts(INSTANCE, {DEAD: "lxc"})
    outcome = world.core(groups(fleet)).up()
    # Its preparation and its registration; what all are told of each other and the wait for all of them, which the first
    # run never came to.
    assert {key: count for key, count in outcome.changes.items() if key != "same"} == {"create": 2, "update": 2}
    rows = world.rows()
    assert {name: rows[name] for name in before} == before
    assert states(world) == dict.fromkeys((host.name for host in fleet), "MONITORED")
    assert world.restarts() == restarts
    assert world.core(groups(fleet)).up().changed == 0


def test_pins_of_a_group_are_checked_against_the_machines(
    world: World, fleet: list[LabHost], capsys: pytest.CaptureFixture[str]
) -> None:
    written = groups(fleet)
    world.core(written)
    pin.run({"STACK": STACK, "GROUP": "lxc"})
    captured = capsys.readouterr()
    assert captured.err.count("pinned, unchanged") == 3
    assert [line.split()[0] for line in captured.out.splitlines()] == ["lxc-1", "lxc-2", "lxc-3"]
    keys = written["opennebula:hostKeys"]
    world.core({**written, "opennebula:hostKeys": {**keys, "lxc-2": keys["lxc-1"]}})
    with pytest.raises(LabError, match="lxc-2: not the pinned host key"):
        pin.run({"STACK": STACK, "HOST": "lxc-[1-3]"})
    assert "!!! THE HOST KEY OF lxc-2" in capsys.readouterr().err


def test_fewer_hosts_leave_oned_first_and_then_the_machine(world: World, fleet: list[LabHost]) -> None:
    ids = {name: id_ for name, id_ in world.rows().items() if name in rehearsal.HOSTS}
    outcome = world.core().up()
    assert outcome.changes.get("delete") == 8
    assert world.rows() == ids
    rehearsal.retire(INSTANCE, rehearsal.HOSTS, rehearsal.Phases())
    assert hosts.others(INSTANCE, rehearsal.HOSTS) == []
    for host in fleet:
        if host.name in rehearsal.HOSTS:
            assert hosts.inside(INSTANCE, host.name)
        else:
            with pytest.raises(LabError, match="does not run"):
                hosts.inside(INSTANCE, host.name)
    assert world.core().up().changed == 0
