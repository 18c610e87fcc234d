"""Messages from hosts, by datagram, TCP or as the answer to a probe start, handed to the manager.

Nothing is authenticated: whoever knows a host's id and reaches the port is believed, and the sender's address is not
looked at. Source: OpenNebula 7.4.0 src/monitor/src/monitor/MonitorDriverProtocol.cc, include/Message.h.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final
from xml.etree import ElementTree

from standin.log import DDEBUG, DEBUG, ERROR, INFO, WARNING, Log, surviving
from standin.messages import SUCCESS, Message, MessageError, unpack
from standin.monitord.manager import Manager
from standin.monitord.rsa import PrivateKey
from standin.template import Template, TemplateError

_STARTING: Final = ("MONITOR_VM", "BEACON_HOST", "MONITOR_HOST", "SYSTEM_HOST", "STATE_VM", "EXEC_VM")
_LOG_LEVELS: Final = {"E": ERROR, "W": WARNING, "D": DEBUG}


class Protocol:
    """Reads wire lines. `key` decrypts what hosts encrypted; what is not encrypted is taken as it is."""

    def __init__(self, manager: Manager, log: Log, key: PrivateKey | None) -> None:
        self._manager = manager
        self._log = log
        self._key = key
        self._handlers: dict[str, Callable[[Message], None]] = {
            "BEACON_HOST": self._beacon_host,
            "MONITOR_HOST": self._monitor_host,
            "SYSTEM_HOST": self._system_host,
            "MONITOR_VM": self._monitor_vm,
            "STATE_VM": self._state_vm,
            "EXEC_VM": self._exec_vm,
            "START_MONITOR": self._start_monitor,
            "STOP_MONITOR": self._stop_monitor,
            "LOG": self._log_line,
        }

    def take(self, line: str) -> None:
        """One line of a driver or one message of a host; what is none, or cannot be dealt with, is logged and
        dropped.
        """
        with surviving(self._log, "MDP", "taking a message"):
            self._take(line)

    def _take(self, line: str) -> None:
        words = line.split(None, 4)
        if len(words) < 4 or words[0] not in self._handlers:
            self._log.info("MDP", f"Received UNDEFINED msg: {line[:200]}")
            return
        try:
            payload = unpack(words[4].strip() if len(words) > 4 else "-")
            message = Message(words[0], words[1], int(words[2]), self._decrypt(payload), int(words[3]))
        except (MessageError, ValueError):
            self._log.info("MDP", f"Received UNDEFINED msg: {line[:200]}")
            return
        self._log.write(DDEBUG, "MDP", f"Received {message.kind} message from host {message.oid}:\n{message.payload}")
        self._handlers[message.kind](message)

    def _decrypt(self, payload: bytes) -> str:
        plain = self._key.decrypt(payload) if self._key and payload else None
        return (payload if plain is None else plain).decode(errors="replace")

    def _beacon_host(self, message: Message) -> None:
        if message.status != SUCCESS:
            self._log.warning("MDP", f"Error condition detected on beacon for host {message.oid}: {message.payload}")
            if message.oid >= 0:
                self._manager.failed(message.oid, message.payload)
            return
        self._manager.beacon(message.oid)

    def _monitor_host(self, message: Message) -> None:
        if message.status != SUCCESS:
            self._log.warning("MDP", f"Failed to monitor host {message.oid}: {message.payload}")
            self._manager.failed(message.oid, message.payload)
            return
        if not self._manager.in_order(message.kind, message.oid, message.timestamp):
            return
        try:
            probes = Template.parse(message.payload)
        except TemplateError as error:
            self._log.error(
                "MDP",
                f"Error parsing monitoring template from host {message.oid}\n"
                f"Message: {message.payload}\nError: {error}",
            )
            self._manager.failed(message.oid, "Error parsing monitor information")
            return
        self._manager.monitoring(message.oid, probes)

    def _system_host(self, message: Message) -> None:
        if message.status != SUCCESS:
            self._log.warning("MDP", f"Failed to get system information for host {message.oid}: {message.payload}")
            self._manager.failed(message.oid, message.payload)
            return
        if self._manager.in_order(message.kind, message.oid, message.timestamp):
            self._manager.system(message.oid, message.payload)

    def _state_vm(self, message: Message) -> None:
        if message.status != SUCCESS:
            self._log.warning("MDP", f"Failed to monitor VM state for host {message.oid}: {message.payload}")
        elif self._manager.in_order(message.kind, message.oid, message.timestamp):
            self._manager.machine_states(message.oid, message.payload)

    def _exec_vm(self, message: Message) -> None:
        """Commands in guests are not modelled."""
        if message.status != SUCCESS:
            self._log.warning("MDP", f"Failed to monitor VM qemu execution for host {message.oid}: {message.payload}")
        else:
            self._manager.in_order(message.kind, message.oid, message.timestamp)

    def _monitor_vm(self, message: Message) -> None:
        if message.status != SUCCESS:
            self._log.warning("MDP", f"Failed to monitor VM for host {message.oid}: {message.payload}")
            return
        if not self._manager.in_order(message.kind, message.oid, message.timestamp):
            return
        try:
            told = Template.parse(message.payload)
            numbers = {
                int(vector["ID"]): Template.parse(base64.b64decode(vector.get("MONITOR", "")).decode(errors="replace"))
                for vector in told.vectors("VM")
                if vector.get("ID", "").isdigit()
            }
        except (TemplateError, binascii.Error) as error:
            self._log.error(
                "MDP",
                f"Error parsing VM monitoring template from host {message.oid}\n"
                f"Message: {message.payload}\nError: {error}",
            )
            return
        for oid, probes in numbers.items():
            self._manager.machine(oid, probes)

    def _start_monitor(self, message: Message) -> None:
        if message.status != SUCCESS:
            self._log.warning("MDP", f"Start monitor failed for host {message.oid}: {message.payload}")
            self._manager.not_started(message.oid)
            return
        if not message.payload.strip():
            self._manager.started(message.oid)
            return
        try:
            root = ElementTree.fromstring(message.payload)
        except ElementTree.ParseError:
            self._manager.not_started(message.oid)
            self._log.warning("MDP", f"Error parsing start message for host {message.oid}: {message.payload}")
            return
        stamp = int(root.findtext("TIMESTAMP") or 0)
        for kind in _STARTING:
            packed = root.findtext(kind)
            if packed is None:
                continue
            try:
                payload = base64.b64decode(packed).decode(errors="replace")
            except binascii.Error:
                payload = ""
            self._handlers[kind](Message(kind, SUCCESS, message.oid, payload, stamp))
        self._manager.started(message.oid)

    def _stop_monitor(self, message: Message) -> None:
        if message.status != SUCCESS:
            self._log.warning("MDP", f"Stop monitor failed for host {message.oid}: {message.payload}")

    def _log_line(self, message: Message) -> None:
        self._log.write(_LOG_LEVELS.get(message.status[:1], INFO), "MDP", message.payload)
