"""Two sets of edges compared port by port: nothing is left out because nobody asks for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable

from policy.edges import NONE, Edge, Ranges, union


def unlike(found: Iterable[Edge], expected: Iterable[Edge], ours: Container[str]) -> list[str]:
    """A line for every pair and protocol that has other ports than expected, edges with an end in `ours` alone."""
    have, want = _ports(found, ours), _ports(expected, ours)
    return [
        f"{client} → {server} {protocol}: allowed {_shown(have.get(key, NONE))}, declared {_shown(want.get(key, NONE))}"
        for key in sorted(have.keys() | want.keys())
        if have.get(key, NONE) != want.get(key, NONE)
        for client, server, protocol in (key,)
    ]


def _ports(several: Iterable[Edge], ours: Container[str]) -> dict[tuple[str, str, str], Ranges]:
    """However the ports were cut into edges."""
    found: dict[tuple[str, str, str], Ranges] = defaultdict(tuple)
    for edge in several:
        if edge.client in ours or edge.server in ours:
            key = (edge.client, edge.server, edge.protocol)
            found[key] = union(found[key], ((edge.first, edge.last),))
    return dict(found)


def _shown(ranges: Ranges) -> str:
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges) or "nothing"
