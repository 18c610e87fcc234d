"""Sizing: what each tier gives the pods. Plain data; requests are what a quiet zone uses, limits what a busy one may.

Figures start from OpenNebula's scalability guide (1,250 hosts on one 8-core front-end with a MySQL beside it) and are
to be measured on one's own zone; every number can be overridden by choosing another tier.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from components.manifests import Manifest


class Tier(StrEnum):
    """How many hosts a control plane of this size is meant for."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """Resources a pod, and the database's page cache."""

    oned: Manifest
    mariadb: Manifest
    fireedge: Manifest
    guacd: Manifest
    oneflow: Manifest
    onegate: Manifest
    sunstone: Manifest
    buffer_pool: str


def _resources(cpu: tuple[str, str], memory: tuple[str, str], scratch: tuple[str, str]) -> Manifest:
    return {
        "requests": {"cpu": cpu[0], "memory": memory[0], "ephemeral-storage": scratch[0]},
        "limits": {"cpu": cpu[1], "memory": memory[1], "ephemeral-storage": scratch[1]},
    }


TIERS: dict[Tier, Sizing] = {
    # Up to about 10 hosts: a laptop, a test bed.
    Tier.SMALL: Sizing(
        oned=_resources(("100m", "2"), ("256Mi", "1Gi"), ("128Mi", "12Gi")),
        mariadb=_resources(("100m", "2"), ("256Mi", "768Mi"), ("64Mi", "2Gi")),
        fireedge=_resources(("50m", "1"), ("192Mi", "768Mi"), ("64Mi", "2Gi")),
        guacd=_resources(("10m", "500m"), ("32Mi", "256Mi"), ("16Mi", "256Mi")),
        oneflow=_resources(("20m", "1"), ("96Mi", "384Mi"), ("32Mi", "512Mi")),
        onegate=_resources(("20m", "500m"), ("96Mi", "256Mi"), ("32Mi", "512Mi")),
        sunstone=_resources(("20m", "1"), ("128Mi", "512Mi"), ("64Mi", "1Gi")),
        buffer_pool="128Mi",
    ),
    # Up to about 100 hosts.
    Tier.MEDIUM: Sizing(
        oned=_resources(("1", "4"), ("1Gi", "4Gi"), ("1Gi", "20Gi")),
        mariadb=_resources(("1", "4"), ("2Gi", "4Gi"), ("1Gi", "4Gi")),
        fireedge=_resources(("250m", "2"), ("512Mi", "1536Mi"), ("128Mi", "2Gi")),
        guacd=_resources(("50m", "1"), ("64Mi", "512Mi"), ("16Mi", "256Mi")),
        oneflow=_resources(("100m", "2"), ("256Mi", "768Mi"), ("64Mi", "1Gi")),
        onegate=_resources(("100m", "1"), ("128Mi", "384Mi"), ("64Mi", "1Gi")),
        sunstone=_resources(("100m", "2"), ("256Mi", "1Gi"), ("128Mi", "2Gi")),
        buffer_pool="1Gi",
    ),
    # Up to the 1,250 hosts of the guide.
    Tier.LARGE: Sizing(
        oned=_resources(("4", "8"), ("4Gi", "16Gi"), ("4Gi", "40Gi")),
        mariadb=_resources(("4", "8"), ("8Gi", "16Gi"), ("4Gi", "10Gi")),
        fireedge=_resources(("1", "4"), ("1Gi", "4Gi"), ("256Mi", "4Gi")),
        guacd=_resources(("250m", "2"), ("128Mi", "1Gi"), ("16Mi", "256Mi")),
        oneflow=_resources(("500m", "4"), ("512Mi", "2Gi"), ("128Mi", "2Gi")),
        onegate=_resources(("250m", "2"), ("256Mi", "768Mi"), ("128Mi", "2Gi")),
        sunstone=_resources(("500m", "4"), ("512Mi", "2Gi"), ("256Mi", "4Gi")),
        buffer_pool="6Gi",
    ),
}
