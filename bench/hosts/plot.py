"""Results as a picture: `python -m bench.hosts.plot RESULTS.json PLOT.svg`, in the environment that has matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from bench.hosts.plan import quoted
from bench.hosts.report import number

OURS, OTHERS = "tab:blue", "tab:gray"


def plot(results: dict[str, Any], file: Path) -> None:
    """Up to three in one: registration by number of hosts, preparation by contender, and ours after the first create."""
    drawn = [
        (part, results[name])
        for name, part in (("registration", _registration), ("prepared", _preparation), ("operations", _operations))
        if results.get(name)
    ]
    figure = Figure(figsize=(7.5 * max(len(drawn), 1), 6), layout="constrained")
    for axes, (part, found) in zip(figure.subplots(1, max(len(drawn), 1), squeeze=False)[0], drawn, strict=False):
        part(axes, found)
    figure.savefig(file)


def _registration(axes: Axes, registration: dict[str, Any]) -> None:
    series: dict[str, list[tuple[int, float]]] = {}
    for count, contenders in registration.items():
        for name, operations in contenders.items():
            if (wall := number(operations.get("create"))) is not None:
                series.setdefault(name, []).append((int(count), wall))
    for name, points in series.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=name)
    for name, each in quoted(series).items():
        axes.plot([float(each["hosts"])], [each["create"]], marker="x", linestyle="none", label=f"{name} (quoted)")
    axes.set(xscale="log", yscale="log", xlabel="hosts", ylabel="time (s)", title="registered, from nothing")
    axes.grid(True, which="both", alpha=0.3)
    axes.set_xticks(sorted({50, 100, 400, 1000} | {count for points in series.values() for count, _ in points}))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.12))


def _preparation(axes: Axes, prepared: dict[str, Any]) -> None:
    contenders = sorted(prepared.get("contenders", {}).items(), key=lambda item: float(item[1]["wall"]))
    walls = [sample["wall"] for _, sample in contenders]
    spread = [
        [wall - min(sample["walls"]) for wall, (_, sample) in zip(walls, contenders, strict=True)],
        [max(sample["walls"]) - wall for wall, (_, sample) in zip(walls, contenders, strict=True)],
    ]
    colours = [OURS if name.startswith("ours") else OTHERS for name, _ in contenders]
    drawn = axes.barh([name for name, _ in contenders], walls, color=colours, xerr=spread, capsize=3)
    axes.bar_label(drawn, fmt="%.1f s", padding=6, fontsize=9)
    each = f", {prepared['seconds']:g} s of work on each," if prepared.get("seconds") else ""
    axes.set(
        xlabel="time (s), medians; lines from the shortest to the longest round",
        title=f"{prepared['hosts']} hosts prepared{each} and registered, from nothing",
    )
    axes.invert_yaxis()
    axes.margins(x=0.15)


def _operations(axes: Axes, operations: dict[str, Any]) -> None:
    walls = {what: float(each["wall"]) for what, each in operations["samples"].items()}
    drawn = axes.barh(list(walls), list(walls.values()), color=OURS)
    axes.bar_label(drawn, fmt="%.1f s", padding=6, fontsize=9)
    axes.set(xlabel="time (s), once each", title=f"ours, tuned, {operations['hosts']} hosts prepared and registered")
    axes.invert_yaxis()
    axes.margins(x=0.15)


if __name__ == "__main__":
    plot(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
