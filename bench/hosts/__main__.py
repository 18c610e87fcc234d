"""`make bench BENCH=hosts`. PARTS (registration, growth, prepare, ansible), HOSTS (of the preparation) and ROUNDS choose less or more.

Every time is one of an operation whose end an independent look has confirmed. ROUNDS are those of ours and of the floor,
which take seconds; what takes minutes is measured once. Figures are reported, never asserted: the machine decides them, so
its load stands beside each. Endpoints, oned (the stand-in, with a MariaDB of its own), state and all files are made by the
run and gone with it.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench.hosts import endpoints, others, report, tools, work
from bench.hosts.arithmetic import exponent, middle, ratios, slope
from bench.hosts.counter import counting
from bench.hosts.endpoints import Host
from bench.hosts.measure import Sample, measured
from bench.hosts.oned import Oned
from bench.hosts.ours import Ours
from components.preparing.values import Endpoint
from lab.console import say
from lab.paths import PROJECT
from lab.standins.opennebula.local import LocalOned, running_oned

PARTS = ("registration", "growth", "prepare", "ansible")
TUNED: dict[str, Any] = {"parallel": 64, "per_second": 200}
DEFAULT: dict[str, Any] = {"parallel": None, "per_second": 30}
PASSWORD = LocalOned.session.partition(":")[2]
OPERATIONS = ("create", "no-op", "destroy")


class Bench:
    """One run: where things are, and what was found so far."""

    def __init__(self, place: Path, oned: LocalOned, rounds: int) -> None:
        self._place, self._oned, self.rounds = place, oned, rounds
        self.results: dict[str, Any] = {"rounds": rounds}
        self._number = 0

    def look(self) -> Oned:
        """A connection of its own."""
        return Oned(self._oned.endpoint, self._oned.session)

    def ours(self, *, url: str | None = None, **how: Any) -> Ours:
        """A stack from nothing."""
        self._number += 1
        place = self._place / f"stack-{self._number}"
        place.mkdir()
        return Ours(place, url or self._oned.endpoint, PASSWORD, **how)

    def registration(self, count: int, name: str, rounds: int = 1, **how: Any) -> dict[str, Any]:
        """Create, again, and away; each confirmed."""
        hosts = nowhere(count)
        samples: dict[str, list[dict[str, float]]] = {operation: [] for operation in OPERATIONS}
        for _ in range(rounds):
            stack = self.ours(**how)
            for operation, sample in self._operations(stack, hosts, f"{name}, {count} hosts"):
                samples[operation].append(sample.as_json())
        found = {operation: middle(each) for operation, each in samples.items()}
        self.results.setdefault("registration", {}).setdefault(str(count), {})[name] = found
        return found

    def _operations(self, stack: Ours, hosts: list[Host], name: str) -> list[tuple[str, Sample]]:
        names = [host.name for host in hosts]
        up = partial(stack.up, hosts)
        runs: tuple[Callable[[], object], ...] = (up, up, stack.destroy)
        return [
            (operation, self.confirmed(f"{name}, {operation}", run, [] if operation == "destroy" else names))
            for operation, run in zip(OPERATIONS, runs, strict=True)
        ]

    def calls(self, count: int) -> None:
        """What oned sees of a registration; not timed, for whoever counts is in the way."""
        hosts = nowhere(count)
        with counting(self._oned.port) as (url, counter):
            stack = self.ours(url=url, **TUNED)
            self.confirmed(f"ours, counted, {count} hosts", partial(stack.up, hosts), [host.name for host in hosts])
            calls = counter.calls
            stack.destroy()
        self.results["oned"] = {
            "hosts": count,
            "calls": calls,
            "calls over 2 a host": calls - 2 * count,
            "connections": counter.most,
        }

    def confirmed(self, what: str, run: Callable[[], object], names: Sequence[str]) -> Sample:
        """Measure, then look at oned. Raises RuntimeError when the end is not what it should be."""
        sample = measured(run)
        if wrong := self.look().wrong(names):
            raise RuntimeError(f"{what}: not as declared afterwards: {', '.join(wrong[:5])}")
        say(f"{what}: {sample.wall:.1f} s")
        return sample

    def prepared(
        self, fleet: endpoints.Fleet, name: str, run: Callable[[], object], steps: Sequence[work.Step] = work.STEPS
    ) -> None:
        """The same from untouched endpoints and an empty oned, and the files looked at as well."""
        work.forget(fleet.hosts)
        self.look().clear()
        sample = self.confirmed(f"{name}, {len(fleet.hosts)} hosts", run, [host.name for host in fleet.hosts])
        if undone := work.undone(fleet.hosts, steps):
            raise RuntimeError(f"{name}: not prepared: {', '.join(undone[:5])}")
        found = self.results.setdefault("prepared", {"hosts": len(fleet.hosts), "samples": {}})
        found["samples"].setdefault(name, []).append(sample.as_json())


def nowhere(count: int) -> list[Host]:
    """Hosts that are only registered."""
    return [
        Host(f"bench-{number:04d}", Endpoint("root", "127.0.0.1", 22, "ssh-ed25519 AAAA"), Path())
        for number in range(count)
    ]


def registration(bench: Bench) -> None:
    """100 hosts at the default and tuned; 1,000 with no checkpoints; the floor for both; what oned sees of it."""
    for count in (100, 1000):
        hosts = [host.name for host in nowhere(count)]
        sample = bench.confirmed(f"floor, {count} hosts", partial(others.register, bench.look, hosts, 8), hosts)
        bench.look().clear()
        bench.results.setdefault("registration", {}).setdefault(str(count), {})["floor"] = {"create": sample.as_json()}
    small = bench.registration(100, "ours", bench.rounds, **DEFAULT)
    bench.registration(100, "ours, tuned", bench.rounds, **TUNED)
    bench.calls(100)
    large = bench.registration(1000, "ours, no checkpoints", fast=True, **TUNED)
    bench.results["memory"] = round(slope(100, small["create"]["memory"], 1000, large["create"]["memory"]), 3)


def growth(bench: Bench) -> None:
    """The exponent of the times that a user sees, between 50 and 400 hosts."""
    few, many = (bench.registration(count, "ours, tuned", **TUNED)["create"]["wall"] for count in (50, 400))
    bench.results["growth"] = round(exponent(50, few, 400, many), 3)


def prepare(bench: Bench, place: Path, count: int) -> None:
    """From untouched endpoints to registered hosts."""
    fleet = endpoints.start(place, count)
    given = (fleet, bench.look, place)
    try:
        for _ in range(bench.rounds):
            bench.prepared(fleet, "floor", partial(others.floor, *given))
            for name, how in (("ours", DEFAULT), ("ours, tuned", TUNED)):
                stack = bench.ours(**how)
                bench.prepared(fleet, name, partial(stack.up, fleet.hosts, key=fleet.private_key))
                bench.results["prepared"]["state"] = max(stack.of_hosts())
                bench.results["prepared"]["resources"] = stack.leaves()
                stack.destroy()
            start = bench.confirmed("ours, no hosts", partial(bench.ours(**DEFAULT).up, ()), ())
            bench.results["prepared"].setdefault("starts", []).append(start.as_json())
        bench.prepared(fleet, "ssh and XML-RPC loop", partial(others.loop, *given))
        if "ansible" in chosen():
            once = partial(others.ansible, *given)
            bench.prepared(
                fleet, "Ansible, forks 50, the script as one task", partial(once, forks=50, playbook="script.yaml")
            )
            for forks in (5, 50):
                five = partial(once, forks=forks, tags="five")
                bench.prepared(fleet, f"Ansible, forks {forks}, five of the steps", five, work.FIVE)
            bench.prepared(fleet, "Ansible, forks 5", partial(once, forks=5))
    finally:
        fleet.stop()
        compare(bench.results.get("prepared", {}))


def compare(prepared: dict[str, Any]) -> None:
    """Medians, and ours beside all others; of whatever there is, should a run end early."""
    samples = prepared.get("samples", {})
    prepared["contenders"] = {name: middle(each) for name, each in samples.items()}
    if starts := prepared.get("starts"):
        prepared["engine start"] = middle(starts)
        walls = {name: each["wall"] for name, each in prepared["contenders"].items()}
        found = ratios(walls, prepared["engine start"]["wall"])
        prepared["ratios"] = {name: round(ratio, 3) for name, ratio in found.items()}


def chosen() -> Sequence[str]:
    """`make` exports PARTS empty when nobody sets it: that means all, as HOSTS and ROUNDS mean their defaults."""
    return [part for part in os.environ.get("PARTS", "").split(",") if part] or PARTS


def main() -> int:
    """Write bench/results/hosts-<time>.{json,svg} and print the table."""
    parts, count, rounds = chosen(), int(os.environ.get("HOSTS") or 100), int(os.environ.get("ROUNDS") or 3)
    if unknown := set(parts) - set(PARTS):
        print(f"error: PARTS={','.join(sorted(unknown))} is unknown; next: some of {','.join(PARTS)}", file=sys.stderr)
        return 1
    if count < 1 or rounds < 1:
        print(f"error: HOSTS={count} ROUNDS={rounds}: both are at least 1; next: leave them out", file=sys.stderr)
        return 1
    if "ansible" in parts:
        tools.python(tools.ANSIBLE)  # before any clock starts
    folder = PROJECT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    file = folder / f"hosts-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    with tempfile.TemporaryDirectory(prefix="bench-hosts-") as made, running_oned() as oned:
        bench = Bench(Path(made), oned, rounds)
        try:
            if "registration" in parts:
                registration(bench)
            if "growth" in parts:
                growth(bench)
            if "prepare" in parts or "ansible" in parts:
                prepare(bench, Path(made) / "fleet", count)
        finally:  # what was measured before a failure, or an interrupt, is not lost
            machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
            head = {"time": datetime.now(UTC).isoformat(), "machine": machine, "parts": parts}
            file.write_text(json.dumps({**head, **bench.results}, indent=1))
    print(report.table(bench.results))
    plot = [str(tools.python(tools.MATPLOTLIB)), "-m", "bench.hosts.plot", str(file), str(file.with_suffix(".svg"))]
    subprocess.run(plot, cwd=PROJECT, check=True)
    print(f"details: {file.relative_to(PROJECT)}, plot beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
