"""Results as a table for people, the aims beside the figures. Reads figures only; measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.hosts.plan import AIMS, LACKS, QUOTED

Results = dict[str, Any]
_NAMES = 50  # columns for those of contenders


def figure(results: Mapping[str, Any], path: str) -> float | None:
    """A number by its path; None where that part was not run. Names may hold dots: the longest key that fits goes first."""
    if not path:
        return float(results) if isinstance(results, int | float) else None
    if not isinstance(results, Mapping):
        return None
    for key in sorted(results, key=len, reverse=True):
        if path == key or path.startswith(f"{key}."):
            found = results[key]
            rest = path[len(key) + 1 :]
            return figure(found, rest) if rest else number(found)
    return None


def number(found: Any) -> float | None:
    if isinstance(found, Mapping):
        found = found.get("wall")
    return float(found) if isinstance(found, int | float) else None


def table(results: Results) -> str:
    """The aims beside the figures, then all contenders."""
    width = max(len(aim.what) for aim in AIMS)
    lines = [f"{'aim':<{width}} {'measured':>10} {'at most':>9}"]
    for aim in AIMS:
        found = figure(results, aim.figure)
        shown = "not run" if found is None else f"{found:.2f}"
        verdict = "" if found is None else "  ok" if found <= aim.limit else "  MISSED"
        lines.append(f"{aim.what:<{width}} {shown:>10} {aim.limit:>9g} {aim.unit}{verdict}")
    for count, contenders in results.get("registration", {}).items():
        lines += [
            "",
            f"{f'registration of {count} hosts, seconds':<{_NAMES}} {'create':>8} {'no-op':>8} {'destroy':>8}",
        ]
        lines += [_row(name, operations) for name, operations in contenders.items()]
        lines += [_row(f"{name} (quoted)", quoted) for name, quoted in QUOTED.items() if str(quoted["hosts"]) == count]
    prepared = results.get("prepared", {})
    if contenders := prepared.get("contenders"):
        title = f"{prepared['hosts']} hosts prepared and registered"
        lines += ["", f"{title:<{_NAMES}} {'seconds':>8} {'× floor':>8} {'CPU-s':>8} {'rounds':>6}"]
        floor = contenders.get("floor", {}).get("wall")
        start = {"ours, no hosts: the engine's start": prepared["engine start"]} if "engine start" in prepared else {}
        lines += [_contender(name, sample, floor) for name, sample in {**contenders, **start}.items()]
        lines.append("seconds are medians of the rounds; CPU-s are the client's, not the hosts'")
    return "\n".join(lines)


def _row(name: str, operations: Mapping[str, Any]) -> str:
    cells = [number(operations.get(operation)) for operation in ("create", "no-op", "destroy")]
    return f"{name:<{_NAMES}} " + " ".join(f"{'–' if cell is None else f'{cell:.1f}':>8}" for cell in cells)


def _contender(name: str, sample: Mapping[str, Any], floor: float | None) -> str:
    ratio = f"{sample['wall'] / floor:.1f}" if floor else "–"
    cells = f"{sample['wall']:>8.1f} {ratio:>8} {sample['cpu']:>8.1f} {len(sample['walls']):>6}"
    return f"{name:<{_NAMES}} {cells}  {LACKS.get(name, '')}".rstrip()
