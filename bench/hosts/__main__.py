"""`make bench BENCH=hosts`. PARTS (registration, growth, prepare, ansible) and HOSTS (of the preparation) choose less.

Every time is one of an operation whose end an independent look has confirmed. Figures are reported, never asserted: the
machine decides them, so its load stands beside each. Endpoints, oned (the stand-in, with a MariaDB of its own), state and
all files are made by the run and gone with it.
"""

from __future__ import annotations

import json
import math
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


class Bench:
    """One run: where things are, and what was found so far."""

    def __init__(self, place: Path, oned: LocalOned) -> None:
        self._place, self._oned = place, oned
        self.results: dict[str, Any] = {}
        self._number = 0

    def look(self) -> Oned:
        """A connection of its own."""
        return Oned(self._oned.endpoint, self._oned.session)

    def ours(self, **how: Any) -> Ours:
        """A stack from nothing."""
        self._number += 1
        place = self._place / f"stack-{self._number}"
        place.mkdir()
        return Ours(place, self._oned.endpoint, PASSWORD, **how)

    def registration(self, count: int, name: str, **how: Any) -> dict[str, Any]:
        """Create, again, and away; each confirmed."""
        stack, hosts = self.ours(**how), nowhere(count)
        names = [host.name for host in hosts]
        found: dict[str, Any] = {}
        for operation, run, wanted in (
            ("create", partial(stack.up, hosts), names),
            ("no-op", partial(stack.up, hosts), names),
            ("destroy", stack.destroy, []),
        ):
            found[operation] = self.confirmed(f"{name}, {count} hosts, {operation}", run, wanted).as_json()
            if operation == "create":
                found["state bytes a host"] = max(stack.of_hosts())
        self.results.setdefault("registration", {}).setdefault(str(count), {})[name] = found
        return found

    def confirmed(self, what: str, run: Callable[[], object], names: Sequence[str]) -> Sample:
        """Measure, then look at oned. Raises RuntimeError when the end is not what it should be."""
        sample = measured(run)
        if wrong := self.look().wrong(names):
            raise RuntimeError(f"{what}: not as declared afterwards: {', '.join(wrong[:5])}")
        say(f"{what}: {sample.wall:.1f} s")
        return sample

    def prepared(self, fleet: endpoints.Fleet, name: str, run: Callable[[], object], *, keep: bool = False) -> Sample:
        """The same from untouched endpoints and an empty oned, and the files looked at as well."""
        work.forget(fleet.hosts)
        self.look().clear()
        sample = self.confirmed(f"{name}, {len(fleet.hosts)} hosts", run, [host.name for host in fleet.hosts])
        if undone := work.undone(fleet.hosts):
            raise RuntimeError(f"{name}: not prepared: {', '.join(undone[:5])}")
        found = self.results.setdefault("prepared", {"hosts": len(fleet.hosts), "contenders": {}})
        found["contenders"][name] = sample.as_json()
        if not keep:
            self.look().clear()
        return sample


def nowhere(count: int) -> list[Host]:
    """Hosts that are only registered."""
    return [
        Host(f"bench-{number:04d}", Endpoint("root", "127.0.0.1", 22, "ssh-ed25519 AAAA"), Path())
        for number in range(count)
    ]


def registration(bench: Bench) -> None:
    """100 hosts at the default and tuned; 1,000 with no checkpoints; the floor for both."""
    for count in (100, 1000):
        hosts = [host.name for host in nowhere(count)]
        sample = bench.confirmed(f"floor, {count} hosts", partial(others.register, bench.look, hosts, 8), hosts)
        bench.look().clear()
        bench.results.setdefault("registration", {}).setdefault(str(count), {})["floor"] = {"create": sample.as_json()}
    small = bench.registration(100, "ours", **DEFAULT)
    bench.registration(100, "ours, tuned", **TUNED)
    large = bench.registration(1000, "ours, no checkpoints", fast=True, **TUNED)
    bench.results["memory"] = round((large["create"]["memory"] - small["create"]["memory"]) / 900, 3)


def growth(bench: Bench) -> None:
    """The exponent of the times that a user sees, between 50 and 400 hosts."""
    few, many = (bench.registration(count, "ours, tuned", **TUNED)["create"]["wall"] for count in (50, 400))
    bench.results["growth"] = round(math.log(many / few) / math.log(400 / 50), 3)


def prepare(bench: Bench, place: Path, count: int) -> None:
    """From untouched endpoints to registered hosts."""
    fleet = endpoints.start(place, count)
    try:
        given = (fleet, fleet.hosts, bench.look, place, 0.0)
        bench.prepared(fleet, "floor", partial(others.floor, *given))
        nothing = bench.ours(**DEFAULT)
        start = bench.confirmed("ours, no hosts", partial(nothing.up, ()), ())
        for name, how in (("ours", DEFAULT), ("ours, tuned", TUNED)):
            stack = bench.ours(**how)
            up = partial(stack.up, fleet.hosts, seconds=0.0, key=fleet.private_key)
            bench.prepared(fleet, name, up, keep=True)
            bench.results["prepared"]["state"] = max(stack.of_hosts())
            stack.destroy()
        bench.results["prepared"]["engine start"] = start.as_json()
        bench.prepared(fleet, "ssh and XML-RPC loop", partial(others.loop, *given))
        if "ansible" in chosen():
            for forks in (5, 50):
                bench.prepared(fleet, f"Ansible, forks {forks}", partial(others.ansible, *given, forks=forks))
    finally:
        fleet.stop()
    walls = {name: sample["wall"] for name, sample in bench.results["prepared"]["contenders"].items()}
    ours = min(walls["ours"], walls["ours, tuned"])
    bench.results["prepared"]["ratio to floor"] = round((ours - start.wall) / walls["floor"], 2)
    if ansible := walls.get("Ansible, forks 5"):
        bench.results["prepared"]["ratio to ansible"] = round(ours / ansible, 3)


def chosen() -> Sequence[str]:
    return [part for part in os.environ.get("PARTS", ",".join(PARTS)).split(",") if part]


def main() -> int:
    """Write bench/results/hosts-<time>.{json,svg} and print the table."""
    parts, count = chosen(), int(os.environ.get("HOSTS") or 100)
    if unknown := set(parts) - set(PARTS):
        print(f"error: PARTS={','.join(sorted(unknown))} is unknown; next: some of {','.join(PARTS)}", file=sys.stderr)
        return 1
    if "ansible" in parts:
        tools.python(tools.ANSIBLE)  # before any clock starts
    folder = PROJECT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    file = folder / f"hosts-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    with tempfile.TemporaryDirectory(prefix="bench-hosts-") as made, running_oned() as oned:
        bench = Bench(Path(made), oned)
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
