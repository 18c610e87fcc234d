"""The rules of registration: look up, adopt or allocate, confirm, keep true, remove. No Pulumi, no transport.

oned does not guard host names against simultaneous registration (facts: 39 of 60 races made duplicates), so a name is
registered under a lock, looked up again, and must then belong to exactly one row. An allocate whose answer is lost is
looked for and never sent again. Nothing that this program did not declare is changed, and nothing is deleted to
resolve a conflict: conflicts are reported with ids.

A number in the state does not prove whose host it is: after another database the number may be anybody's, and another stack may
have taken the host over. So name and mark (ADR 17) are looked at before every change and every removal.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from components.registration.client import AdminState, HostRecord, OnedClient
from components.registration.clock import SYSTEM_CLOCK, Clock
from components.registration.cluster_names import ClusterNames
from components.registration.drain import Drainer, DrainMode, DrainPolicy, Stuck, listing
from components.registration.errors import Ambiguous, DuplicateHosts, HostInUse, Inconsistent, NameTaken, NotFound
from components.registration.lease import Locks
from components.registration.names import OWNER_ATTRIBUTE
from components.registration.pool import Pool, Write
from components.registration.settle import LOOK_AGAIN, SETTLE, Settle
from components.registration.spec import AdoptPolicy, HostSpec, drivers_of
from components.registration.template import WRITTEN_BY_ONED
from components.registration.unique import Unique

ALLOCATE_WITHIN: Final = 15.0
"""Seconds after which an allocate is not begun any more: with its answer's time it must end before the lock does."""

NO_DRAIN: Final = DrainPolicy()

log = logging.getLogger("opennebula.registration")


