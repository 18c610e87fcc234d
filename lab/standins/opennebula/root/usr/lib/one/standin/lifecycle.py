"""What happens to a machine from deployment to its end: which state follows which, which driver is asked on the way.

A request of the API moves a machine into a state that waits for a driver; the driver's answer moves it on. So RUNNING
follows from the answer to DEPLOY; what the probes of the host say afterwards keeps it true. Source: OpenNebula 7.4.0
src/lcm/LifeCycleStates.cc, src/dm/DispatchManagerActions.cc.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from standin import consoles, context, migration
from standin.bootstrap import Pools
from standin.config import Config
from standin.driver import Driver
from standin.external import SUCCESS, Said, request
from standin.hosts import Host
from standin.log import DEBUG, ERROR, INFO, WARNING, Log
from standin.machines import History, Machine
from standin.states import LcmState as L
from standin.states import VmState as S
from standin.steps import ACTIONS, LEADS, LEAVING, LEAVING_HOST, RETRIES, RUNNING, STEPS, TRANSFERS, step_of

_LEVELS: Final = {"E": ERROR, "W": WARNING, "I": INFO, "D": DEBUG}


class Unfit(Exception):
    """An action that the machine's state does not allow; `str()` is the text for the caller."""


class Lifecycle:
    """Moves machines. `placed` is called with every machine that starts to run and every one that cannot."""

    def __init__(self, pools: Pools, config: Config, var: Path, log: Log) -> None:
        self._pools = pools
        self._config = config
        self._vms = var / "vms"
        self._log = log
        self._drivers: dict[str, Driver] = {}
        self._transfer: Driver | None = None
        self.wanted: Callable[[], None] = lambda: None  # a machine waits for a host
        self.settled: Callable[[int], None] = lambda _oid: None  # a deployment is over, one way or the other

    def use(self, machines: Mapping[str, Driver], transfer: Driver | None) -> None:
        self._drivers, self._transfer = dict(machines), transfer

    # --- from the API ------------------------------------------------------------------------------------------------

    def deploy(self, machine: Machine, host: Host, datastore_id: int, tm_mad: str) -> None:
        """Send a PENDING, HOLD, STOPPED or UNDEPLOYED machine to a host; the caller holds its lock.

        :raises PoolError: when the cluster has no console port for it.
        """
        self._log.debug("DiM", f"Deploying VM {machine.oid}")
        consoles.assign(machine, host.cluster_id, self._pools.machines, self._config)
        now = int(time.time())
        start = {S.STOPPED: L.PROLOG_RESUME, S.UNDEPLOYED: L.PROLOG_UNDEPLOY}.get(machine.state, L.PROLOG)
        stay = History(
            machine.oid, len(machine.history), host.name, host.oid, host.cluster_id, host.vm_mad, tm_mad, datastore_id,
            stime=now, pstime=now, uid=machine.uid, gid=machine.gid,
        )  # fmt: skip
        machine.history.append(stay)
        self._occupy(machine, host.oid)
        self._enter(machine, S.ACTIVE, start)

    def migrate(self, machine: Machine, host: Host, *, live: bool, how: int) -> None:
        """Send a machine that has a host to another; the caller holds its lock and has checked its state.

        `how`: 0 saved, 1 powered off, 2 powered off at once. The machine's new stay begins here; until the old host is
        left, both count its capacity.
        """
        here = machine.history[-1]
        live = live and machine.lcm_state is L.RUNNING
        self._log.debug("DiM", f"{'Live-migrating' if live else 'Migrating'} VM {machine.oid}")
        now = int(time.time())
        action = migration.action(live=live, how=how)
        machine.history.append(migration.next_stay(here, host, len(machine.history), action, now))
        self._occupy(machine, host.oid)
        if machine.state is S.ACTIVE and machine.lcm_state is L.RUNNING:
            self._enter(machine, S.ACTIVE, L.MIGRATE if live else L.SAVE_MIGRATE, hard=how == migration.POWEROFF_HARD)
            return
        self._leave_host(machine, now)
        self._enter(machine, S.ACTIVE, migration.AT_REST[machine.state])

    def act(self, machine: Machine, action: str) -> None:
        """:raises Unfit: for an action that is unknown (empty text) or that the state does not allow."""
        wrong = Unfit(f"This action is not available for state {machine.state_name}")
        running = machine.state is S.ACTIVE and machine.lcm_state in RUNNING
        if action in ("terminate", "terminate-hard"):
            self._terminate(machine, hard=action.endswith("-hard"))
        elif action in ("hold", "release"):
            before, after = (S.PENDING, S.HOLD) if action == "hold" else (S.HOLD, S.PENDING)
            if machine.state is not before:
                raise wrong
            self._enter(machine, after, L.LCM_INIT)
        elif action == "resume":
            self._resume(machine, wrong)
        elif action in ("resched", "unresched"):
            if not running:
                raise wrong
            machine.resched = int(action == "resched")
            self._pools.machines.update(machine)
        elif action in ACTIONS:
            if not (machine.state is S.ACTIVE and machine.lcm_state in ACTIONS[action]):
                raise wrong
            if action.startswith("reboot"):
                self._machine_driver(machine, "RESET" if action.endswith("-hard") else "REBOOT")
            else:
                self._enter(machine, S.ACTIVE, LEADS[action], hard=action.endswith("-hard"))
        else:
            raise Unfit("")

    def recover(self, machine: Machine, operation: int) -> None:
        """0 failure, 1 success, 2 retry, 3 delete.

        :raises Unfit: where that makes no sense.
        """
        if operation == 3 and machine.state is not S.DONE:
            if machine.state is S.ACTIVE:
                self._enter(machine, S.ACTIVE, L.CLEANUP_DELETE)
            else:
                if machine.state in (S.POWEROFF, S.SUSPENDED):
                    self._vacate(machine)
                self._done(machine)
        elif operation == 2 and machine.state is S.ACTIVE and machine.lcm_state in RETRIES:
            self._enter(machine, S.ACTIVE, RETRIES[machine.lcm_state])
        elif operation in (0, 1) and machine.state is S.ACTIVE and machine.lcm_state in STEPS:
            self._answered(machine, ok=operation == 1, info="")
        else:
            raise Unfit(
                f"Could not perform a {'retry' if operation == 2 else 'recover operation'} on VM {machine.oid}, "
                f"wrong state {machine.state_name}."
            )

    # --- from drivers ------------------------------------------------------------------------------------------------

    def take(self, line: str) -> None:
        """A line of a VM or transfer driver."""
        try:
            said = Said.of(line)
        except ValueError:
            self._log.warning("VMM", f"Received undefined message: {line}")
            return
        if said.kind == "LOG":
            module = "VMM" if said.oid < 0 else f"VM {said.oid}"
            self._log.write(_LEVELS.get(said.status[:1], INFO), module, said.info)
            return
        with self._pools.machines.locked(said.oid) as machine:
            if machine is None or machine.state is not S.ACTIVE:
                return
            step = step_of(machine)
            expected = () if step is None else ("TRANSFER",) if step.driver in TRANSFERS else (step.driver, "CANCEL")
            if said.kind not in expected:
                return  # the answer to a reboot, or one that came too late
            self._answered(machine, ok=said.status == SUCCESS, info=said.info)

    def reported(self, host_id: int, states: Mapping[int, tuple[str, str]], missing: str | None) -> None:
        """What a host's probe says of machines: id to state and deploy id; `missing` is the state of those that a full
        report does not name.
        """
        for oid, (state, deploy_id) in states.items():
            with self._pools.machines.locked(oid) as machine:
                if machine is None:
                    self._log.warning("InM", f"Unable to find VM, id: {oid}")
                elif machine.here is not None and machine.here.hid == host_id:
                    if state == "RUNNING" and deploy_id != machine.deploy_id and machine.state is S.ACTIVE:
                        machine.deploy_id = deploy_id
                        self._pools.machines.update(machine)
                    self._believe(machine, state)
        host = self._pools.hosts.get(host_id)
        if missing is None or host is None:
            return
        for oid in host.vms - states.keys():
            with self._pools.machines.locked(oid) as machine:
                if machine is not None and machine.here is not None and machine.here.hid == host_id:
                    self._believe(machine, missing)

    def _believe(self, machine: Machine, state: str) -> None:
        if machine.state is S.POWEROFF and state == "RUNNING":
            self._log.info(f"VM {machine.oid}", "VM found again by monitor")
            self._enter(machine, S.ACTIVE, L.RUNNING)
        if machine.state is not S.ACTIVE:
            return
        if state == "RUNNING" and machine.lcm_state is L.UNKNOWN:
            self._enter(machine, S.ACTIVE, L.RUNNING)
        elif state == "UNKNOWN" and machine.lcm_state is L.RUNNING:
            self._enter(machine, S.ACTIVE, L.UNKNOWN)
        elif state == "POWEROFF" and machine.lcm_state in RUNNING:
            self._log.info(f"VM {machine.oid}", "VM running but monitor state is POWEROFF")
            self._leave_running(machine)
            self._enter(machine, S.POWEROFF, L.LCM_INIT)
        elif state == "POWEROFF" and machine.lcm_state in (L.SHUTDOWN, L.SHUTDOWN_POWEROFF, L.SHUTDOWN_UNDEPLOY):
            self._answered(machine, ok=True, info="")

    # --- moves, with the machine locked ------------------------------------------------------------------------------

    def _terminate(self, machine: Machine, *, hard: bool) -> None:
        if machine.state in (S.INIT, S.PENDING, S.HOLD):
            self._done(machine)
        elif machine.state in (S.SUSPENDED, S.POWEROFF, S.STOPPED, S.UNDEPLOYED):
            self._enter(machine, S.ACTIVE, L.EPILOG)
        elif machine.state is S.ACTIVE:
            if machine.lcm_state in RUNNING or (hard and machine.lcm_state is L.SHUTDOWN):
                self._enter(machine, S.ACTIVE, L.SHUTDOWN, hard=hard)
            elif machine.lcm_state in RETRIES:
                self._enter(machine, S.ACTIVE, L.CLEANUP_DELETE)
            else:
                text = f"Could not terminate VM {machine.oid}, wrong state {machine.state_name}."
                self._log.error("DiM", text)
                raise Unfit(text)

    def _resume(self, machine: Machine, wrong: Unfit) -> None:
        if machine.state is S.POWEROFF:
            self._enter(machine, S.ACTIVE, L.BOOT_POWEROFF)
        elif machine.state is S.SUSPENDED:
            self._enter(machine, S.ACTIVE, L.BOOT_SUSPENDED)
        elif machine.state in (S.STOPPED, S.UNDEPLOYED):
            self._enter(machine, S.PENDING, L.LCM_INIT)
        elif machine.state is S.ACTIVE and machine.lcm_state is L.UNKNOWN:
            self._enter(machine, S.ACTIVE, L.BOOT_POWEROFF)
        else:
            raise wrong

    def _answered(self, machine: Machine, *, ok: bool, info: str) -> None:
        before, step = machine.lcm_state, step_of(machine)
        now, stay = int(time.time()), machine.here
        if step is None:
            return
        if not ok:
            what = "image transfer script" if step.driver in TRANSFERS else f"driver action {step.driver}"
            machine.fail(f"Error executing {what}: {info}")
            self._log.error(f"VM {machine.oid}", f"{machine.state_name}: {info}")
        if stay is not None and ok:
            _note(stay, step.driver, now)
        if ok and step.driver in ("DEPLOY", "RESTORE"):
            machine.deploy_id = info.strip() or machine.deploy_id
            machine.user_template.erase("ERROR")
        state, lcm_state = step.after if ok else step.failed
        if before in LEAVING_HOST:
            self._moved(machine, now, ok=ok)
        elif ok and step.driver in ("SHUTDOWN", "SAVE"):
            self._leave_running(machine)
        booted = step.driver in ("DEPLOY", "RESTORE") or (step.driver == "PROLOG" and not ok)
        if state in LEAVING:
            self._vacate(machine)
            if state is not S.STOPPED:  # its port stands in its checkpoint
                consoles.release(machine)
        if state is S.DONE:
            self._done(machine)
        else:
            self._enter(machine, state, lcm_state)
        if booted:
            self.settled(machine.oid)

    def _enter(self, machine: Machine, state: S, lcm_state: L, *, hard: bool = False) -> None:
        now, stay = int(time.time()), machine.here
        machine.set(state, lcm_state)
        self._log.info(f"VM {machine.oid}", f"New state is {state.name}")
        if state is S.ACTIVE:
            self._log.info(f"VM {machine.oid}", f"New LCM state is {lcm_state.name}")
        step = step_of(machine) if state is S.ACTIVE else None
        if stay is not None and step is not None and step.driver in ("EPILOG", "KEEP", "CLEANUP"):
            stay.estime = stay.estime or now
        if stay is not None and state is S.ACTIVE and lcm_state is L.RUNNING:
            stay.rstime, stay.retime, stay.etime = stay.rstime or now, 0, 0
        self._pools.machines.update(machine)
        if state is S.PENDING:
            self.wanted()
        if step is None:
            return
        if step.driver in TRANSFERS:
            self._transfer_driver(machine, step.driver)
        else:
            self._machine_driver(machine, "CANCEL" if hard and step.driver == "SHUTDOWN" else step.driver)

    def _done(self, machine: Machine) -> None:
        machine.etime = int(time.time())
        machine.set(S.DONE)
        self._log.info(f"VM {machine.oid}", "New state is DONE")
        self._pools.machines.update(machine)

    def _leave_running(self, machine: Machine) -> None:
        if machine.here is not None:
            machine.here.retime = int(time.time())

    def _moved(self, machine: Machine, now: int, *, ok: bool) -> None:
        if ok:
            self._leave_host(machine, now)
        else:
            self._stay_after_all(machine, now)

    def _leave_host(self, machine: Machine, now: int) -> None:
        """The host before the last stay has the machine no more."""
        previous = machine.history[-2]
        previous.etime = previous.retime = now
        self._release(machine, previous.hid)

    def _stay_after_all(self, machine: Machine, now: int) -> None:
        """A migration failed before it left: the machine is where it was, in a new stay there."""
        failed, previous = machine.history[-1], machine.history[-2]
        failed.etime = previous.etime = previous.retime = now
        self._release(machine, failed.hid)
        machine.history.append(replace(previous, seq=len(machine.history), stime=now, rstime=now, retime=0, etime=0))

    def _occupy(self, machine: Machine, host_id: int) -> None:
        cpu, memory = machine.capacity
        with self._pools.hosts.locked(host_id) as host:
            if host is not None and machine.oid not in host.vms:
                host.vms.add(machine.oid)
                host.use(cpu, memory)
                self._pools.hosts.update(host)

    def _vacate(self, machine: Machine) -> None:
        stay = machine.here
        if stay is None:
            return
        stay.etime = int(time.time())
        self._release(machine, stay.hid)

    def _release(self, machine: Machine, host_id: int) -> None:
        cpu, memory = machine.capacity
        with self._pools.hosts.locked(host_id) as host:
            if host is not None and machine.oid in host.vms:
                host.vms.discard(machine.oid)
                host.use(-cpu, -memory)
                self._pools.hosts.update(host)

    # --- drivers -----------------------------------------------------------------------------------------------------

    def _transfer_driver(self, machine: Machine, step: str) -> None:
        stay = machine.here
        if stay is None or self._transfer is None:
            self._answered(machine, ok=False, info="Could not find transfer manager driver")
            return
        directory = self._vms / str(machine.oid)
        directory.mkdir(parents=True, exist_ok=True)
        system = f"{self._config.get('DATASTORE_LOCATION')}/{stay.ds_id}/{machine.oid}"
        lines: list[str] = []
        if step == "PROLOG":
            try:
                files = context.write(machine, self._pools.users.get(machine.uid), directory)
            except context.ContextError as error:
                self._answered(machine, ok=False, info=str(error))
                return
            disk = (machine.template.vector("CONTEXT") or {}).get("DISK_ID", "0")
            lines.append(f"MKDIR {stay.tm_mad} {stay.hostname}:{system} {machine.oid} {stay.ds_id}")
            if files:
                names = " ".join(str(path) for path in files)
                lines.append(
                    f"CONTEXT {stay.tm_mad} {names} {stay.hostname}:{system}/disk.{disk} {machine.oid} {stay.ds_id}"
                )
        elif step == "MOVE":
            before = machine.history[-2]
            lines.append(
                f"MV {stay.tm_mad} {before.hostname}:{system} {stay.hostname}:{system} {machine.oid} {stay.ds_id}"
            )
        elif step == "EPILOG":
            lines.append(f"DELETE {stay.tm_mad} {stay.hostname}:{system} {machine.oid} {stay.ds_id}")
        script = directory / f"transfer.{stay.seq}.{step.lower()}"
        script.write_text("".join(f"{line}\n" for line in lines))
        self._transfer.write(request("TRANSFER", machine.oid, str(script)))

    def _machine_driver(self, machine: Machine, action: str) -> None:
        leaving = machine.lcm_state in LEAVING_HOST
        stay = machine.history[-2] if leaving else machine.here
        driver = None if stay is None else self._drivers.get(stay.vm_mad)
        if stay is None or driver is None:
            name = "" if stay is None else stay.vm_mad
            self._answered(machine, ok=False, info=f"Could not find virtual machine driver {name}")
            return
        remote = f"{self._config.get('DATASTORE_LOCATION')}/{stay.ds_id}/{machine.oid}"
        local = self._vms / str(machine.oid) / f"deployment.{stay.seq}"
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_text(machine.xml())
        values = {
            "HOST": stay.hostname,
            "DEPLOY_ID": machine.deploy_id or f"one-{machine.oid}",
            "LOCAL_DEPLOYMENT_FILE": str(local),
            "REMOTE_DEPLOYMENT_FILE": f"{remote}/deployment.{stay.seq}",
            "CHECKPOINT_FILE": f"{remote}/checkpoint",
            "MIGR_HOST": machine.history[-1].hostname if leaving else "",
        }
        body = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
        message = f"<VMM_DRIVER_ACTION_DATA>{body}{machine.xml()}</VMM_DRIVER_ACTION_DATA>"
        driver.write(request(action, machine.oid, base64.b64encode(message.encode()).decode()))


def _note(stay: History, driver: str, now: int) -> None:
    """The times that the end of a step means for a stay."""
    if driver in ("PROLOG", "MOVE"):
        stay.petime = stay.rstime = now
    elif driver in ("EPILOG", "KEEP", "CLEANUP"):
        stay.eetime = now
