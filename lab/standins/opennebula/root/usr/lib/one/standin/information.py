"""oned's side of the pipe to onemonitord: tells it about hosts, takes host states and system data from it.

Without an IM_MAD driver called `monitord` hosts can still be registered; they stay INIT. Source: OpenNebula 7.4.0
src/im/InformationManager.cc.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from standin import driver
from standin.driver import Driver
from standin.hosts import Host, HostPool
from standin.lifecycle import Lifecycle
from standin.log import Log
from standin.messages import Message, MessageError, read
from standin.states import HostState
from standin.template import Template, TemplateError

_MONITORD: Final = "monitord"


class InformationManager:
    """:raises DriverError: when the executable of an IM_MAD driver is missing."""

    def __init__(
        self, vectors: list[dict[str, str]], mads: Path, hosts: HostPool, lifecycle: Lifecycle, log: Log
    ) -> None:
        self._hosts = hosts
        self._lifecycle = lifecycle
        self._log = log
        log.info("DrM", "Loading drivers.")
        self._drivers = {
            name: Driver(path, arguments, self._take, log) for name, path, arguments in driver.load(vectors, mads, log)
        }

    def start(self) -> None:
        """:raises DriverError: when onemonitord does not come up."""
        self._log.info("InM", "Starting Information Manager...")
        for each in self._drivers.values():
            each.on_restart = self._introduce
            each.start()
        self._introduce()

    def stop(self) -> None:
        for each in self._drivers.values():
            each.stop()

    def update_host(self, host: Host) -> None:
        monitor = self._drivers.get(_MONITORD)
        if monitor is not None:
            monitor.write(Message("UPDATE_HOST", "", host.oid, host.xml()).line())

    def drop_host(self, oid: int, name: str, im_mad: str) -> None:
        monitor = self._drivers.get(_MONITORD)
        if monitor is None:
            self._log.error("InM", "Could not find information driver 'monitord'")
            return
        data = Template((("NAME", name), ("IM_MAD", im_mad))).xml()
        monitor.write(Message("STOP_MONITOR", "", oid, data).line())
        monitor.write(Message("DEL_HOST", "", oid).line())

    def _introduce(self) -> None:
        monitor = self._drivers.get(_MONITORD)
        if monitor is None:
            self._log.error("InM", "Could not find information driver 'monitord'")
            return
        monitor.write(Message("HOST_LIST", "", -1, self._hosts.dump()).line())
        monitor.write(Message("RAFT_STATUS", "", -1, "SOLO").line())

    def _take(self, line: str) -> None:
        try:
            message = read(line)
        except MessageError as error:
            self._log.warning("InM", f"Received undefined message: {error}")
            return
        if message.kind == "HOST_STATE":
            self._take_state(message)
        elif message.kind == "HOST_SYSTEM":
            self._take_system(message)
        elif message.kind == "VM_STATE":
            self._take_machines(message)

    def _take_state(self, message: Message) -> None:
        word, _, cause = message.payload.partition(" ")
        try:
            state = HostState[word.upper()]
        except KeyError:
            self._log.warning("InM", f"Unable to decode host state: {word}")
            return
        with self._hosts.locked(message.oid) as host:
            if host is None or host.state in (HostState.OFFLINE, state):
                return
            if state is HostState.ERROR:
                self._log.error("ONE", host.fail(cause))
            else:
                host.state = state
            self._hosts.update(host)
            self.update_host(host)

    def _take_machines(self, message: Message) -> None:
        try:
            told = Template.parse(message.payload)
        except TemplateError as error:
            self._log.error("InM", f"Error parsing VM_STATE: {error}")
            self._log.error("InM", f"Received message was: {message.payload}")
            return
        states: dict[int, tuple[str, str]] = {}
        for vector in told.vectors("VM"):
            oid = vector.get("ID", "")
            if oid.isdigit():
                states[int(oid)] = (vector.get("STATE", ""), vector.get("DEPLOY_ID", ""))
                self._log.debug(
                    "InM",
                    f"VM_STATE update from host: {message.oid}. VM id: {oid}, state: {vector.get('STATE', '')}",
                )
        full = told.get("SYNC_STATE").upper() == "YES"
        self._lifecycle.reported(message.oid, states, told.get("MISSING_STATE") or None if full else None)

    def _take_system(self, message: Message) -> None:
        try:
            probes = Template.parse(message.payload)
        except TemplateError as error:
            self._log.error("InM", f"Error parsing monitoring template for host {message.oid}\nError: {error}")
            return
        with self._hosts.locked(message.oid) as host:
            if host is None or host.state is HostState.OFFLINE:
                return
            host.take_system(probes)
            self._hosts.update(host)
            self.update_host(host)
        self._log.debug("InM", f"Host {host.name} ({host.oid}) successfully monitored.")
