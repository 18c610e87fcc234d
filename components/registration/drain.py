"""Emptying a host: its VMs are migrated to enabled hosts of its cluster, one or two at a time, within limits.

oned judges every migration (`one.vm.migrate` with capacity enforced); here it is only decided which host is asked for,
how long a VM may take, and when a VM has arrived: a cold migration leaves the host's list long before the disks have left
the host (start_prolog_migrate in LifeCycleStates.cc), so a VM counts as gone only when it has settled elsewhere.

Not done here: VMs with SCHED_REQUIREMENTS are not moved, because only oned's scheduler reads them and it alone chooses
how; a migration is never cancelled, a failed one never repeated; nothing is saved, stopped or deleted. What stays is
returned with its reason, and goes on running.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from components.registration.client import (
    HostRecord,
    HostState,
    LcmState,
    MachineRecord,
    OnedClient,
    VmState,
)
from components.registration.clock import SYSTEM_CLOCK, Clock
from components.registration.errors import ActionRefused, Ambiguous, NotFound

AT_ONCE: Final = 2
"""Migrations of one host at the same time; the dynamic provider drains up to four hosts at once."""
POLL: Final = 2.0
LAG: Final = 15.0
"""Seconds for which a VM may be in the host's list and not in the pool: a server of the zone may lag behind another."""
LISTED: Final = 50
_NO_LIVE: Final = ("lxc",)
_NO_STATE: Final = -1
_FAILED: Final = tuple(state for state in LcmState if state.name.endswith("FAILURE"))

log = logging.getLogger("opennebula.registration")


class DrainMode(StrEnum):
    """How VMs leave a host."""

    REFUSE = "refuse"
    """They do not: somebody moves or ends them first."""
    LIVE = "live"
    COLD = "cold"
    """Shut down by their guest, moved, booted again."""


@dataclass(frozen=True, kw_only=True)
class DrainPolicy:
    """Seconds."""

    mode: DrainMode = DrainMode.REFUSE
    vm_limit: float = 300.0
    """For one VM, from the request until it has settled on the other host."""
    limit: float = 1800.0
    """For all of a host: after this no migration is begun, and nothing is waited for."""


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """A VM that stays, and why."""

    vm: MachineRecord
    reason: str

    def line(self) -> str:
        known = f" {self.vm.name} ({self.vm.state_name})" if self.vm.state != _NO_STATE else ""
        return f"\n  {self.vm.id}{known}{': ' if self.reason else ''}{self.reason}"


def listing(stuck: Sequence[Stuck]) -> str:
    """One line a VM, at most LISTED of them."""
    more = f"\n  … and {len(stuck) - LISTED} more" if len(stuck) > LISTED else ""
    return "".join(each.line() for each in stuck[:LISTED]) + more


def unknown(vm_id: int) -> Stuck:
    """A number in a host's list that no VM of oned has, and that keeps oned from deleting the host."""
    reason = "oned counts it on the host and has no such VM. Next: stop oned, `onedb fsck` mends its lists"
    return Stuck(vm=MachineRecord(id=vm_id, name="", state=_NO_STATE), reason=reason)


@dataclass
class _Move:
    """One VM on its way, or waiting until its state allows it."""

    since: float
    sent: bool = False


@dataclass
class _Room:
    """What a target has left, as far as this drain knows: oned is asked for the truth with every migration."""

    host: HostRecord
    cpu: int
    memory: int


@dataclass
class _Work:
    """One drain."""

    host_id: int
    policy: DrainPolicy
    ends: float
    rooms: list[_Room]
    moves: dict[int, _Move] = field(default_factory=dict)
    stuck: dict[int, Stuck] = field(default_factory=dict)
    missing: dict[int, float] = field(default_factory=dict)
    """Since when a VM of the host's list has not been in the pool."""

    def leave(self, vm: MachineRecord, reason: str) -> None:
        self.moves.pop(vm.id, None)
        self.stuck[vm.id] = Stuck(vm=vm, reason=reason)


