"""Where a component's objects and pods go and how these get their image: the same few values for every daemon."""

from __future__ import annotations

from dataclasses import dataclass, field

import pulumi

from components import naming
from components.manifests import Manifest
from components.scheduling import SchedulingSettings


@dataclass(frozen=True, kw_only=True)
class Placement:
    """`namespace` is the resource's output, `namespace_name` the same as a plain value, for texts that name Services.

    `scheduling` says on which nodes the pods run.
    """

    namespace: pulumi.Input[str]
    namespace_name: str
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...] = ()
    scheduling: SchedulingSettings = field(default_factory=SchedulingSettings)

    def meta(self, component: str, object_name: pulumi.Input[str] | None = None) -> Manifest:
        """Metadata of an object of a component; without a name the provider invents one."""
        found: Manifest = {"namespace": self.namespace, "labels": naming.labels(component)}
        if object_name is not None:
            found["name"] = object_name
        return found

    def url(self, service: str, port: int, scheme: str = "http") -> str:
        """How another pod reaches a Service of this namespace."""
        return f"{scheme}://{naming.service_dns(service, self.namespace_name)}:{port}"


def configuration(parent: pulumi.Resource) -> pulumi.ResourceOptions:
    """Options of a ConfigMap whose name is made of its content: an older one is left where it is.

    After a failed update the engine still means to delete the one that it replaced. Going back to the configuration of
    before takes that very object over, by its name, and the late delete would take it from under the new pod.
    """
    return pulumi.ResourceOptions(parent=parent, retain_on_delete=True)


def balanced_service(parent: pulumi.Resource) -> pulumi.ResourceOptions:
    """Options of a Service that may have a load balancer's class.

    The API server refuses any change of that while the type stays ("may not change once set"), and the plugin's own rules
    (4.29: `spec.clusterIP` alone) do not know it. The name is fixed, so the old Service goes first.
    """
    replaced = ["spec.loadBalancerClass"]
    return pulumi.ResourceOptions(parent=parent, replace_on_changes=replaced, delete_before_replace=True)
