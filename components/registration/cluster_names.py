"""Clusters by name and by number, as declarations and answers need them. Asked once, and again for an unknown one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from components.registration.client import ClusterRecord
from components.registration.errors import NotFound
from components.registration.names import DEFAULT_CLUSTER, DEFAULT_CLUSTER_ID


class ClusterNames:
    """Thread-safe. `read` is the call that lists all clusters; the default one is known without it."""

    def __init__(self, read: Callable[[], tuple[ClusterRecord, ...]]) -> None:
        self._read = read
        self._guard = threading.Lock()
        self._known: dict[str, int] = {}

    def id(self, name: str) -> int:
        """Raises NotFound for a cluster that oned does not have."""
        if name == DEFAULT_CLUSTER:
            return DEFAULT_CLUSTER_ID
        with self._guard:
            if name not in self._known:
                self._look()
            if name not in self._known:
                known = f"it knows {', '.join(sorted(self._known))}"
                then = f"`onecluster create {name}`, then `pulumi up`"
                raise NotFound(f"no cluster {name!r} in oned", known, then=then)
            return self._known[name]

    def ids(self, names: Collection[str]) -> list[int]:
        """In order of their numbers. Raises NotFound."""
        return sorted(self.id(name) for name in names)

    def name(self, number: int) -> str:
        """A cluster's name; its number where it has none any more."""
        if number == DEFAULT_CLUSTER_ID:
            return DEFAULT_CLUSTER
        with self._guard:
            if number not in self._known.values():
                self._look()
            return next((name for name, cluster in self._known.items() if cluster == number), str(number))

    def _look(self) -> None:
        self._known = {cluster.name: cluster.id for cluster in self._read()}
