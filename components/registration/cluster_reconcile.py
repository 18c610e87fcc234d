"""The rules for clusters: look up, adopt or make, confirm, keep true, remove. No Pulumi, no transport.

As for hosts (`reconcile`): made under a lock, looked up again, exactly one row a name; a lost answer is looked for and
never sent again. A cluster is removed only while nothing is in it, which oned itself guards; oned's own cluster `default`
can be declared for its attributes and is never removed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from components.registration.clock import SYSTEM_CLOCK, Clock
from components.registration.cluster_client import FIRST_OWN_ID, ClusterClient, ClusterDetails
from components.registration.cluster_inputs import ClusterSpec
from components.registration.errors import (
    Ambiguous,
    ClusterInUse,
    ClusterTaken,
    DuplicateClusters,
    Inconsistent,
    NotFound,
)
from components.registration.lease import Locks
from components.registration.pool import Listing
from components.registration.reconcile import ALLOCATE_WITHIN
from components.registration.settle import Settle
from components.registration.spec import AdoptPolicy
from components.registration.unique import Unique

_LISTED = 20

log = logging.getLogger("opennebula.registration")


class ClusterRegistrar:
    """The rules for one zone. Thread-safe."""

    def __init__(
        self, client: ClusterClient, pool: Listing[ClusterDetails], locks: Locks, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._client, self._pool, self._locks, self._clock = client, pool, locks, clock
        self._settle = Settle(clock)
        self._rows = Unique(pool, client.cluster, DuplicateClusters)
        self._guard = threading.Lock()
        self._claimed: set[int] = set()

    def register(self, spec: ClusterSpec, adopt: AdoptPolicy) -> int:
        """Id of the one cluster of this name, made or adopted, with its attributes.

        Raises ClusterTaken when what exists may not be taken over, DuplicateClusters when the name is not unique.
        """
        record = self._rows.fresh(spec.name)
        adopted = record is not None
        if record is None:
            try:
                record = self._make(spec.name)
            except ClusterTaken as taken:
                if taken.cluster_id is None:
                    raise
                record, adopted = self._client.cluster(taken.cluster_id), True
        if adopted:
            _check_adoption(record, spec, adopt)
            log.warning("cluster %s (id %d) was there already and is taken over", record.name, record.id)
        self._bring(record, spec)
        with self._guard:
            self._claimed.add(record.id)
        return record.id

    def update(self, cluster_id: int, before: ClusterSpec, spec: ClusterSpec) -> None:
        """Change what differs from `spec`, in place. Attributes that are no longer declared are emptied."""
        record = self._client.cluster(cluster_id)
        if record.name not in (before.name, spec.name):
            raise Inconsistent(
                f"cluster {cluster_id} is called {record.name!r} and not {before.name!r}",
                "it was renamed behind the stack's back, or the number is another cluster's now",
                then="`pulumi refresh`, then `pulumi up`",
            )
        self._bring(record, spec, before.attributes.keys() - spec.attributes.keys())

    def observe(self, cluster_id: int, name: str) -> ClusterDetails | None:
        """The cluster that the state has as `name`, as it is; None when it is gone. May be some seconds old."""
        return self._rows.still(cluster_id, name)

    def remove(self, cluster_id: int, name: str) -> None:
        """Delete the cluster. Success when it is gone already; refused, with a list, while anything is in it.

        One of another name is another's: after another database the number may be anybody's. It is only forgotten.
        """
        if cluster_id < FIRST_OWN_ID:
            log.warning("cluster %s (id %d) stays: oned's own are never deleted", name, cluster_id)
            return
        with self._guard:
            if cluster_id in self._claimed:
                log.warning("cluster %s (id %d) stays: another resource has taken it over", name, cluster_id)
                return
        record = self._rows.read(cluster_id)
        if record is not None and record.name != name:
            text = "cluster %s (id %d) is only forgotten by this stack: the number is cluster %s's now"
            log.warning(text, name, cluster_id, record.name)
            return
        try:
            self._client.delete(cluster_id)
        except NotFound:
            pass
        except ClusterInUse:
            raise _in_use(self._client.cluster(cluster_id)) from None
        except Ambiguous as lost:
            self._settle.look_for(lost, lambda: self._rows.read(cluster_id) is None)
        self._pool.changed(cluster_id)

    def _make(self, name: str) -> ClusterDetails:
        """Make the cluster under its name's lock. Raises ClusterTaken with the id of whoever has the name."""
        with self._locks.hold(name):
            try:
                new_id = self._client.allocate(name, within=ALLOCATE_WITHIN)
            except Ambiguous as lost:
                self._settle.look_for(lost, lambda: self._rows.fresh(name) is not None)
                record = self._rows.fresh(name)
                if record is None:
                    raise
                return record
        return self._rows.confirmed("cluster", name, new_id, self._clock)

    def _bring(self, record: ClusterDetails, spec: ClusterSpec, cleared: Iterable[str] = ()) -> None:
        wanted = {**dict.fromkeys(cleared, ""), **spec.attributes}
        changes = {key: value for key, value in wanted.items() if record.attribute(key) != value}
        if not changes and record.name == spec.name:
            return
        self._pool.changed(record.id)
        if changes:
            self._settle.write(
                lambda: self._client.update(record.id, changes),
                lambda: all(self._client.cluster(record.id).attribute(key) == value for key, value in changes.items()),
            )
        if record.name != spec.name:
            self._settle.write(
                lambda: self._client.rename(record.id, spec.name),
                lambda: self._client.cluster(record.id).name == spec.name,
            )


def _check_adoption(record: ClusterDetails, spec: ClusterSpec, adopt: AdoptPolicy) -> None:
    what = f"cluster name {spec.name!r} is taken by cluster {record.id}"
    show = f"`onecluster show {record.id}`"
    if record.name != spec.name:
        cause = f"that one is called {record.name!r}; oned's database compares names without regard to case"
        raise ClusterTaken(what, cause, cluster_id=record.id, then=f"{show}, and spell the name alike")
    if adopt is AdoptPolicy.REFUSE:
        cause = "the policy is to take over no cluster"
        raise ClusterTaken(what, cause, cluster_id=record.id, then=f"{show}; delete it, or set adopt to `always`")


def _in_use(record: ClusterDetails) -> ClusterInUse:
    members = (("hosts", record.hosts), ("datastores", record.datastores), ("virtual networks", record.networks))
    listed = "; ".join(f"{len(ids)} {kind} ({_listed(ids)})" for kind, ids in members if ids)
    return ClusterInUse(
        f"cluster {record.name!r} (id {record.id}) is not removed",
        f"in it are {listed or 'things that oned does not list'}",
        then=f"`onecluster show {record.id}`, move them into another cluster, then repeat the command",
    )


def _listed(ids: tuple[int, ...]) -> str:
    shown = ", ".join(str(number) for number in sorted(ids)[:_LISTED])
    return f"ids {shown}, …" if len(ids) > _LISTED else f"ids {shown}"
