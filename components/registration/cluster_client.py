"""What this program needs of oned's clusters: frozen values and a small protocol, no transport.

The seam of the cluster rules, as `client` is that of the hosts'. Nothing here imports pyone or Pulumi.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from components.registration.client import NO_ATTRIBUTES, ClusterRecord

FIRST_OWN_ID: Final = 100
"""Clusters below are oned's own and never deleted (ClusterPool::drop)."""


@dataclass(frozen=True, kw_only=True)
class ClusterDetails(ClusterRecord):
    """One cluster with what is in it."""

    hosts: tuple[int, ...] = ()
    datastores: tuple[int, ...] = ()
    networks: tuple[int, ...] = ()
    template: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES)
    """Single-valued attributes."""

    def attribute(self, name: str) -> str:
        """A template attribute; absent and empty are the same."""
        return self.template.get(name, "")


class ClusterClient(Protocol):
    """The cluster calls of one zone. Reads may be repeated; a write whose answer is lost raises `Ambiguous`."""

    def all_clusters(self) -> tuple[ClusterDetails, ...]:
        """All clusters, one call (`one.clusterpool.info`)."""

    def cluster(self, cluster_id: int) -> ClusterDetails:
        """One cluster. Raises NotFound."""

    def allocate(self, name: str, *, within: float) -> int:
        """Make a cluster; returns its id. Raises ClusterTaken. Not begun any more after `within` seconds of waiting."""

    def update(self, cluster_id: int, attributes: Mapping[str, str]) -> None:
        """Merge template attributes. Raises NotFound, Unexpressible."""

    def rename(self, cluster_id: int, name: str) -> None: ...

    def delete(self, cluster_id: int) -> None:
        """Raises NotFound, ClusterInUse (anything is in it)."""
