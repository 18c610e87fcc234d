"""From one host to another: which machines may go, what their history notes of it. Pure.

Source: OpenNebula 7.4.0 src/rm/api/VirtualMachineAPI.cc (migrate), src/lcm/LifeCycleActions.cc, include/VMActions.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from standin.hosts import Host
from standin.machines import History, Machine
from standin.states import LcmState as L
from standin.states import VmState as S

SAVED, POWEROFF, POWEROFF_HARD = 0, 1, 2
_ACTIONS: Final = {SAVED: 1, POWEROFF: 48, POWEROFF_HARD: 49}
_LIVE: Final = 2
POWERED_OFF: Final = (_ACTIONS[POWEROFF], _ACTIONS[POWEROFF_HARD])
AT_REST: Final[Mapping[S, L]] = {S.POWEROFF: L.PROLOG_MIGRATE_POWEROFF, S.SUSPENDED: L.PROLOG_MIGRATE_SUSPEND}


def possible(machine: Machine) -> bool:
    """Whether a machine may be sent away now. One in UNKNOWN could be, with the real one; here it is not rehearsed."""
    if len(machine.history) > 1 and machine.history[-2].etime == 0:
        return False
    running = machine.state is S.ACTIVE and machine.lcm_state is L.RUNNING
    return bool(machine.history) and (running or machine.state in AT_REST)


def action(*, live: bool, how: int) -> int:
    """The number that a stay notes."""
    return _LIVE if live else _ACTIONS.get(how, _ACTIONS[SAVED])


def next_stay(here: History, host: Host, seq: int, action_number: int, now: int) -> History:
    """The stay on the host that a machine is sent to."""
    return History(
        here.oid, seq, host.name, host.oid, host.cluster_id, host.vm_mad, here.tm_mad, here.ds_id,
        stime=now, pstime=now, action=action_number, uid=here.uid, gid=here.gid,
    )  # fmt: skip
