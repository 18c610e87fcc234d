"""What is declared of a host, and how it compares with what oned reports. Pure values and predicates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from components.registration.client import NO_ATTRIBUTES, RESERVED_CPU, RESERVED_MEMORY, AdminState, HostRecord
from components.registration.names import DEFAULT_CLUSTER, DEFAULT_CLUSTER_ID, OWNER_ATTRIBUTE


class AdoptPolicy(StrEnum):
    """What to do with a host that is already registered under the declared name."""

    REFUSE = "refuse"
    MATCHING = "matching"
    """Take it over if its drivers are the declared ones and it bears this stack's mark, or none and nobody uses it (ADR 17)."""
    ALWAYS = "always"
    """Take it over and set its drivers and owner."""


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """One declared host. `None` for a reservation or the owner: not declared, leave what is there."""

    name: str
    im_mad: str
    vm_mad: str
    cluster: str = DEFAULT_CLUSTER
    labels: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES)
    reserved_cpu: str | None = None
    reserved_memory: str | None = None
    state: AdminState = AdminState.ENABLED
    owner: str | None = None

    def attributes(self) -> dict[str, str]:
        """The template attributes that this declaration owns."""
        extra = {RESERVED_CPU: self.reserved_cpu, RESERVED_MEMORY: self.reserved_memory, OWNER_ATTRIBUTE: self.owner}
        return {**self.labels, **{name: value for name, value in extra.items() if value is not None}}

    def drivers(self) -> tuple[str, str]:
        return self.im_mad, self.vm_mad

    def as_seen(self, record: HostRecord) -> HostSpec:
        """The same declaration with oned's present values: what differs from `self` is drift.

        Only declared attributes are looked at, so what probes and other people write never shows.
        """
        default = record.cluster_id == DEFAULT_CLUSTER_ID and self.cluster == DEFAULT_CLUSTER
        return HostSpec(
            name=record.name,
            im_mad=record.im_mad,
            vm_mad=record.vm_mad,
            cluster=DEFAULT_CLUSTER if default else record.cluster,
            labels={name: record.attribute(name) for name in self.labels},
            reserved_cpu=None if self.reserved_cpu is None else record.attribute(RESERVED_CPU),
            reserved_memory=None if self.reserved_memory is None else record.attribute(RESERVED_MEMORY),
            state=self._state_seen(record),
            owner=None if self.owner is None else record.attribute(OWNER_ATTRIBUTE),
        )

    def _state_seen(self, record: HostRecord) -> AdminState:
        """A disabled host without VMs is what maintenance means; one with VMs has yet to be emptied."""
        emptied = record.admin_state is AdminState.DISABLED and not record.running_vms
        return self.state if self.state is AdminState.MAINTENANCE and emptied else record.admin_state


def drivers_of(record: HostRecord) -> tuple[str, str]:
    return record.im_mad, record.vm_mad
