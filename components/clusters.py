"""The clusters of the zone: declared in oned and kept true.

Runs nothing in Kubernetes. Makes one Cluster resource each; all of them wait for oned. Hosts and datastores that name a
declared cluster get the name from its resource (`name_of`), so they come after it and leave before it. Deliberately not
here: who is in a cluster (hosts and datastores say so themselves), virtual networks, and clusters that are only named:
those must exist. Outputs: `clusters`, id by name.

oned deletes a cluster only while nothing is in it; one that is not empty stops the removal with a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final, Literal

import pulumi
from pydantic import AfterValidator, Field

from components.domain import AttributeName, AttributeValue, Section
from components.registration.client import RESERVED_CPU, RESERVED_MEMORY
from components.registration.cluster_inputs import attribute_problem, cluster_name_problem
from components.registration.cluster_resource import Cluster, ClusterArgs

_OWN_SETTINGS: Final = {RESERVED_CPU: "reservedCpu", RESERVED_MEMORY: "reservedMemory"}


def _name(value: str) -> str:
    if problem := cluster_name_problem(value):
        raise ValueError(problem)
    return value


class ClusterSettings(Section):
    """One OpenNebula cluster."""

    name: Annotated[str, AfterValidator(_name)] = Field(
        description="name in oned, as hosts and datastores name it; `default` is that of its first boot"
    )
    attributes: dict[AttributeName, AttributeValue] = Field(
        default={}, description="attributes of the cluster's template"
    )
    reserved_cpu: int | None = Field(
        default=None, description="RESERVED_CPU of hosts that have none of their own, hundredths of a core"
    )
    reserved_memory: int | None = Field(
        default=None, description="RESERVED_MEM of hosts that have none of their own, KiB"
    )
    adopt: Literal["refuse", "always"] = Field(
        default="always", description="a cluster of this name that oned has already: refuse, or take over"
    )


@dataclass(frozen=True, kw_only=True)
class ClustersArgs:
    """`oned` is waited for before the first call."""

    clusters: tuple[ClusterSettings, ...]
    oned: Sequence[pulumi.Resource]


class Clusters(pulumi.ComponentResource):
    """See the module."""

    clusters: pulumi.Output[dict[str, int]]

    def __init__(self, name: str, args: ClustersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:Clusters", name, None, opts)
        self._made = {
            settings.name: Cluster(
                f"{name}-{settings.name}",
                ClusterArgs(name=settings.name, attributes=attributes(settings), adopt=settings.adopt),
                # A real order without a data edge: oned must answer.
                opts=pulumi.ResourceOptions(parent=self, depends_on=[*args.oned]),
            )
            for settings in args.clusters
        }
        ids = {cluster: made.cluster_id for cluster, made in self._made.items()}
        self.clusters = pulumi.Output.all(**ids).apply(partial(listing, tuple(ids)))
        self.register_outputs({"clusters": self.clusters})

    def name_of(self, cluster: str) -> pulumi.Input[str]:
        """The name of a cluster, known once it exists if it is declared here."""
        return self._made[cluster].name if cluster in self._made else cluster


def listing(names: tuple[str, ...], ids: Mapping[str, float]) -> dict[str, int]:
    """Id by name. Numbers come back from the engine as floats."""
    return {name: int(ids[name]) for name in names}


def attributes(settings: ClusterSettings) -> dict[str, str]:
    """The template attributes that these settings own."""
    reserved = {RESERVED_CPU: settings.reserved_cpu, RESERVED_MEMORY: settings.reserved_memory}
    return {**settings.attributes, **{name: str(value) for name, value in reserved.items() if value is not None}}


def problems(clusters: Sequence[ClusterSettings]) -> Iterator[tuple[str, str]]:
    """Path and text of what is wrong with clusters whose single values are right."""
    first: dict[str, int] = {}
    for index, settings in enumerate(clusters):
        earlier = first.setdefault(settings.name.lower(), index)
        if earlier != index:
            # oned compares names without regard to case.
            yield f"clusters[{index}].name", f"already the name of clusters[{earlier}]"
        for name, value in settings.attributes.items():
            own = _OWN_SETTINGS.get(name)
            if text := f"has a setting of its own: {own}" if own else attribute_problem(name, value):
                yield f"clusters[{index}].attributes.{name}", text
