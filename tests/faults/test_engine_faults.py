"""Faults of the engine itself: killed, its provider killed, two of them at once on one stack or on the same hosts."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.hosts.endpoints import Host
from lab.errors import LabError
from lab.paths import PROJECT
from tests.faults import processes
from tests.faults.conftest import HOSTS
from tests.faults.fleet import FleetStack, entries
from tests.faults.front import Fault
from tests.faults.killer import Victim
from tests.faults.rounds import Tally, count
from tests.faults.world import World, told
from tests.registration.kubeapi import KubeApi

pytestmark = [pytest.mark.engine, pytest.mark.database]
Tallies = Callable[..., Tally]
MORE = 3  # runs at most for each that is to be hit
_LIMIT = 240  # seconds for an operation of another process


def change(stack: FleetStack, hosts: Sequence[Host], number: int, dice: random.Random) -> str:
    """Something else to do for the next run: prepare and register, change both, remove some."""
    what = "create" if number == 0 or not stack.plan.hosts else dice.choice(("change", "shrink", "grow"))
    match what:
        case "shrink":
            stack.configure(hosts=entries(hosts[: len(hosts) // 2]))
        case "grow":
            stack.configure(hosts=entries(hosts), edition=f"{number}")
        case _:
            stack.configure(hosts=entries(hosts, labels={"ROUND": str(number)}), edition=f"{number}")
    return what


def killed_again_and_again(world: World, found: Tally, dice: random.Random, victim: Victim) -> None:
    """An operation, something of it killed at a random moment, the documented way on, the look.

    What is killed runs in another process, as it does for an operator, whose next command is a new one.
    """
    hosts = world.hosts(min(HOSTS, 20))
    events = 3 * len(hosts)
    hit, told_of_lock = 0, False
    with world.stack(0) as stack:
        # A run may be over before its moment comes. It is looked at like any other, and another one takes its place.
        for number in range(MORE * found.expected):
            if hit == found.expected:
                break
            what = change(stack, hosts, number, dice)
            plan = [victim.value, str(dice.randrange(1, events)), f"{dice.uniform(0, 0.4):.3f}"]
            with found.round(f"{what}, {' '.join(plan)}"):
                with elsewhere(stack, "up", *plan) as process:
                    said = answer(process)
                hit += said["killed"] > 0
                assert "next:" in said.get("error", "next:")
                assert said["left"] == [], "processes stay behind a killed engine"
                world.no_secret(stack, json.dumps(said))
                if stack.locked:
                    assert victim is Victim.ENGINE
                    if not told_of_lock:
                        with pytest.raises(LabError) as caught:
                            stack.up()
                        told(caught.value, "is locked", "one was killed", "make unlock")
                        told_of_lock = True
                    stack.unlock()
                stack.up()
                world.converged(stack)
    found.notes.append(f"{hit} hit")
    assert hit == found.expected, f"in {found.rounds} runs something was killed {hit} times"


def test_the_engine_is_killed(world: World, tally: Tallies, dice: random.Random) -> None:
    found = tally("engine killed at random moments", count(200, 4))
    killed_again_and_again(world, found, dice, Victim.ENGINE)


def test_a_provider_is_killed(world: World, tally: Tallies, dice: random.Random) -> None:
    """One of the engine's plugins: the dynamic providers or the commands."""
    found = tally("provider killed at random moments", count(50, 2))
    killed_again_and_again(world, found, dice, Victim.PROVIDER)


@contextmanager
def elsewhere(stack: FleetStack, operation: str = "up", *kill: str) -> Iterator[subprocess.Popen[str]]:
    """The same operation in another process."""
    command = [sys.executable, "-m", "tests.faults.fleet", str(stack.place), operation, *kill]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                for pid in [*processes.descendants(process.pid), process.pid]:
                    processes.kill(pid)


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate(timeout=_LIMIT)
    return dict(json.loads(out.splitlines()[-1]))


def test_two_ups_at_once(world: World, tally: Tallies) -> None:
    """Exactly one is at work; the other is told so, and what to do."""
    rounds = count(10, 1)
    found = tally("two ups at once", rounds)
    with world.stack(2) as stack:
        for number in range(rounds):
            stack.configure(edition=str(number))
            held = world.hosts(1)[0].root
            (held / "hold-preflight").touch()
            with found.round(), elsewhere(stack) as other:
                world.until((held / "at-preflight").exists)
                with pytest.raises(LabError) as caught:
                    stack.up()
                told(caught.value, "is locked", "another run is at work", "make unlock")
                (held / "go-preflight").touch()
                first = answer(other)
                assert "error" not in first, first
                world.no_secret(stack, first["said"])
                world.converged(stack)
            for mark in ("at-preflight", "go-preflight"):
                (held / mark).unlink()


@pytest.mark.parametrize("cluster", [True, False])
def test_two_stacks_with_the_same_hosts(world: World, tally: Tallies, tmp_path: Path, cluster: bool) -> None:
    """With a cluster, its Leases keep them apart. Without, oned's own look at the name, which can fail, and ours after
    the allocate, which tells of it: never two rows in silence."""
    many = min(HOSTS, 20)
    rounds = count(10, 1)
    found = tally(f"two stacks, same names, {'Leases' if cluster else 'no cluster'}", rounds * many)
    api = KubeApi()
    api.secrets["oned-oneadmin"]["one_auth"] = world.oned.session
    with ExitStack() as all_:
        given: dict[str, Any] = {}
        if cluster:
            given = {"kubeconfig": all_.enter_context(api.running(tmp_path)), "password": ""}
        for _ in range(rounds):
            _one_race(world, found, many, given)
    if cluster:
        assert any(request.startswith("POST") and request.endswith("/leases") for request in api.requests)


def _one_race(world: World, found: Tally, many: int, given: dict[str, Any]) -> None:
    owner = {"fleet": {"owner": "both"}}  # else the second would be told whose the hosts are
    with world.stack(many, config=owner, **given) as one, world.another(one) as two:
        # The window between look and insert, wider.
        world.front.fault = lambda method: Fault.DELAYED if method == "host.allocate" else None
        with elsewhere(one) as first, elsewhere(two) as second:
            said = [answer(first), answer(second)]
        world.front.well()
        rows = world.look.hosts()
        for host in world.hosts(many):
            with found.round(host.name):
                ids = [number for number, name in rows.items() if name == host.name]
                assert ids, "it is missing"
                if len(ids) > 1:
                    assert not given, "two rows in spite of the Lease"
                    assert any(f"host '{host.name}' exists 2 times" in item.get("error", "") for item in said), said
                    world.look.call("host.delete", max(ids))
        for stack in (one, two):
            if given:
                errors = [item["error"] for item in said if "error" in item]
                assert not errors, "\n".join(errors)
            else:
                stack.refresh()
                stack.up()
            world.converged(stack)
            world.no_secret(stack, *(json.dumps(item) for item in said))
