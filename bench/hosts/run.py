"""One run of this bench: where things are, what was found so far, and the look at oned without which no time counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.hosts import endpoints, terraform, work
from bench.hosts.arithmetic import middle, ratios, waited
from bench.hosts.endpoints import Host
from bench.hosts.measure import Sample, measured
from bench.hosts.oned import Oned
from bench.hosts.others import WIDTH
from bench.hosts.ours import Ours
from components.preparing.values import Endpoint
from lab.console import say
from lab.standins.opennebula.local import LocalOned

TUNED: dict[str, Any] = {"parallel": WIDTH, "per_second": 200}
DEFAULT: dict[str, Any] = {"parallel": None, "per_second": 30}
PASSWORD = LocalOned.session.partition(":")[2]


class Bench:
    """`seconds`: how long the remote work on each prepared host takes besides its steps."""

    def __init__(self, place: Path, oned: LocalOned, rounds: int, seconds: float = 0) -> None:
        self.place, self.oned, self.rounds, self.seconds = place, oned, rounds, seconds
        self.results: dict[str, Any] = {"rounds": rounds}
        self._number = 0

    def look(self) -> Oned:
        """A connection of its own."""
        return Oned(self.oned.endpoint, self.oned.session)

    def folder(self, name: str) -> Path:
        """A new one."""
        self._number += 1
        made = self.place / f"{name}-{self._number}"
        made.mkdir()
        return made

    def stack(self, *, url: str | None = None, **how: Any) -> dict[str, Any]:
        """What Ours takes, for a stack from nothing."""
        return {"place": self.folder("stack"), "url": url or self.oned.endpoint, "password": PASSWORD, **how}

    def ours(self, **how: Any) -> Ours:
        """A stack from nothing."""
        return Ours(**self.stack(**how))

    def registered(self, count: int, name: str, operations: Mapping[str, Callable[[], object]]) -> dict[str, Any]:
        """Operations on hosts that are only registered; after all but `destroy` they are all there."""
        hosts = [host.name for host in nowhere(count)]
        return {
            operation: self.confirmed(
                f"{name}, {count} hosts, {operation}", run, [] if operation == "destroy" else hosts
            ).as_json()
            for operation, run in operations.items()
        }

    def keep(self, count: int, name: str, rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The medians of rounds of `registered`, among the results."""
        found = {operation: middle([each[operation] for each in rounds]) for operation in rounds[0]}
        self.results.setdefault("registration", {}).setdefault(str(count), {})[name] = found
        return found

    def registration(self, count: int, name: str, rounds: int = 1, **how: Any) -> dict[str, Any]:
        """Ours: create, again, and away; each confirmed."""
        found = []
        for _ in range(rounds):
            stack = self.ours(**how)
            found.append(self.registered(count, name, runs(partial(stack.up, nowhere(count)), stack.destroy)))
        return self.keep(count, name, found)

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
        """From untouched endpoints and an empty oned; the endpoints' files are looked at as well."""
        work.forget(fleet.hosts)
        self.look().clear()
        sample = self.confirmed(f"{name}, {len(fleet.hosts)} hosts", run, [host.name for host in fleet.hosts])
        if undone := work.undone(fleet.hosts, steps):
            raise RuntimeError(f"{name}: not prepared: {', '.join(undone[:5])}")
        found = self.results.setdefault("prepared", {"hosts": len(fleet.hosts), "seconds": self.seconds, "samples": {}})
        found["samples"].setdefault(name, []).append(sample.as_json())


def runs(up: Callable[[], object], destroy: Callable[[], object]) -> dict[str, Callable[[], object]]:
    """The operations of whoever keeps a state."""
    return {"create": up, "no-op": up, "destroy": destroy}


def nowhere(count: int) -> list[Host]:
    """Hosts that are only registered."""
    return [
        Host(f"bench-{number:04d}", Endpoint("root", "127.0.0.1", 22, "ssh-ed25519 AAAA"), Path())
        for number in range(count)
    ]


def compare(prepared: dict[str, Any]) -> None:
    """Medians, and ours beside all others; of whatever there is, should a run end early."""
    samples = prepared.get("samples", {})
    prepared["contenders"] = {name: middle(each) for name, each in samples.items()}
    walls = {name: each["wall"] for name, each in prepared["contenders"].items()}
    if starts := prepared.get("starts"):
        prepared["engine start"] = middle(starts)
        found = ratios(walls, prepared["engine start"]["wall"])
        prepared["ratios"] = {name: round(ratio, 3) for name, ratio in found.items()}
    if (seconds := prepared.get("seconds")) and "ours, tuned" in walls:
        prepared["waiting"] = round(walls["ours, tuned"] / waited(prepared["hosts"], WIDTH, seconds), 3)


def beside_terraform(results: dict[str, Any]) -> None:
    """Creates of 100 hosts that are only registered: at the default of each, and tuned."""
    walls = {name: each["create"]["wall"] for name, each in results["registration"]["100"].items()}
    if "ours, tuned" in walls:
        results["terraform"] = {
            "default to ours": round(walls[f"Terraform, parallelism {terraform.DEFAULT}"] / walls["ours"], 3),
            "ours to tuned": round(walls["ours, tuned"] / walls[f"Terraform, parallelism {terraform.TUNED}"], 3),
        }
