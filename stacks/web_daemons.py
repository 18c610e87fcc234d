"""The wiring of the daemons that people and VMs talk to: FireEdge, OneFlow, OneGate and the Sunstone of 6.10.

Part of `stacks/control_plane.py`. A daemon is made when it is enabled; oned's pod and the ingress are not made here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pulumi

from components import naming
from components.fireedge import FireEdge, FireEdgeArgs
from components.ingress_settings import service_annotations
from components.oned_settings import endpoint
from components.oneflow import OneFlow, OneFlowArgs
from components.onegate import OneGate, OneGateArgs
from components.placement import Placement
from components.sunstone import Sunstone, SunstoneArgs
from stacks.problems import enabled_daemons
from stacks.settings import StackSettings
from stacks.tiers import TIERS


@dataclass(frozen=True, kw_only=True)
class Feeds:
    """What other parts of the control plane give the daemons. `onegate_url` is what VMs are told, None without OneGate.

    `host_files` is oned's ConfigMap that says where the hosts are.
    """

    placement: Placement
    serveradmin_password: pulumi.Input[str]
    fireedge_key: pulumi.Input[str]
    uploads_claim: pulumi.Input[str]
    host_files: pulumi.Input[str]
    onegate_url: str | None


def declare(settings: StackSettings, feeds: Feeds, child: pulumi.ResourceOptions) -> dict[str, pulumi.Output[str]]:
    """Make the enabled daemons. Returns each one's URL inside the cluster, by name."""
    found: dict[str, pulumi.Output[str]] = {}
    for name, enabled in enabled_daemons(settings).items():
        image: str | None = getattr(settings.images, name)
        if enabled and image:
            found[name] = _MAKERS[name](settings, feeds, image, child).endpoint
    return found


def _fireedge(settings: StackSettings, feeds: Feeds, image: str, child: pulumi.ResourceOptions) -> FireEdge:
    sizing = TIERS[settings.tier]
    return FireEdge(
        naming.FIREEDGE,
        FireEdgeArgs(
            settings=settings.fireedge,
            version=settings.version,
            placement=feeds.placement,
            image=image,
            serveradmin_password=feeds.serveradmin_password,
            fireedge_key=feeds.fireedge_key,
            uploads_claim=feeds.uploads_claim,
            host_files=feeds.host_files,
            oned_endpoint=endpoint(settings.kubernetes.namespace),
            oneflow=settings.oneflow.enabled,
            hypervisors=settings.network.hypervisors,
            resources=sizing.fireedge,
            guacd_resources=sizing.guacd,
            service_annotations={
                **settings.fireedge.service_annotations,
                **service_annotations(settings.ingress, naming.FIREEDGE),
            },
        ),
        opts=child,
    )


def _oneflow(settings: StackSettings, feeds: Feeds, image: str, child: pulumi.ResourceOptions) -> OneFlow:
    return OneFlow(
        naming.ONEFLOW,
        OneFlowArgs(
            settings=settings.oneflow,
            version=settings.version,
            placement=feeds.placement,
            image=image,
            serveradmin_password=feeds.serveradmin_password,
            oned_endpoint=endpoint(settings.kubernetes.namespace),
            resources=TIERS[settings.tier].oneflow,
        ),
        opts=child,
    )


def _onegate(settings: StackSettings, feeds: Feeds, image: str, child: pulumi.ResourceOptions) -> OneGate:
    return OneGate(
        naming.ONEGATE,
        OneGateArgs(
            settings=settings.onegate,
            version=settings.version,
            placement=replace(feeds.placement, scheduling=settings.onegate.scheduling or settings.scheduling),
            image=image,
            serveradmin_password=feeds.serveradmin_password,
            oned_endpoint=endpoint(settings.kubernetes.namespace),
            oneflow=settings.oneflow.enabled,
            url=feeds.onegate_url,
            resources=TIERS[settings.tier].onegate,
            hypervisors=settings.network.hypervisors,
        ),
        opts=child,
    )


def _sunstone(settings: StackSettings, feeds: Feeds, image: str, child: pulumi.ResourceOptions) -> Sunstone:
    return Sunstone(
        naming.SUNSTONE,
        SunstoneArgs(
            settings=settings.sunstone,
            version=settings.version,
            placement=feeds.placement,
            image=image,
            serveradmin_password=feeds.serveradmin_password,
            uploads_claim=feeds.uploads_claim,
            host_files=feeds.host_files,
            oned_endpoint=endpoint(settings.kubernetes.namespace),
            oneflow=settings.oneflow.enabled,
            fireedge=settings.fireedge.enabled,
            hypervisors=settings.network.hypervisors,
            resources=TIERS[settings.tier].sunstone,
        ),
        opts=child,
    )


_Daemon = FireEdge | OneFlow | OneGate | Sunstone
_MAKERS: dict[str, Callable[[StackSettings, Feeds, str, pulumi.ResourceOptions], _Daemon]] = {
    naming.FIREEDGE: _fireedge,
    naming.ONEFLOW: _oneflow,
    naming.ONEGATE: _onegate,
    naming.SUNSTONE: _sunstone,
}
