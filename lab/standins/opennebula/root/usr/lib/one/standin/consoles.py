"""Ports of graphical consoles: one a machine and cluster, given when it is deployed and kept until it leaves for good.

Source: OpenNebula 7.4.0 src/rm/api/VirtualMachineAPI.cc (set_vnc_port), src/vm/VirtualMachineParser.cc (parse_graphics),
include/BitMap.h.
"""

from __future__ import annotations

import secrets
from typing import Final

from standin.config import Config
from standin.machines import Machine, MachinePool
from standin.pool import PoolError
from standin.states import VmState

_END: Final = 65536
_LONGEST: Final = {"vnc": 8, "spice": 59}  # characters of a password
_YES: Final = ("YES", "TRUE", "1")


def prepare(machine: Machine) -> None:
    """What a request's GRAPHICS becomes.

    :raises PoolError: for a PORT that is none.
    """
    graphics = machine.template.vector("GRAPHICS")
    if graphics is None:
        return
    port = graphics.get("PORT", "")
    if port and (not port.isdigit() or int(port) >= _END):
        raise PoolError("Wrong PORT number in GRAPHICS attribute")
    if graphics.get("RANDOM_PASSWD", "").upper() in _YES and not graphics.get("PASSWD"):
        graphics["PASSWD"] = secrets.token_urlsafe(12)
    if "PASSWD" in graphics:
        graphics["PASSWD"] = graphics["PASSWD"][: _LONGEST.get(graphics.get("TYPE", "").lower())]
    machine.template.replace("GRAPHICS", graphics)


def assign(machine: Machine, cluster_id: int, machines: MachinePool, config: Config) -> None:
    """Give a machine that is sent to a cluster its port; the caller stores it.

    :raises PoolError: when there is none for it.
    """
    graphics = machine.template.vector("GRAPHICS")
    if graphics is None or machine.state is VmState.STOPPED:  # a stopped one still has its own
        return
    taken = _taken(machine, cluster_id, machines)
    if graphics.get("PORT"):
        if int(graphics["PORT"]) in taken:
            raise PoolError("Requested VNC port already assigned to a VM")
        return
    start = config.integer("VNC_PORTS", "START")
    taken |= _reserved(config.section("VNC_PORTS").get("RESERVED", ""))
    free = (port for port in (start + machine.oid, *range(start, _END)) if port < _END and port not in taken)
    port = next(free, None)
    if port is None:
        raise PoolError("No free VNC ports available in the cluster")
    machine.template.replace("GRAPHICS", {**graphics, "PORT": str(port)})


def release(machine: Machine) -> None:
    """The port is free again; also one that its owner asked for is forgotten."""
    graphics = machine.template.vector("GRAPHICS")
    if graphics is not None and machine.history:
        machine.template.replace("GRAPHICS", {name: value for name, value in graphics.items() if name != "PORT"})


def _taken(machine: Machine, cluster_id: int, machines: MachinePool) -> set[int]:
    rows = machines.database.query(
        "SELECT oid FROM vm_pool WHERE state <> %s AND body LIKE %s", (VmState.DONE.value, "%<GRAPHICS>%")
    )
    others = [found for row in rows if int(row[0]) != machine.oid and (found := machines.get(int(row[0]))) is not None]
    return {
        int(graphics["PORT"])
        for other in others
        if other.here is not None
        and other.here.cid == cluster_id
        and (graphics := other.template.vector("GRAPHICS")) is not None
        and graphics.get("PORT")
    }


def _reserved(text: str) -> set[int]:
    """`RESERVED`: ports and ranges `first:last`, apart by commas."""
    found: set[int] = set()
    for word in filter(None, (each.strip() for each in text.split(","))):
        first, _, last = word.partition(":")
        found.update(range(int(first), int(last or first) + 1))
    return found
