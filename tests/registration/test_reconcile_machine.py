"""Any history of our own and of foreign actions: the rules keep their promises after each step."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from components.registration.client import AdminState, HostState, LcmState, VmState
from components.registration.drain import DrainMode, DrainPolicy
from components.registration.errors import Ambiguous, DuplicateHosts, HostInUse, Inconsistent, NameTaken, NotFound
from components.registration.lease import ProcessLocks
from components.registration.pool import RECENT_SECONDS, Pool
from components.registration.reconcile import Registrar
from components.registration.spec import AdoptPolicy, HostSpec
from tests.registration.memory import ManualClock, MemoryOned

NAMES = strategies.sampled_from(["a-1", "b-1", "c-1"])
DRIVERS = strategies.sampled_from(["kvm", "lxc"])
LABELS = strategies.dictionaries(strategies.sampled_from(["RACK", "ROOM"]), strategies.sampled_from(["1", "2"]))
POLICIES = strategies.sampled_from(list(AdoptPolicy))
WRITES = strategies.sampled_from(["allocate", "update", "set_state", "delete", "migrate"])
DRAINS = strategies.builds(
    DrainPolicy, mode=strategies.sampled_from(list(DrainMode)), vm_limit=strategies.just(20), limit=strategies.just(50)
)
OUTCOMES = strategies.sampled_from(["arrive", "fall_back", "break_off", "hang"])


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.oned, self.clock = MemoryOned(), ManualClock()
        self.ours: dict[int, HostSpec] = {}
        """Hosts in our state file: what a register has returned and no remove has taken back."""
        self.inserted: dict[str, float] = {}
        """When somebody else last gave a host that name: a look-up may be older than that."""
        self.new_process()

    @rule()
    def new_process(self) -> None:
        self.registrar = Registrar(self.oned, Pool(self.oned, self.clock), ProcessLocks(), self.clock)

    @rule(
        name=NAMES,
        driver=DRIVERS,
        labels=LABELS,
        state=strategies.sampled_from(list(AdminState)),
        policy=POLICIES,
        drain=DRAINS,
    )
    def register(
        self,
        *,
        name: str,
        driver: str,
        labels: dict[str, str],
        state: AdminState,
        policy: AdoptPolicy,
        drain: DrainPolicy,
    ) -> None:
        spec = HostSpec(name=name, im_mad=driver, vm_mad=driver, labels=labels, state=state, owner="us")
        there = self.oned.ids(name)
        before = [self.oned.rows[number] for number in there]
        try:
            host_id = self.registrar.register(spec, policy, drain)
        except HostInUse:
            assert state is AdminState.MAINTENANCE
            assert any(self.oned.rows[number].vms for number in there) or self.broken_off()
            return
        except NameTaken:
            assert there, "a name was called taken though nobody had it"
            assert policy is not AdoptPolicy.ALWAYS
            assert [self.oned.rows[number] for number in self.oned.ids(name)] == before, "nothing foreign is touched"
            return
        except DuplicateHosts:
            assert len(there) > 1
            assert self.oned.ids(name) == there, "nothing is deleted to resolve a conflict"
            return
        except Ambiguous:
            assert len(self.oned.ids(name)) <= max(1, len(there))
            return
        if self.clock.now - self.inserted.get(name, 0.0) > RECENT_SECONDS:
            assert self.oned.ids(name) == [host_id]
        assert spec.as_seen(self.oned.rows[host_id]) == spec
        if there:
            assert policy is not AdoptPolicy.REFUSE
            # Of this one: somebody may have given another host the name since the list that was looked at.
            taken = [row.attribute("MANAGED_BY") for row in before if row.id == host_id]
            assert policy is AdoptPolicy.ALWAYS or taken in ([""], ["us"])
        self.ours[host_id] = spec

    @rule(labels=LABELS, state=strategies.sampled_from(list(AdminState)), drain=DRAINS)
    def update(self, labels: dict[str, str], state: AdminState, drain: DrainPolicy) -> None:
        for host_id, before in list(self.ours.items()):
            spec = replace(before, labels=labels, state=state)
            there = self.oned.rows.get(host_id)
            try:
                self.registrar.update(host_id, before, spec, drain)
            except (NotFound, Inconsistent, Ambiguous):
                continue
            except NameTaken:
                assert there is not None and there.attribute("MANAGED_BY") == "them"
                assert self.oned.rows[host_id] == there
                continue
            except HostInUse:
                assert state is AdminState.MAINTENANCE
                assert self.oned.rows[host_id].state != HostState.MONITORED, "nothing new comes to it"
                continue
            row = self.oned.rows[host_id]
            assert spec.as_seen(row).state is state
            assert all(row.attribute(key) == labels.get(key, "") for key in {*labels, *before.labels})
            assert row.attribute("PROBED") == "yes"
            self.ours[host_id] = spec

    @rule(name=NAMES, drain=DRAINS)
    def remove(self, name: str, drain: DrainPolicy) -> None:
        self.new_process()
        for host_id in [number for number, spec in self.ours.items() if spec.name == name]:
            others = set(self.oned.rows) - {host_id}
            before = self.oned.rows.get(host_id)
            begun = self.clock.now
            try:
                gone = self.registrar.remove(host_id, name, drain, owner="us")
            except HostInUse as error:
                assert before is not None
                assert host_id in self.oned.rows
                listed = [vm for vm in before.vms if f"  {vm} vm-{vm} (" in str(error)]
                assert listed, "those that stay are named"
                assert set(self.oned.rows[host_id].vms) <= set(listed)
                if drain.mode is DrainMode.REFUSE:
                    assert self.oned.rows[host_id] == before, "nothing was touched"
                else:
                    assert self.oned.rows[host_id].state in (HostState.DISABLED, HostState.OFFLINE)
            except Ambiguous:
                pass
            else:
                foreign = before is not None and (before.name != name or before.attribute("MANAGED_BY") == "them")
                if foreign:
                    assert self.oned.rows[host_id] == before
                else:
                    assert host_id not in self.oned.rows
                assert gone is not (foreign or (before is None and bool(self.oned.ids(name))))
                assert foreign or drain.mode is not DrainMode.REFUSE or before is None or not before.vms
                del self.ours[host_id]
            assert self.clock.now - begun <= drain.limit + 40, "bounded"
            assert others <= set(self.oned.rows)

    def broken_off(self) -> bool:
        return any(vm.lcm_state == LcmState.PROLOG_MIGRATE_FAILURE for vm in self.oned.machine_rows.values())

    @rule(data=strategies.data(), outcome=OUTCOMES)
    def a_machine(self, data: strategies.DataObject, outcome: str) -> None:
        """Somebody starts a VM; what comes of migrations from now on."""
        if self.oned.rows and len(self.oned.machine_rows) < 8:
            host_id = data.draw(strategies.sampled_from(sorted(self.oned.rows)))
            state = data.draw(strategies.sampled_from([VmState.ACTIVE, VmState.POWEROFF]))
            lcm = LcmState.RUNNING if state is VmState.ACTIVE else 0
            self.oned.run_machine(host_id, state=state, lcm_state=lcm)

        def hang(vm: int) -> None:
            self.oned.change_machine(vm, state=VmState.ACTIVE, lcm_state=4)

        self.oned.migrated = hang if outcome == "hang" else getattr(self.oned, outcome)

    @rule()
    def machines_end(self) -> None:
        for vm in self.oned.machine_rows:
            self.oned.end_machine(vm)

    @rule()
    def the_fleet_is_monitored(self) -> None:
        for host_id, row in list(self.oned.rows.items()):
            if row.state == HostState.INIT:
                self.oned.change(host_id, state=HostState.MONITORED, free_cpu=300, free_memory=10**6)

    @invariant()
    def no_machine_is_lost(self) -> None:
        for vm in self.oned.machine_rows.values():
            holders = [row.id for row in self.oned.rows.values() if vm.id in row.vms]
            assert vm.state == VmState.DONE or holders or vm.host_id not in self.oned.rows

    @rule(name=NAMES, driver=DRIVERS)
    def foreign_registration(self, name: str, driver: str) -> None:
        self.oned.insert(name, driver, driver)
        self.inserted[name] = self.clock.now

    @rule(data=strategies.data())
    def foreign_change(self, data: strategies.DataObject) -> None:
        if not self.oned.rows:
            return
        host_id = data.draw(strategies.sampled_from(sorted(self.oned.rows)))
        match data.draw(strategies.sampled_from(["delete", "rename"])):
            case "delete" if not self.oned.rows[host_id].vms:
                del self.oned.rows[host_id]
            case "rename":
                name = data.draw(NAMES)
                self.oned.change(host_id, name=name)
                self.inserted[name] = self.clock.now

    @rule(data=strategies.data())
    def another_stack_takes_over(self, data: strategies.DataObject) -> None:
        if self.oned.rows:
            host_id = data.draw(strategies.sampled_from(sorted(self.oned.rows)))
            template = {**self.oned.rows[host_id].template, "MANAGED_BY": "them"}
            self.oned.change(host_id, template=template)

    @rule(method=WRITES, executed=strategies.booleans())
    def an_answer_will_be_lost(self, method: str, executed: bool) -> None:
        self.oned.lose(method, executed=executed)

    @rule(seconds=strategies.sampled_from([1, 60]))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    @invariant()
    def probes_write(self) -> None:
        for host_id, row in list(self.oned.rows.items()):
            self.oned.change(host_id, template={**row.template, "PROBED": "yes"})


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
