"""What this program needs of oned: frozen values and a small protocol, no transport.

`OnedClient` is the seam of the package: the rules (`reconcile`, `readiness`) run against it, the pyone adapter
(`xmlrpc`) implements it for a real oned, and the tests hold an implementation in memory to the same contract. Nothing
here imports pyone or Pulumi.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final, Protocol

NO_ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType({})

RESERVED_CPU: Final = "RESERVED_CPU"
RESERVED_MEMORY: Final = "RESERVED_MEM"


class AdminState(StrEnum):
    """What an operator wants of a host. The first three in the order and with the meaning of `one.host.status`."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    OFFLINE = "offline"
    MAINTENANCE = "maintenance"
    """Disabled and without VMs. oned has no such state: it is disabled there."""

    @property
    def in_oned(self) -> AdminState:
        """The state that oned is asked for."""
        return AdminState.DISABLED if self is AdminState.MAINTENANCE else self

    @property
    def code(self) -> int:
        return list(AdminState).index(self.in_oned)


class HostState(IntEnum):
    """The states that 6.10 and 7.x really use (include/Host.h); the client libraries list dead ones as well."""

    INIT = 0
    MONITORED = 2
    ERROR = 3
    DISABLED = 4
    OFFLINE = 8


@dataclass(frozen=True, kw_only=True)
class HostRecord:
    """One host as oned reports it."""

    id: int
    name: str
    state: int
    im_mad: str
    vm_mad: str
    cluster_id: int
    cluster: str
    template: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES)
    """Single-valued attributes: labels, RESERVED_*, and what the probes wrote."""
    running_vms: int = 0
    """VMs that hold capacity: powered off and suspended ones as well."""
    vms: tuple[int, ...] = ()
    """Their ids. A VM that is being migrated live is in the lists of both hosts."""
    free_cpu: int = 0
    """What may still be placed: hundredths of a core, reservations taken off."""
    free_memory: int = 0
    """KiB."""
    error: str = ""
    """Text of the last monitoring error; oned clears it with the next good answer."""
    monitored_at: int = 0
    """Unix time of the last monitoring record, 0 for none. Only `host()` fills it: a pool answer carries none."""

    @property
    def state_name(self) -> str:
        try:
            return HostState(self.state).name
        except ValueError:
            return f"state {self.state}"

    @property
    def admin_state(self) -> AdminState:
        """The declared part of the state: whatever is neither disabled nor offline is enabled."""
        match self.state:
            case HostState.DISABLED:
                return AdminState.DISABLED
            case HostState.OFFLINE:
                return AdminState.OFFLINE
            case _:
                return AdminState.ENABLED

    def attribute(self, name: str) -> str:
        """A template attribute; absent and empty are the same, because a merge can empty a key but not remove it."""
        return self.template.get(name, "")


class VmState(IntEnum):
    """States of a VM that a drain tells apart (include/VirtualMachine.h)."""

    ACTIVE = 3
    SUSPENDED = 5
    DONE = 6
    POWEROFF = 8


class LcmState(IntEnum):
    """What an ACTIVE VM is doing, as far as a drain cares: whatever is neither of these is under way."""

    RUNNING = 3
    UNKNOWN = 16
    BOOT_FAILURE = 36
    BOOT_MIGRATE_FAILURE = 37
    PROLOG_MIGRATE_FAILURE = 38
    PROLOG_MIGRATE_POWEROFF_FAILURE = 44
    PROLOG_MIGRATE_SUSPEND_FAILURE = 46
    PROLOG_MIGRATE_UNKNOWN_FAILURE = 61


@dataclass(frozen=True, kw_only=True)
class MachineRecord:
    """One VM as oned reports it."""

    id: int
    name: str
    state: int
    lcm_state: int = 0
    host_id: int = -1
    """Of its last stay: the target, as soon as a migration is accepted."""
    cpu: int = 0
    """Hundredths of a core."""
    memory: int = 0
    """KiB."""
    requirements: str = ""
    """The owner's SCHED_REQUIREMENTS. `one.vm.migrate` does not look at them; only oned's scheduler does."""
    error: str = ""
    """Text of the last failure, for people."""

    @property
    def state_name(self) -> str:
        kind: type[IntEnum] = LcmState if self.state == VmState.ACTIVE else VmState
        number = self.lcm_state if self.state == VmState.ACTIVE else self.state
        try:
            return kind(number).name
        except ValueError:
            return f"{'LCM state' if kind is LcmState else 'state'} {number}"


@dataclass(frozen=True, kw_only=True)
class ClusterRecord:
    id: int
    name: str


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One monitoring record of a host: its probes' numbers arrived at `timestamp` (oned's clock, seconds)."""

    host_id: int
    timestamp: int


class OnedClient(Protocol):
    """The calls of one zone. All may raise the errors of `errors`; each says which are specific to it.

    Reads may be repeated by the implementation; writes never are once they may have reached oned: then they raise
    `Ambiguous` and the caller looks.
    """

    def hosts(self) -> tuple[HostRecord, ...]:
        """All hosts, one call (`one.hostpool.info`). A Raft follower may answer with the past."""

    def host(self, host_id: int) -> HostRecord:
        """One host. Raises NotFound."""

    def monitoring(self, seconds: int) -> tuple[Sample, ...]:
        """Monitoring records of all hosts that are younger than `seconds` by oned's clock, one call."""

    def clusters(self) -> tuple[ClusterRecord, ...]: ...

    def allocate(self, name: str, im_mad: str, vm_mad: str, cluster_id: int, *, within: float) -> int:
        """Register a host; returns its id. Not begun any more after `within` seconds of waiting for oned.

        Raises NameTaken with the id of the host that has the name.
        """

    def update(self, host_id: int, attributes: Mapping[str, str]) -> None:
        """Merge template attributes (append mode: attributes not named stay). Raises NotFound, Unexpressible."""

    def set_state(self, host_id: int, state: AdminState) -> None: ...

    def move(self, host_id: int, cluster_id: int) -> None:
        """Put the host into a cluster; it leaves its present one."""

    def delete(self, host_id: int) -> None:
        """Raises NotFound, HostInUse."""

    def vms(self, vm_ids: Collection[int]) -> tuple[MachineRecord, ...]:
        """These VMs, one call; one that does not exist is left out."""

    def migrate(self, vm_id: int, host_id: int, *, live: bool) -> None:
        """Send a VM to another host, where oned checks that it fits. Returns when that has begun.

        `live` False: a running VM is shut down by its guest, its disks are moved, and it boots on the other host.
        Raises NotFound, ActionRefused (no room, wrong state, other cluster).
        """
