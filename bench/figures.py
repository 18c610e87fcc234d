"""What a phase trace says about speed, and the table that shows figures beside their aims. Pure.

A daemon's own start is its workload's step in the trace: from the moment when the engine makes the StatefulSet or
Deployment until its pods are ready, whatever they wait for meanwhile included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORKLOADS = ("kubernetes:apps/v1:StatefulSet", "kubernetes:apps/v1:Deployment")


@dataclass(frozen=True, kw_only=True)
class Start:
    """One daemon's step; seconds since the operation began."""

    name: str
    began: float
    ended: float

    @property
    def took(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table. `aim` is the most that the figure may be."""

    name: str
    value: float
    unit: str
    aim: float | None = None

    @property
    def missed(self) -> bool:
        return self.aim is not None and self.value > self.aim


def starts(steps: Sequence[Mapping[str, Any]]) -> tuple[Start, ...]:
    """The daemons' starts, the slowest first. Raises ValueError for a trace in which one failed or there is none."""
    found = []
    for step in steps:
        if step["type"] in WORKLOADS and step["operation"] == "create":
            if step["failed"] or step["ended"] is None:
                raise ValueError(f"{step['name']} did not come up")
            name = step["name"].rpartition("-")[0]
            found.append(Start(name=name, began=step["began"], ended=step["ended"]))
    if not found:
        raise ValueError("the trace has no daemon's start")
    return tuple(sorted(found, key=lambda start: start.took, reverse=True))


def control_plane_up(steps: Sequence[Mapping[str, Any]]) -> float:
    """Seconds from the operation's begin until the last Kubernetes object is there and ready."""
    return max(
        float(step["ended"]) for step in steps if step["type"].startswith("kubernetes:") and step["ended"] is not None
    )


def table(figures: Sequence[Figure]) -> str:
    """Lines with the aims beside; a missed one says so."""
    width = max(len(figure.name) for figure in figures)
    lines = [f"{'FIGURE':<{width}} {'MEASURED':>9} {'AIM':>8}"]
    for figure in figures:
        aim = "–" if figure.aim is None else f"≤ {figure.aim:g}"
        missed = "  missed" if figure.missed else ""
        lines.append(f"{figure.name:<{width}} {figure.value:>9.2f} {aim:>8}  {figure.unit}{missed}")
    return "\n".join(lines)
