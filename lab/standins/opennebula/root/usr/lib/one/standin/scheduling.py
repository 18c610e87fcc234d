"""oned's side of its scheduler driver (7.x): collects waiting machines, lets the driver choose, carries out the plan.

A round starts SCHED_MAX_WND_TIME seconds after a machine began to wait, or when SCHED_MAX_WND_LENGTH of them do, and every
SCHED_RETRY_TIME seconds for those that are left. At most MAX_ACTIONS_PER_HOST deployments a host are under way at once.
Source: OpenNebula 7.4.0 src/schedm/{SchedulerManager,SchedulerManagerDriver,PlanManager}.cc.
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
from typing import Final
from xml.etree import ElementTree

from standin.bootstrap import Pools
from standin.config import Config
from standin.driver import Driver
from standin.external import SUCCESS, Said, request
from standin.lifecycle import Lifecycle
from standin.log import DEBUG, ERROR, INFO, WARNING, Log, surviving
from standin.placement import Place, Waiting, misfit, why_nowhere
from standin.pool import PoolError
from standin.states import HostState, VmState

_LEVELS: Final = {"E": ERROR, "W": WARNING, "I": INFO, "D": DEBUG}
_TICK_SECONDS: Final = 1.0


class Scheduler:
    """Does nothing without a driver: 6.10 has a daemon for this."""

    def __init__(self, pools: Pools, config: Config, lifecycle: Lifecycle, log: Log) -> None:
        self._pools = pools
        self._lifecycle = lifecycle
        self._log = log
        self._window = config.integer("SCHED_MAX_WND_TIME", default=10)
        self._length = config.integer("SCHED_MAX_WND_LENGTH", default=7)
        self._retry = config.integer("SCHED_RETRY_TIME", default=60)
        self._per_host = config.integer("MAX_ACTIONS_PER_HOST", default=1)
        self._patience = config.integer("ACTION_TIMEOUT", default=300)
        self._driver: Driver | None = None
        self._lock = threading.Lock()
        self._since = 0.0
        self._waiting = 0
        self._last = time.monotonic()
        self._planned: list[tuple[int, int, int]] = []
        self._under_way: dict[int, tuple[int, float]] = {}
        self._ended = threading.Event()

    def use(self, started: Driver) -> None:
        self._driver = started

    def start(self) -> None:
        if self._driver is not None:
            threading.Thread(target=self._tick, name="scheduler", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def wanted(self) -> None:
        """A machine began to wait."""
        with self._lock:
            self._since = self._since or time.monotonic()
            self._waiting += 1

    def settled(self, oid: int) -> None:
        """A deployment is over."""
        with self._lock:
            self._under_way.pop(oid, None)

    def take(self, line: str) -> None:
        """A line of the driver."""
        try:
            said = Said.of(line)
        except ValueError:
            self._log.warning("SCM", f"Received undefined message: {line}")
            return
        try:
            info = base64.b64decode(said.info, validate=True).decode(errors="replace")
        except binascii.Error:
            info = said.info
        if said.kind == "LOG":
            self._log.write(_LEVELS.get(said.status[:1], INFO), "SCM", info)
        elif said.kind == "PLACE" and said.status != SUCCESS:
            self._log.info("SCM", f"Scheduler place operation error: {info}")
        elif said.kind == "PLACE":
            self._take_plan(info)

    def _tick(self) -> None:
        while not self._ended.wait(_TICK_SECONDS):
            with surviving(self._log, "SCM", "scheduling"):
                now = time.monotonic()
                with self._lock:
                    due = self._since and (now >= self._since + self._window or self._waiting >= self._length)
                    if due or now >= self._last + self._retry:
                        self._since, self._waiting, self._last, due = 0.0, 0, now, True
                if due:
                    self._place()
                self._advance()

    def _place(self) -> None:
        with self._lock:
            if self._planned or self._driver is None:
                return
        machines = [each for each in self._pools.machines.pending() if each.oid not in self._under_way]
        if not machines:
            return
        places = [
            Place.of(ElementTree.fromstring(host.xml()))
            for oid in self._pools.hosts.ids()
            if (host := self._pools.hosts.get(oid)) is not None and host.state is HostState.MONITORED
        ]
        stores = self._pools.datastores.dump()
        matches: list[str] = []
        bodies: list[str] = []
        for machine in machines:
            waiting = Waiting.of(ElementTree.fromstring(machine.xml()))
            fitting = [place.oid for place in places if not misfit(waiting, place)]
            if not fitting:
                self._tell(machine.oid, f"Cannot dispatch VM: {why_nowhere(waiting, places)}")
                continue
            bodies.append(machine.xml())
            ids = "".join(f"<ID>{oid}</ID>" for oid in fitting)
            matches.append(f"<VM><ID>{machine.oid}</ID><HOSTS>{ids}</HOSTS></VM>")
        if not bodies:
            return
        hosts = "".join(ElementTree.tostring(place.element, encoding="unicode") for place in places)
        message = (
            f"<SCHEDULER_DRIVER_ACTION><VM_POOL>{''.join(bodies)}</VM_POOL><HOST_POOL>{hosts}</HOST_POOL>{stores}"
            f"<VNET_POOL/><VM_GROUP_POOL/><REQUIREMENTS>{''.join(matches)}</REQUIREMENTS></SCHEDULER_DRIVER_ACTION>"
        )
        self._driver.write(request("PLACE", 0, base64.b64encode(message.encode()).decode()))

    def _take_plan(self, xml: str) -> None:
        try:
            root = ElementTree.fromstring(xml)
        except ElementTree.ParseError:
            self._log.error("PLM", f"Error parsing plan XML:{xml}")
            return
        actions = [
            (int(each.findtext("VM_ID") or -1), int(each.findtext("HOST_ID") or -1), int(each.findtext("DS_ID") or -1))
            for each in root.iterfind("ACTION")
            if each.findtext("OPERATION") == "deploy"
        ]
        if not actions:
            self._log.debug("PLM", "Plan has no actions, skipping...")
            return
        self._log.info("PLM", "Adding new placement plan")
        with self._lock:
            self._planned.extend(actions)
        self._advance()

    def _advance(self) -> None:
        """Start what may start now."""
        now = time.monotonic()
        with self._lock:
            self._under_way = {oid: entry for oid, entry in self._under_way.items() if now < entry[1] + self._patience}
            ready: list[tuple[int, int, int]] = []
            for action in list(self._planned):
                busy = [host for host, _ in self._under_way.values()]
                if busy.count(action[1]) < self._per_host:
                    self._planned.remove(action)
                    self._under_way[action[0]] = (action[1], now)
                    ready.append(action)
        for oid, host_id, datastore_id in ready:
            self._deploy(oid, host_id, datastore_id)

    def _deploy(self, oid: int, host_id: int, datastore_id: int) -> None:
        host, datastore = self._pools.hosts.get(host_id), self._pools.datastores.get(datastore_id)
        with self._pools.machines.locked(oid) as machine:
            if machine is None or machine.state is not VmState.PENDING or host is None or datastore is None:
                self.settled(oid)
                return
            machine.user_template.erase("SCHED_MESSAGE")
            try:
                self._lifecycle.deploy(machine, host, datastore_id, datastore.tm_mad)
            except PoolError as error:
                self._tell(oid, str(error))
                self.settled(oid)

    def _tell(self, oid: int, text: str) -> None:
        self._log.error(f"VM {oid}", text)
        with self._pools.machines.locked(oid) as machine:
            if machine is not None:
                machine.user_template.replace("SCHED_MESSAGE", f"{time.ctime()}: {text}")
                self._pools.machines.update(machine)
