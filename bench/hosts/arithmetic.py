"""What is computed from measurements. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def middle(samples: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The median of each figure, and beside it the wall time of every round."""
    found: dict[str, Any] = {
        name: round(statistics.median(sample[name] for sample in samples), 2) for name in samples[0]
    }
    return {**found, "walls": [sample["wall"] for sample in samples]}


def exponent(few: int, few_seconds: float, many: int, many_seconds: float) -> float:
    """The power of the number of hosts with which a time grows: 1 is a straight line through nothing."""
    return math.log(many_seconds / few_seconds) / math.log(many / few)


def slope(few: int, few_figure: float, many: int, many_figure: float) -> float:
    """What each further host costs."""
    return (many_figure - few_figure) / (many - few)


def waited(count: int, width: int, seconds: float) -> float:
    """The most that a run should take when each host's own work takes `seconds`, `width` hosts at once: half as much again, and 30 s."""
    return 1.5 * math.ceil(count / width) * seconds + 30


def ratios(walls: Mapping[str, float], start: float) -> dict[str, float]:
    """Ours, the better of default and tuned, beside the others, by contender's name; `start` is the engine's with nothing to do.

    The floor: how often its time ours takes, the engine's own start apart. All others: how often our time they take, start included.
    """
    ours = min(wall for name, wall in walls.items() if name.startswith("ours"))
    return {
        name: (ours - start) / wall if name == "floor" else wall / ours
        for name, wall in walls.items()
        if not name.startswith("ours")
    }
