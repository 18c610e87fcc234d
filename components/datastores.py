"""The datastores of the zone: declared in oned and kept true.

Runs nothing in the cluster. Makes one Datastore resource each; all of them wait for oned and, where one names others in
`compatibleSystem`, for those. Deliberately not here: the storage itself. Hosts mount an NFS export and know a Ceph
cluster by their operator's hand; oned's own view of /var/lib/one/datastores is the claim of `components/storage.py`.
Outputs: `datastores`, id by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pulumi

from components.datastore_settings import CephDatastore, DatastoreSettings, LocalDatastore, NfsDatastore
from components.domain import Version
from components.registration.datastore_client import DatastoreType
from components.registration.datastore_resource import Datastore, DatastoreArgs
from components.versions import RELEASES


@dataclass(frozen=True, kw_only=True)
class DatastoresArgs:
    """`oned` is waited for before the first call. `cluster`: a cluster's name, known once the cluster exists."""

    datastores: tuple[DatastoreSettings, ...]
    version: Version
    oned: Sequence[pulumi.Resource]
    cluster: Callable[[str], pulumi.Input[str]] = str


class Datastores(pulumi.ComponentResource):
    """See the module."""

    datastores: pulumi.Output[dict[str, int]]

    def __init__(self, name: str, args: DatastoresArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:Datastores", name, None, opts)
        made: dict[str, Datastore] = {}
        # System datastores first: image datastores may name them.
        for settings in sorted(args.datastores, key=lambda item: item.type is not DatastoreType.SYSTEM):
            system = settings.type is DatastoreType.SYSTEM
            made[settings.name] = Datastore(
                f"{name}-{settings.name}",
                DatastoreArgs(
                    name=settings.name,
                    type=settings.type.value,
                    tm_mad=transfer_driver(settings, args.version),
                    ds_mad="" if system else settings.ds_mad,
                    clusters=[args.cluster(cluster) for cluster in settings.clusters],
                    attributes={
                        **attributes(settings),
                        **_compatible([made[other].id for other in settings.compatible_system]),
                    },
                    enabled=settings.enabled,
                    adopt=settings.adopt,
                ),
                # A real order without a data edge: oned must answer.
                opts=pulumi.ResourceOptions(parent=self, depends_on=[*args.oned]),
            )
        ids = {settings.name: made[settings.name].datastore_id for settings in args.datastores}
        self.datastores = pulumi.Output.all(**ids).apply(partial(listing, tuple(ids)))
        self.register_outputs({"datastores": self.datastores})


def listing(names: tuple[str, ...], ids: Mapping[str, float]) -> dict[str, int]:
    """Id by name. Numbers come back from the engine as floats."""
    return {name: int(ids[name]) for name in names}


def _compatible(ids: list[pulumi.Output[str]]) -> dict[str, pulumi.Output[str]]:
    return {"COMPATIBLE_SYS_DS": pulumi.Output.all(*ids).apply(",".join)} if ids else {}


def attributes(settings: DatastoreSettings) -> dict[str, str]:
    """The template attributes that these settings own, drivers and other datastores' ids apart.

    oned's defaults of SAFE_DIRS and RESTRICTED_DIRS hold only for a new datastore with neither (Datastore::insert); with
    one of them gone later, every path of the front-end could be registered as an image. So both are always written.
    """
    found = {
        "BRIDGE_LIST": " ".join(settings.bridge_list),
        "STAGING_DIR": settings.staging_dir or "",
        "LIMIT_MB": "" if settings.limit_mb is None else str(settings.limit_mb),
        "LIMIT_TRANSFER_BW": settings.limit_transfer_bw or "",
        "NO_DECOMPRESS": "YES" if settings.no_decompress else "",
    }
    if settings.type is not DatastoreType.SYSTEM:
        found |= {"SAFE_DIRS": " ".join(settings.safe_dirs), "RESTRICTED_DIRS": " ".join(settings.restricted_dirs)}
    own = {name: value for name, value in found.items() if value} | settings.own_attributes()
    return {**settings.attributes, **own}


def transfer_driver(settings: DatastoreSettings, version: Version) -> str:
    """TM_MAD."""
    match settings:
        case LocalDatastore():
            return settings.transfer or local_transfer(version)
        case NfsDatastore():
            return settings.transfer
        case CephDatastore():
            return "ceph"


def local_transfer(version: Version) -> str:
    """The release's own driver for copying between machines; the one that oned's first boot uses."""
    return "local" if RELEASES[version].local_transfer else "ssh"
