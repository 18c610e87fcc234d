"""The namespace of the control plane: Pod Security `restricted` enforced, and nothing may talk to anything.

Runs nothing. Makes the Namespace, one NetworkPolicy that denies all traffic of all pods, and one that lets them ask
DNS; each component adds the edges that it needs and no others. Deliberately not here: quotas, which belong to whoever
owns the cluster. Outputs: `name`.

The namespace stays when the stack is destroyed, unless `storage.retain` is false: deleting it would delete every
volume claim in it, whatever the claims' own policy says.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import Namespace as KubernetesNamespace
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from components import naming
from components.manifests import Manifest, cidr_peer, policy_ports

# Pinned: "latest" would let an upgrade of the cluster reject pods of a running control plane.
POD_SECURITY_VERSION = "v1.31"


@dataclass(frozen=True, kw_only=True)
class NamespaceArgs:
    """`name` is explicit: DNS names of the Services depend on it."""

    name: str
    retain: bool


class Namespace(pulumi.ComponentResource):
    """See the module."""

    name: pulumi.Output[str]

    def __init__(self, name: str, args: NamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:Namespace", name, None, opts)
        namespace = KubernetesNamespace(
            f"{name}-namespace",
            metadata={"name": args.name, "labels": {**naming.labels("namespace"), **pod_security_labels()}},
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=args.retain),
        )
        self.name = namespace.metadata.name
        for role, spec in (("deny-all", deny_all()), ("allow-dns", allow_dns())):
            NetworkPolicy(
                f"{name}-{role}",
                metadata={"name": role, "namespace": self.name, "labels": naming.labels("namespace")},
                spec=spec,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({"name": self.name})


def pod_security_labels() -> dict[str, str]:
    """Enforce, audit and warn at the same level and version."""
    labels = {}
    for mode in ("enforce", "audit", "warn"):
        labels[f"pod-security.kubernetes.io/{mode}"] = "restricted"
        labels[f"pod-security.kubernetes.io/{mode}-version"] = POD_SECURITY_VERSION
    return labels


def deny_all() -> Manifest:
    """No pod of the namespace receives or sends anything, unless another policy says so."""
    return {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def allow_dns() -> Manifest:
    """Every pod may ask the cluster's DNS."""
    dns = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    # NodeLocal DNSCache answers on this address of the node, if the cluster runs it.
    node_local = cidr_peer("169.254.20.10/32")
    return {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [
            {"to": [dns, node_local], "ports": policy_ports(("UDP", naming.PORT_DNS), ("TCP", naming.PORT_DNS))}
        ],
    }
