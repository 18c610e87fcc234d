"""What this program needs of oned's datastores: frozen values and a small protocol, no transport.

The seam of the datastore rules, as `client` is that of the hosts'. Nothing here imports pyone or Pulumi.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from components.registration.client import NO_ATTRIBUTES, ClusterRecord

FIRST_OWN_ID: Final = 100
"""Datastores below (system, default, files) are made by oned's first boot (DatastorePool.cc) and never deleted here."""


class DatastoreType(StrEnum):
    """What a datastore holds. Order is that of oned's numbers (include/Datastore.h), names are those of this program."""

    IMAGE = "image"
    SYSTEM = "system"
    FILE = "file"

    @property
    def word(self) -> str:
        """The value of TYPE in a template."""
        return f"{self.name}_DS"


@dataclass(frozen=True, kw_only=True)
class DatastoreRecord:
    """One datastore as oned reports it. Capacity is left out: monitoring writes it, nobody declares it."""

    id: int
    name: str
    type: str
    """As DatastoreType, or the number of a type that this program does not declare (3: backup)."""
    ds_mad: str
    """Empty for a system datastore, for which oned writes `-`."""
    tm_mad: str
    clusters: tuple[int, ...] = ()
    enabled: bool = True
    images: tuple[int, ...] = ()
    template: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES)
    """Single-valued attributes."""
    plain: bool = True
    """Whether `template` is the whole of it: no vector and no repeated attribute that writing it back would lose."""

    def attribute(self, name: str) -> str:
        """A template attribute; absent and empty are the same."""
        return self.template.get(name, "")


class DatastoreClient(Protocol):
    """The datastore calls of one zone. Reads may be repeated; a write whose answer is lost raises `Ambiguous`."""

    def datastores(self) -> tuple[DatastoreRecord, ...]:
        """All datastores, one call (`one.datastorepool.info`)."""

    def datastore(self, datastore_id: int) -> DatastoreRecord:
        """One datastore. Raises NotFound."""

    def clusters(self) -> tuple[ClusterRecord, ...]: ...

    def vms_on(self, datastore_id: int) -> tuple[int, ...]:
        """Ids of the VMs that are not done and have their disks on a system datastore."""

    def allocate(self, attributes: Mapping[str, str], cluster_id: int, *, within: float) -> int:
        """Make a datastore of a template (NAME included); returns its id. Raises DatastoreTaken, ActionRefused.

        Not begun any more after `within` seconds of waiting for oned.
        """

    def update(self, datastore_id: int, attributes: Mapping[str, str], *, whole: bool = False) -> None:
        """Merge template attributes, or make them the whole template. Raises NotFound, Unexpressible, ActionRefused."""

    def rename(self, datastore_id: int, name: str) -> None: ...

    def enable(self, datastore_id: int, enabled: bool) -> None:
        """Of system datastores only: oned refuses it for others."""

    def join(self, datastore_id: int, cluster_id: int) -> None:
        """Put the datastore into one more cluster."""

    def leave(self, datastore_id: int, cluster_id: int) -> None:
        """Take the datastore out of a cluster."""

    def delete(self, datastore_id: int) -> None:
        """Raises NotFound, DatastoreInUse (images; oned does not ask whether VMs use a system datastore)."""
