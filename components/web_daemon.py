"""The resources that FireEdge, OneFlow, OneGate and the Sunstone of 6.10 have in common; each component gives its own values.

Makes a Secret with the files of `/var/lib/one/.one`, a ConfigMap named by its content, a ServiceAccount without token,
NetworkPolicies, a Service, the Deployment and, with several replicas, a PodDisruptionBudget, all children of the component.
Deliberately not here: what any of them says. Specs come from the components, and from the builders in
`components/service_pod.py` that several of them share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ConfigMap, Secret, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from components.credentials import session
from components.manifests import SKIP_AWAIT, Manifest, content_hash
from components.placement import Placement, balanced_service, configuration
from components.service_pod import PodObjects, disruption_budget

# oned itself may take 6 minutes to its first answer, and OneFlow waits for it.
TIMEOUTS = pulumi.CustomTimeouts(create="8m", update="8m")


@dataclass(frozen=True, kw_only=True)
class WebDaemon:
    """What a component says about its daemon. `role` names its objects, labels its pods and is the Service's name.

    `credential` is the Secret and `files` the ConfigMap, both by key. `policies` maps an object's name to its spec;
    `policy_prefix` stands before that name in the resource's own, and must stay what it was for existing stacks.
    `deployment` makes the workload's spec once the names of the objects that its pods mount are known.
    """

    role: str
    placement: Placement
    credential: Mapping[str, pulumi.Input[str]]
    files: Mapping[str, str]
    policies: Mapping[str, Manifest]
    service: Manifest
    deployment: Callable[[PodObjects], Manifest]
    replicas: int = 1
    service_annotations: Mapping[str, str] = field(default_factory=dict)
    policy_prefix: str = "policy-"


def declare(parent: pulumi.Resource, name: str, daemon: WebDaemon) -> pulumi.Output[str]:
    """Make all of it below `parent`, named after `name`. Returns the Deployment's name, known once its pods are ready."""
    child = pulumi.ResourceOptions(parent=parent)
    place, role = daemon.placement, daemon.role
    secret = Secret(f"{name}-auth", metadata=place.meta(role), string_data=daemon.credential, opts=child)
    config = ConfigMap(
        f"{name}-config",
        metadata=place.meta(role, f"{role}-config-{content_hash(*daemon.files.values())}"),
        data=daemon.files,
        opts=configuration(parent),
    )
    account = ServiceAccount(
        f"{name}-account", metadata=place.meta(role, role), automount_service_account_token=False, opts=child
    )
    for policy, spec in daemon.policies.items():
        NetworkPolicy(
            f"{name}-{daemon.policy_prefix}{policy}", metadata=place.meta(role, policy), spec=spec, opts=child
        )
    Service(
        f"{name}-service",
        metadata=place.meta(role, role) | {"annotations": {**daemon.service_annotations, **SKIP_AWAIT}},
        spec=daemon.service,
        opts=balanced_service(parent),
    )
    objects = PodObjects(account=account.metadata.name, config=config.metadata.name, secret=secret.metadata.name)
    workload = Deployment(
        f"{name}-deployment",
        metadata=place.meta(role, role),
        spec=daemon.deployment(objects),
        opts=pulumi.ResourceOptions(parent=parent, custom_timeouts=TIMEOUTS),
    )
    if daemon.replicas > 1:
        PodDisruptionBudget(
            f"{name}-disruptions", metadata=place.meta(role, role), spec=disruption_budget(role), opts=child
        )
    made: pulumi.Output[str] = workload.metadata.name
    return made


def serveradmin_session(password: pulumi.Input[str]) -> pulumi.Output[str]:
    """The line by which a daemon logs in to oned as serveradmin."""
    return pulumi.Output.from_input(password).apply(lambda value: session("serveradmin", value))
