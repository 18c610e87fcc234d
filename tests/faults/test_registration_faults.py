"""Faults between the provider and oned, on the real engine: lost answers, oned unwell or down, names taken, drift, VMs."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from lab.errors import LabError
from tests.faults.conftest import HOSTS
from tests.faults.fleet import FleetStack, entries, entry
from tests.faults.front import LOST, Fault
from tests.faults.relay import Relay, Way
from tests.faults.rounds import Tally, count
from tests.faults.world import World, told

pytestmark = [pytest.mark.engine, pytest.mark.database]
Tallies = Callable[..., Tally]

MONITORED = 2


def test_answers_lost_after_the_commit(world: World, tally: Tallies, dice: random.Random) -> None:
    """Every allocate is done and its answer lost, in a way by chance; nothing is registered twice, nothing is missing."""
    wanted = count(200, 6)
    many = min(HOSTS, wanted, 20)
    found = tally("answer lost after the commit", wanted)
    with world.stack(0) as stack:
        while found.rounds < wanted:
            stack.configure(hosts=[])
            if found.rounds:
                stack.up()
            stack.configure(hosts=entries(world.hosts(many)))
            world.front.fault = lambda method: dice.choice(LOST) if method == "host.allocate" else None
            stack.up()
            lost = list(world.front.met)
            assert len(lost) == many, "an allocate was sent twice, or never"
            for _, fault in lost:
                with found.round(fault.value):
                    pass
            world.front.well()
            world.converged(stack)


def test_the_last_hosts_leave(world: World, tally: Tallies) -> None:
    """They leave oned, too, although nothing is declared any more that would be registered."""
    found = tally("all hosts taken out of the configuration", 1)
    with world.stack(2) as stack, found.round():
        stack.up()
        world.converged(stack)
        stack.configure(hosts=[])
        stack.up()
        world.converged(stack)


def test_oned_is_unwell(world: World, tally: Tallies, dice: random.Random) -> None:
    """A fifth of all requests meets a fault by chance; what fails says so, and the next up completes it."""
    rounds = count(20, 1)
    found = tally("oned unwell: delays, cuts, halves, 500, garbage", rounds)
    many = min(HOSTS, 20)
    with world.stack(many) as stack:
        for number in range(rounds):
            with found.round():
                stack.configure(hosts=entries(world.hosts(many), labels={"ROUND": str(number)}))
                # Without the slowest one: read timeouts would be all that a round does.
                world.front.fault = lambda _method: (
                    dice.choice([*set(Fault) - {Fault.NEVER}]) if dice.random() < 0.2 else None
                )
                try:
                    stack.up()
                except LabError as error:
                    told(error)
                world.front.well()
                stack.up()
                world.converged(stack)


def test_oned_is_down_and_comes_up(world: World, tally: Tallies, dice: random.Random) -> None:
    rounds = count(20, 1)
    found = tally("oned down, then up", rounds)
    with world.stack(min(HOSTS, 6)) as stack:
        for number in range(rounds):
            with found.round():
                stack.configure(hosts=entries(world.hosts(min(HOSTS, 6)), labels={"ROUND": str(number)}))
                world.front.refuse()
                again = threading.Timer(dice.uniform(1, 6), world.front.listen)
                again.start()
                try:
                    stack.up()
                finally:
                    again.join(20)
                world.converged(stack)


def test_oned_stays_down(world: World, tally: Tallies) -> None:
    """Bounded; named; and the next up does what is missing."""
    found = tally("oned down for longer than waitSeconds")
    with world.stack(2, api={"waitSeconds": 2}) as stack, found.round():
        world.front.refuse()
        with pytest.raises(LabError) as caught:
            stack.up()
        told(caught.value, "cannot connect", "Connection refused", "curl")
        world.front.listen()
        stack.up()
        world.converged(stack)
        stack.configure(hosts=entries(world.hosts(2), labels={"RACK": "b"}))
        world.front.refuse()
        with pytest.raises(LabError) as caught:
            stack.up()
        told(caught.value, "cannot connect", *(host.name for host in world.hosts(2)))
        world.front.listen()
        stack.up()
        world.converged(stack)


def test_a_name_that_somebody_else_has(world: World, tally: Tallies) -> None:
    found = tally("name taken by a foreign host")
    with world.stack(3) as stack, found.round():
        name = world.hosts(1)[0].name
        foreign = int(world.look.call("host.allocate", name, "kvm-old", "kvm-old", 0))
        before = world.row(name)
        with pytest.raises(LabError) as caught:
            stack.up()
        told(caught.value, name, "is taken by host", f"onehost show {foreign}")
        assert world.row(name) == before, "a host of somebody else was changed"
        assert world.ids().keys() >= {host.name for host in world.hosts(3)}
        world.look.call("host.delete", foreign)
        stack.up()
        world.converged(stack)


def test_a_host_that_another_stack_has_taken_over(world: World, tally: Tallies) -> None:
    """It is not changed, and not removed when it leaves the configuration of the first."""
    found = tally("host taken over by another stack")
    with world.stack(2) as one, world.another(one) as two, found.round():
        one.up()
        first, second = world.hosts(2)
        two.configure(hosts=entries([first], adopt="always"))
        two.up()
        taken = world.row(first.name)
        assert f"{two.name}]]></MANAGED_BY>" in taken or f"{two.name}</MANAGED_BY>" in taken
        assert one.refresh().changed == 1, "a refresh does not show it"
        with pytest.raises(LabError) as caught:
            one.up()
        told(caught.value, first.name, "is not changed", two.name, "`always`")
        one.configure(hosts=entries([second]))
        one.up()
        assert world.row(first.name) == taken, "a host of another stack was removed or changed"
        world.look.call("host.delete", world.ids()[first.name])
        world.converged(one)


def test_drift_of_each_kind(world: World, tally: Tallies) -> None:
    """What somebody changed in oned is shown by a refresh and mended by the next up; what is not ours stays."""
    labels = {"RACK": "a"}
    kinds: dict[str, Callable[[int], Any]] = {
        "state": lambda host: world.look.call("host.status", host, 1),
        "cluster": lambda host: world.look.call("cluster.addhost", cluster, host),
        "template": lambda host: world.look.call("host.update", host, 'RACK = "z"', 1),
        "drivers": lambda host: world.look.call("host.update", host, 'VM_MAD = "qemu"', 1),
        "renamed": lambda host: world.look.call("host.rename", host, "somebody-elses-name"),
        "deleted": lambda host: world.look.call("host.delete", host),
        "re-created": lambda host: world.recreate(host, driver="lxc"),
    }
    cluster = int(world.look.call("cluster.allocate", "elsewhere"))
    found = tally("drift of each kind", len(kinds) + 1)
    with world.stack(0) as stack:
        hosts = world.hosts(1)
        stack.configure(hosts=entries(hosts, labels=labels))
        stack.up()
        for kind, drift in kinds.items():
            with found.round(kind):
                drift(world.ids()[hosts[0].name])
                assert stack.refresh().changed == 1, f"{kind}: a refresh does not show it"
                stack.up()
                world.converged(stack)
        with found.round("somebody else's attribute"):
            world.look.call("host.update", world.ids()[hosts[0].name], 'OTHERS = "1"', 1)
            assert stack.refresh().changed == 0, "an attribute that is not ours counts as drift"
            world.converged(stack)
    world.begin()
    world.look.call("cluster.delete", cluster)


def test_a_host_with_vms_is_not_removed(world: World, tally: Tallies) -> None:
    found = tally("removal of a host with VMs")
    with world.stack(2) as stack, found.round():
        busy, other = world.hosts(2)
        both = [entry(busy, kind="kvm"), entry(other)]
        stack.configure(hosts=both)
        stack.up()
        host_id = world.ids()[busy.name]
        world.until(lambda: world.api.xml("host.info", host_id).findtext("STATE") == str(MONITORED))
        vm = int(world.api.ok("vm.allocate", 'NAME = "web"\nCPU = 1\nMEMORY = 128', True))
        world.api.ok("vm.deploy", vm, host_id, False, -1)
        stack.configure(hosts=[entry(other)])
        with pytest.raises(LabError) as caught:
            stack.up()
        told(caught.value, busy.name, "1 VM runs on it", "web", "onevm list")
        assert world.ids()[busy.name] == host_id
        assert world.api.xml("host.info", host_id).findtext("STATE") == str(MONITORED), "it was touched"
        world.api.ok("vm.recover", vm, 3)
        world.until(lambda: not world.api.xml("host.info", host_id).findall("VMS/ID"))
        stack.up()
        world.converged(stack)


@pytest.mark.parametrize("retain", [True, False])
def test_destroy_with_a_dead_host(world: World, tally: Tallies, retain: bool) -> None:
    """A destroy asks no host anything. Hosts stay registered, unless the operator said that data goes as well."""
    found = tally(f"destroy with a dead host, {'hosts' if retain else 'nothing'} retained")
    hosts = world.hosts(3)
    with Relay(hosts[0].endpoint.address, hosts[0].endpoint.port) as relay:
        declared = [entry(hosts[0], relay.port), *entries(hosts[1:])]
        with world.stack(0, retain=retain) as stack, found.round():
            stack.configure(hosts=declared)
            stack.up()
            before = world.ids()
            relay.set(Way.REFUSED)
            stack.destroy()
            if retain:
                assert world.ids() == before
            else:
                assert world.look.wrong(["foreign-1"]) == []
            world.no_secret(stack)
            _bring_back(world, stack, relay)
            if retain:
                assert world.ids() == before, "other numbers after destroy and up"


def _bring_back(world: World, stack: FleetStack, relay: Relay) -> None:
    dead = stack.plan.hosts[0]["name"]
    with pytest.raises(LabError) as caught:
        stack.up()
    told(caught.value, dead, "connection refused")
    relay.set(Way.OPEN)
    stack.up()
    world.converged(stack)
