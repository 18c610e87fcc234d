"""`make bench BENCH=hosts`. Less or more of it: PARTS, HOSTS (of the preparation and of the operations), ROUNDS, B.

PARTS are registration, growth, prepare, ansible, operations and terraform, which needs TERRAFORM and TERRAFORM_PROVIDER.
B is how many seconds the work on each host takes besides its steps (0).

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
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.hosts import endpoints, others, report, terraform, tools, work
from bench.hosts.arithmetic import exponent, slope
from bench.hosts.counter import counting
from bench.hosts.operations import operations, racks
from bench.hosts.run import DEFAULT, TUNED, Bench, beside_terraform, compare, nowhere, runs
from bench.hosts.terraform import Binaries, Terraform
from lab.paths import PROJECT
from lab.standins.opennebula.local import running_oned

PARTS = ("registration", "growth", "operations", "prepare", "ansible", "terraform")


class Choice(NamedTuple):
    """What is to be measured."""

    parts: tuple[str, ...]
    hosts: int
    rounds: int
    seconds: float
    binaries: Binaries | None


def chosen(environ: Mapping[str, str]) -> Choice:
    """`make` exports variables empty when nobody sets them: that means their defaults. Raises ValueError."""
    parts = tuple(part for part in (environ.get("PARTS") or "").split(",") if part)
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"PARTS={','.join(sorted(unknown))} is unknown; next: some of {','.join(PARTS)}")
    try:
        count, rounds = (int(environ.get(name) or usual) for name, usual in (("HOSTS", 100), ("ROUNDS", 3)))
        seconds = float(environ.get("B") or 0)
    except ValueError:
        raise ValueError("HOSTS, ROUNDS and B are numbers; next: leave them out") from None
    if count < 1 or rounds < 1 or not 0 <= seconds <= 60:
        raise ValueError(
            f"HOSTS={count} ROUNDS={rounds} B={seconds:g}: at least 1, 1, and 0 to 60; next: leave them out"
        )
    binaries = terraform.given(environ)
    if "terraform" in parts and binaries is None:
        raise ValueError("PARTS=terraform; next: TERRAFORM=/path/to/terraform TERRAFORM_PROVIDER=/path/to/its/provider")
    usual = tuple(part for part in PARTS if part != "terraform" or binaries)
    return Choice(parts or usual, count, rounds, seconds, binaries)


def registration(bench: Bench) -> None:
    """100 hosts at the default and tuned; 1,000 with no checkpoints; the floor for both; what oned sees of it."""
    for count in (100, 1000):
        hosts = [host.name for host in nowhere(count)]
        create = partial(others.register, bench.look, hosts, 8)
        bench.keep(count, "floor", [bench.registered(count, "floor", {"create": create})])
        bench.look().clear()
    small = bench.registration(100, "ours", bench.rounds, **DEFAULT)
    bench.registration(100, "ours, tuned", bench.rounds, **TUNED)
    calls(bench, 100, labelled=False)
    calls(bench, 100, labelled=True)
    large = bench.registration(1000, "ours, no checkpoints", fast=True, **TUNED)
    bench.results["memory"] = round(slope(100, small["create"]["memory"], 1000, large["create"]["memory"]), 3)


def calls(bench: Bench, count: int, *, labelled: bool) -> None:
    """What oned sees of a registration; not timed, for whoever counts is in the way."""
    hosts = nowhere(count)
    with counting(bench.oned.port) as (url, counter):
        stack = bench.ours(url=url, **TUNED)
        up = partial(stack.up, hosts, labels=racks(hosts) if labelled else {})
        bench.confirmed(f"ours, counted, {count} hosts", up, [host.name for host in hosts])
        found = counter.calls
        stack.destroy()
    bench.results.setdefault("oned", {})["with labels" if labelled else "without"] = {
        "hosts": count,
        "calls": found,
        "calls over 2 a host": found - 2 * count,
        "connections": counter.most,
    }


def growth(bench: Bench) -> None:
    """The exponent of the times that a user sees, between 50 and 400 hosts."""
    few, many = (bench.registration(count, "ours, tuned", **TUNED)["create"]["wall"] for count in (50, 400))
    bench.results["growth"] = round(exponent(50, few, 400, many), 3)


def by_terraform(bench: Bench, binaries: Binaries) -> None:
    """Registration of 100 hosts at Terraform's default and tuned: create, again, and away."""
    for parallel in (terraform.DEFAULT, terraform.TUNED):
        stack = _terraform(bench, binaries, parallel)
        name = f"Terraform, parallelism {parallel}"
        found = bench.registered(100, name, runs(partial(stack.up, nowhere(100)), stack.destroy))
        bench.keep(100, name, [found])
    beside_terraform(bench.results)


