"""A small cluster of its own whose packets are watched: four pods in two namespaces, DNS, the node, and this machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from lab.paths import Instance
from policy.edges import Place, Pod, World, edges
from tests.engine.reachability import Party, Probe, Seen, every, namespaces, until
from tests.kubectl import Kubectl

INSTANCE = Instance(name="policytest", index=23)
kubectl = Kubectl(INSTANCE.kubeconfig)
PORTS = {"TCP": (80, 81, 8080, 9000), "UDP": (53, 80)}
LIMIT = 10.0  # seconds from a change of a policy to its last packet; a sync of the controller takes a tenth of one


@dataclass(frozen=True)
class Cluster:
    """The parties, and which packets pass between them under some policies."""

    images: dict[str, str]
    world: World
    parties: tuple[Party, ...]

    @property
    def probes(self) -> frozenset[Probe]:
        names = [party.name for party in self.parties]
        asked = every(names, names, PORTS)
        outside = {"outside", "node"}
        return frozenset(
            each
            for each in asked
            if not {each.client, each.server} <= outside and not (each.server == "node" and each.protocol == "UDP")
        )

    def expected(self, policies: list[dict[str, Any]]) -> frozenset[Probe]:
        found = edges(policies, self.world)
        return frozenset(
            each
            for each in self.probes
            if any(
                (edge.client, edge.server) == (each.client, each.server) and edge.covers(each.protocol, each.port)
                for edge in found
            )
        )


def manifest(name: str, namespace: str, labels: dict[str, str], image: str) -> dict[str, Any]:
    ports = [
        {"name": "web", "containerPort": 8080, "protocol": "TCP"},
        {"name": "web-udp", "containerPort": 80, "protocol": "UDP"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "pause", "image": image, "ports": ports}],
        },
    }


PODS = {
    "a1": ("a", {"app": "x", "tier": "front"}),
    "a2": ("a", {"app": "x"}),
    "a3": ("a", {"app": "y"}),
    "b1": ("b", {"app": "y"}),
}
NAMESPACES = {"a": {"team": "red"}, "b": {"team": "blue"}}


def look(images: dict[str, str]) -> Cluster:
    """The parties as they are now: four pods, DNS, the node, and this machine for the outside."""
    ports = {("TCP", "web"): 8080, ("UDP", "web-udp"): 80}
    pods, spaces = [], namespaces(INSTANCE)
    for each in json.loads(kubectl("get", "pods", "--all-namespaces", "-o", "json"))["items"]:
        metadata, labels = each["metadata"], each["metadata"]["labels"]
        name = "dns" if labels.get("k8s-app") == "kube-dns" else metadata["name"]
        if name in ("dns", *PODS):
            address = IPv4Address(each["status"]["podIP"])
            named = ports if name in PODS else {}
            pods.append(Pod(name=name, namespace=metadata["namespace"], labels=labels, ports=named, address=address))
    places = {"outside": INSTANCE.root_ip, "node": INSTANCE.node_ip}
    return Cluster(
        images,
        World(
            pods=tuple(pods),
            places=tuple(
                Place(name=name, network=IPv4Network(address), node=name == "node") for name, address in places.items()
            ),
            namespaces=NAMESPACES,
        ),
        (
            *(Party(name=pod.name, address=pod.address, namespace=spaces[pod.address]) for pod in pods if pod.address),
            Party(name="outside", address=INSTANCE.root_ip),
            Party(name="node", address=INSTANCE.node_ip, namespace=spaces[INSTANCE.node_ip], filters=True),
        ),
    )


def put(policies: list[dict[str, Any]]) -> None:
    """Replace all policies by these."""
    for namespace in NAMESPACES:
        kubectl(f"--namespace={namespace}", "delete", "networkpolicies", "--all", "--wait")
    if policies:
        kubectl("apply", "-f", "-", manifest={"apiVersion": "v1", "kind": "List", "items": policies})


def wrong(seen: Seen, expected: frozenset[Probe]) -> list[str]:
    return [f"passed: {each}" for each in sorted(seen.arrived - expected)] + [
        f"blocked: {each}" for each in sorted(expected - seen.arrived)
    ]


def check(running: Cluster, policies: list[dict[str, Any]]) -> None:
    """After a while, and then still, packets pass exactly where the policies say so, and their answers come back."""
    expected = running.expected(policies)
    put(policies)
    seen = until(running.parties, lambda seen: seen.arrived == expected, running.probes, LIMIT)
    lines = wrong(seen, expected)
    assert lines == [], f"{lines} with {json.dumps(policies)}"
    unanswered = [each for each in seen.arrived - seen.answered if each.protocol == "TCP"]
    assert unanswered == []


def server(image: str) -> dict[str, Any]:
    """A pod that answers on port 8080, behind a Service."""
    script = "s = TCPServer.new(8080); loop { c = s.accept; c.gets; c.write(%(hello)); c.close }"
    container = {
        "name": "web",
        "image": image,
        "command": ["ruby", "-rsocket", "-e", script],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    labels = {"app": "web"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "a", "labels": labels},
        "spec": {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "a"},
        "spec": {"selector": labels, "ports": [{"port": 8080}]},
    }
    return {"apiVersion": "v1", "kind": "List", "items": [pod, service]}
