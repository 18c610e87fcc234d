"""A zone whose hosts are monitored, in simulated time: SSH replies, pushes, expired records, as onemonitord does it.

The rules are HostMonitorManager.cc's: a probe's SSH reply makes a record and the state MONITORED; pushes make records;
a host from which nothing came for `interval` seconds is probed again; an offline host gets an empty record now and
then, which `records.parse_samples` drops and which is therefore not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from components.registration.client import AdminState, HostState, Sample
from tests.registration.memory import ManualClock, MemoryOned


@dataclass(kw_only=True)
class Machine:
    """One host's real life. Times in simulated seconds."""

    push_every: float = 120.0
    pushes: bool = True
    ssh_works_from: float = 0.0
    ssh_takes: float = 2.0
    answer_due: float | None = None
    next_push: float | None = None
    last_heard: float = 0.0
    records: list[int] = field(default_factory=list)


class MonitoredZone(MemoryOned):
    def __init__(self, clock: ManualClock, interval: float = 180.0) -> None:
        super().__init__()
        self.clock, self.interval = clock, interval
        self.machines: dict[int, Machine] = {}
        clock.at_tick = self.run

    def add(self, name: str, machine: Machine | None = None, **more: object) -> int:
        host_id = self.insert(name, **more)  # type: ignore[arg-type]
        self.machines[host_id] = machine or Machine()
        if self.rows[host_id].state == HostState.INIT:
            self.probe(host_id)
        return host_id

    def probe(self, host_id: int) -> None:
        machine = self.machines[host_id]
        machine.answer_due = self.clock.now + machine.ssh_takes
        machine.last_heard = self.clock.now

    def set_state(self, host_id: int, state: AdminState) -> None:
        before = self.rows[host_id].state
        super().set_state(host_id, state)
        if state is not AdminState.OFFLINE and before == HostState.OFFLINE:
            self.probe(host_id)
        if state is AdminState.OFFLINE:
            self.machines[host_id].answer_due = self.machines[host_id].next_push = None

    def monitoring(self, seconds: int) -> tuple[Sample, ...]:
        self.calls.append(("monitoring", seconds))
        oldest = int(self.clock.now) - seconds
        return tuple(
            Sample(host_id=host_id, timestamp=stamp)
            for host_id, machine in self.machines.items()
            for stamp in machine.records
            if stamp > oldest
        )

    def run(self) -> None:
        now = self.clock.now
        for host_id, machine in self.machines.items():
            if host_id not in self.rows:
                continue
            if machine.answer_due is not None and machine.answer_due <= now:
                self._answer(host_id, machine, machine.answer_due)
            while machine.next_push is not None and machine.next_push <= now:
                self._record(machine, machine.next_push)
                machine.next_push += machine.push_every
            silent = machine.answer_due is None and now - machine.last_heard > self.interval
            if silent and self.rows[host_id].state != HostState.OFFLINE:
                self.probe(host_id)

    def _answer(self, host_id: int, machine: Machine, at: float) -> None:
        machine.answer_due = None
        machine.last_heard = at
        if at < machine.ssh_works_from:
            self.change(
                host_id, state=self._unless_disabled(host_id, HostState.ERROR), error="Host key verification failed."
            )
            return
        self.change(host_id, state=self._unless_disabled(host_id, HostState.MONITORED), error="")
        self._record(machine, at)
        machine.next_push = at + 1 if machine.pushes else None  # the client's loops start with a push

    def _unless_disabled(self, host_id: int, state: HostState) -> HostState:
        """Host::update_info and Host::error leave a disabled host disabled."""
        return HostState.DISABLED if self.rows[host_id].state == HostState.DISABLED else state

    def _record(self, machine: Machine, at: float) -> None:
        machine.records.append(int(at))
        machine.last_heard = at
