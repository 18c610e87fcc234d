"""Settings of the datastores. Pure; `components/datastores.py` makes the resources, `datastore_rules` the cross-field rules.

Only drivers that work from a pod without root, sudo or devices of its own can be declared; the others are refused with
the reason (`REFUSED_KINDS`). Facts: share/etc/oned.conf (TM_MAD_CONF, DS_MAD_CONF), src/datastore_mad/remotes and
src/tm_mad at release-7.4.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from components.domain import Address, AttributeName, AttributeValue, HostName, Section, UserName, matching
from components.registration.datastore_client import DatastoreType
from components.registration.datastore_names import datastore_name_problem

REFUSED_KINDS: Final[Mapping[str, str]] = {
    "lvm": "its scripts run lvcreate and lvremove with sudo on block devices, and oned's pod has neither",
    "fs_lvm": "its scripts activate logical volumes with sudo on block devices, and oned's pod has neither",
    "fs_lvm_ssh": "its scripts activate logical volumes with sudo on block devices, and oned's pod has neither",
    "dev": "its images are block devices of the machine that oned runs on, and a pod has none",
    "iscsi": "its images need an iSCSI initiator where oned runs, which takes root, and a pod has none",
    "iscsi_libvirt": "its images need an iSCSI initiator where oned runs, which takes root, and a pod has none",
    "netapp": "its scripts attach volumes with sudo, iSCSI and multipath, and keep the array's password in the template",
    "purefa": "its scripts attach volumes with sudo, iSCSI and multipath, and keep the array's token in the template",
    "virtiofs": "its images are directories of the machine that oned runs on, and a pod has none of the hosts'",
    "restic": "backup datastores are not declared here",
    "rsync": "backup datastores are not declared here",
    "dummy": "it stores nothing: it is oned's own test driver",
}

IMPOSSIBLE_DRIVERS: Final = REFUSED_KINDS.keys() - {"restic", "rsync", "dummy"}
"""Of these, what no driver of that name could do in oned's pod, however it gets there."""


def _name(value: str) -> str:
    if problem := datastore_name_problem(value):
        raise ValueError(problem)
    return value


def _directory(value: str) -> str:
    # The drivers split these lists at white space and use each entry as the start of a pattern (libfs.sh).
    if not value.startswith("/") or not set(value).isdisjoint(" \t*?[]$`\\\"'"):
        raise ValueError("must be an absolute path without spaces, quotes or patterns")
    return value


DatastoreName = Annotated[str, AfterValidator(_name)]
Directory = Annotated[AttributeValue, AfterValidator(_directory)]
Rate = Annotated[
    str,
    matching(r"[1-9][0-9]*[KMG]?", "must be bytes a second such as 500K, 10M or 1G"),
    Field(description="bytes a second, with K, M or G"),
]
Uuid = Annotated[
    str,
    matching(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "must be a UUID in lower case; uuidgen makes one"),
    Field(description="a UUID"),
]
CephName = Annotated[
    str, matching(r"[A-Za-z0-9._-]{1,128}", "must be a name in Ceph: letters, digits, '.', '_' and '-'")
]


# A value that `_known_kind` has looked at is no JSON any more but Python's, where strict models take no list for a tuple.
_PLAIN = Field(strict=False)
Names = Annotated[tuple[DatastoreName, ...], _PLAIN]
Clusters = Annotated[tuple[AttributeValue, ...], _PLAIN]
Directories = Annotated[tuple[Directory, ...], _PLAIN]
HostNames = Annotated[tuple[HostName, ...], _PLAIN]
Addresses = Annotated[tuple[Address, ...], _PLAIN]


class _Datastore(Section):
    name: DatastoreName = Field(description="name in oned; `system`, `default` and `files` are those of its first boot")
    type: Annotated[DatastoreType, _PLAIN] = Field(
        description="image, system (disks of running VMs) or file (kernels, context)"
    )
    clusters: Clusters = Field(
        default=("default",), min_length=1, description="OpenNebula clusters that use it; must exist"
    )
    enabled: bool = Field(default=True, description="false: a system datastore that takes no new VMs")
    adopt: Literal["refuse", "matching", "always"] = Field(
        default="matching",
        description="a datastore of this name that oned has already: refuse, take over if the drivers fit, or always "
        "(its drivers are then changed, while it is empty)",
    )
    bridge_list: HostNames = Field(
        default=(), description="hosts that carry out image operations instead of oned's pod"
    )
    staging_dir: Directory | None = Field(default=None, description="scratch directory there; /var/tmp when left out")
    safe_dirs: Directories = Field(
        default=("/var/tmp",),
        description="directories below which an image's source path may lie; uploads are in /var/tmp",
    )
    restricted_dirs: Directories = Field(
        default=("/",), min_length=1, description="directories below which it may not; safeDirs are exceptions"
    )
    limit_mb: int | None = Field(default=None, ge=1, description="capacity in MB, less than what the storage has")
    limit_transfer_bw: Rate | None = Field(default=None, description="bandwidth of downloads, such as 50M")
    no_decompress: bool = Field(default=False, description="store downloads as they come")
    compatible_system: Names = Field(
        default=(), description="system datastores (declared here) that VMs of these images may use"
    )
    attributes: dict[AttributeName, AttributeValue] = Field(
        default={}, description="further attributes of the datastore's template"
    )

    def own_attributes(self) -> dict[str, str]:
        """What the kind adds to the template."""
        return {}


