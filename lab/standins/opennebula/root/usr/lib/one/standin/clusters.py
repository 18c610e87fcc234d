"""Clusters and zones: who belongs where, and the one zone whose endpoint the first boot writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal
from xml.etree import ElementTree

from standin.elements import id_set, ids_xml, number, text
from standin.pool import Pool, PoolError, check_name, owned
from standin.template import Template

DEFAULT_CLUSTER: Final = 0
FIRST_USER_ID: Final = 100


@dataclass
class Cluster:
    """One row of cluster_pool."""

    name: str
    oid: int = -1
    hosts: set[int] = field(default_factory=set)
    datastores: set[int] = field(default_factory=set)
    template: Template = field(default_factory=lambda: Template((("RESERVED_CPU", ""), ("RESERVED_MEM", ""))))

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Cluster:
        template = element.find("TEMPLATE")
        return cls(
            name=text(element, "NAME"),
            oid=number(element, "ID"),
            hosts=id_set(element, "HOSTS"),
            datastores=id_set(element, "DATASTORES"),
            template=Template() if template is None else Template.from_element(template),
        )

    def xml(self) -> str:
        return (
            f"<CLUSTER><ID>{self.oid}</ID><NAME>{self.name}</NAME>{ids_xml('HOSTS', self.hosts)}"
            f"{ids_xml('DATASTORES', self.datastores)}<VNETS/>{self.template.xml()}</CLUSTER>"
        )

    def columns(self) -> dict[str, Any]:
        return owned()


class ClusterPool(Pool[Cluster]):
    """cluster_pool. Ids below 100 are oned's own."""

    table = "cluster_pool"
    root = "CLUSTER_POOL"

    def load(self, element: ElementTree.Element) -> Cluster:
        return Cluster.from_element(element)

    def allocate(self, name: str) -> int:
        """:raises PoolError: for a bad or taken name."""
        check_name(name)
        taken = self.find(name)
        if taken != -1:
            raise PoolError(f"NAME is already taken by CLUSTER {taken}.")
        return self.insert(Cluster(name))

    def drop(self, item: Cluster) -> None:
        """:raises PoolError: for oned's own clusters and for one that still has something."""
        if item.oid < FIRST_USER_ID:
            raise PoolError("System Clusters (ID < 100) cannot be deleted.")
        for kind, members in (("hosts", item.hosts), ("datastores", item.datastores)):
            if members:
                raise PoolError(f"Cluster {item.oid} is not empty, it contains {len(members)} {kind}.")
        super().drop(item)

    def add_host(self, oid: int, host_id: int) -> None:
        self.change(oid, "hosts", host_id, add=True)

    def remove_host(self, oid: int, host_id: int) -> None:
        self.change(oid, "hosts", host_id, add=False)

    def change(self, oid: int, kind: Literal["hosts", "datastores"], member: int, *, add: bool) -> None:
        """Note who is in a cluster; one that is gone has nobody."""
        with self.locked(oid) as cluster:
            if cluster is not None:
                members = cluster.hosts if kind == "hosts" else cluster.datastores
                (members.add if add else members.discard)(member)
                self.update(cluster)


@dataclass
class Zone:
    """One row of zone_pool. Servers of a Raft zone are not modelled: the stand-in is always solo."""

    name: str
    template: Template
    oid: int = -1
    state: int = 0

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Zone:
        template = element.find("TEMPLATE")
        return cls(
            name=text(element, "NAME"),
            template=Template() if template is None else Template.from_element(template),
            oid=number(element, "ID"),
            state=number(element, "STATE"),
        )

    def xml(self) -> str:
        return (
            f"<ZONE><ID>{self.oid}</ID><NAME>{self.name}</NAME><STATE>{self.state}</STATE>"
            f"{self.template.xml()}<SERVER_POOL/></ZONE>"
        )

    def columns(self) -> dict[str, Any]:
        return owned()


class ZonePool(Pool[Zone]):
    """zone_pool, which in a standalone installation holds zone 0."""

    table = "zone_pool"
    root = "ZONE_POOL"

    def load(self, element: ElementTree.Element) -> Zone:
        return Zone.from_element(element)