class Drainer:
    """Drains hosts of one zone. Thread-safe: keeps nothing between calls."""

    def __init__(
        self, client: OnedClient, hosts: Callable[[], Collection[HostRecord]], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """`hosts` lists the zone's hosts as they are now."""
        self._client, self._hosts, self._clock = client, hosts, clock

    def look(self, host: HostRecord) -> tuple[Stuck, ...]:
        """The VMs of a host, with no reason but that they are there."""
        known = {vm.id: vm for vm in self._client.vms(host.vms)}
        return tuple(
            Stuck(vm=known[number], reason="") if number in known else unknown(number)
            for number in host.vms
            if number not in known or known[number].state != VmState.DONE
        )

    def empty(self, host: HostRecord, policy: DrainPolicy, avoid: Callable[[str], bool]) -> tuple[Stuck, ...]:
        """Move the VMs of a host that takes no new ones; what could not be moved. `avoid`: hosts by name that come last.

        Takes at most `policy.limit` and one call's patience. Raises NotFound when the host goes meanwhile.
        """
        targets = [
            each
            for each in self._hosts()
            if each.state == HostState.MONITORED
            and (each.cluster_id, each.vm_mad) == (host.cluster_id, host.vm_mad)
            and each.id != host.id
        ]
        targets.sort(key=lambda each: (avoid(each.name), -each.free_memory, each.id))
        work = _Work(
            host_id=host.id,
            policy=policy,
            ends=self._clock.monotonic() + policy.limit,
            rooms=[_Room(host=each, cpu=each.free_cpu, memory=each.free_memory) for each in targets],
        )
        while True:
            over = self._clock.monotonic() >= work.ends
            present = set(self._client.host(host.id).vms)
            waiting = (present | work.moves.keys()) - work.stuck.keys()
            if waiting:
                self._look(work, host, present, self._client.vms(waiting))
            if over or not waiting:
                return self._still_there(work, present)
            if waiting - work.stuck.keys():
                self._clock.sleep(POLL)

    def _still_there(self, work: _Work, present: set[int]) -> tuple[Stuck, ...]:
        """What was given up, less what has arrived all the same. A VM whose disks are stuck half-way is listed too."""
        now = {vm.id: vm for vm in self._client.vms(work.stuck.keys())}
        found = []
        for number, stuck in sorted(work.stuck.items()):
            vm = now.get(number)
            if vm is None or vm.state == VmState.DONE:
                found += [unknown(number)] if number in present else []
            elif not _gone(vm, work.host_id, present):
                found.append(Stuck(vm=vm, reason=stuck.reason))
        return tuple(found)

    def _look(self, work: _Work, host: HostRecord, present: set[int], vms: Sequence[MachineRecord]) -> None:
        """One look at all VMs that are neither gone nor given up."""
        now = self._clock.monotonic()
        for gone in work.moves.keys() - {vm.id for vm in vms}:
            del work.moves[gone]
        for vm in sorted(vms, key=lambda vm: vm.id):
            move = work.moves.get(vm.id)
            if _gone(vm, work.host_id, present):
                if move is not None and move.sent:
                    log.info("VM %d has left host %s for host %d", vm.id, host.name, vm.host_id)
                work.moves.pop(vm.id, None)
            elif vm.state == VmState.ACTIVE and vm.lcm_state in _FAILED:
                work.leave(vm, f"{_brief(vm.error)}. Next: mend the cause, then `onevm recover --retry {vm.id}`")
            elif move is not None and move.sent and _settled(vm) and vm.host_id == work.host_id:
                work.leave(vm, f"its migration failed: {_brief(vm.error)}. Next: `onevm show {vm.id}`, its log in oned")
            elif now >= work.ends:
                work.leave(vm, f"the limit for the host, {work.policy.limit:g} s, is over")
            elif move is not None and now - move.since >= work.policy.vm_limit:
                work.leave(vm, f"not done after {work.policy.vm_limit:g} s. Next: `onevm show {vm.id}`")
            elif move is None or not move.sent:
                self._begin(work, host, vm, now)
        for number in present - {vm.id for vm in vms if vm.state != VmState.DONE} - work.stuck.keys():
            since = work.missing.setdefault(number, now)
            if now >= work.ends or now - since >= LAG:
                work.stuck[number] = unknown(number)

    def _begin(self, work: _Work, host: HostRecord, vm: MachineRecord, now: float) -> None:
        """Send a VM away, if its turn and its state allow it."""
        if sum(move.sent for move in work.moves.values()) >= AT_ONCE:
            return
        move = work.moves.setdefault(vm.id, _Move(since=now))
        if not _settled(vm) or vm.host_id != work.host_id:
            return
        if reason := _unmovable(vm, host, work.policy.mode):
            work.leave(vm, reason)
            return
        live = work.policy.mode is DrainMode.LIVE and vm.state == VmState.ACTIVE
        refused = ""
        for room in work.rooms:
            if room.cpu < vm.cpu or room.memory < vm.memory:
                continue
            try:
                self._client.migrate(vm.id, room.host.id, live=live)
            except NotFound:
                return
            except ActionRefused as error:
                refused = error.cause
                continue
            except Ambiguous:
                log.info("VM %d: the answer to its migration is lost; the next look shows what came of it", vm.id)
            move.sent, move.since = True, now
            room.cpu, room.memory = room.cpu - vm.cpu, room.memory - vm.memory
            return
        count = len(work.rooms)
        nowhere = f"none of {count} other enabled hosts of cluster {host.cluster!r} with driver {host.vm_mad} has room"
        work.leave(vm, f"oned refuses: {_brief(refused)}" if refused else nowhere)


def _gone(vm: MachineRecord, host_id: int, present: Collection[int]) -> bool:
    """Whether a VM has left the host for good. One that oned has just accepted has the new host, but is in `present`."""
    return vm.state == VmState.DONE or (vm.host_id != host_id and vm.id not in present and _settled(vm))


def _settled(vm: MachineRecord) -> bool:
    """Whether nothing is under way with it."""
    if vm.state == VmState.ACTIVE:
        return vm.lcm_state in (LcmState.RUNNING, LcmState.UNKNOWN)
    return True


def _unmovable(vm: MachineRecord, host: HostRecord, mode: DrainMode) -> str:
    """Why a VM is not even tried."""
    if vm.state == VmState.ACTIVE and vm.lcm_state == LcmState.UNKNOWN:
        return f"oned does not know whether it runs. Next: look on the host, then `onevm show {vm.id}`"
    if vm.requirements:
        text = "has SCHED_REQUIREMENTS, which only oned's scheduler obeys"
        return f"{text}. Next: `onevm resched {vm.id}`, or `onevm migrate {vm.id} HOST`"
    if mode is DrainMode.LIVE and host.vm_mad in _NO_LIVE and vm.state == VmState.ACTIVE:
        return f"{host.vm_mad} cannot migrate live. Next: set drain.mode to cold"
    return ""


def _brief(text: str) -> str:
    return " ".join(text.split())[:300].rstrip(".") or "no error text"
