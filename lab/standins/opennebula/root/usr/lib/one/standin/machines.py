"""Virtual machines as they are stored: what was asked for, what it became, where it is and was.

The template of the request is split as the real one splits it: what describes the machine goes to TEMPLATE, everything
else to USER_TEMPLATE. Disks and networks are kept as written and mean nothing. Source: OpenNebula 7.4.0
src/vm/{VirtualMachine,VirtualMachinePool,History}.cc.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self
from xml.etree import ElementTree

from standin.elements import number, text
from standin.ownership import Owned, OwnedPool
from standin.pool import PoolError
from standin.states import LcmState, VmState
from standin.template import Template, cdata

# Attributes of a request that describe the machine itself.
_MACHINE: Final = frozenset(
    {
        "CONTEXT", "CPU", "CPU_COST", "CPU_MODEL", "DISK", "DISK_COST", "EMULATOR", "FEATURES", "GRAPHICS", "INPUT",
        "MEMORY", "MEMORY_COST", "MEMORY_MAX", "MEMORY_SLOTS", "MEMORY_RESIZE_MODE", "NIC", "NIC_ALIAS", "NIC_DEFAULT",
        "NUMA_NODE", "OS", "PCI", "RAW", "SPICE_OPTIONS", "TEMPLATE_ID", "TM_MAD_SYSTEM", "TOPOLOGY", "TPM", "VCPU",
        "VCPU_MAX", "VIDEO", "VMGROUP", "BACKUP_CONFIG", "CLONING_TEMPLATE_ID",
    }
)  # fmt: skip
_KIB: Final = 1024


@dataclass
class History:
    """One stay on one host; times are Unix seconds, 0 for not yet."""

    oid: int
    seq: int
    hostname: str
    hid: int
    cid: int
    vm_mad: str
    tm_mad: str
    ds_id: int
    stime: int = 0
    etime: int = 0
    plan_id: int = -2
    action_id: int = -1
    pstime: int = 0
    petime: int = 0
    rstime: int = 0
    retime: int = 0
    estime: int = 0
    eetime: int = 0
    action: int = 0
    uid: int = -1
    gid: int = -1
    request_id: int = -1

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Self:
        values: dict[str, Any] = {}
        for each in fields(cls):
            found = text(element, each.name.upper())
            values[each.name] = found if each.type == "str" else int(found or 0)
        return cls(**values)

    def xml(self) -> str:
        order = (
            "oid", "seq", "hostname", "hid", "cid", "stime", "etime", "vm_mad", "tm_mad", "ds_id", "plan_id", "action_id",
            "pstime", "petime", "rstime", "retime", "estime", "eetime", "action", "uid", "gid", "request_id",
        )  # fmt: skip
        values = asdict(self)
        body = "".join(
            f"<{name.upper()}>{cdata(values[name]) if name.endswith('_mad') else values[name]}</{name.upper()}>"
            for name in order
        )
        return f"<HISTORY>{body}</HISTORY>"


@dataclass(kw_only=True)
class Machine(Owned):
    """One row of vm_pool. `history` holds every stay, `error` texts are in the user template."""

    kind = "VM"
    user_template: Template
    state: VmState = VmState.PENDING
    lcm_state: LcmState = LcmState.LCM_INIT
    previous: VmState = VmState.PENDING
    previous_lcm: LcmState = LcmState.LCM_INIT
    resched: int = 0
    stime: int = field(default_factory=lambda: int(time.time()))
    etime: int = 0
    deploy_id: str = ""
    history: list[History] = field(default_factory=list)
    monitoring: str = "<MONITORING/>"

    @classmethod
    def requested(cls, common: dict[str, Any], *, hold: bool) -> Self:
        """A machine of a request's template, which must not have its NAME any more.

        :raises PoolError: for a request without what every machine needs.
        """
        template, user = Template(), Template()
        for name, value in common["template"]:
            (template if name in _MACHINE else user).add(name, value)
        user.erase("VMID")
        checks = (
            ("MEMORY", r"[1-9]\d*", "MEMORY attribute must be a positive integer value."),
            ("CPU", r"\d*\.?\d+", "CPU attribute must be a positive float or integer value."),
        )
        for name, pattern, refusal in checks:
            value = template.get(name)
            if not re.fullmatch(pattern, value) or float(value) <= 0:
                raise PoolError(refusal)
        if "VCPU" in template and not re.fullmatch(r"[1-9]\d*", template.get("VCPU")):
            raise PoolError("VCPU attribute must be a positive integer value.")
        user.erase("SUBMIT_ON_HOLD")
        state = VmState.HOLD if hold else VmState.PENDING
        return cls(**{**common, "template": template}, user_template=user, state=state, previous=state)

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Self:
        user = element.find("USER_TEMPLATE")
        return cls(
            **cls.fields(element),
            user_template=Template() if user is None else Template.from_element(user),
            state=VmState(number(element, "STATE")),
            lcm_state=LcmState(number(element, "LCM_STATE")),
            previous=VmState(number(element, "PREV_STATE")),
            previous_lcm=LcmState(number(element, "PREV_LCM_STATE")),
            resched=number(element, "RESCHED"),
            stime=number(element, "STIME"),
            etime=number(element, "ETIME"),
            deploy_id=text(element, "DEPLOY_ID"),
            history=[History.from_element(each) for each in element.iterfind("HISTORY_RECORDS/HISTORY")],
        )

    @property
    def here(self) -> History | None:
        """The last stay."""
        return self.history[-1] if self.history else None

    @property
    def state_name(self) -> str:
        return self.lcm_state.name if self.state is VmState.ACTIVE else self.state.name

    @property
    def capacity(self) -> tuple[int, int]:
        """CPU in percent of a core, memory in KiB."""
        return int(float(self.template.get("CPU")) * 100), int(self.template.get("MEMORY")) * _KIB

    def set(self, state: VmState, lcm_state: LcmState = LcmState.LCM_INIT) -> None:
        self.state, self.lcm_state = state, lcm_state

    def fail(self, cause: str) -> None:
        self.user_template.replace("ERROR", f"{time.ctime()}: {cause}")

    def xml(self, *, all_stays: bool = True) -> str:
        stays = self.history if all_stays else self.history[-1:]
        records = "".join(each.xml() for each in stays)
        timestamp = number(ElementTree.fromstring(self.monitoring), "TIMESTAMP")
        return (
            f"<VM>{self.head()}<LAST_POLL>{timestamp}</LAST_POLL><STATE>{self.state.value}</STATE>"
            f"<LCM_STATE>{self.lcm_state.value}</LCM_STATE><PREV_STATE>{self.previous.value}</PREV_STATE>"
            f"<PREV_LCM_STATE>{self.previous_lcm.value}</PREV_LCM_STATE><RESCHED>{self.resched}</RESCHED>"
            f"<STIME>{self.stime}</STIME><ETIME>{self.etime}</ETIME><DEPLOY_ID>{self.deploy_id}</DEPLOY_ID>"
            f"{self.lock_xml()}{self.monitoring}<SCHED_ACTIONS/>{self.template.xml()}"
            f"{self.user_template.xml('USER_TEMPLATE')}"
            + (f"<HISTORY_RECORDS>{records}</HISTORY_RECORDS>" if records else "<HISTORY_RECORDS/>")
            + "<BACKUPS><BACKUP_CONFIG/><BACKUP_IDS/></BACKUPS></VM>"
        )

    def short_xml(self) -> str:
        """The body of the pool's short list."""
        basics = "".join(f"<{name}>{cdata(self.template.get(name))}</{name}>" for name in ("CPU", "MEMORY", "VCPU"))
        rest = Template((name, value) for name, value in self.template if name in ("NIC", "GRAPHICS", "DISK"))
        labels = Template(
            (name, value) for name, value in self.user_template if name in ("LABELS", "SCHED_MESSAGE", "ERROR")
        )
        records = "".join(
            f"<HISTORY><OID>{h.oid}</OID><SEQ>{h.seq}</SEQ><HOSTNAME>{h.hostname}</HOSTNAME><HID>{h.hid}</HID>"
            f"<CID>{h.cid}</CID><DS_ID>{h.ds_id}</DS_ID><VM_MAD>{cdata(h.vm_mad)}</VM_MAD>"
            f"<TM_MAD>{cdata(h.tm_mad)}</TM_MAD><ACTION>{h.action}</ACTION></HISTORY>"
            for h in self.history[-1:]
        )
        head = self.head().partition("<PERMISSIONS>")[0]
        return (
            f"<VM>{head}<LAST_POLL>0</LAST_POLL><STATE>{self.state.value}</STATE>"
            f"<LCM_STATE>{self.lcm_state.value}</LCM_STATE><RESCHED>{self.resched}</RESCHED><STIME>{self.stime}</STIME>"
            f"<ETIME>{self.etime}</ETIME><DEPLOY_ID>{self.deploy_id}</DEPLOY_ID>"
            f"<TEMPLATE>{basics}{rest.xml('X')[3:-4]}</TEMPLATE><MONITORING/>{labels.xml('USER_TEMPLATE')}"
            + (f"<HISTORY_RECORDS>{records}</HISTORY_RECORDS>" if records else "<HISTORY_RECORDS/>")
            + "</VM>"
        )

    def columns(self) -> dict[str, Any]:
        return {
            **super().columns(),
            "state": self.state.value,
            "lcm_state": self.lcm_state.value,
            "resched": self.resched,
            "short_body": self.short_xml(),
            "body_json": "{}",
        }


