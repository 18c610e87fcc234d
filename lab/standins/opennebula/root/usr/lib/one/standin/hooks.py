"""What oned tells the hook manager: every API call that changes something, every new state of a machine or a host. And
what it is told: how a hook's execution ended.

Messages are XML in base64; what they are published under is the driver's matter (`hook_driver`). Source: OpenNebula 7.4.0
src/hm/{HookManager,HookAPI,HookStateVM,HookStateHost}.cc.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from standin.database import SqlError
from standin.driver import Driver
from standin.external import Said, request
from standin.hook_objects import HookPool
from standin.hosts import Host
from standin.log import Log
from standin.machines import Machine
from standin.xmlrpc_codec import Param

_READS: Final = (".info", ".infoextended", ".infoset", ".monitoring", ".raftstatus", ".accounting", ".showback")
_HOST_WORDS: Final = {
    "INIT": "INIT",
    "MONITORED": "MONITORED",
    "ERROR": "ERROR",
    "DISABLED": "DISABLED",
    "OFFLINE": "OFFLINE",
}


class Hooks:
    """Silent without a driver. `pool` keeps results of executions."""

    def __init__(self, pool: HookPool, log: Log) -> None:
        self._pool = pool
        self._log = log
        self._driver: Driver | None = None

    def use(self, started: Driver) -> None:
        self._driver = started

    def take(self, line: str) -> None:
        """A line of the driver: `EXECUTE <result> <hook> <code> <what came of it, XML in base64>`."""
        try:
            said = Said.of(line)
            if said.kind != "EXECUTE":
                return
            code, _, packed = said.info.partition(" ")
            result = base64.b64decode(packed).decode(errors="replace")
            self._pool.record(said.oid, int(code), result)
        except (ValueError, SqlError) as error:
            self._log.error("HKM", f"Wrong or lost result of a hook: {error}")

    def called(self, name: str, arguments: Sequence[Param], answer: Sequence[Param]) -> None:
        """An answered call; those that only read are nobody's event."""
        if name.endswith(_READS) or name.startswith("one.system."):
            return
        given = "".join(_parameter(index, "IN", value) for index, value in enumerate(arguments, start=1))
        returned = "".join(_parameter(index, "OUT", value) for index, value in enumerate(answer, start=1))
        self._send(
            f"<HOOK_TYPE>API</HOOK_TYPE><CALL>{name}</CALL><CALL_INFO><RESULT>{int(answer[0] is True)}</RESULT>"
            f"<PARAMETERS>{given}{returned}</PARAMETERS><EXTRA></EXTRA></CALL_INFO>"
        )

    def machine(self, machine: Machine) -> None:
        """A machine has a new state."""
        service = machine.user_template.get("SERVICE_ID")
        stay = machine.here
        self._send(
            f"<HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>{machine.state.name}</STATE>"
            f"<LCM_STATE>{machine.lcm_state.name}</LCM_STATE><RESOURCE_ID>{machine.oid}</RESOURCE_ID>"
            + (f"<SERVICE_ID>{escape(service)}</SERVICE_ID>" if service else "")
            + ("<REMOTE_HOST/>" if stay is None else f"<REMOTE_HOST>{stay.hostname}</REMOTE_HOST>")
            + machine.xml()
        )

    def host(self, host: Host) -> None:
        """A host has a new state."""
        self._send(
            f"<HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>HOST</HOOK_OBJECT><STATE>{_HOST_WORDS[host.state.name]}</STATE>"
            f"<REMOTE_HOST>{host.name}</REMOTE_HOST><RESOURCE_ID>{host.oid}</RESOURCE_ID>{host.xml()}"
        )

    def _send(self, body: str) -> None:
        if self._driver is not None:
            packed = base64.b64encode(f"<HOOK_MESSAGE>{body}</HOOK_MESSAGE>".encode()).decode()
            self._driver.write(request("EXECUTE", -1, packed))


def _parameter(position: int, kind: str, value: Param) -> str:
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<PARAMETER><POSITION>{position}</POSITION><TYPE>{kind}</TYPE><VALUE>{escape(shown)}</VALUE></PARAMETER>"
