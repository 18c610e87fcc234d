"""Several hosts by groups: one that is dead stops nobody else, the next run does what is missing, fewer is fewer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from components.host_groups import numbers
from lab import hosts, pin, rehearsal
from lab.engine.stack import Outcome
from lab.errors import Incomplete, LabError
from lab.hosts import LabHost
from tests.engine.conftest import INSTANCE, STACK, World

pytestmark = pytest.mark.engine

DEAD = "lxc-3"
FAST = {"opennebula:ssh": {"user": "deploy", "dialTimeout": 2, "dialAttempts": 2}}


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


def on_host(name: str, *command: str) -> str:
    """What a command says there."""
    argv = [*hosts.inside(INSTANCE, name), *command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout


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
    # What concerns all was done for the five: they know each other, and they were waited for.
    assert states(world) == dict.fromkeys(rows, "MONITORED")
    known = on_host("kvm-1", "cat", "/var/lib/one/.ssh/known_hosts_hypervisors")
    assert {line.split()[0] for line in known.splitlines()} == {host.name for host in fleet}


def test_the_next_run_touches_only_what_is_missing(world: World, fleet: list[LabHost]) -> None:
    before, restarts = world.rows(), world.restarts()
    hosts.start_hosts(INSTANCE, {DEAD: "lxc"})
    outcome = world.core(groups(fleet)).up()
    # Its preparation and its registration; what all are told of each other and the wait for all of them, in which it was
    # missing.
    assert {key: count for key, count in outcome.changes.items() if key != "same"} == {"create": 2, "update": 2}
    rows = world.rows()
    assert {name: rows[name] for name in before} == before
    assert states(world) == dict.fromkeys((host.name for host in fleet), "MONITORED")
    assert world.restarts() == restarts
    assert world.core(groups(fleet)).up().changed == 0


def test_a_host_declared_offline_may_be_switched_off(world: World, fleet: list[LabHost]) -> None:
    """A change of what all hosts are prepared for passes it by, and reaches it when it is declared enabled again."""
    changed = {"opennebula:preparation": {"lockWait": 301}}
    away = groups(fleet)
    away["opennebula:hostGroups"]["lxc"]["overrides"][DEAD] = {"state": "offline"}
    world.core(away).up()
    assert states(world)[DEAD] == "OFFLINE"
    hosts.stop(INSTANCE, [DEAD])
    worked = prepared(world.core({**away, **changed}).up())
    assert worked == {host.name for host in fleet} - {DEAD}
    hosts.start_hosts(INSTANCE, {DEAD: "lxc"})
    back = world.core({**groups(fleet), **changed})
    assert prepared(back.up()) == {DEAD}
    assert states(world) == dict.fromkeys((host.name for host in fleet), "MONITORED")
    assert back.up().changed == 0
    world.core(groups(fleet)).up()


def prepared(outcome: Outcome) -> set[str]:
    """Whose preparation ran."""
    steps = [step for step in outcome.trace.steps.values() if step.operation in ("create", "update", "replace")]
    return {step.name.removeprefix("hosts-prepare-") for step in steps if step.name.startswith("hosts-prepare-")}


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