class MachinePool(OwnedPool[Machine]):
    """vm_pool, with `changed` told of every new state and the last monitoring row added to what is read."""

    table, root, item = "vm_pool", "VM_POOL", Machine

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.changed: Callable[[Machine], None] = lambda _machine: None

    def allocate(self, item: Machine) -> int:
        """Names may repeat; one that is not given is `one-<id>`."""
        item.name = item.name or f"one-{self.last_oid() + 1}"
        item.template.replace("VMID", str(self.last_oid() + 1))
        oid = self.insert(item)
        self.changed(item)
        return oid

    def get(self, oid: int) -> Machine | None:
        machine = super().get(oid)
        if machine is not None:
            machine.monitoring = self._last_monitoring(oid)
        return machine

    def update(self, item: Machine) -> None:
        moved = (item.state, item.lcm_state) != (item.previous, item.previous_lcm)
        super().update(item)
        if moved:
            self.changed(item)
            item.previous, item.previous_lcm = item.state, item.lcm_state
            super().update(item)
        for each in item.history:
            self.database.execute(
                "REPLACE INTO history (vid, seq, body, stime, etime) VALUES (%s, %s, %s, %s, %s)",
                (item.oid, each.seq, each.xml(), each.stime, each.etime),
            )

    def pending(self) -> list[Machine]:
        rows = self.database.query("SELECT oid FROM vm_pool WHERE state = %s ORDER BY oid", (VmState.PENDING.value,))
        return [found for row in rows if (found := self.get(int(row[0]))) is not None]

    def monitoring(self, oid: int) -> str:
        rows = self.database.query("SELECT body FROM vm_monitoring WHERE vmid = %s ORDER BY last_poll", (oid,))
        return f"<MONITORING_DATA>{''.join(row[0] for row in rows)}</MONITORING_DATA>"

    def _last_monitoring(self, oid: int) -> str:
        rows = self.database.query(
            "SELECT body FROM vm_monitoring WHERE vmid = %s ORDER BY last_poll DESC LIMIT 1", (oid,)
        )
        return str(rows[0][0]) if rows else "<MONITORING/>"
