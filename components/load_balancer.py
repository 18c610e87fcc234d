"""What a Service of ours tells the cluster's load balancers beyond its type: annotations, and the class. Pure.

Which address a balancer gets, whether it is an internal one and whether two Services share one is said in annotations
alone, in the words of whoever makes the balancer (MetalLB, kube-vip, Cilium, a cloud). Deliberately not here: those words,
and `loadBalancerIP`, which Kubernetes deprecates and some of them ignore.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from components.domain import AnnotationKey, qualified
from components.manifests import Manifest

_PULUMI: Final = "pulumi.com/"


def _not_pulumis(key: str) -> str:
    if key.startswith(_PULUMI):
        raise ValueError(
            "is Pulumi's own, and the program's to decide (whether an up waits, who owns the fields); remove it"
        )
    return key


OwnAnnotationKey = Annotated[AnnotationKey, AfterValidator(_not_pulumis)]
ServiceAnnotations = Annotated[
    dict[OwnAnnotationKey, str],
    Field(
        description="annotations of the Service, by which the cluster's load balancers are asked for an address, an internal "
        "balancer or a shared one, such as metallb.io/loadBalancerIPs"
    ),
]
LoadBalancerClass = Annotated[
    Annotated[str, qualified("must be a class's name such as service.k8s.aws/nlb")] | None,
    Field(
        description="loadBalancerClass of the Service, which chooses among several makers of balancers; the cluster's default when "
        "left out. Only with exposure loadBalancer. A change makes the Service anew: Kubernetes allows no other"
    ),
]


def balanced(load_balancer_class: str | None) -> Manifest:
    """What makes a Service's spec one of a load balancer."""
    return {"type": "LoadBalancer"} | (
        {} if load_balancer_class is None else {"loadBalancerClass": load_balancer_class}
    )


def class_problem(load_balancer_class: str | None, exposure: str) -> str | None:
    """What is wrong with a class beside an exposure, as a sentence."""
    if load_balancer_class is None or exposure == "loadBalancer":
        return None
    return f"stands only with exposure loadBalancer, and the exposure is {exposure}; remove it"
