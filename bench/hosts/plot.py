"""Results as a picture: `python -m bench.hosts.plot RESULTS.json PLOT.svg`, in the environment that has matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from bench.hosts.plan import QUOTED
from bench.hosts.report import number


def plot(results: dict[str, Any], file: Path) -> None:
    """Two pictures in one: registration by number of hosts, and preparation by contender."""
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    series: dict[str, list[tuple[int, float]]] = {}
    for count, contenders in results.get("registration", {}).items():
        for name, operations in contenders.items():
            if (wall := number(operations.get("create"))) is not None:
                series.setdefault(name, []).append((int(count), wall))
    for name, points in series.items():
        left.plot(*zip(*sorted(points), strict=True), marker="o", label=name)
    for name, quoted in QUOTED.items():
        left.plot([float(quoted["hosts"])], [quoted["create"]], marker="x", linestyle="none", label=f"{name} (quoted)")
    left.set(xscale="log", yscale="log", xlabel="hosts", ylabel="seconds", title="registration, create")
    left.grid(True, which="both", alpha=0.3)
    left.xaxis.set_major_formatter(ScalarFormatter())
    left.yaxis.set_major_formatter(ScalarFormatter())
    left.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    bars = {name: sample["wall"] for name, sample in results.get("prepared", {}).get("contenders", {}).items()}
    drawn = right.barh(list(bars), list(bars.values()))
    right.bar_label(drawn, fmt="%.1f s", padding=3, fontsize=8)
    right.set(xlabel="seconds", title=f"{results.get('prepared', {}).get('hosts', '')} hosts prepared and registered")
    right.invert_yaxis()
    right.margins(x=0.15)
    figure.savefig(file)


if __name__ == "__main__":
    plot(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
