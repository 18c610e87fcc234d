"""The resource a program declares: `Datastore`. The typed face of the dynamic provider, nothing more.

Its type in the state is `pulumi-python:dynamic/opennebula:Datastore`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import pulumi
from pulumi.dynamic import Resource

from components.registration.datastore_provider import DatastoreProvider
from components.registration.names import DEFAULT_CLUSTER


@dataclass(frozen=True, kw_only=True)
class DatastoreArgs:
    """One datastore of oned. Another type or driver replaces it, which oned allows only while it is empty."""

    name: pulumi.Input[str]
    type: pulumi.Input[str]
    """image, system or file."""
    tm_mad: pulumi.Input[str]
    """Transfer driver; oned refuses one without a TM_MAD_CONF."""
    ds_mad: pulumi.Input[str] = ""
    """Datastore driver; none for a system datastore."""
    clusters: Sequence[pulumi.Input[str]] = (DEFAULT_CLUSTER,)
    """Names of existing clusters."""
    attributes: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None
    """Template attributes. One that is removed here is dropped in oned; those of others stay."""
    enabled: pulumi.Input[bool] = True
    """Whether a system datastore takes new VMs."""
    adopt: pulumi.Input[str] = "matching"
    """A datastore of this name that exists already: refuse, matching (take over if the drivers fit) or always."""


class Datastore(Resource, module="opennebula", name="Datastore"):
    """A datastore in oned. `datastore_id`: oned's id, the directory below /var/lib/one/datastores."""

    datastore_id: pulumi.Output[int]
    name: pulumi.Output[str]
    type: pulumi.Output[str]
    tm_mad: pulumi.Output[str]
    ds_mad: pulumi.Output[str]
    clusters: pulumi.Output[Sequence[str]]
    attributes: pulumi.Output[Mapping[str, str]]
    enabled: pulumi.Output[bool]
    adopt: pulumi.Output[str]

    def __init__(self, name: str, args: DatastoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        props = {field.name: getattr(args, field.name) for field in fields(args)}
        super().__init__(
            DatastoreProvider(), name, {**props, "clusters": list(args.clusters), "datastore_id": None}, opts
        )
