"""Volume claims of the control plane: oned's home, the datastores, the uploads, the database.

Runs nothing. Makes one PersistentVolumeClaim each; the home and the database are for one pod (ReadWriteOnce), the
datastores and the uploads are shared (ReadWriteMany). Deliberately not here: the volumes themselves, which the storage class provides,
and backups. Outputs: the claims' names.

Claims are retained: `pulumi destroy` leaves them (and the namespace) in the cluster, and the next `pulumi up` takes
them over again. `storage.retain: false`, followed by an `up`, is how an operator says that a destroy may take the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import PersistentVolumeClaim
from pydantic import Field

from components import naming
from components.domain import DnsSubdomain, Quantity, Section
from components.manifests import Manifest


class VolumeSettings(Section):
    """One volume claim."""

    size: Quantity = Field(description="requested size; growing it later works where the storage class can expand")
    storage_class: DnsSubdomain | None = Field(
        default=None, description="storage class; the cluster's default when left out"
    )


class StorageSettings(Section):
    """Where the control plane keeps its data."""

    home: VolumeSettings = Field(
        default=VolumeSettings(size="5Gi"), description="oned's home: keys, remotes, VM files. ReadWriteOnce"
    )
    datastores: VolumeSettings = Field(
        default=VolumeSettings(size="50Gi"),
        description="images and disks under /var/lib/one/datastores. ReadWriteMany: name a class that can share (NFS, CephFS)",
    )
    database: VolumeSettings = Field(default=VolumeSettings(size="10Gi"), description="MariaDB's data. ReadWriteOnce")
    uploads: VolumeSettings = Field(
        default=VolumeSettings(size="10Gi"),
        description="/var/tmp of oned and of the web interfaces: images on their way in. ReadWriteMany",
    )
    retain: bool = Field(default=True, description="keep volumes and namespace when the stack is destroyed")


@dataclass(frozen=True, kw_only=True)
class StorageArgs:
    """`namespace` is the name of the control plane's namespace."""

    settings: StorageSettings
    namespace: pulumi.Input[str]


class Storage(pulumi.ComponentResource):
    """See the module."""

    home: pulumi.Output[str]
    datastores: pulumi.Output[str]
    uploads: pulumi.Output[str]
    database: pulumi.Output[str]

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:Storage", name, None, opts)

        def claim(role: str, volume: VolumeSettings, mode: str) -> pulumi.Output[str]:
            resource = PersistentVolumeClaim(
                f"{name}-{role}",
                metadata={"name": f"one-{role}", "namespace": args.namespace, "labels": naming.labels("storage")},
                spec=claim_spec(volume, mode),
                opts=pulumi.ResourceOptions(parent=self, retain_on_delete=args.settings.retain),
            )
            return pulumi.Output.from_input(resource.metadata.name)

        self.home = claim("home", args.settings.home, "ReadWriteOnce")
        self.datastores = claim("datastores", args.settings.datastores, "ReadWriteMany")
        self.uploads = claim("uploads", args.settings.uploads, "ReadWriteMany")
        self.database = claim("database", args.settings.database, "ReadWriteOnce")
        self.register_outputs(
            {
                "home": self.home,
                "datastores": self.datastores,
                "uploads": self.uploads,
                "database": self.database,
            }
        )


def claim_spec(volume: VolumeSettings, mode: str) -> Manifest:
    """The claim's spec; no class at all means the cluster's default class."""
    spec: Manifest = {"accessModes": [mode], "resources": {"requests": {"storage": volume.size}}}
    if volume.storage_class is not None:
        spec["storageClassName"] = volume.storage_class
    return spec
