"""Faults of hosts and of the way to them: dead, silent, another key, cut in a step, a held package lock, a full disk."""

from __future__ import annotations

import contextlib
import fcntl
import random
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import asyncssh
import pytest

from bench.hosts.endpoints import Host
from lab.errors import Incomplete
from tests.faults.conftest import HOSTS
from tests.faults.fleet import FleetStack, entry
from tests.faults.host_script import STEPS
from tests.faults.relay import Relay, Way
from tests.faults.rounds import FULL, Tally, count
from tests.faults.world import World, told

pytestmark = [pytest.mark.engine, pytest.mark.database]
Tallies = Callable[..., Tally]
_APT = tuple(f"etc/apt/{name}.d" for name in ("apt.conf", "preferences", "sources.list", "trusted.gpg"))


@dataclass(frozen=True)
class HostFault:
    """`at` breaks one host while it is entered; `words` are in what an operator is told."""

    name: str
    at: Callable[[Host, Relay], AbstractContextManager[object]]
    words: tuple[str, ...]


@contextmanager
def refused(_host: Host, relay: Relay) -> Iterator[None]:
    relay.set(Way.REFUSED)
    try:
        yield
    finally:
        relay.set(Way.OPEN)


@contextmanager
def silent(_host: Host, relay: Relay) -> Iterator[None]:
    relay.set(Way.SILENT)
    try:
        yield
    finally:
        relay.set(Way.OPEN)
        relay.cut()


@contextmanager
def another_key(host: Host, _relay: Relay) -> Iterator[None]:
    file = host.root.parent / "key"
    before = file.read_bytes()
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(file))
    try:
        yield
    finally:
        file.write_bytes(before)


@contextmanager
def apt_lock_held(host: Host, _relay: Relay) -> Iterator[None]:
    """A real apt, which finds its real lock taken; below the host's directory, not this machine's."""
    apt = host.root / "apt"
    for folder in (*_APT, "var/lib/dpkg", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "var/lib/dpkg/status").touch()
    (host.root / "apt.conf").write_text(f'Dir "{apt}";\nDir::State::status "{apt}/var/lib/dpkg/status";\n')
    with (apt / "var/lib/dpkg/lock-frontend").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def disk_full(host: Host, _relay: Relay) -> Iterator[None]:
    folder = host.root / "etc" / "libvirt"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)], check=True, timeout=20)
    try:
        with contextlib.suppress(OSError):
            (folder / "filler").write_bytes(b"x" * 65536)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=20)


FAULTS = (
    HostFault("dead host", refused, ("connection refused",)),
    HostFault("silent host", silent, ("no answer within",)),
    HostFault("changed host key", another_key, ("host key mismatch", "SHA256:")),
    HostFault("apt lock held", apt_lock_held, ("another package manager held its lock",)),
    HostFault("disk full", disk_full, ("No space left on device",)),
)
# The short version has all of them in one run.
GROUPS = (FAULTS, *((fault,) for fault in FAULTS)) if FULL else (FAULTS,)


@pytest.mark.parametrize("faults", GROUPS, ids=lambda faults: "+".join(fault.name for fault in faults))
def test_some_hosts_fail_and_the_others_are_done(world: World, tally: Tallies, faults: Sequence[HostFault]) -> None:
    found = tally(", ".join(fault.name for fault in faults))
    hosts = world.hosts(min(HOSTS, 20))
    with ExitStack() as all_, found.round():
        relays = [all_.enter_context(Relay(host.endpoint.address, host.endpoint.port)) for host in hosts]
        declared = [entry(host, relay.port) for host, relay in zip(hosts, relays, strict=True)]
        stack = all_.enter_context(world.stack(0, lock_wait=3))
        stack.configure(hosts=declared)
        broken = [host.name for host, _ in zip(hosts, faults, strict=False)]
        with ExitStack() as while_broken:
            for host, relay, fault in zip(hosts, relays, faults, strict=False):
                while_broken.enter_context(fault.at(host, relay))
            text = _fails(world, stack, broken)
        for name, fault in zip(broken, faults, strict=True):
            for word in fault.words:
                assert word in text, f"{name}: {word!r} is not in:\n{text}"
        _only_the_missing(stack, broken)
        world.converged(stack)