def _terraform(bench: Bench, binaries: Binaries, parallel: int) -> Terraform:
    return Terraform(binaries, bench.folder("terraform"), bench.oned.endpoint, bench.oned.session, parallel=parallel)


def prepare(bench: Bench, choice: Choice) -> None:
    """From untouched endpoints to registered hosts."""
    fleet = endpoints.start(bench.place / "fleet", choice.hosts)
    try:
        _ours_and_the_floor(bench, fleet)
        if not bench.seconds:  # else each host adds that much, and nothing is learned
            bench.prepared(fleet, "ssh and XML-RPC loop", partial(others.loop, fleet, bench.look, bench.place))
        if "ansible" in choice.parts:
            _ansible(bench, fleet)
        if "terraform" in choice.parts and choice.binaries:
            for parallel in (terraform.DEFAULT, terraform.TUNED):
                stack = _terraform(bench, choice.binaries, parallel)
                up = partial(stack.up, fleet.hosts, fleet=fleet, seconds=bench.seconds)
                bench.prepared(fleet, f"Terraform, parallelism {parallel}", up)
    finally:
        fleet.stop()
        compare(bench.results.get("prepared", {}))


def _ours_and_the_floor(bench: Bench, fleet: endpoints.Fleet) -> None:
    declared = {"key": fleet.private_key, "seconds": bench.seconds}
    for _ in range(bench.rounds):
        floor = partial(others.floor, fleet, bench.look, bench.place, seconds=bench.seconds)
        bench.prepared(fleet, "floor", floor)
        for name, how in (("ours", DEFAULT), ("ours, tuned", TUNED)):
            stack = bench.ours(**how)
            bench.prepared(fleet, name, partial(stack.up, fleet.hosts, **declared))
            bench.results["prepared"]["state"] = max(stack.of_hosts())
            bench.results["prepared"]["resources"] = stack.leaves()
            stack.destroy()
        start = bench.confirmed("ours, no hosts", partial(bench.ours(**DEFAULT).up, ()), ())
        bench.results["prepared"].setdefault("starts", []).append(start.as_json())


def _ansible(bench: Bench, fleet: endpoints.Fleet) -> None:
    once = partial(others.ansible, fleet, bench.look, bench.place, seconds=bench.seconds)
    bench.prepared(fleet, "Ansible, forks 5", partial(once, forks=5))
    script = partial(once, forks=50, playbook="script.yaml")
    bench.prepared(fleet, "Ansible, forks 50, the script as one task", script)
    for forks in (5, 50):
        five = partial(once, forks=forks, tags="five")
        bench.prepared(fleet, f"Ansible, forks {forks}, five of the steps", five, work.FIVE)


def measure(bench: Bench, choice: Choice) -> None:
    """All parts that were chosen."""
    if "registration" in choice.parts:
        registration(bench)
    if "terraform" in choice.parts and choice.binaries:
        by_terraform(bench, choice.binaries)
    if "growth" in choice.parts:
        growth(bench)
    if "operations" in choice.parts:
        operations(bench, choice.hosts)
    if {"prepare", "ansible"} & set(choice.parts):
        prepare(bench, choice)


def main() -> int:
    """Write bench/results/hosts-<time>.{json,svg} and print the table."""
    try:
        choice = chosen(os.environ)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if "ansible" in choice.parts:
        tools.python(tools.ANSIBLE)  # before any clock starts
    folder = PROJECT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    file = folder / f"hosts-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    with tempfile.TemporaryDirectory(prefix="bench-hosts-") as made, running_oned() as oned:
        bench = Bench(Path(made), oned, choice.rounds, choice.seconds)
        try:
            measure(bench, choice)
        finally:  # what was measured before a failure, or an interrupt, is not lost
            machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
            head = {"time": datetime.now(UTC).isoformat(), "machine": machine, "parts": choice.parts}
            file.write_text(json.dumps({**head, **bench.results}, indent=1))
    print(report.table(bench.results))
    plot = [str(tools.python(tools.MATPLOTLIB)), "-m", "bench.hosts.plot", str(file), str(file.with_suffix(".svg"))]
    subprocess.run(plot, cwd=PROJECT, check=True)
    print(f"details: {file.relative_to(PROJECT)}, plot beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
