"""oned in memory, as unguarded as the real one: names are checked and inserted without a lock across both.

Implements OnedClient. Faults are asked for by method name: `lose("allocate", executed=True)` makes the next call raise
Ambiguous after (or before) it took effect. `calls` records every call in order.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from components.registration.client import (
    AdminState,
    ClusterRecord,
    HostRecord,
    HostState,
    LcmState,
    MachineRecord,
    Sample,
    VmState,
)
from components.registration.errors import ActionRefused, Ambiguous, HostInUse, NameTaken, NotFound

Hosts = tuple[HostRecord, ...]


class ManualClock:
    """Time that passes only in `sleep`; `at_tick` runs after every step."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []
        self.at_tick: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.at_tick()


class MemoryOned:
    def __init__(self) -> None:
        self.rows: dict[int, HostRecord] = {}
        self.samples: list[Sample] = []
        self.cluster_names = {0: "default"}
        self.calls: list[tuple[object, ...]] = []
        self.machine_rows: dict[int, MachineRecord] = {}
        self.migrated: Callable[[int], object] = self.arrive
        """What comes of an accepted migration: at once, or later if the test calls `arrive`, `fall_back` or `break_off`."""
        self.in_the_race: Callable[[], object] = lambda: None
        """Runs between oned's look at the name and its insert."""
        self.lag = 0
        """So many of the next list calls are answered with the list before the last change of the set of hosts."""
        self.answers_id = -1
        """Answer the next allocate with this id instead of the right one (7.1.x)."""
        self._next = 0
        self._before: Hosts = ()
        self._lost: dict[str, deque[bool]] = {}
        self._lock = threading.Lock()

    def lose(self, method: str, *, executed: bool) -> None:
        self._lost.setdefault(method, deque()).append(executed)

    def counted(self) -> Counter[str]:
        return Counter(str(call[0]) for call in self.calls)

    def ids(self, name: str) -> list[int]:
        return [row.id for row in self.rows.values() if row.name == name]

    def insert(self, name: str, im_mad: str = "kvm", vm_mad: str = "kvm", cluster_id: int = 0, **more: object) -> int:
        with self._lock:
            self._before = tuple(self.rows.values())
            host_id, self._next = self._next, self._next + 1
            row = HostRecord(
                id=host_id,
                name=name,
                state=HostState.INIT,
                im_mad=im_mad,
                vm_mad=vm_mad,
                cluster_id=cluster_id,
                cluster=self.cluster_names[cluster_id],
                template={"RESERVED_CPU": "", "RESERVED_MEM": "", "IM_MAD": im_mad, "VM_MAD": vm_mad},
            )
            self.rows[host_id] = replace(row, **more)  # type: ignore[arg-type]
            return host_id

    def run_machine(self, host_id: int, name: str = "vm", *, cpu: int = 100, memory: int = 1024, **more: object) -> int:
        """A VM on a host, RUNNING unless `more` says otherwise."""
        vm_id = len(self.machine_rows)
        vm = MachineRecord(
            id=vm_id,
            name=f"{name}-{vm_id}",
            state=VmState.ACTIVE,
            lcm_state=LcmState.RUNNING,
            host_id=host_id,
            cpu=cpu,
            memory=memory,
        )
        self.machine_rows[vm_id] = replace(vm, **more)  # type: ignore[arg-type]
        self._hold(host_id, vm_id)
        return vm_id

    def change_machine(self, vm_id: int, **more: object) -> None:
        self.machine_rows[vm_id] = replace(self.machine_rows[vm_id], **more)  # type: ignore[arg-type]

    def end_machine(self, vm_id: int) -> None:
        for row in list(self.rows.values()):
            self._release(row.id, vm_id)
        self.change_machine(vm_id, state=VmState.DONE, lcm_state=0)

    def arrive(self, vm_id: int) -> None:
        """The migration has succeeded."""
        vm = self.machine_rows[vm_id]
        for row in list(self.rows.values()):
            if row.id != vm.host_id:
                self._release(row.id, vm_id)
        self._hold(vm.host_id, vm_id)
        if vm.state == VmState.ACTIVE:
            self.change_machine(vm_id, lcm_state=LcmState.RUNNING)

    def fall_back(self, vm_id: int) -> None:
        """The driver has failed, and oned calls the VM RUNNING where it was."""
        target = self.machine_rows[vm_id].host_id
        source = next(row.id for row in self.rows.values() if vm_id in row.vms and row.id != target)
        self._release(target, vm_id)
        self.change_machine(vm_id, host_id=source, lcm_state=LcmState.RUNNING, error="Error executing driver action")

    def break_off(self, vm_id: int) -> None:
        """A cold migration that stops while the disks are on their way."""
        self.arrive(vm_id)
        self.change_machine(vm_id, lcm_state=LcmState.PROLOG_MIGRATE_FAILURE, error="no space left on device")

    def _hold(self, host_id: int, vm_id: int) -> None:
        vm, row = self.machine_rows[vm_id], self.rows[host_id]
        if vm_id not in row.vms:
            self._set_vms(row, (*row.vms, vm_id), -vm.cpu, -vm.memory)

    def _release(self, host_id: int, vm_id: int) -> None:
        vm, row = self.machine_rows[vm_id], self.rows[host_id]
        if vm_id in row.vms:
            self._set_vms(row, tuple(each for each in row.vms if each != vm_id), vm.cpu, vm.memory)

    def _set_vms(self, row: HostRecord, vms: tuple[int, ...], cpu: int, memory: int) -> None:
        free = {"free_cpu": row.free_cpu + cpu, "free_memory": row.free_memory + memory}
        self.change(row.id, vms=vms, running_vms=len(vms), **free)

    def change(self, host_id: int, **more: object) -> None:
        with self._lock:
            self.rows[host_id] = replace(self._row(host_id), **more)  # type: ignore[arg-type]

    # ---- OnedClient

    def hosts(self) -> Hosts:
        self.calls.append(("hosts",))
        with self._lock:
            if self.lag:
                self.lag -= 1
                return self._before
            return tuple(reversed(self.rows.values()))

    def host(self, host_id: int) -> HostRecord:
        self.calls.append(("host", host_id))
        with self._lock:
            return self._row(host_id)

    def monitoring(self, seconds: int) -> tuple[Sample, ...]:
        self.calls.append(("monitoring", seconds))
        return tuple(self.samples)

    def clusters(self) -> tuple[ClusterRecord, ...]:
        self.calls.append(("clusters",))
        return tuple(ClusterRecord(id=number, name=name) for number, name in self.cluster_names.items())

    def allocate(self, name: str, im_mad: str, vm_mad: str, cluster_id: int, *, within: float) -> int:
        self.calls.append(("allocate", name))
        made: list[int] = []

        def run() -> None:
            taken = next((row.id for row in self.rows.values() if row.name.lower() == name.lower()), None)
            if taken is not None:
                raise NameTaken("register", f"NAME is already taken by HOST {taken}.", host_id=taken)
            self.in_the_race()
            made.append(self.insert(name, im_mad, vm_mad, cluster_id))

        self._write("allocate", run)
        answer, self.answers_id = (self.answers_id, -1) if self.answers_id >= 0 else (made[0], -1)
        return answer

    def update(self, host_id: int, attributes: Mapping[str, str]) -> None:
        self.calls.append(("update", host_id, dict(attributes)))

        def run() -> None:
            row = self._row(host_id)
            template = {**row.template, **attributes}
            drivers = {"im_mad": template["IM_MAD"], "vm_mad": template["VM_MAD"]}
            self.change(host_id, template=template, **drivers)

        self._write("update", run)

    def set_state(self, host_id: int, state: AdminState) -> None:
        self.calls.append(("set_state", host_id, state))
        states = {
            AdminState.ENABLED: HostState.INIT,
            AdminState.DISABLED: HostState.DISABLED,
            AdminState.OFFLINE: HostState.OFFLINE,
        }
        assert state in states, "oned knows no such state"
        self._write("set_state", lambda: self.change(host_id, state=states[state]))

    def move(self, host_id: int, cluster_id: int) -> None:
        self.calls.append(("move", host_id, cluster_id))
        if cluster_id not in self.cluster_names:
            raise ActionRefused("move", "no such cluster")
        name = self.cluster_names[cluster_id]
        self._write("move", lambda: self.change(host_id, cluster_id=cluster_id, cluster=name))

    def delete(self, host_id: int) -> None:
        self.calls.append(("delete", host_id))

        def run() -> None:
            if self._row(host_id).running_vms:
                raise HostInUse("delete", "Can not remove a host with running VMs")
            self._before = tuple(self.rows.values())
            del self.rows[host_id]

        self._write("delete", run)

    def vms(self, vm_ids: Collection[int]) -> tuple[MachineRecord, ...]:
        if not vm_ids:
            return ()
        self.calls.append(("vms", tuple(sorted(vm_ids))))
        return tuple(self.machine_rows[number] for number in sorted(vm_ids) if number in self.machine_rows)

    def migrate(self, vm_id: int, host_id: int, *, live: bool) -> None:
        self.calls.append(("migrate", vm_id, host_id, live))

        def run() -> None:
            vm, target = self.machine_rows[vm_id], self._row(host_id)
            allowed = vm.state in (VmState.POWEROFF, VmState.SUSPENDED) or (
                vm.state == VmState.ACTIVE and vm.lcm_state in (LcmState.RUNNING, LcmState.UNKNOWN)
            )
            if not allowed:
                raise ActionRefused("migrate", f"Migrate action is not available for state {vm.state_name}")
            if vm.host_id == host_id:
                raise ActionRefused("migrate", f"VM is already running on host [{host_id}]")
            if target.free_cpu < vm.cpu or target.free_memory < vm.memory:
                raise ActionRefused("migrate", f"does not fit in host [{host_id}]. Not enough memory")
            self._hold(host_id, vm_id)
            self.change_machine(vm_id, host_id=host_id)
            self.migrated(vm_id)

        self._write("migrate", run)

    def _write(self, method: str, run: Callable[[], None]) -> None:
        lost = self._lost.get(method)
        executed = lost.popleft() if lost else None
        if executed is not False:
            run()
        if executed is not None:
            raise Ambiguous(method, "the answer is lost")

    def _row(self, host_id: int) -> HostRecord:
        if host_id not in self.rows:
            raise NotFound(f"host {host_id}", f"Error getting host [{host_id}].")
        return self.rows[host_id]
