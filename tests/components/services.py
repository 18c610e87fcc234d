"""FireEdge, OneFlow and OneGate on a recorded graph: how the tests build them, and what holds for all three."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi

from components.domain import Version
from components.fireedge import FireEdge, FireEdgeArgs
from components.fireedge_settings import FireEdgeSettings
from components.oneflow import OneFlow, OneFlowArgs
from components.oneflow_settings import OneFlowSettings
from components.onegate import OneGate, OneGateArgs
from components.onegate_settings import OneGateSettings
from components.placement import Placement
from policy.rules import violations
from stacks.tiers import TIERS, Tier
from tests.graph import Graph, Secret, deploy, reveal

PASSWORD = "MARKERpassword1"
KEY = "MARKER0123456789abcdef0123456789"
ONED = "http://oned.one.svc:2633/RPC2"
FLOW = "http://oneflow.one.svc:2474"
RESOURCES = TIERS[Tier.SMALL].mariadb
PLACEMENT = Placement(
    namespace="one", namespace_name="one", image_pull_policy="IfNotPresent", image_pull_secrets=("pull",)
)


def _common(image: str) -> dict[str, Any]:
    return {
        "version": Version.V7_4,
        "placement": PLACEMENT,
        "image": f"registry.example/one/{image}:7.4.0",
        "serveradmin_password": pulumi.Output.secret(PASSWORD),
        "oned_endpoint": ONED,
        "resources": RESOURCES,
    }


def declare_fireedge(**changes: Any) -> None:
    fields = _common("fireedge") | {
        "settings": FireEdgeSettings(),
        "fireedge_key": pulumi.Output.secret(KEY),
        "uploads_claim": "one-uploads",
        "host_files": "oned-known-hosts",
        "oneflow": True,
        "hypervisors": (),
        "guacd_resources": RESOURCES,
    }
    FireEdge("fireedge", FireEdgeArgs(**(fields | changes)))


def declare_oneflow(**changes: Any) -> None:
    fields = _common("oneflow") | {"settings": OneFlowSettings()}
    OneFlow("oneflow", OneFlowArgs(**(fields | changes)))


def declare_onegate(**changes: Any) -> None:
    fields = _common("onegate") | {"settings": OneGateSettings(enabled=True), "oneflow": True, "url": None}
    OneGate("onegate", OneGateArgs(**(fields | changes)))


def fireedge(**changes: Any) -> Graph:
    return deploy(lambda: declare_fireedge(**changes))


def oneflow(**changes: Any) -> Graph:
    return deploy(lambda: declare_oneflow(**changes))


def onegate(**changes: Any) -> Graph:
    return deploy(lambda: declare_onegate(**changes))


def pod_of(graph: Graph) -> Mapping[str, Any]:
    """The pod's spec in the Deployment."""
    spec: Mapping[str, Any] = graph.one("Deployment").inputs["spec"]["template"]["spec"]
    return spec


def container_of(graph: Graph, name: str) -> Mapping[str, Any]:
    """One container of the Deployment's pod."""
    (found,) = [container for container in pod_of(graph)["containers"] if container["name"] == name]
    result: Mapping[str, Any] = found
    return result


def policies(graph: Graph) -> dict[str, Any]:
    """Object name to spec."""
    return {record.inputs["metadata"]["name"]: record.inputs["spec"] for record in graph.all("NetworkPolicy")}


def edges(graph: Graph) -> set[str]:
    """`from fireedge egress to oned 2633`: both halves of every allowed edge between the namespace's pods."""

    def ports(rule: Any) -> list[str]:
        return [f"{port['port']}" + (f"-{port['endPort']}" if "endPort" in port else "") for port in rule["ports"]]

    def name(peer: Any) -> str:
        if "ipBlock" in peer:
            return str(peer["ipBlock"]["cidr"])
        return str(peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"])

    found = set()
    for spec in policies(graph).values():
        pods = spec["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
        for rule in spec.get("ingress", []):
            found |= {f"{pods} lets {name(peer)} in at {port}" for peer in rule["from"] for port in ports(rule)}
        for rule in spec.get("egress", []):
            found |= {f"{pods} goes to {name(peer)} at {port}" for peer in rule["to"] for port in ports(rule)}
    return found


def fingerprint(graph: Graph) -> dict[str, str]:
    """Logical name to everything that the resource was given."""
    return {record.name: json.dumps(dict(record.inputs), default=repr, sort_keys=True) for record in graph.records}


def changed(before: Graph, after: Graph) -> set[str]:
    """Logical names of resources that differ."""
    old, new = fingerprint(before), fingerprint(after)
    return {name for name in old | new if old.get(name) != new.get(name)}


def broken_rules(graph: Graph) -> list[str]:
    """What policy/rules.py has to say."""
    return [line for r in graph.records for line in violations(r.type, r.name, reveal(dict(r.inputs)))]


def check_common(graph: Graph, component: str) -> None:
    """What holds for every one of them: names, parents, rules, secrets, own account, both halves of every edge."""
    assert broken_rules(graph) == []
    children = [record for record in graph.records if record.name != component]
    assert all(record.name.startswith(f"{component}-") for record in children)
    assert all(record.parent == component for record in children)
    clear = json.dumps([dict(record.inputs) for record in graph.records], default=repr)
    assert "MARKER" not in clear, "a password stands in clear"
    assert isinstance(graph.one("Secret").inputs["stringData"], Secret)
    assert graph.one("ServiceAccount").inputs["metadata"]["name"] == component
    assert graph.one("Service").inputs["metadata"]["name"] == component
    assert graph.one("Deployment").inputs["metadata"]["name"] == component
    pod = pod_of(graph)
    assert pod["securityContext"]["runAsUser"] == 19869
    assert [item["name"] for item in pod["imagePullSecrets"]] == ["pull"]
    for container in pod["containers"]:
        assert not any("MARKER" in str(item) for item in container.get("env", []))
    declared = edges(graph)
    for edge in declared:
        if f"{component} goes to " in edge and "/" not in edge:
            server, port = edge.removeprefix(f"{component} goes to ").split(" at ")
            assert f"{server} lets {component} in at {port}" in declared, edge


def mounted_files(graph: Graph, container: str) -> dict[str, str]:
    """Path to text of every file that comes from the ConfigMap."""
    data = graph.one("ConfigMap").inputs["data"]
    return {
        mount["mountPath"]: data[mount["subPath"]]
        for mount in container_of(graph, container)["volumeMounts"]
        if mount["name"] == "config"
    }
