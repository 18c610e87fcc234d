"""Hosts: their name rules, states and bodies, and the rows that monitoring leaves.

Drivers are not validated beyond being named, and names are not guarded against callers that come at the same time; both
are the real one's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from xml.etree import ElementTree

from standin.database import Database
from standin.elements import id_set, ids_xml, number, text
from standin.pool import Pool, PoolError, check_name, owned
from standin.states import HostState
from standin.template import Template, cdata

_CAPACITY: Final = ("TOTALCPU", "TOTALMEMORY", "FREECPU", "FREEMEMORY", "USEDCPU", "USEDMEMORY")
_DISKS: Final = (
    "<DATASTORES>"
    + "".join(f"<{name}>{cdata('0')}</{name}>" for name in ("DISK_USAGE", "FREE_DISK", "MAX_DISK", "USED_DISK"))
    + "</DATASTORES>"
)
_ALNUM: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_EDGE: Final = "-._"


def check_hostname(name: str) -> None:
    """The rule for a new host (a rename is held to the general rule only).

    :raises PoolError: with oned's text. Source: OpenNebula 7.4.0 src/host/HostPool.cc.
    """
    if not 2 <= len(name.encode()) <= 63:
        raise PoolError("Invalid HOSTNAME, HOSTNAME length should be greater than 1, but smaller than 64 characters")
    if name[0] in _EDGE:
        raise PoolError(f"Invalid HOSTNAME, first character can't be '{name[0]}'")
    for char in name:
        if char not in _ALNUM and char not in _EDGE:
            raise PoolError(f"Invalid HOSTNAME, '{char}' is invalid character for a HOSTNAME")
    if name[-1] in _EDGE:
        raise PoolError(f"Invalid HOSTNAME, last character can't be '{name[-1]}'")


@dataclass
class Host:
    """One row of host_pool. CPU is in percent of a core, memory in KiB."""

    name: str
    im_mad: str
    vm_mad: str
    cluster_id: int
    cluster: str
    oid: int = -1
    state: HostState = HostState.INIT
    previous: HostState = HostState.INIT
    template: Template = field(default_factory=Template)
    share: dict[str, int] = field(default_factory=dict)
    monitoring: str = "<MONITORING/>"
    vms: set[int] = field(default_factory=set)

    @classmethod
    def new(cls, name: str, im_mad: str, vm_mad: str, cluster_id: int, cluster: str) -> Host:
        template = Template((("RESERVED_CPU", ""), ("RESERVED_MEM", ""), ("IM_MAD", im_mad), ("VM_MAD", vm_mad)))
        return cls(name, im_mad, vm_mad, cluster_id, cluster, template=template)

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Host:
        template, share = element.find("TEMPLATE"), element.find("HOST_SHARE")
        return cls(
            name=text(element, "NAME"),
            im_mad=text(element, "IM_MAD"),
            vm_mad=text(element, "VM_MAD"),
            cluster_id=number(element, "CLUSTER_ID"),
            cluster=text(element, "CLUSTER"),
            oid=number(element, "ID"),
            state=HostState(number(element, "STATE")),
            previous=HostState(number(element, "PREV_STATE")),
            template=Template() if template is None else Template.from_element(template),
            share={} if share is None else {child.tag: int(child.text) for child in share if child.text},
            vms=id_set(element, "VMS"),
        )

    def xml(self) -> str:
        share = {
            "MEM_USAGE": 0,
            "CPU_USAGE": 0,
            "TOTAL_MEM": 0,
            "TOTAL_CPU": 0,
            "MAX_MEM": 0,
            "MAX_CPU": 0,
            "RUNNING_VMS": 0,
            "VMS_THREAD": 1,
            **self.share,
        }
        numbers = "".join(f"<{name}>{value}</{name}>" for name, value in share.items())
        return (
            f"<HOST><ID>{self.oid}</ID><NAME>{self.name}</NAME><STATE>{self.state.value}</STATE>"
            f"<PREV_STATE>{self.previous.value}</PREV_STATE><IM_MAD>{cdata(self.im_mad)}</IM_MAD>"
            f"<VM_MAD>{cdata(self.vm_mad)}</VM_MAD><CLUSTER_ID>{self.cluster_id}</CLUSTER_ID>"
            f"<CLUSTER>{self.cluster}</CLUSTER>"
            f"<HOST_SHARE>{numbers}{_DISKS}<PCI_DEVICES/><NUMA_NODES/></HOST_SHARE>"
            f"{ids_xml('VMS', self.vms) if self.vms else '<VMS/>'}{self.template.xml()}{self.monitoring}</HOST>"
        )

    def columns(self) -> dict[str, Any]:
        return {**owned(), "state": self.state.value, "cid": self.cluster_id}

    def use(self, cpu: int, memory: int) -> None:
        """A machine came with that much, or went with the negative of it."""
        machines = 1 if cpu > 0 else -1
        for name, change in (("CPU_USAGE", cpu), ("MEM_USAGE", memory), ("RUNNING_VMS", machines)):
            self.share[name] = max(self.share.get(name, 0) + change, 0)

    def lacks(self, cpu: int, memory: int) -> str:
        """Why a machine does not fit, empty when it does."""
        free_cpu = self.share.get("MAX_CPU", 0) - self.share.get("CPU_USAGE", 0)
        free_memory = self.share.get("MAX_MEM", 0) - self.share.get("MEM_USAGE", 0)
        if cpu > free_cpu:
            return f"Not enough CPU: {cpu}/{free_cpu}"
        return f"Not enough memory: {memory}/{free_memory}" if memory > free_memory else ""

    def enable(self) -> None:
        """A disabled host whose capacity is known is monitored at once; any other starts over."""
        known = self.state is HostState.DISABLED and self.share.get("TOTAL_CPU", 0) > 0
        self.state = HostState.MONITORED if known else HostState.INIT

    def disable(self) -> None:
        self.state = HostState.DISABLED

    def offline(self) -> None:
        self.state = HostState.OFFLINE
        self.share.update(TOTAL_CPU=0, TOTAL_MEM=0, MAX_CPU=0, MAX_MEM=0)
        self.template.erase(*_CAPACITY)

    def fail(self, cause: str) -> str:
        """Take an error from the monitor; returns the line for the log."""
        message = f"Error monitoring Host {self.name} ({self.oid}): {cause}"
        if self.state not in (HostState.OFFLINE, HostState.DISABLED):
            self.state = HostState.ERROR
        self.template.replace("ERROR", f"{time.ctime()} : {message}")
        return message

    def take_system(self, probes: Template) -> None:
        """Take what the system probes said; clears an earlier error."""
        if self.state is HostState.OFFLINE:
            return
        self.template.erase("ERROR", "VM", "VM_POLL")
        self.template.merge(probes)
        if self.state is not HostState.DISABLED:
            self.state = HostState.MONITORED
        for total, limit, name in (("TOTAL_CPU", "MAX_CPU", "TOTALCPU"), ("TOTAL_MEM", "MAX_MEM", "TOTALMEMORY")):
            reported = self.template.get(name)
            if reported.isdigit():
                self.share[total] = self.share[limit] = int(reported)

    def after_update(self) -> None:
        """A template that names other drivers changes them; one that names none keeps them."""
        self.im_mad = self.template.get("IM_MAD") or self.im_mad
        self.vm_mad = self.template.get("VM_MAD") or self.vm_mad
        self.template.replace("IM_MAD", self.im_mad)
        self.template.replace("VM_MAD", self.vm_mad)


class HostPool(Pool[Host]):
    """host_pool and host_monitoring. A monitoring row is never in a body: `one.host.info` adds the last one."""

    table = "host_pool"
    root = "HOST_POOL"

    def load(self, element: ElementTree.Element) -> Host:
        return Host.from_element(element)

    def allocate(self, name: str, im_mad: str, vm_mad: str, cluster_id: int, cluster: str) -> int:
        """:raises PoolError: for a name or driver that oned refuses, or a name that is taken at this moment."""
        check_hostname(name)
        check_name(name)
        if not im_mad:
            raise PoolError("IM_MAD_NAME cannot be empty.")
        if not vm_mad:
            raise PoolError("VMM_MAD_NAME cannot be empty.")
        taken = self.find(name)
        if taken != -1:
            raise PoolError(f"NAME is already taken by HOST {taken}.")
        return self.insert(Host.new(name, im_mad, vm_mad, cluster_id, cluster))

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.changed: Callable[[Host], None] = lambda _host: None

    def update(self, item: Host) -> None:
        moved = item.previous is not item.state
        item.previous = item.state
        super().update(item)
        if moved:
            self.changed(item)

    def drop(self, item: Host) -> None:
        """:raises PoolError: for a host that has machines."""
        if item.share.get("RUNNING_VMS", 0) > 0:
            raise PoolError("Can not remove a host with running VMs")
        super().drop(item)

    def last_monitoring(self, oid: int) -> str:
        rows = self.database.query(
            "SELECT body FROM host_monitoring WHERE hid = %s ORDER BY last_mon_time DESC LIMIT 1", (oid,)
        )
        return str(rows[0][0]) if rows else "<MONITORING/>"

    def monitoring(self, oid: int | None = None, seconds: int = -1) -> str:
        """Rows of one host or all: every one (-1), the last of each host (0), or those of the last `seconds`."""
        condition, arguments = "1 = 1", list[int]()
        if oid is not None:
            condition, arguments = "oid = %s", [oid]
        if seconds == 0:
            condition += " AND last_mon_time = (SELECT MAX(last_mon_time) FROM host_monitoring m WHERE m.hid = oid)"
        elif seconds > 0:
            condition += " AND last_mon_time > %s"
            arguments.append(int(time.time()) - seconds)
        rows = self.database.query(
            "SELECT host_monitoring.body FROM host_monitoring INNER JOIN host_pool ON hid = oid "
            f"WHERE {condition} ORDER BY hid, last_mon_time",
            arguments,
        )
        return f"<MONITORING_DATA>{''.join(row[0] for row in rows)}</MONITORING_DATA>"