@pytest.mark.parametrize("dead", [1, 5] if FULL else [1])
def test_dead_hosts_of_many(world: World, tally: Tallies, dice: random.Random, dead: int) -> None:
    found = tally(f"{dead} dead of {HOSTS} hosts")
    hosts = world.hosts(HOSTS)
    with ExitStack() as all_, found.round():
        relays = {
            host.name: all_.enter_context(Relay(host.endpoint.address, host.endpoint.port))
            for host in dice.sample(hosts, dead)
        }
        stack = all_.enter_context(world.stack(0))
        stack.configure(hosts=[entry(host, relays[host.name].port if host.name in relays else None) for host in hosts])
        for relay in relays.values():
            relay.set(dice.choice((Way.REFUSED, Way.SILENT)))
        text = _fails(world, stack, list(relays))
        assert f"{dead} of {HOSTS} hosts failed" in text
        for relay in relays.values():
            relay.set(Way.OPEN)
        _only_the_missing(stack, list(relays))
        world.converged(stack)


def test_ssh_cut_in_the_middle_of_every_step(world: World, tally: Tallies, dice: random.Random) -> None:
    """Each host is cut in a step of its own; the host's half-done run goes on or ends, and the next up completes it."""
    rounds, many = count(10, 1), min(HOSTS, 60)
    found = tally("ssh cut in the middle of every step", rounds * many)
    hosts = world.hosts(many)
    with ExitStack() as all_:
        relays = [all_.enter_context(Relay(host.endpoint.address, host.endpoint.port)) for host in hosts]
        stack = all_.enter_context(world.stack(0))
        stack.configure(hosts=[entry(host, relay.port) for host, relay in zip(hosts, relays, strict=True)])
        for number in range(rounds):
            # One attempt: a cut that overtakes what the host said first ends the login, for this side, and is tried again.
            stack.configure(edition=str(number), ssh={"dialAttempts": 1})
            steps = {host.name: STEPS[(index + number) % len(STEPS)] for index, host in enumerate(hosts)}
            with _cutting(hosts, relays, steps, dice), pytest.raises(Incomplete) as caught:
                stack.up()
            text = told(caught.value, f"{many} of {many} hosts failed")
            # Which step it was can be lost with the connection.
            lost, before = text.count(": lost: "), text.count(": unreachable: ")
            assert lost + before == min(many, 20) and lost > before, text
            stack.configure(ssh={})
            stack.up()
            for host in hosts:
                with found.round(f"{host.name} in {steps[host.name]}"):
                    assert not (host.root / f"hold-{steps[host.name]}").exists(), "that step was never reached"
            world.converged(stack)


@contextmanager
def _cutting(
    hosts: Sequence[Host], relays: Sequence[Relay], steps: dict[str, str], dice: random.Random
) -> Iterator[None]:
    """Cut each host's connection, or let it fall silent, as soon as it is in the middle of its step."""
    done = threading.Event()
    quiet = dice.randrange(len(hosts))
    for host in hosts:
        for mark in host.root.glob("go-*"):
            mark.unlink()
        (host.root / f"hold-{steps[host.name]}").touch()

    def watch() -> None:
        waiting = dict(enumerate(hosts))
        while waiting and not done.wait(0.05):
            for index, host in list(waiting.items()):
                mark = host.root / f"at-{steps[host.name]}"
                if mark.exists():
                    mark.unlink()
                    if index == quiet:
                        relays[index].set(Way.SILENT)
                    else:
                        relays[index].cut()
                    (host.root / f"go-{steps[host.name]}").touch()
                    del waiting[index]

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join(10)
        relays[quiet].set(Way.OPEN)


def _fails(world: World, stack: FleetStack, broken: Sequence[str]) -> str:
    """An up of which these hosts fail and all others come through; what the operator is told."""
    with pytest.raises(Incomplete) as caught:
        stack.up()
    text = told(caught.value, *broken)
    registered = set(world.ids())
    for item in stack.plan.hosts:
        assert (item["name"] in registered) is (item["name"] not in broken), item["name"]
    world.no_secret(stack, text)
    return text


def _only_the_missing(stack: FleetStack, broken: Sequence[str]) -> None:
    """The next up makes what these hosts lack, and touches nothing else."""
    outcome = stack.up()
    worked = {step.name for step in outcome.trace.steps.values() if step.operation not in ("same", "read")}
    wanted = {name for host in broken for name in (f"hosts-prepare-{host}", f"hosts-{host}")}
    assert worked <= wanted | {stack.name} and wanted <= worked, worked ^ wanted
