"""oned's datastores in memory, as unguarded as the real one: names are checked and inserted without a lock across both.

Implements DatastoreClient; what oned adds to templates and what it guards (images, not VMs) is that of 7.4, as
tests/contract/test_datastore_calls.py shows it. Faults as in `memory`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from components.registration.client import ClusterRecord
from components.registration.datastore_client import DatastoreRecord, DatastoreType
from components.registration.errors import ActionRefused, Ambiguous, DatastoreInUse, DatastoreTaken, NotFound

Rows = tuple[DatastoreRecord, ...]
TYPES = {kind.word: kind.value for kind in DatastoreType}
DRIVERS = {"TYPE", "TM_MAD", "DS_MAD"}


class MemoryDatastores:
    def __init__(self) -> None:
        self.rows: dict[int, DatastoreRecord] = {}
        self.vms: dict[int, int] = {}
        """System datastore by VM."""
        self.cluster_names = {0: "default"}
        self.calls: list[tuple[object, ...]] = []
        self.in_the_race: Callable[[], object] = lambda: None
        """Runs between oned's look at the name and its insert."""
        self._next = 0
        self._lost: dict[str, deque[bool]] = {}
        for name, kind in (("system", "SYSTEM_DS"), ("default", "IMAGE_DS"), ("files", "FILE_DS")):
            self.insert(name, kind)
        self._next = 100

    def lose(self, method: str, *, executed: bool) -> None:
        self._lost.setdefault(method, deque()).append(executed)

    def counted(self) -> Counter[str]:
        return Counter(str(call[0]) for call in self.calls)

    def ids(self, name: str) -> list[int]:
        return [row.id for row in self.rows.values() if row.name == name]

    def insert(self, name: str, kind: str = "IMAGE_DS", driver: str = "local", cluster_id: int = 0) -> int:
        template = {"TYPE": kind, "TM_MAD": driver} | ({} if kind == "SYSTEM_DS" else {"DS_MAD": "fs"})
        return self._insert(name, template, cluster_id)

    def change(self, datastore_id: int, **more: object) -> None:
        self.rows[datastore_id] = replace(self._row(datastore_id), **more)  # type: ignore[arg-type]

    # ---- DatastoreClient

    def datastores(self) -> Rows:
        self.calls.append(("datastores",))
        return tuple(reversed(self.rows.values()))

    def datastore(self, datastore_id: int) -> DatastoreRecord:
        self.calls.append(("datastore", datastore_id))
        return self._row(datastore_id)

    def clusters(self) -> tuple[ClusterRecord, ...]:
        self.calls.append(("clusters",))
        return tuple(ClusterRecord(id=number, name=name) for number, name in self.cluster_names.items())

    def vms_on(self, datastore_id: int) -> tuple[int, ...]:
        self.calls.append(("vms_on", datastore_id))
        return tuple(vm for vm, place in self.vms.items() if place == datastore_id)

    def allocate(self, attributes: Mapping[str, str], cluster_id: int, *, within: float) -> int:
        name = attributes["NAME"]
        self.calls.append(("allocate", name))
        made: list[int] = []

        def run() -> None:
            taken = next((row.id for row in self.rows.values() if row.name.lower() == name.lower()), None)
            if taken is not None:
                text = f"NAME is already taken by DATASTORE {taken}."
                raise DatastoreTaken("make", text, datastore_id=taken)
            self.in_the_race()
            rest = {key: value for key, value in attributes.items() if key != "NAME"}
            made.append(self._insert(name, rest, cluster_id))

        self._write("allocate", run)
        return made[0]

    def update(self, datastore_id: int, attributes: Mapping[str, str], *, whole: bool = False) -> None:
        self.calls.append(("replace" if whole else "update", datastore_id, dict(attributes)))

        def run() -> None:
            row = self._row(datastore_id)
            self._store(row, dict(attributes) if whole else {**row.template, **attributes}, whole=whole)

        self._write("update", run)

    def rename(self, datastore_id: int, name: str) -> None:
        self.calls.append(("rename", datastore_id, name))

        def run() -> None:
            if any(row.name.lower() == name.lower() and row.id != datastore_id for row in self.rows.values()):
                raise ActionRefused("rename", "it collides")
            self.change(datastore_id, name=name)

        self._write("rename", run)

    def enable(self, datastore_id: int, enabled: bool) -> None:
        self.calls.append(("enable", datastore_id, enabled))

        def run() -> None:
            if self._row(datastore_id).type != DatastoreType.SYSTEM:
                raise ActionRefused("enable", "Only SYSTEM_DS can be disabled or enabled")
            self.change(datastore_id, enabled=enabled)

        self._write("enable", run)

    def join(self, datastore_id: int, cluster_id: int) -> None:
        self.calls.append(("join", datastore_id, cluster_id))

        def run() -> None:
            self.change(datastore_id, clusters=tuple(sorted({*self._row(datastore_id).clusters, cluster_id})))

        self._write("join", run)

    def leave(self, datastore_id: int, cluster_id: int) -> None:
        self.calls.append(("leave", datastore_id, cluster_id))

        def run() -> None:
            self.change(datastore_id, clusters=tuple(sorted({*self._row(datastore_id).clusters} - {cluster_id})))

        self._write("leave", run)

    def delete(self, datastore_id: int) -> None:
        self.calls.append(("delete", datastore_id))

        def run() -> None:
            if self._row(datastore_id).images:
                raise DatastoreInUse("delete", f"Datastore {datastore_id} is not empty.")
            del self.rows[datastore_id]

        self._write("delete", run)

    def _insert(self, name: str, template: Mapping[str, str], cluster_id: int) -> int:
        number, self._next = self._next, self._next + 1
        row = DatastoreRecord(id=number, name=name, type="", ds_mad="", tm_mad="", clusters=(cluster_id,))
        if not template.get("SAFE_DIRS") and not template.get("RESTRICTED_DIRS"):
            template = {**template, "SAFE_DIRS": "/var/tmp", "RESTRICTED_DIRS": "/"}
        self._store(row, dict(template), whole=False)
        return number

    def _store(self, row: DatastoreRecord, template: dict[str, str], *, whole: bool) -> None:
        """As Datastore::post_update_template: the drivers' own attributes come back, whatever was written."""
        kept = {key: row.template[key] for key in DRIVERS if key in row.template}
        template = {**kept, **template, "CLONE_TARGET": "SYSTEM", "ALLOW_ORPHANS": "FORMAT"}
        self.rows[row.id] = replace(
            row,
            type=TYPES[template["TYPE"]],
            ds_mad=template.get("DS_MAD", ""),
            tm_mad=template["TM_MAD"],
            template=template,
            plain=whole or row.plain,
        )

    def _write(self, method: str, run: Callable[[], None]) -> None:
        lost = self._lost.get(method)
        executed = lost.popleft() if lost else None
        if executed is not False:
            run()
        if executed is not None:
            raise Ambiguous(method, "the answer is lost")

    def _row(self, datastore_id: int) -> DatastoreRecord:
        if datastore_id not in self.rows:
            raise NotFound(f"datastore {datastore_id}", f"Error getting datastore [{datastore_id}].")
        return self.rows[datastore_id]
