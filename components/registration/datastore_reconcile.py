"""The rules for datastores: look up, adopt or allocate, confirm, keep true, remove. No Pulumi, no transport.

As for hosts (`reconcile`): oned does not guard names against simultaneous allocates, so a name is allocated under a
lock, looked up again, and must belong to exactly one row; a lost answer is looked for and never sent again; conflicts
are reported and nothing is deleted to resolve them.

Different from hosts: data lies in a datastore. Its drivers change only while it is empty, it is deleted only while it is
empty, and the three that oned's first boot makes are never deleted. oned itself guards only images: it would delete a
system datastore under running VMs, so the VMs are asked for here.

Attributes are merged, so what oned and its drivers write stays. A merge can empty an attribute but not drop it, and an
empty LIMIT_MB makes the placement optimiser of 7.x fail (it is read as a number). So an attribute that is no longer
declared is dropped by writing the whole template, as read a moment before, without it; where that template holds what
could not be written back unchanged (vectors, repeated names), the attribute is emptied instead.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable

from components.registration.clock import SYSTEM_CLOCK, Clock
from components.registration.cluster_names import ClusterNames
from components.registration.datastore_client import FIRST_OWN_ID, DatastoreClient, DatastoreRecord, DatastoreType
from components.registration.datastore_conflicts import check_adoption, check_empty
from components.registration.datastore_spec import DatastoreSpec, drivers_of, spelled
from components.registration.errors import (
    Ambiguous,
    DatastoreInUse,
    DatastoreTaken,
    DuplicateDatastores,
    Inconsistent,
    NotFound,
)
from components.registration.lease import Locks
from components.registration.pool import Listing
from components.registration.reconcile import ALLOCATE_WITHIN
from components.registration.settle import Settle
from components.registration.spec import AdoptPolicy
from components.registration.template import value_problem
from components.registration.unique import Unique

log = logging.getLogger("opennebula.registration")


class DatastoreRegistrar:
    """The rules for one zone. Thread-safe."""

    def __init__(
        self, client: DatastoreClient, pool: Listing[DatastoreRecord], locks: Locks, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._client, self._pool, self._locks, self._clock = client, pool, locks, clock
        self._settle = Settle(clock)
        self._rows = Unique(pool, client.datastore, DuplicateDatastores)
        self._clusters = ClusterNames(client.clusters)
        self._guard = threading.Lock()
        self._claimed: set[int] = set()

    def register(self, spec: DatastoreSpec, adopt: AdoptPolicy) -> int:
        """Id of the one datastore of this name, made or adopted, with all that is declared of it.

        Raises DatastoreTaken when what exists may not be taken over, DuplicateDatastores when the name is not unique,
        DatastoreInUse when taking over would change the drivers under images or VMs.
        """
        clusters = self._clusters.ids(spec.clusters)
        record = self._rows.before_making(spec.name, adopt)
        adopted = record is not None
        if record is None:
            try:
                record = self._allocate(spec, clusters[0])
            except DatastoreTaken as taken:
                if taken.datastore_id is None:
                    raise
                record = self._rows.fresh(spec.name) or self._client.datastore(taken.datastore_id)
                adopted = True
        if adopted:
            check_adoption(record, spec, adopt)
            log.warning("datastore %s (id %d) was there already and is taken over", record.name, record.id)
        self._bring(record, spec, clusters, drivers=adopted)
        with self._guard:
            self._claimed.add(record.id)
        return record.id

    def update(self, datastore_id: int, before: DatastoreSpec, spec: DatastoreSpec) -> None:
        """Change what differs from `spec`, in place. Attributes that are no longer declared are dropped."""
        record = self._client.datastore(datastore_id)
        if record.name not in (before.name, spec.name) or record.type != spec.type:
            raise Inconsistent(
                f"datastore {datastore_id} is {record.name!r} of type {record.type} and not {before.name!r} of type "
                f"{spec.type}",
                "it was changed behind the stack's back",
                then="`pulumi refresh`, then `pulumi up`",
            )
        cleared = before.attributes.keys() - spec.attributes.keys()
        drivers = datastore_id < FIRST_OWN_ID
        self._bring(record, spec, self._clusters.ids(spec.clusters), cleared=cleared, drivers=drivers)

    def observe(self, datastore_id: int, was: DatastoreSpec) -> DatastoreRecord | None:
        """The datastore that the state has as `was`, as it is; None when it is gone. May be some seconds old.

        One of another name, and another type or driver besides, is another's: nobody renames and rebuilds at once.
        """
        record = self._rows.still(datastore_id, was.name)
        if record is None or record.name == was.name:
            return record
        if (record.type, *drivers_of(record)) == (was.type, *was.drivers()):
            return record
        text = "datastore %s: its number %d is datastore %s's now, so it counts as gone"
        log.warning(text, was.name, datastore_id, record.name)
        return None

    def seen(self, spec: DatastoreSpec, record: DatastoreRecord) -> DatastoreSpec:
        """`spec` with oned's present values."""
        return spec.as_seen(record, self._clusters.name)

    def remove(self, datastore_id: int, name: str) -> None:
        """Delete the datastore. Success when it is gone already; refused, with a list, while anything is on it.

        One of another name is another's: after another database the number may be anybody's. It is only forgotten.
        """
        if datastore_id < FIRST_OWN_ID:
            log.warning("datastore %s (id %d) stays: oned's own are never deleted", name, datastore_id)
            return
        with self._guard:
            if datastore_id in self._claimed:
                log.warning("datastore %s (id %d) stays: another resource has taken it over", name, datastore_id)
                return
        record = self._rows.read(datastore_id)
        if record is None:
            return
        if record.name != name:
            text = "datastore %s (id %d) is only forgotten by this stack: the number is datastore %s's now"
            log.warning(text, name, datastore_id, record.name)
            return
        self._check_empty(record, "is not removed")
        try:
            self._client.delete(datastore_id)
        except NotFound:
            pass
        except DatastoreInUse:
            self._check_empty(self._client.datastore(datastore_id), "is not removed")
            raise
        except Ambiguous as lost:
            self._settle.look_for(lost, lambda: self._rows.read(datastore_id) is None)
        self._pool.changed(datastore_id)

    def _allocate(self, spec: DatastoreSpec, cluster_id: int) -> DatastoreRecord:
        """Make the datastore under its name's lock. Raises DatastoreTaken with the id of whoever has the name."""
        with self._locks.hold(spec.name):
            try:
                new_id = self._client.allocate(spec.template(), cluster_id, within=ALLOCATE_WITHIN)
            except Ambiguous as lost:
                self._settle.look_for(lost, lambda: self._rows.fresh(spec.name) is not None)
                record = self._rows.fresh(spec.name)
                if record is None or drivers_of(record) != spec.drivers() or record.type != spec.type:
                    raise
                return record
        return self._rows.confirmed("datastore", spec.name, new_id, self._clock)

    def _bring(
        self,
        record: DatastoreRecord,
        spec: DatastoreSpec,
        clusters: Collection[int],
        *,
        cleared: Iterable[str] = (),
        drivers: bool = False,
    ) -> None:
        """Write what differs, and only that."""
        changes = {key: value for key, value in spec.attributes.items() if record.attribute(key) != value}
        dropped = {key for key in cleared if record.attribute(key)}
        if drivers and drivers_of(record) != spec.drivers():
            self._check_empty(record, f"keeps its drivers {spelled(drivers_of(record))}")
            changes |= spec.driver_attributes()
        joined = [cluster for cluster in clusters if cluster not in record.clusters]
        left = [cluster for cluster in record.clusters if cluster not in clusters]
        enabling = record.enabled != spec.enabled
        renaming = record.name != spec.name
        if not (changes or dropped or joined or left or enabling or renaming):
            return
        self._pool.changed(record.id)
        if changes or dropped:
            self._write_template(record, changes, dropped)
        if renaming:
            self._settle.write(
                lambda: self._client.rename(record.id, spec.name), lambda: self._now(record).name == spec.name
            )
        for cluster in joined:
            self._join(record, cluster)
        for cluster in left:
            self._leave(record, cluster)
        if enabling:
            self._settle.write(
                lambda: self._client.enable(record.id, spec.enabled), lambda: self._now(record).enabled == spec.enabled
            )

    def _write_template(self, record: DatastoreRecord, changes: dict[str, str], dropped: set[str]) -> None:
        whole = {**record.template, **changes}
        kept = {key: value for key, value in whole.items() if key not in dropped}
        faithful = record.plain and not any(value_problem(value) for value in kept.values())

        def write() -> None:
            if dropped and faithful:
                self._client.update(record.id, kept, whole=True)
            else:
                self._client.update(record.id, {**changes, **dict.fromkeys(dropped, "")})

        def done() -> bool:
            now = self._now(record)
            wanted = {**changes, **dict.fromkeys(dropped, "")}
            return all(_value(now, key) == value for key, value in wanted.items())

        self._settle.write(write, done)

    def _join(self, record: DatastoreRecord, cluster: int) -> None:
        self._settle.write(lambda: self._client.join(record.id, cluster), lambda: cluster in self._now(record).clusters)

    def _leave(self, record: DatastoreRecord, cluster: int) -> None:
        self._settle.write(
            lambda: self._client.leave(record.id, cluster), lambda: cluster not in self._now(record).clusters
        )

    def _now(self, record: DatastoreRecord) -> DatastoreRecord:
        return self._client.datastore(record.id)

    def _check_empty(self, record: DatastoreRecord, but: str) -> None:
        """Raise DatastoreInUse with what is on the datastore."""
        asked = record.type == DatastoreType.SYSTEM
        check_empty(record, self._client.vms_on(record.id) if asked else (), but)


def _value(record: DatastoreRecord, key: str) -> str:
    match key:
        case "TM_MAD":
            return record.tm_mad
        case "DS_MAD":
            return record.ds_mad
        case _:
            return record.attribute(key)
