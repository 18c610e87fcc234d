"""What onemonitord remembers of a host between messages; nothing of it survives a restart."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from xml.etree import ElementTree

from standin.elements import number, text
from standin.states import HostState
from standin.template import cdata


def _now() -> float:
    return time.time()


@dataclass
class MonitoredHost:
    """Times are seconds since 1970. `last_monitored` decides when a host counts as silent."""

    oid: int
    name: str
    state: HostState
    im_mad: str
    vm_mad: str
    cluster_id: int
    cluster: str
    last_monitored: float = field(default_factory=_now)
    in_progress: bool = False
    last_message: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> MonitoredHost:
        return cls(
            oid=number(element, "ID"),
            name=text(element, "NAME"),
            state=HostState(number(element, "STATE")),
            im_mad=text(element, "IM_MAD"),
            vm_mad=text(element, "VM_MAD"),
            cluster_id=number(element, "CLUSTER_ID"),
            cluster=text(element, "CLUSTER"),
        )

    def take(self, other: MonitoredHost) -> None:
        """Become what oned says; every such update counts as a sign of life, as in the real one."""
        self.name, self.state = other.name, other.state
        self.im_mad, self.vm_mad = other.im_mad, other.vm_mad
        self.cluster_id, self.cluster = other.cluster_id, other.cluster
        self.last_monitored = time.time()

    def xml(self) -> str:
        return (
            f"<HOST><ID>{self.oid}</ID><NAME>{self.name}</NAME><STATE>{self.state.value}</STATE>"
            f"<PREV_STATE>{self.state.value}</PREV_STATE><IM_MAD>{cdata(self.im_mad)}</IM_MAD>"
            f"<VM_MAD>{cdata(self.vm_mad)}</VM_MAD><CLUSTER_ID>{self.cluster_id}</CLUSTER_ID>"
            f"<CLUSTER>{self.cluster}</CLUSTER></HOST>"
        )
