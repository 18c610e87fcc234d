"""What comes after the first create, each from a fleet that is prepared and registered, and each end confirmed.

Confirmed means asked apart from ours: raw XML-RPC for the hosts in oned, ssh for what was to be done on them. All are of ours,
tuned, and each is measured once: others keep no state, so they have no operation but their create.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import Any

from bench.hosts import endpoints, killed, others, work
from bench.hosts.endpoints import Fleet, Host
from bench.hosts.oned import Oned
from bench.hosts.ours import Failure, Ours
from bench.hosts.run import TUNED, Bench

LABEL = "RACK"
CONNECT = 5
"""Seconds, as the program has it by default: what a host that is silent costs."""
CREATE, NO_OP, MORE, RELABEL = "create", "no-op", "one host more", "other labels on a tenth"
REFRESH, HEAL = "refresh, a tenth drifted", "up that heals them"
DEAD, BACK = "create, one host in twenty dead", "up when they are back"
RESUME = "resume, engine killed at half"
TIMES = (CREATE, NO_OP, MORE, RELABEL, REFRESH, HEAL, DEAD, BACK, RESUME)
"""What is measured, in this order."""
Labels = Mapping[str, Mapping[str, str]]


def operations(bench: Bench, count: int) -> None:
    """From nothing, one host more, labels changed, drift, hosts that are dead, an engine that is killed."""
    fleet = endpoints.start(bench.place / "operated", count + 1)
    try:
        _changes(Watched(bench, fleet), count)
        _dead(Watched(bench, fleet), count)
        _killed(Watched(bench, fleet), count)
    finally:
        fleet.stop()
        compare(bench.results.get("operations", {}))


class Watched:
    """One stack on untouched endpoints and an empty oned; times go to the results as soon as their end is confirmed."""

    def __init__(self, bench: Bench, fleet: Fleet) -> None:
        work.forget(fleet.hosts)
        bench.look().clear()
        self.bench, self.fleet = bench, fleet
        self.of_stack = bench.stack(**TUNED, connect=CONNECT)
        self.stack = Ours(**self.of_stack)

    def declared(self, labels: Labels) -> dict[str, Any]:
        """What ours is told besides the hosts."""
        return {"key": self.fleet.private_key, "labels": labels, "seconds": self.bench.seconds}

    def time(
        self,
        what: str,
        run: Callable[[], object],
        hosts: Sequence[Host],
        labels: Labels,
        *,
        asked: Sequence[Host] = (),
        healthy: bool = True,
    ) -> None:
        """`hosts` must be what oned has afterwards, all in service and with their labels unless they are not to be `healthy`,
        and `asked` must show all steps by ssh."""
        sample = self.bench.confirmed(f"ours, {what}", run, [host.name for host in hosts])
        if healthy and (unlike := self.bench.look().unlike(labels)):
            raise RuntimeError(f"{what}: labels or states are not as declared: {', '.join(unlike[:5])}")
        if undone := others.undone(self.fleet, self.bench.place, [host.name for host in asked]):
            raise RuntimeError(f"{what}: not prepared: {', '.join(undone[:5])}")
        found = self.bench.results.setdefault("operations", {"hosts": len(self.fleet.hosts) - 1, "samples": {}})
        found["samples"][what] = sample.as_json()

    def away(self) -> None:
        self.stack.destroy()


def _changes(at: Watched, count: int) -> None:
    hosts, more = at.fleet.hosts[:count], at.fleet.hosts
    labels = racks(more)
    declared = at.declared(labels)
    at.time(CREATE, partial(at.stack.up, hosts, **declared), hosts, labels, asked=hosts)
    at.time(NO_OP, partial(at.stack.up, hosts, **declared), hosts, labels)
    at.time(MORE, partial(at.stack.up, more, **declared), more, labels, asked=more[count:])
    some = tenth(more)
    labels = {**labels, **{host.name: {LABEL: "moved"} for host in some}}
    up = partial(at.stack.up, more, **at.declared(labels))
    at.time(RELABEL, up, more, labels)
    gone = drift(at.bench.look(), some)
    left = [host for host in more if host not in gone]
    seen: dict[str, int] = {}
    at.time(REFRESH, lambda: seen.update(at.stack.refresh()), left, {}, healthy=False)
    if (seen.get("delete", 0), seen.get("update", 0)) != (len(gone), len(some) - len(gone)):
        raise RuntimeError(f"a refresh after drift of {len(some)} hosts, {len(gone)} of them deleted, saw {seen}")
    at.time(HEAL, up, more, labels)
    at.away()


def _dead(at: Watched, count: int) -> None:
    """One in twenty: one half refuses connections, the other takes them and is silent."""
    hosts = at.fleet.hosts[:count]
    dead = hosts[7::20] or hosts[:1]
    alive = [host for host in hosts if host not in dead]
    labels = racks(hosts)
    declared = at.declared(labels)
    at.fleet.listen(gone=[host.name for host in dead[::2]], hung=[host.name for host in dead[1::2]])
    failures: list[Failure] = []
    at.time(DEAD, lambda: failures.append(at.stack.failing_up(hosts, **declared)), alive, labels, asked=alive)
    if wrong := unnamed(failures[0], [host.name for host in dead], [host.name for host in alive]):
        raise RuntimeError(f"the run with dead hosts {wrong}")
    at.fleet.listen()
    counts: dict[str, int] = {}
    again = partial(at.stack.up, hosts, **declared)
    at.time(BACK, lambda: counts.update(again()), hosts, labels, asked=dead)
    if counts.get("create", 0) != 2 * len(dead) or set(counts) - {"create", "same"}:
        raise RuntimeError(f"the run when {len(dead)} dead hosts were back touched others as well: {counts}")
    at.away()


def _killed(at: Watched, count: int) -> None:
    hosts = at.fleet.hosts[:count]
    labels = racks(hosts)
    declared = at.declared(labels)
    look = at.bench.look()
    killed.kill(at.of_stack, hosts, lambda: len(look.hosts()) >= count / 2, **declared)
    before = look.hosts()
    if len(before) >= count:
        raise RuntimeError("the engine was killed when there was nothing left to resume")

    def resume() -> None:
        at.stack.unlock()
        at.stack.up(hosts, **declared)

    at.time(RESUME, resume, hosts, labels, asked=hosts)
    if not before.items() <= look.hosts().items():
        raise RuntimeError("hosts that a killed run had registered were made anew")
    at.bench.results["operations"]["at the kill"] = len(before)
    at.away()


def racks(hosts: Sequence[Host]) -> Labels:
    """One label a host."""
    return {host.name: {LABEL: f"r{number // 10}"} for number, host in enumerate(hosts)}


def tenth(hosts: Sequence[Host]) -> Sequence[Host]:
    """Every tenth, spread over all."""
    return hosts[3::10] or hosts[:1]


def drift(oned: Oned, hosts: Sequence[Host]) -> list[Host]:
    """What people do behind a stack's back, in turn: another label, disabled, deleted. Those that are deleted."""
    ids = {name: host_id for host_id, name in oned.hosts().items()}
    gone = []
    for host, kind in zip(hosts, cycle(("label", "disable", "delete")), strict=False):
        match kind:
            case "label":
                oned.label(ids[host.name], LABEL, "by hand")
            case "disable":
                oned.disable(ids[host.name])
            case _:
                oned.delete(ids[host.name])
                gone.append(host)
    return gone


def unnamed(failure: Failure, dead: Sequence[str], alive: Sequence[str]) -> str:
    """What is wrong with how a run told of dead hosts; nothing: it named them all, and no other."""
    if list(failure.names) != sorted(dead):
        return f"failed for {', '.join(failure.names)}, dead are {', '.join(sorted(dead))}"
    told = failure.said.partition("Diagnostics:")[2]
    if missing := [name for name in dead if name not in told]:
        return f"did not name {', '.join(missing)}"
    if wrongly := [name for name in alive if name in told]:
        return f"named {', '.join(wrongly[:5])}, which are well"
    return ""


def compare(found: dict[str, Any]) -> None:
    """Beside a create with nothing in its way; of whatever there is, should a run end early."""
    walls = {what: sample["wall"] for what, sample in found.get("samples", {}).items()}
    if resumed := walls.get(RESUME):
        found["resume to create"] = round(resumed / walls[CREATE], 3)
    if dead := walls.get(DEAD):
        found["dead over create"] = round(dead - walls[CREATE], 2)