class LocalDatastore(_Datastore):
    """Disks on each host's own file system, images copied to it over SSH."""

    kind: Literal["local"] = Field(description="local, nfs or ceph")
    transfer: Literal["local", "ssh"] | None = Field(
        default=None,
        description="local: `local`, on 6.10 `ssh`, when left out (one made by 6.10 stays `ssh` after an upgrade); "
        "nfs: `shared` (plain files) or `qcow2` (disks on top of the image, which stays)",
    )
    driver: Literal["raw", "qcow2"] | None = Field(
        default=None, description="format of new disks: raw or qcow2; not with transfer qcow2, which sets it"
    )

    @property
    def ds_mad(self) -> str:
        """DS_MAD of image and file datastores."""
        return "fs"

    def own_attributes(self) -> dict[str, str]:
        return {"DRIVER": self.driver} if self.driver else {}


class NfsDatastore(_Datastore):
    """A file system that all hosts have mounted at /var/lib/one/datastores/<id>, or at the directory above."""

    kind: Literal["nfs"] = Field(description="local, nfs or ceph")
    transfer: Literal["shared", "qcow2"] = Field(
        default="shared", description="shared: plain files; qcow2: disks on top of the image, which stays"
    )
    driver: Literal["raw", "qcow2"] | None = Field(
        default=None, description="format of new disks; with transfer qcow2 always qcow2"
    )

    @property
    def ds_mad(self) -> str:
        """DS_MAD of image and file datastores."""
        return "fs"

    def own_attributes(self) -> dict[str, str]:
        return {"DRIVER": self.driver} if self.driver else {}


class CephDatastore(_Datastore):
    """RADOS block devices. Every operation runs on `bridgeList`: the pod needs no Ceph client and no Ceph secret."""

    kind: Literal["ceph"] = Field(description="local, nfs or ceph")
    bridge_list: HostNames = Field(
        min_length=1, description="hosts with a Ceph client; required, because oned's pod has none"
    )
    pool_name: CephName = Field(default="one", description="Ceph pool")
    ceph_host: Addresses = Field(min_length=1, description="Ceph monitors, for libvirt")
    ceph_user: UserName = Field(default="libvirt", description="Ceph user, without `client.`")
    ceph_secret: Uuid = Field(
        description="UUID of the libvirt secret that holds the user's key on every host: a reference, not the key"
    )
    ceph_conf: Directory | None = Field(default=None, description="Ceph's configuration file on the hosts")
    ceph_key: Directory | None = Field(
        default=None, description="the user's key file on the hosts: a path, not the key"
    )
    ec_pool_name: CephName | None = Field(default=None, description="erasure-coded data pool")
    rbd_format: Literal[1, 2] | None = Field(default=None, description="RBD image format; 2 for current clusters")
    ceph_trash: bool = Field(default=False, description="move deleted volumes to Ceph's trash")

    @property
    def ds_mad(self) -> str:
        """DS_MAD of image datastores."""
        return "ceph"

    def own_attributes(self) -> dict[str, str]:
        found = {
            "DISK_TYPE": "RBD",
            "POOL_NAME": self.pool_name,
            "CEPH_HOST": " ".join(self.ceph_host),
            "CEPH_USER": self.ceph_user,
            "CEPH_SECRET": self.ceph_secret,
            "CEPH_CONF": self.ceph_conf,
            "CEPH_KEY": self.ceph_key,
            "EC_POOL_NAME": self.ec_pool_name,
            "RBD_FORMAT": None if self.rbd_format is None else str(self.rbd_format),
            "CEPH_TRASH": "YES" if self.ceph_trash else None,
        }
        return {name: value for name, value in found.items() if value is not None}


def _known_kind(value: Any) -> Any:
    kind = value.get("kind") if isinstance(value, Mapping) else None
    # OpenNebula's own names are as often written in capitals.
    if isinstance(kind, str) and (reason := REFUSED_KINDS.get(kind.lower())):
        raise ValueError(f"kind {kind!r} cannot be used: {reason}. Use local, nfs or ceph")
    return value


DatastoreSettings = Annotated[
    Annotated[LocalDatastore | NfsDatastore | CephDatastore, Field(discriminator="kind")],
    BeforeValidator(_known_kind),
]