class Registrar:
    """The rules for one zone. Thread-safe."""

    def __init__(self, client: OnedClient, pool: Pool, locks: Locks, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client, self._pool, self._locks, self._clock = client, pool, locks, clock
        self._settle = Settle(clock)
        self._drainer = Drainer(client, pool.fresh, clock)
        self._rows = Unique(pool, client.host, DuplicateHosts)
        self._clusters = ClusterNames(client.clusters)
        self._guard = threading.Lock()
        self._claimed: set[int] = set()
        self._started: set[int] = set()

    @property
    def started(self) -> frozenset[int]:
        """Ids of the hosts whose probes this process has started, and so with oned's present scripts and monitoring."""
        with self._guard:
            return frozenset(self._started)

    def register(self, spec: HostSpec, adopt: AdoptPolicy, drain: DrainPolicy = NO_DRAIN) -> int:
        """Id of the one host of this name, made or adopted, with all that is declared of it.

        Raises NameTaken when the policy forbids to take over what exists, DuplicateHosts when the name is not unique,
        HostInUse when an adopted host is declared in maintenance and its VMs cannot leave.
        """
        cluster_id = self._clusters.id(spec.cluster)
        record = self._rows.before_making(spec.name, adopt)
        adopted = record is not None
        if record is None:
            try:
                record = self._allocate(spec, adopt, cluster_id)
            except NameTaken as taken:
                if taken.host_id is None:
                    raise
                record = self._rows.fresh(spec.name) or self._client.host(taken.host_id)
                adopted = True
        if adopted:
            record = self._adopted(record, spec, adopt, cluster_id)
            log.warning("host %s (id %d) was registered already and is taken over", record.name, record.id)
        self._bring(record, spec, cluster_id, drain, drivers=adopted)
        with self._guard:
            self._claimed.add(record.id)
        return record.id

    def update(
        self,
        host_id: int,
        before: HostSpec,
        spec: HostSpec,
        drain: DrainPolicy = NO_DRAIN,
        adopt: AdoptPolicy = AdoptPolicy.MATCHING,
    ) -> None:
        """Change what differs from `spec`, in place. Attributes that are no longer declared are emptied.

        `before` has the owner that this stack has written last. Raises NameTaken when the host bears another's mark, unless it
        may always be adopted; HostInUse when it goes into maintenance and its VMs cannot leave.
        """
        record = self._client.host(host_id)
        if record.name != spec.name:
            raise Inconsistent(
                f"host {host_id} is called {record.name!r} and not {spec.name!r}",
                "it was renamed behind the stack's back, or the number is another host's now",
                then="`pulumi refresh`, then `pulumi up`",
            )
        if adopt is not AdoptPolicy.ALWAYS and (owner := _foreign(record, before.owner, spec.owner)):
            raise NameTaken(
                f"host {spec.name!r} (id {host_id}) is not changed",
                f"it belongs to {owner} now ({OWNER_ATTRIBUTE}), and {_mine(spec)}",
                host_id=host_id,
                then=f"`onehost show {host_id}`; take the host out of this stack's configuration, which leaves it as it is, "
                "or set its adopt to `always`, which takes it over",
            )
        cleared = before.attributes().keys() - spec.attributes().keys()
        self._bring(record, spec, self._clusters.id(spec.cluster), drain, cleared=cleared)

    def observe(
        self, host_id: int, was: HostSpec | None = None, undeclared: Callable[[str], bool] = lambda _name: True
    ) -> HostRecord | None:
        """The host as it is, None when it is gone. May be some seconds old.

        It is gone, too, when the number is another host's than `was`. One with our mark under a name that is `undeclared` was
        renamed by somebody; under a declared name it is another one of ours.
        """
        record = self._pool.row(host_id) or self._rows.read(host_id)
        if record is None or was is None or record.name == was.name:
            return record
        if was.owner and record.attribute(OWNER_ATTRIBUTE) == was.owner and undeclared(record.name):
            return record
        log.warning("host %s: its number %d is host %s's now, so it counts as gone", was.name, host_id, record.name)
        return None

    def remove(
        self,
        host_id: int,
        name: str,
        drain: DrainPolicy = NO_DRAIN,
        avoid: Callable[[str], bool] = lambda _name: False,
        owner: str | None = None,
    ) -> bool:
        """Delete the host. Success when it is gone already; with VMs on it: disable, drain, delete.

        False: a host of that name or number stays, because it is somebody else's; it is only forgotten. `owner`: the mark that this
        stack has written last. A host without any mark is taken for this stack's: it was registered before marks were written.

        oned itself refuses to delete a host with VMs, in one step with the deletion, so an empty host needs no disabling
        first. Raises HostInUse with the list of the VMs that stay: nothing was touched if `drain` forbids to move them,
        else the host is left disabled, so that nothing comes back to it until the next run. `avoid`: hosts by name that
        VMs should not be moved to.
        """
        with self._guard:
            if host_id in self._claimed:
                log.warning("host %s (id %d) stays: another resource of this run has taken it over", name, host_id)
                return False
        if not self._ours_to_remove(host_id, name, owner):
            return False
        if not self._deleted(host_id):
            try:
                self._drain(self._client.host(host_id), drain, "is not removed", avoid)
                if not self._deleted(host_id):  # somebody has deployed to it by hand since
                    record = self._client.host(host_id)
                    raise _in_use(record, self._drainer.look(record), "is not removed", drain)
            except NotFound:
                pass
        self._pool.changed(host_id)
        return True

    def _ours_to_remove(self, host_id: int, name: str, owner: str | None) -> bool:
        """Whether the number is still the host that this stack knows by it, or nobody of that name is left."""
        text = "host %s (id %d) is only forgotten by this stack, and what is prepared on it stays: %s"
        record = self._rows.read(host_id)
        if record is None:
            others = [str(row.id) for row in self._pool.fresh() if row.name == name]
            if others:
                log.warning(text, name, host_id, f"oned has it as host {', '.join(others)} now")
            return not others
        if record.name != name:
            log.warning(text, name, host_id, f"the number is host {record.name}'s now")
            return False
        if other := _foreign(record, owner):
            log.warning(text, name, host_id, f"it belongs to {other} now ({OWNER_ATTRIBUTE})")
            return False
        return True

    def _deleted(self, host_id: int) -> bool:
        """Delete a host; False while VMs are on it."""
        try:
            self._client.delete(host_id)
        except NotFound:
            pass
        except HostInUse:
            return False
        except Ambiguous as lost:
            self._settle.look_for(lost, lambda: self._rows.read(host_id) is None)
        return True

    def _drain(
        self,
        record: HostRecord,
        drain: DrainPolicy,
        consequence: str,
        avoid: Callable[[str], bool] = lambda _name: False,
    ) -> None:
        """Disable a host and move its VMs elsewhere. Raises HostInUse with what stays."""
        if drain.mode is DrainMode.REFUSE:
            if stuck := self._drainer.look(record):
                raise _in_use(record, stuck, consequence, drain)
            return
        self._pool.changed(record.id)
        if record.admin_state is AdminState.ENABLED:
            self._set_state(record.id, AdminState.DISABLED)
        log.warning("host %s (id %d) is drained of %d VMs", record.name, record.id, len(record.vms))
        if stuck := self._drainer.empty(record, drain, avoid):
            raise _in_use(record, stuck, consequence, drain)

    def _allocate(self, spec: HostSpec, adopt: AdoptPolicy, cluster_id: int) -> HostRecord:
        """Make the host under its name's lock. Raises NameTaken with the id of whoever has the name."""
        with self._pool.writing() as write:
            with self._locks.hold(spec.name):
                try:
                    host_id = self._client.allocate(
                        spec.name, spec.im_mad, spec.vm_mad, cluster_id, within=ALLOCATE_WITHIN
                    )
                except Ambiguous as lost:
                    self._settle.look_for(lost, lambda: self._rows.fresh(spec.name) is not None)
                    record = self._rows.fresh(spec.name)
                    if record is None or drivers_of(record) != spec.drivers():
                        raise
                    if adopt is AdoptPolicy.MATCHING or record.attribute(OWNER_ATTRIBUTE):
                        # Ours has neither mark nor use yet. Somebody may have been faster since the list that was looked at.
                        _check_adoption(record, spec, adopt, cluster_id)
                    return record
                self._has_started(host_id)
                if attributes := spec.attributes():
                    # Before the look at what came of it: one list then proves the name and reads the attributes back, and all who
                    # register at the moment share it. After it, whoever still writes is missed by the next ones' list. And under
                    # the lock: until its mark is there, another stack would take the host for nobody's.
                    self._write_attributes(host_id, attributes)
            return self._confirm(spec.name, host_id, write)

    def _adopted(self, record: HostRecord, spec: HostSpec, adopt: AdoptPolicy, cluster_id: int) -> HostRecord:
        """The host that is taken over, with this stack's mark. Raises NameTaken."""
        if adopt is not AdoptPolicy.MATCHING or record.attribute(OWNER_ATTRIBUTE):
            _check_adoption(record, spec, adopt, cluster_id)
            return record
        with self._locks.hold(spec.name):
            # Whoever has just allocated it holds the lock until the mark is there.
            record = self._client.host(record.id)
            _check_adoption(record, spec, adopt, cluster_id)
            if spec.owner is None or record.attribute(OWNER_ATTRIBUTE):
                return record
            self._pool.changed(record.id)
            self._write_attributes(record.id, {OWNER_ATTRIBUTE: spec.owner})
            return replace(record, template={**record.template, OWNER_ATTRIBUTE: spec.owner})

    def _confirm(self, name: str, host_id: int, write: Write) -> HostRecord:
        """The new host's row, once it is seen to be the only one of its name. A follower may lag behind its leader."""
        limit = self._clock.monotonic() + SETTLE
        while True:
            rows = {record.id: record for record in self._pool.fresh(write) if record.name == name}
            if rows.keys() == {host_id}:
                return rows[host_id]
            record = self._rows.read(host_id)
            if record is not None and record.name != name:
                # 7.1.x mixed up the answers of simultaneous allocates (OpenNebula/one #7527).
                raise Inconsistent(
                    f"oned answered id {host_id} for host {name!r}, but that is host {record.name!r}",
                    "its answers to simultaneous registrations are mixed up",
                    then="use OpenNebula 7.2 or newer; `onehost list`, then `pulumi up`",
                )
            if record is not None and rows:
                raise DuplicateHosts(name, sorted({host_id, *rows}))
            if self._clock.monotonic() >= limit:
                raise Inconsistent(
                    f"host {name!r} was registered with id {host_id} and is not listed {SETTLE:g} s later",
                    "somebody deleted it, or this server of the zone lags far behind",
                    then="`onehost list`, then `pulumi up`",
                )
            self._clock.sleep(LOOK_AGAIN)

    def _bring(
        self,
        record: HostRecord,
        spec: HostSpec,
        cluster_id: int,
        drain: DrainPolicy,
        *,
        cleared: Iterable[str] = (),
        drivers: bool = False,
    ) -> None:
        """Write what differs, and only that. Template attributes are merged, so those of the probes stay."""
        wanted = {**dict.fromkeys(cleared, ""), **spec.attributes()}
        changes = {key: value for key, value in wanted.items() if record.attribute(key) != value}
        if drivers and drivers_of(record) != spec.drivers():
            changes |= {"IM_MAD": spec.im_mad, "VM_MAD": spec.vm_mad}
        emptying = spec.state is AdminState.MAINTENANCE and record.running_vms > 0
        if (
            not changes
            and not emptying
            and record.cluster_id == cluster_id
            and record.admin_state is spec.state.in_oned
        ):
            return
        self._pool.changed(record.id)
        if changes:
            self._write_attributes(record.id, changes)
        if record.cluster_id != cluster_id:
            self._settle.write(
                lambda: self._client.move(record.id, cluster_id),
                lambda: self._client.host(record.id).cluster_id == cluster_id,
            )
        if record.admin_state is not spec.state.in_oned:
            if record.admin_state is AdminState.DISABLED and spec.state is AdminState.ENABLED:
                # oned would call it MONITORED at once and leave its old probes and remote scripts at work; monitord
                # starts probes, and so copies the scripts, only for a host that comes from OFFLINE (HostMonitorManager).
                self._set_state(record.id, AdminState.OFFLINE)
                self._has_started(record.id)
            if record.admin_state is AdminState.OFFLINE:
                self._has_started(record.id)
            self._set_state(record.id, spec.state.in_oned)
        if spec.state is AdminState.MAINTENANCE and (emptying or record.admin_state is AdminState.ENABLED):
            # Also if it was empty a moment ago: until it was disabled, VMs came to it.
            self._drain(self._client.host(record.id), drain, "is disabled, but not empty for maintenance")

    def _write_attributes(self, host_id: int, attributes: Mapping[str, str]) -> None:
        """Merged into the template, never in its place: what the probes wrote stays."""
        self._settle.write(
            lambda: self._client.update(host_id, attributes),
            lambda: all(self._client.host(host_id).attribute(key) == value for key, value in attributes.items()),
        )

    def _set_state(self, host_id: int, state: AdminState) -> None:
        self._settle.write(
            lambda: self._client.set_state(host_id, state),
            lambda: self._client.host(host_id).admin_state is state,
        )

    def _has_started(self, host_id: int) -> None:
        with self._guard:
            self._started.add(host_id)


def _in_use(record: HostRecord, stuck: Sequence[Stuck], consequence: str, drain: DrainPolicy) -> HostInUse:
    """The error that lists what stays and says how to go on, and how to go back."""
    count = len(stuck) or record.running_vms
    cause = f"{count} VM{'s run' if count != 1 else ' runs'} on it{listing(stuck)}"
    if not stuck:
        cause += ", says oned, and lists none: `onedb fsck` mends such counts"
    then = f"`onevm list -f HOST={record.name}`, migrate or terminate them"
    if drain.mode is DrainMode.REFUSE:
        then += ", or set drain.mode of the host or of fleet to live or cold"
    then += ", then repeat the command"
    if drain.mode is not DrainMode.REFUSE or consequence.startswith("is disabled"):
        cause += "\nThe host is disabled, so nothing new comes to it; these run on"
        then += f"; `onehost enable {record.id}` takes it back into service"
    return HostInUse(f"host {record.name!r} (id {record.id}) {consequence}", cause, then=then)


def _check_adoption(record: HostRecord, spec: HostSpec, adopt: AdoptPolicy, cluster_id: int) -> None:
    what = f"host name {spec.name!r} is taken by host {record.id}"
    show = f"`onehost show {record.id}`"
    if record.name != spec.name:
        cause = f"that one is called {record.name!r}; oned's database compares names without regard to case"
        raise NameTaken(what, cause, host_id=record.id, then=f"{show}, and spell the name alike")
    if adopt is AdoptPolicy.ALWAYS:
        return
    if adopt is AdoptPolicy.REFUSE:
        cause = "the policy is to take over no host"
        raise NameTaken(what, cause, host_id=record.id, then=f"{show}; delete it, or set adopt to `matching`")
    if owner := _foreign(record, spec.owner):
        # Also for a stack that marks nothing itself: what bears a mark is somebody's (ADR 17).
        raise NameTaken(
            what,
            f"it belongs to {owner} ({OWNER_ATTRIBUTE}), and {_mine(spec)}",
            host_id=record.id,
            then=f"{show}; remove it from that stack, or set adopt of this host to `always`",
        )
    if drivers_of(record) != spec.drivers():
        raise NameTaken(
            what,
            f"its drivers are {'/'.join(drivers_of(record))}, declared are {'/'.join(spec.drivers())}",
            host_id=record.id,
            then=f"{show}; correct the host's kind, or set adopt to `always`",
        )
    if not record.attribute(OWNER_ATTRIBUTE) and (traces := _traces(record, cluster_id)):
        raise NameTaken(
            what,
            f"it bears no mark of this stack ({OWNER_ATTRIBUTE}), and somebody uses it: {'; '.join(traces)}",
            host_id=record.id,
            then=f"{show}; if it is this stack's, or shall be, set adopt of this host to `always`",
        )


def _traces(record: HostRecord, cluster_id: int) -> list[str]:
    """What a run that is killed between the allocate and the mark cannot have left on a host: it is somebody else's."""
    found = []
    if record.running_vms or record.vms:
        found.append(f"{max(record.running_vms, len(record.vms))} VMs are on it")
    if record.cluster_id != cluster_id:
        found.append(f"it is in cluster {record.cluster!r}")
    if record.admin_state is not AdminState.ENABLED:
        found.append(f"it is {record.admin_state.value}")
    if written := sorted(name for name, value in record.template.items() if value and name not in WRITTEN_BY_ONED):
        found.append(f"it has {', '.join(written)}")
    return found


def _foreign(record: HostRecord, *ours: str | None) -> str:
    """The mark of a host that is none of ours; empty for a host without a mark."""
    owner = record.attribute(OWNER_ATTRIBUTE)
    return "" if owner in ours else owner


def _mine(spec: HostSpec) -> str:
    return f"this stack is {spec.owner}" if spec.owner else "this stack has no owner"
