"""The Ruby Sunstone of 6.10 on a recorded graph."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import Any

import pulumi
import pytest
import yaml

from components import naming
from components.domain import Version
from components.placement import Placement
from components.sunstone import Sunstone, SunstoneArgs
from components.sunstone_settings import ConsoleExposure, SunstoneSettings, problems
from policy.rules import violations
from stacks.tiers import TIERS, Tier
from tests.components.test_components import PASSWORD, clear_text
from tests.graph import Graph, Secret, deploy, reveal

PROXY = (IPv4Network("192.0.2.0/28"),)


def sunstone(**changes: Any) -> Graph:
    def program() -> None:
        fields: dict[str, Any] = {
            "settings": SunstoneSettings(enabled=True),
            "version": Version.V6_10,
            "placement": Placement(namespace="one", namespace_name="one", image_pull_policy="IfNotPresent"),
            "image": "registry.example/one/sunstone:6.10.5",
            "serveradmin_password": pulumi.Output.secret(PASSWORD),
            "uploads_claim": "one-uploads",
            "host_files": "oned-known-hosts",
            "oned_endpoint": "http://oned.one.svc:2633/RPC2",
            "oneflow": True,
            "fireedge": False,
            "hypervisors": (IPv4Network("10.1.0.0/16"),),
            "resources": TIERS[Tier.SMALL].oned,
        }
        Sunstone("sunstone", SunstoneArgs(**(fields | changes)))

    return deploy(program)


def config(graph: Graph) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(graph.one("ConfigMap").inputs["data"]["sunstone-server.conf"])
    return found


def pod(graph: Graph) -> dict[str, Any]:
    found: dict[str, Any] = graph.one("Deployment").inputs["spec"]["template"]["spec"]
    return found


def test_every_rule_holds_and_the_password_is_secret() -> None:
    graph = sunstone()
    assert [line for r in graph.records for line in violations(r.type, r.name, reveal(dict(r.inputs)))] == []
    assert "MARKER" not in clear_text(graph)
    secret = graph.one("Secret").inputs["stringData"]
    assert isinstance(secret, Secret)
    assert reveal(secret) == {"sunstone_auth": f"serveradmin:{PASSWORD}\n"}
    assert all(record.name.startswith("sunstone-") for record in graph.records[1:])


def test_its_file_names_services_and_loads_no_route_without_a_daemon() -> None:
    found = config(sunstone())
    assert found[":one_xmlrpc"] == "http://oned.one.svc:2633/RPC2"
    assert found[":subscriber_endpoint"] == "tcp://oned.one.svc:2101"
    assert (found[":host"], found[":port"], found[":vnc_proxy_port"]) == ("0.0.0.0", 9869, 29876)
    assert found[":routes"] == ["oneflow", "support"]
    assert config(sunstone(oneflow=False))[":routes"] == ["support"]
    assert found[":log"] == {":level": 2, ":system": "file"}


def test_consoles_over_tls_when_browsers_come_by_https() -> None:
    assert config(sunstone())[":vnc_proxy_support_wss"] == "no"
    settings = SunstoneSettings(
        enabled=True, public_url="https://cloud.example/", console_port=443, console_clients=PROXY
    )
    found = config(sunstone(settings=settings))
    assert found[":vnc_proxy_support_wss"] == "yes"
    assert (found[":vnc_client_port"], found[":webauthn_origin"]) == (443, "https://cloud.example")


def test_fireedge_both_ends_or_none() -> None:
    settings = SunstoneSettings(enabled=True, public_fireedge_url="https://cloud.example")
    found = config(sunstone(settings=settings, fireedge=True))
    assert found[":private_fireedge_endpoint"] == "http://fireedge.one.svc:2616"
    assert found[":public_fireedge_endpoint"] == "https://cloud.example"
    off = config(sunstone(settings=settings, fireedge=False))
    assert off[":private_fireedge_endpoint"] == off[":public_fireedge_endpoint"] == ""


def test_the_two_containers_share_tokens_and_lock_and_nothing_secret() -> None:
    containers = {container["name"]: container for container in pod(sunstone())["containers"]}
    assert set(containers) == {"sunstone", "novnc"}
    mounts = {name: {m["mountPath"]: m for m in c["volumeMounts"]} for name, c in containers.items()}
    shared = {"/var/lib/one/sunstone_vnc_tokens", "/var/lock/one"}
    assert shared <= set(mounts["sunstone"]) and shared <= set(mounts["novnc"])
    assert "/var/lib/one/.one" in mounts["sunstone"] and "/var/lib/one/.one" not in mounts["novnc"]
    assert mounts["novnc"]["/etc/hosts"]["subPath"] == "hosts" and "/etc/hosts" not in mounts["sunstone"]
    assert mounts["sunstone"]["/etc/one/sunstone-server.conf"]["subPath"] == "sunstone-server.conf"


def test_uploads_have_oneds_group() -> None:
    spec = pod(sunstone())
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["fsGroup"]) == (19869, 9869)
    assert {"name": "uploads", "persistentVolumeClaim": {"claimName": "one-uploads"}} in spec["volumes"]


def _edges(graph: Graph) -> set[tuple[str, str, str, int]]:
    """(direction, whose pods, peer, port)."""
    found = set()
    for record in graph.all("NetworkPolicy"):
        spec = record.inputs["spec"]
        whose = spec["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
        for direction, key in (("ingress", "from"), ("egress", "to")):
            for rule in spec.get(direction, []):
                for other in rule[key]:
                    label = other.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/name")
                    for port in rule["ports"]:
                        found.add((direction, whose, label or other["ipBlock"]["cidr"], port["port"]))
    return found


def test_its_edges() -> None:
    expected = {
        ("egress", "sunstone", "oned", 2633),
        ("egress", "sunstone", "oned", 2101),
        ("egress", "sunstone", "10.1.0.0/16", 5900),
        ("ingress", "oned", "sunstone", 2633),
        ("ingress", "oned", "sunstone", 2101),
    }
    flow = {("egress", "sunstone", "oneflow", 2474), ("ingress", "oneflow", "sunstone", 2474)}
    assert _edges(sunstone()) == expected | flow
    assert _edges(sunstone(oneflow=False)) == expected
    names = {record.inputs["metadata"]["name"] for record in sunstone().all("NetworkPolicy")}
    assert names == {"sunstone", "sunstone-to-oned", "sunstone-to-oneflow"}


def test_a_proxys_networks_reach_novnc_and_nothing_else_of_it() -> None:
    settings = SunstoneSettings(enabled=True, console_clients=PROXY)
    assert _edges(sunstone(settings=settings)) - _edges(sunstone()) == {("ingress", "sunstone", "192.0.2.0/28", 29876)}
    # In the cluster it comes by Sunstone's own Service.
    assert len(sunstone(settings=settings).all("Service")) == 1


def test_novnc_has_a_service_of_its_own_towards_a_proxy_outside() -> None:
    def spec(**changes: Any) -> dict[str, Any]:
        settings = SunstoneSettings(enabled=True, console_clients=PROXY, **changes)
        record = sunstone(settings=settings).one("Service", "sunstone-consoles")
        assert record.inputs["metadata"]["name"] == "sunstone-consoles"
        found: dict[str, Any] = record.inputs["spec"]
        return found

    both = {"selector": {"app.kubernetes.io/name": "sunstone"}, "externalTrafficPolicy": "Local"}
    assert spec(console_exposure=ConsoleExposure.NODE_PORT, console_node_port=30876) == {
        **both,
        "type": "NodePort",
        "ports": [{"name": "novnc", "port": 29876, "nodePort": 30876}],
    }
    assert spec(console_exposure=ConsoleExposure.LOAD_BALANCER) == {
        **both,
        "type": "LoadBalancer",
        "ports": [{"name": "novnc", "port": 29876}],
        "loadBalancerSourceRanges": ["192.0.2.0/28"],
    }


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"console_port": 443}, "consolePort"),
        ({"console_exposure": ConsoleExposure.LOAD_BALANCER}, "consoleExposure"),
        ({"console_clients": PROXY, "console_exposure": ConsoleExposure.NODE_PORT}, "consoleNodePort"),
        (
            {"console_clients": PROXY, "console_exposure": ConsoleExposure.NODE_PORT, "console_node_port": 443},
            "consoleNodePort",
        ),
        ({"console_clients": PROXY, "console_node_port": 30876}, "consoleNodePort"),
    ],
)
def test_a_way_to_novnc_that_cannot_work_is_refused(changes: dict[str, Any], path: str) -> None:
    assert [found for found, _ in problems(SunstoneSettings(enabled=True, **changes), Version.V6_10)] == [path]


def test_no_way_to_novnc_is_a_choice() -> None:
    assert list(problems(SunstoneSettings(enabled=True), Version.V6_10)) == []
    good = SunstoneSettings(enabled=True, console_clients=PROXY, console_port=8443)
    assert list(problems(good, Version.V6_10)) == []


def test_a_config_change_restarts_it_and_nothing_else() -> None:
    def fingerprint(graph: Graph) -> dict[str, str]:
        return {r.name: json.dumps(dict(r.inputs), default=repr, sort_keys=True) for r in graph.records}

    before, after = (
        fingerprint(sunstone()),
        fingerprint(sunstone(settings=SunstoneSettings(enabled=True, lang="de_DE"))),
    )
    assert {name for name in before if before[name] != after[name]} == {"sunstone-config", "sunstone-deployment"}


def test_the_service_selects_the_pod() -> None:
    graph = sunstone()
    spec = graph.one("Service").inputs["spec"]
    assert [port["port"] for port in spec["ports"]] == [naming.PORT_SUNSTONE, naming.PORT_NOVNC]
    labels = graph.one("Deployment").inputs["spec"]["template"]["metadata"]["labels"]
    assert spec["selector"].items() <= labels.items()


def test_7_has_no_such_thing() -> None:
    ((path, text),) = problems(SunstoneSettings(enabled=True), Version.V7_4)
    assert path == "enabled" and "OpenNebula 7.4 does not know" in text
    assert list(problems(SunstoneSettings(), Version.V7_4)) == []
    with pytest.raises(ValueError, match=r"7\.4"):
        sunstone(version=Version.V7_4)


def test_raw_keys_add_and_never_fight() -> None:
    assert config(sunstone(settings=SunstoneSettings(enabled=True, raw={"proxy": "http://10.0.0.1:3128"})))[":proxy"]
    assert dict(problems(SunstoneSettings(raw={"port": 1}), Version.V6_10)).keys() == {"raw.port"}


def test_the_pod_has_time_to_end() -> None:
    assert pod(sunstone())["terminationGracePeriodSeconds"] == 15
