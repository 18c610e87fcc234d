"""Rules of the datastores' settings that need two values. Pure; asked before anything is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from components.datastore_settings import DatastoreSettings, LocalDatastore, NfsDatastore
from components.datastores import local_transfer, transfer_driver
from components.domain import Version
from components.registration.datastore_client import DatastoreType
from components.registration.datastore_names import reserved_problem
from components.versions import RELEASES

FIRST_BOOT: Final[Mapping[str, DatastoreType]] = {
    "system": DatastoreType.SYSTEM,
    "default": DatastoreType.IMAGE,
    "files": DatastoreType.FILE,
}
"""What oned's first boot makes (DatastorePool.cc): with `local`, on 6.10 with `ssh`."""


_TYPED: Final = frozenset(
    {
        *("BRIDGE_LIST", "STAGING_DIR", "SAFE_DIRS", "RESTRICTED_DIRS", "LIMIT_MB", "LIMIT_TRANSFER_BW"),
        *("NO_DECOMPRESS", "COMPATIBLE_SYS_DS", "DRIVER", "DISK_TYPE", "POOL_NAME", "EC_POOL_NAME", "RBD_FORMAT"),
        *("CEPH_HOST", "CEPH_USER", "CEPH_SECRET", "CEPH_CONF", "CEPH_KEY", "CEPH_TRASH"),
    }
)


def problems(
    datastores: tuple[DatastoreSettings, ...], version: Version, hosts: Collection[str], *, way_back: bool
) -> Iterator[tuple[str, str]]:
    """Configuration path and fault, of everything that needs two values. `hosts`: names of the declared hosts.
    `way_back`: whether hosts reach the control plane by ssh."""
    seen: dict[str, str] = {}
    systems = {item.name for item in datastores if item.type is DatastoreType.SYSTEM}
    for index, item in enumerate(datastores):
        path = f"datastores[{index}]"
        # oned's database compares names without regard to case.
        if (other := seen.setdefault(item.name.casefold(), path)) != path:
            yield f"{path}.name", f"{item.name!r} is already the name of {other}"
        for place, text in (
            *_reach_problems(item, way_back),
            *_type_problems(item),
            *_driver_problems(item, version),
            *_reference_problems(item, systems, hosts),
            *_attribute_problems(item),
        ):
            yield f"{path}.{place}", text


def copied_through_the_control_plane(datastores: tuple[DatastoreSettings, ...]) -> list[str]:
    """Names of the datastores for disks that oned's first boot makes with driver local and nobody declares otherwise."""
    otherwise = {item.name for item in datastores if not isinstance(item, LocalDatastore)}
    return [name for name, type_ in FIRST_BOOT.items() if type_ is not DatastoreType.FILE and name not in otherwise]


def _reach_problems(item: DatastoreSettings, way_back: bool) -> Iterator[tuple[str, str]]:
    if isinstance(item, LocalDatastore) and not way_back:
        # tm/local/clone and tm/ssh/clone run on the front-end, or fetch from there, by ssh.
        yield (
            "kind",
            "local copies to and from the control plane by ssh: set wayBack.enabled: true and its address, or use nfs or ceph",
        )


def _type_problems(item: DatastoreSettings) -> Iterator[tuple[str, str]]:
    made = FIRST_BOOT.get(item.name)
    if made is not None and item.type is not made:
        yield "type", f"must be {made}: oned's first boot makes {item.name!r} as that; or choose another name"
    if item.kind == "ceph" and item.type is DatastoreType.FILE:
        yield "type", "Ceph holds images and disks, no files: declare the files in a datastore of kind local or nfs"
    if item.type is not DatastoreType.SYSTEM and not item.enabled:
        yield "enabled", "only a system datastore can be disabled"
    if item.type is not DatastoreType.IMAGE and item.compatible_system:
        yield "compatibleSystem", "belongs to image datastores"
    if item.type is DatastoreType.SYSTEM:
        for key, given in (
            ("limitTransferBw", item.limit_transfer_bw is not None),
            ("noDecompress", item.no_decompress),
            ("safeDirs", "safe_dirs" in item.model_fields_set),
            ("restrictedDirs", "restricted_dirs" in item.model_fields_set),
        ):
            if given:
                yield key, "belongs to image and file datastores: nothing is downloaded into a system datastore"


def _driver_problems(item: DatastoreSettings, version: Version) -> Iterator[tuple[str, str]]:
    transfer = transfer_driver(item, version)
    if transfer == "local" and not RELEASES[version].local_transfer:
        yield "transfer", f"OpenNebula {version} has no transfer driver 'local'; leave it out, or use ssh"
    if isinstance(item, NfsDatastore) and item.transfer == "qcow2" and item.driver == "raw":
        yield "driver", "oned sets DRIVER to qcow2 with transfer qcow2 (TM_MAD_CONF); leave it out, or use shared"
    first_boot = local_transfer(version)
    if item.name in FIRST_BOOT and transfer != first_boot and item.adopt != "always":
        yield (
            "adopt",
            f"must be always: oned's first boot makes {item.name!r} with driver {first_boot}, which is changed to "
            f"{transfer} (while it is empty)",
        )


def _reference_problems(
    item: DatastoreSettings, systems: Collection[str], hosts: Collection[str]
) -> Iterator[tuple[str, str]]:
    for number, host in enumerate(item.bridge_list):
        if host not in hosts:
            yield f"bridgeList[{number}]", f"{host!r} is no host of hosts, so oned has no pinned key to reach it by"
    for number, other in enumerate(item.compatible_system):
        if other not in systems:
            yield f"compatibleSystem[{number}]", f"{other!r} is no datastore of type system declared here"


def _attribute_problems(item: DatastoreSettings) -> Iterator[tuple[str, str]]:
    for attribute in item.attributes:
        if text := reserved_problem(attribute):
            yield f"attributes.{attribute}", text
        elif attribute in _TYPED:
            yield f"attributes.{attribute}", "has a setting of its own; use that"
