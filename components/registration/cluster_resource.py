"""The resource a program declares: `Cluster`. The typed face of the dynamic provider, nothing more.

Its type in the state is `pulumi-python:dynamic/opennebula:Cluster`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import pulumi
from pulumi.dynamic import Resource

from components.registration.cluster_provider import ClusterProvider


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """One cluster of oned."""

    name: pulumi.Input[str]
    attributes: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None
    """Template attributes. One that is removed here is emptied in oned; those of others stay."""
    adopt: pulumi.Input[str] = "always"
    """A cluster of this name that exists already: refuse or always (take it over, with what is in it)."""


class Cluster(Resource, module="opennebula", name="Cluster"):
    """A cluster in oned. `name` comes from the resource: whoever takes it from here comes after the cluster."""

    cluster_id: pulumi.Output[int]
    name: pulumi.Output[str]
    attributes: pulumi.Output[Mapping[str, str]]
    adopt: pulumi.Output[str]

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        props = {field.name: getattr(args, field.name) for field in fields(args)}
        super().__init__(ClusterProvider(), name, {**props, "cluster_id": None}, opts)
