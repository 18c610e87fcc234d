"""The ingress controller's manifests: what it may do, and where it can be reached."""

from __future__ import annotations

from typing import Any

import pytest

from components.ingress_annotations import Controller
from components.ingress_settings import EXPOSURES
from lab import ingress
from lab.paths import LAB
from policy.rules import restricted


@pytest.fixture
def objects() -> dict[str, Any]:
    found = {each["kind"]: each for each in ingress.manifests(LAB, "skipper:1")}
    assert len(found) == len(ingress.manifests(LAB, "skipper:1"))
    return found


def test_the_program_knows_the_controller_and_the_names() -> None:
    assert ingress.CONTROLLER in set(Controller)
    assert set(ingress.DAEMONS) == set(EXPOSURES)


def test_it_is_at_the_nodes_address_with_tls_only(objects: dict[str, Any]) -> None:
    spec = objects["Service"]["spec"]
    assert spec["externalIPs"] == [str(LAB.node_ip)]
    assert [port["port"] for port in spec["ports"]] == [443]
    assert not any(argument.startswith("-insecure") for argument in ingress.arguments())


def test_it_serves_its_own_class_only(objects: dict[str, Any]) -> None:
    assert objects["IngressClass"]["metadata"]["name"] == "lab"
    assert (
        "-kubernetes-ingress-class=^lab$" in objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]["args"]
    )


def test_it_may_list_and_nothing_else(objects: dict[str, Any]) -> None:
    assert {verb for rule in objects["ClusterRole"]["rules"] for verb in rule["verbs"]} == {"list"}
    resources = {resource for rule in objects["ClusterRole"]["rules"] for resource in rule["resources"]}
    assert resources == {"services", "secrets", "endpointslices", "ingresses"}


def test_its_pod_meets_the_rules_of_the_control_planes_own(objects: dict[str, Any]) -> None:
    assert list(restricted("kubernetes:apps/v1:Deployment", "skipper", objects["Deployment"])) == []
    labels = objects["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_selectors_meet_labels(objects: dict[str, Any]) -> None:
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert labels == ingress.LABELS == objects["Service"]["spec"]["selector"]
    assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    (subject,) = objects["ClusterRoleBinding"]["subjects"]
    assert subject["name"] == objects["ServiceAccount"]["metadata"]["name"]
    assert objects["ClusterRoleBinding"]["roleRef"]["name"] == objects["ClusterRole"]["metadata"]["name"]


def test_only_the_tls_port_is_open(objects: dict[str, Any]) -> None:
    spec = objects["NetworkPolicy"]["spec"]
    port = objects["Service"]["spec"]["ports"][0]["targetPort"]
    assert spec["ingress"] == [{"ports": [{"protocol": "TCP", "port": port}]}]
    addresses = {peer["ipBlock"]["cidr"] for peer in spec["egress"][0]["to"]}
    assert addresses == {f"{LAB.node_ip}/32", f"{LAB.services[1]}/32"}
