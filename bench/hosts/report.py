"""Results as a table for people, the aims beside the figures. Reads figures only; measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.hosts.plan import AIMS, LACKS, quoted

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
    lines = [f"{'':<{width}} {'measured':>10}   {'aim':>6}"]
    for aim in AIMS:
        found = figure(results, aim.figure)
        shown = "not run" if found is None else f"{found:.2f}"
        verdict = "" if found is None else "  ok" if aim.met(found) else "  MISSED"
        lines.append(f"{aim.what:<{width}} {shown:>10} {'≥' if aim.least else '≤'} {aim.limit:>6g} {aim.unit}{verdict}")
    for count, contenders in sorted(results.get("registration", {}).items(), key=lambda item: int(item[0])):
        title = f"registration of {count} hosts, seconds"
        lines += ["", f"{title:<{_NAMES}} {'create':>8} {'no-op':>8} {'destroy':>8}"]
        lines += [_row(name, operations) for name, operations in contenders.items()]
        lines += [
            _row(f"{name} (quoted)", each) for name, each in quoted(contenders).items() if str(each["hosts"]) == count
        ]
    lines += _prepared(results.get("prepared", {}))
    if samples := results.get("operations", {}).get("samples"):
        title = f"ours, tuned, {results['operations']['hosts']} hosts prepared and registered"
        lines += ["", f"{title:<{_NAMES}} {'seconds':>8} {'':8} {'CPU-s':>8}"]
        lines += [f"{what:<{_NAMES}} {each['wall']:>8.1f} {'':8} {each['cpu']:>8.1f}" for what, each in samples.items()]
    return "\n".join(lines)


def _prepared(prepared: Mapping[str, Any]) -> list[str]:
    """All contenders of the preparation."""
    contenders = prepared.get("contenders")
    if not contenders:
        return []
    wait = f", {prepared['seconds']:g} s each" if prepared.get("seconds") else ""
    title = f"{prepared['hosts']} hosts prepared{wait} and registered"
    lines = ["", f"{title:<{_NAMES}} {'seconds':>8} {'× floor':>8} {'× ours':>8} {'CPU-s':>8} {'rounds':>6}"]
    floor = contenders.get("floor", {}).get("wall")
    ours = min((each["wall"] for name, each in contenders.items() if name.startswith("ours")), default=None)
    start = {"ours, no hosts: the engine's start": prepared["engine start"]} if "engine start" in prepared else {}
    lines += [_contender(name, sample, floor, ours) for name, sample in {**contenders, **start}.items()]
    return [*lines, "seconds are medians of the rounds; CPU-s are the client's, not the hosts'"]


def _row(name: str, operations: Mapping[str, Any]) -> str:
    cells = [number(operations.get(operation)) for operation in ("create", "no-op", "destroy")]
    return f"{name:<{_NAMES}} " + " ".join(f"{'–' if cell is None else f'{cell:.1f}':>8}" for cell in cells)


def _contender(name: str, sample: Mapping[str, Any], floor: float | None, ours: float | None) -> str:
    ratios = " ".join(f"{sample['wall'] / other:>8.1f}" if other else f"{'–':>8}" for other in (floor, ours))
    cells = f"{sample['wall']:>8.1f} {ratios} {sample['cpu']:>8.1f} {len(sample['walls']):>6}"
    return f"{name:<{_NAMES}} {cells}  {LACKS.get(name, '')}".rstrip()
