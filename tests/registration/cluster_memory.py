"""oned's clusters in memory, as unguarded as the real one: names are checked and inserted without a lock across both.

Implements ClusterClient. Faults as in `memory`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from components.registration.cluster_client import ClusterDetails
from components.registration.errors import ActionRefused, Ambiguous, ClusterInUse, ClusterTaken, NotFound


class MemoryClusters:
    def __init__(self) -> None:
        empty = {"RESERVED_CPU": "", "RESERVED_MEM": ""}
        self.rows = {0: ClusterDetails(id=0, name="default", datastores=(0, 1, 2), template=empty)}
        self.calls: list[tuple[object, ...]] = []
        self.in_the_race: Callable[[], object] = lambda: None
        self._next = 100
        self._lost: dict[str, deque[bool]] = {}

    def lose(self, method: str, *, executed: bool) -> None:
        self._lost.setdefault(method, deque()).append(executed)

    def counted(self) -> Counter[str]:
        return Counter(str(call[0]) for call in self.calls)

    def ids(self, name: str) -> list[int]:
        return [row.id for row in self.rows.values() if row.name == name]

    def insert(self, name: str, **more: object) -> int:
        row = ClusterDetails(id=self._next, name=name, template={"RESERVED_CPU": "", "RESERVED_MEM": ""})
        self.rows[row.id] = replace(row, **more)  # type: ignore[arg-type]
        self._next += 1
        return row.id

    def change(self, cluster_id: int, **more: object) -> None:
        self.rows[cluster_id] = replace(self._row(cluster_id), **more)  # type: ignore[arg-type]

    # ---- ClusterClient

    def all_clusters(self) -> tuple[ClusterDetails, ...]:
        self.calls.append(("all_clusters",))
        return tuple(reversed(self.rows.values()))

    def cluster(self, cluster_id: int) -> ClusterDetails:
        self.calls.append(("cluster", cluster_id))
        return self._row(cluster_id)

    def allocate(self, name: str, *, within: float) -> int:
        self.calls.append(("allocate", name))
        made: list[int] = []

        def run() -> None:
            taken = next((row.id for row in self.rows.values() if row.name.lower() == name.lower()), None)
            if taken is not None:
                raise ClusterTaken("make", f"NAME is already taken by CLUSTER {taken}.", cluster_id=taken)
            self.in_the_race()
            made.append(self.insert(name))

        self._write("allocate", run)
        return made[0]

    def update(self, cluster_id: int, attributes: Mapping[str, str]) -> None:
        self.calls.append(("update", cluster_id, dict(attributes)))
        self._write(
            "update",
            lambda: self.change(cluster_id, template={**self._row(cluster_id).template, **attributes}),
        )

    def rename(self, cluster_id: int, name: str) -> None:
        self.calls.append(("rename", cluster_id, name))
        self._write("rename", lambda: self.change(cluster_id, name=name))

    def delete(self, cluster_id: int) -> None:
        self.calls.append(("delete", cluster_id))

        def run() -> None:
            row = self._row(cluster_id)
            if cluster_id < 100:
                raise ActionRefused("delete", "System Clusters (ID < 100) cannot be deleted.")
            if row.hosts or row.datastores or row.networks:
                raise ClusterInUse("delete", f"Cluster {cluster_id} is not empty")
            del self.rows[cluster_id]

        self._write("delete", run)

    def _write(self, method: str, run: Callable[[], None]) -> None:
        lost = self._lost.get(method)
        executed = lost.popleft() if lost else None
        if executed is not False:
            run()
        if executed is not None:
            raise Ambiguous(method, "the answer is lost")

    def _row(self, cluster_id: int) -> ClusterDetails:
        if cluster_id not in self.rows:
            raise NotFound(f"cluster {cluster_id}", f"Error getting cluster [{cluster_id}].")
        return self.rows[cluster_id]
