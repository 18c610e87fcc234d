"""When a host is probed, and what its answers mean.

A host is probed when it is registered, when it leaves OFFLINE, and when it has been silent for MONITORING_INTERVAL_HOST
seconds. After a restart of oned nothing is probed before that interval has passed, INIT hosts included: the list of
hosts arrives before the news that this oned leads. Source: OpenNebula 7.4.0
src/monitor/src/monitor/HostMonitorManager.cc.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from xml.etree import ElementTree

from standin.log import Log
from standin.messages import Message
from standin.monitord.host import MonitoredHost
from standin.states import HostState
from standin.template import Template

_GIVE_UP_SECONDS: Final = 300
_MARK_SECONDS: Final = 600
_ORDERED: Final = frozenset({"MONITOR_VM", "SYSTEM_HOST", "STATE_VM", "EXEC_VM", "MONITOR_HOST"})


class Probe(Protocol):
    """The driver that reaches a host (one_im_ssh)."""

    def write(self, line: str) -> None: ...


class Recorder(Protocol):
    """Where monitoring rows go (history.History)."""

    def add(self, oid: int, stamp: int, probes: Template) -> bool: ...

    def add_machine(self, oid: int, stamp: int, probes: Template) -> bool: ...

    def expire(self) -> None: ...


class Manager:
    """All hosts of the zone. Safe to call from every thread."""

    def __init__(
        self,
        *,
        drivers: Mapping[str, Probe],
        client_config: str,
        history: Recorder,
        tell_oned: Callable[[Message], None],
        interval_seconds: int,
        timer_seconds: int,
        log: Log,
    ) -> None:
        self._drivers = drivers
        self._client_config = client_config
        self._history = history
        self._tell_oned = tell_oned
        self._interval = interval_seconds
        self._timer = timer_seconds
        self._log = log
        self._hosts: dict[int, MonitoredHost] = {}
        self._lock = threading.RLock()
        self._leads = False
        self._since_mark = 0

    # --- from oned ---------------------------------------------------------------------------------------------------

    def host_list(self, pool: str) -> None:
        for element in ElementTree.fromstring(pool):
            self._update(MonitoredHost.from_element(element))

    def update_host(self, body: str) -> None:
        self._update(MonitoredHost.from_element(ElementTree.fromstring(body)))

    def delete_host(self, oid: int) -> None:
        with self._lock:
            self._hosts.pop(oid, None)

    def start_monitor(self, oid: int) -> None:
        with self._lock:
            host = self._known(oid, "start_monitor")
            if host is not None and host.state is not HostState.OFFLINE:
                self._start(host)

    def stop_monitor(self, oid: int) -> None:
        with self._lock:
            host = self._known(oid, "stop_monitor")
            if host is not None:
                self._stop(host)

    def raft_status(self, state: str) -> None:
        self._log.info("HMM", f"Raft status: {state}")
        self._leads = state in ("LEADER", "SOLO")

    # --- from hosts --------------------------------------------------------------------------------------------------

    def in_order(self, kind: str, oid: int, stamp: int) -> bool:
        """Whether a message is newer than the last of its kind; remembers it if so. Without a stamp it always is."""
        if stamp == 0:
            return True
        with self._lock:
            host = self._hosts.get(oid)
            if host is None:
                self._log.warning("HMM", f"message ignored for unknown host {oid}")
                return False
            if kind in _ORDERED:
                if host.last_message.get(kind, 0) > stamp:
                    self._log.warning("HMM", f"out of order message ignored for host {oid}")
                    return False
                host.last_message[kind] = stamp
            return True

    def monitoring(self, oid: int, probes: Template) -> None:
        with self._lock:
            host = self._listening(oid, "monitor_host")
            if host is None:
                return
            now = int(time.time())
            if not self._history.add(oid, now, probes):
                self._log.error("HMM", "Unable to write monitoring to DB")
                return
            host.last_monitored, host.in_progress = now, False
        self._log.info("HMM", f"Successfully monitored host: {oid}")

    def beacon(self, oid: int) -> None:
        with self._lock:
            host = self._listening(oid, "beacon_host")
            if host is not None:
                host.last_monitored = time.time()

    def system(self, oid: int, payload: str) -> None:
        self._tell_oned(Message("HOST_SYSTEM", "SUCCESS", oid, payload))

    def machine_states(self, oid: int, payload: str) -> None:
        self._tell_oned(Message("VM_STATE", "SUCCESS", oid, payload))

    def machine(self, oid: int, probes: Template) -> None:
        """Numbers of one machine."""
        if not self._leads:
            return
        if not self._history.add_machine(oid, int(time.time()), probes):
            self._log.error("HMM", "Unable to write monitoring to DB")
            return
        self._log.info("HMM", f"Successfully monitored VM: {oid}")

    def failed(self, oid: int, cause: str) -> None:
        """A probe on the host failed: ERROR, with its cause."""
        with self._lock:
            host = self._listening(oid, "monitor_host", leading=False)
            if host is None:
                return
            host.in_progress, host.last_monitored = False, time.time()
        self._tell_oned(Message("HOST_STATE", "", oid, f"ERROR {cause}"))

    def started(self, oid: int) -> None:
        if not self._leads:
            return
        self._log.debug("HMM", f"Start monitor success, host: {oid}")
        with self._lock:
            host = self._hosts.get(oid)
            if host is not None and host.state is not HostState.OFFLINE:
                host.last_monitored, host.in_progress = time.time(), False

    def not_started(self, oid: int) -> None:
        """The host could not be reached or its client did not start: ERROR, the cause stays in monitor.log."""
        if not self._leads:
            return
        self._log.error("HMM", f"Unable to monitor host id: {oid}")
        with self._lock:
            host = self._hosts.get(oid)
            if host is None or host.state is HostState.OFFLINE:
                return
            host.in_progress = False
        self._tell_oned(Message("HOST_STATE", "", oid, "ERROR"))

    # --- by the clock ------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Every MANAGER_TIMER seconds: expire rows, probe hosts that have been silent too long."""
        self._since_mark += self._timer
        if self._since_mark >= _MARK_SECONDS:
            self._since_mark = 0
            self._log.info("HMM", "--Mark--")
        self._history.expire()
        if not self._leads:
            return
        now = time.time()
        with self._lock:
            silent = [host for host in self._hosts.values() if host.last_monitored < now - self._interval]
            for host in silent:
                if host.in_progress:
                    if now - host.last_monitored >= _GIVE_UP_SECONDS:
                        self._start(host)
                elif host.state is HostState.OFFLINE:
                    host.last_monitored = now
                    self._history.add(host.oid, int(now), Template())
                else:
                    self._start(host)

    # --- helpers, called with the lock held --------------------------------------------------------------------------

    def _update(self, new: MonitoredHost) -> None:
        with self._lock:
            host = self._hosts.get(new.oid)
            if host is None:
                self._hosts[new.oid] = new
                if new.state is HostState.INIT:
                    self._start(new)
                return
            before = host.state
            host.take(new)
            if host.state is before:
                return
            if host.state is HostState.OFFLINE:
                self._stop(host)
            elif before is HostState.OFFLINE and not host.in_progress:
                self._start(host)
            host.last_message.clear()
            self._log.debug("HMM", f"Updated Host {host.oid}, state {host.state.name}")

    def _start(self, host: MonitoredHost) -> None:
        if not self._leads:
            return
        driver = self._drivers.get(host.im_mad)
        if driver is None:
            self._log.error("HMM", f"start_monitor: Cannot find driver {host.im_mad}")
            return
        host.in_progress, host.last_monitored = True, time.time()
        self._log.debug("HMM", f"Monitoring host {host.name}({host.oid})")
        driver.write(self._action("START_MONITOR", host))

    def _stop(self, host: MonitoredHost) -> None:
        if not self._leads:
            return
        driver = self._drivers.get(host.im_mad)
        if driver is None:
            self._log.error("HMM", f"stop_monitor: Cannot find driver {host.im_mad}")
            return
        self._log.debug("HMM", f"Stopping Monitoring on host {host.name}({host.oid})")
        driver.write(self._action("STOP_MONITOR", host))
        host.in_progress = False

    def _action(self, kind: str, host: MonitoredHost) -> str:
        body = f"<MONITOR_DRIVER_ACTION>{host.xml()}{self._client_config}</MONITOR_DRIVER_ACTION>"
        return Message(kind, "", host.oid, body).line(timestamp=True)

    def _known(self, oid: int, caller: str) -> MonitoredHost | None:
        host = self._hosts.get(oid)
        if host is None:
            self._log.warning("HMM", f"{caller}: unknown host {oid}")
        return host

    def _listening(self, oid: int, caller: str, *, leading: bool = True) -> MonitoredHost | None:
        """The host, if its messages count: followers and OFFLINE hosts are not listened to."""
        if leading and not self._leads:
            return None
        host = self._known(oid, caller)
        return None if host is None or host.state is HostState.OFFLINE else host
