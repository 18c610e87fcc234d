"""OneGate: its file for each release, who may reach it, and what VMs are told."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.domain import Version
from components.network_drivers import Tproxy
from components.onegate import service
from components.onegate_settings import (
    GateExposure,
    OneGateSettings,
    Permissions,
    VmPermissions,
    config_text,
    problems,
    proxy,
    vm_endpoint,
)
from tests.components.services import (
    FLOW,
    ONED,
    PASSWORD,
    changed,
    check_common,
    edges,
    mounted_files,
    onegate,
    pod_of,
)
from tests.graph import reveal

LISTEN = {
    Version.V6_10: ':host: "0.0.0.0"\n:port: 5030\n',
    Version.V7_4: ':server:\n  :bind: "0.0.0.0"\n  :port: 5030\n',
}
HEAD = ':one_xmlrpc: "http://oned.one.svc:2633/RPC2"\n'
REST = """\
:log:
  :level: 2
  :system: "file"
:auth: "onegate"
:core_auth: "cipher"
:oneflow_server: "http://oneflow.one.svc:2474"
:permissions:
  :vm:
    :show: true
    :show_by_id: true
    :update: true
    :update_by_id: true
    :action_by_id: true
  :service:
    :show: true
    :change_cardinality: true
  :vrouter:
    :show: true
  :vnet:
    :show_by_id: true
:restricted_attrs:
  - "SCHED_REQUIREMENTS"
  - "SERVICE_ID"
  - "ROLE_NAME"
:vnet_template_attributes:
  - "NETWORK_ADDRESS"
  - "NETWORK_MASK"
  - "GATEWAY"
  - "GATEWAY6"
  - "DNS"
  - "GUEST_MTU"
  - "METRIC"
  - "IP6_METRIC"
  - "SEARCH_DOMAIN"
:restricted_actions:
  - "reboot"
"""
VMS = (IPv4Network("10.7.0.0/16"), IPv4Network("10.8.1.0/24"))


def gate(**fields: Any) -> OneGateSettings:
    return OneGateSettings(**({"enabled": True} | fields))


def text(settings: OneGateSettings, version: Version = Version.V7_4, **changes: Any) -> str:
    fields: dict[str, Any] = {"oned_endpoint": ONED, "oneflow_endpoint": FLOW, "url": None}
    return config_text(settings, version, **(fields | changes))


@pytest.mark.parametrize("version", Version)
def test_the_file_of_each_release(version: Version) -> None:
    assert text(gate(), version) == HEAD + LISTEN[version] + REST
    assert mounted_files(onegate(version=version), "onegate") == {
        "/etc/one/onegate-server.conf": HEAD + LISTEN[version] + REST
    }


def test_without_oneflow_it_is_nowhere() -> None:
    assert "oneflow" not in text(gate(), oneflow_endpoint=None)
    assert edges(onegate(oneflow=False)) == {"onegate goes to oned at 2633", "oned lets onegate in at 2633"}


def test_links_in_answers_are_those_of_the_tls_proxy() -> None:
    assert yaml.safe_load(text(gate(), url="https://gate.example"))[":ssl_server"] == "https://gate.example"
    assert ":ssl_server" not in text(gate(), url="http://192.0.2.9:5030")


@pytest.mark.parametrize("replicas", [1, 3])
def test_what_every_daemon_keeps(replicas: int) -> None:
    graph = onegate(settings=gate(replicas=replicas, vm_networks=VMS))
    check_common(graph, "onegate")
    assert reveal(graph.one("Secret").inputs["stringData"]) == {"onegate_auth": f"serveradmin:{PASSWORD}\n"}


def test_replicas_stand_apart_and_leave_one_at_a_time() -> None:
    assert onegate().all("PodDisruptionBudget") == []
    assert "affinity" not in pod_of(onegate())
    graph = onegate(settings=gate(replicas=2))
    assert graph.one("Deployment").inputs["spec"]["replicas"] == 2
    selector = {"matchLabels": {"app.kubernetes.io/name": "onegate"}}
    assert graph.one("PodDisruptionBudget").inputs["spec"] == {"maxUnavailable": 1, "selector": selector}
    pod = pod_of(graph)
    (term,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"] == {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}
    (zones,) = pod["topologySpreadConstraints"]
    assert zones["whenUnsatisfiable"] == "ScheduleAnyway" and zones["labelSelector"] == selector


def test_its_edges() -> None:
    inside = {
        "onegate goes to oned at 2633",
        "oned lets onegate in at 2633",
        "onegate goes to oneflow at 2474",
        "oneflow lets onegate in at 2474",
    }
    assert edges(onegate()) == inside
    assert edges(onegate(settings=gate(vm_networks=VMS))) == inside | {
        "onegate lets 10.7.0.0/16 in at 5030",
        "onegate lets 10.8.1.0/24 in at 5030",
    }


def test_the_service_towards_vms() -> None:
    assert service(gate(), VMS)["type"] == "ClusterIP"
    assert "externalTrafficPolicy" not in service(gate(), VMS)
    node = service(gate(exposure=GateExposure.NODE_PORT, node_port=30503), VMS)
    assert node["type"] == "NodePort" and node["ports"][0]["nodePort"] == 30503
    assert node["externalTrafficPolicy"] == "Local", "else the policy sees a node's address instead of a VM's"
    balanced = service(gate(exposure=GateExposure.LOAD_BALANCER), VMS)
    assert balanced["type"] == "LoadBalancer" and balanced["externalTrafficPolicy"] == "Local"
    assert balanced["loadBalancerSourceRanges"] == ["10.7.0.0/16", "10.8.1.0/24"]


PROXIED: dict[str, Any] = {
    "endpoint": "http://169.254.16.9:5030",
    "exposure": GateExposure.LOAD_BALANCER,
    "address": "192.0.2.9",
}
ELSEWHERE = Tproxy(service_port=5030, remote_addr="192.0.2.50", remote_port=80)


def test_behind_a_transparent_proxy_the_hosts_come_in_place_of_vms() -> None:
    hosts = (IPv4Network("10.0.0.0/24"),)
    proxied = gate(**PROXIED)
    assert list(problems(proxied, Version.V7_4, oneflow=True, hypervisors=hosts)) == []
    graph = onegate(settings=proxied, hypervisors=hosts)
    assert "onegate lets 10.0.0.0/24 in at 5030" in edges(graph)
    (spec,) = [found.inputs["spec"] for found in graph.all("Service")]
    assert spec["loadBalancerSourceRanges"] == ["10.0.0.0/24"]
    told = gate(endpoint="https://gate.example", vm_networks=VMS)
    assert not [edge for edge in edges(onegate(settings=told, hypervisors=hosts)) if "10.0.0.0" in edge]


@pytest.mark.parametrize(
    ("fields", "declared", "expected"),
    [
        ({}, (), (5030, 5030)),
        ({"endpoint": "http://169.254.16.9:5030/"}, (), (5030, 5030)),
        ({"endpoint": "http://169.254.16.9"}, (), (80, 5030)),
        ({"exposure": GateExposure.NODE_PORT, "node_port": 30503}, (), (5030, 30503)),
        ({}, (ELSEWHERE,), None),
        ({"endpoint": "http://169.254.16.9:80"}, (ELSEWHERE,), (80, 5030)),
        ({"address": None}, (), None),
        ({"enabled": False}, (), None),
        ({"endpoint": None}, (), None),
    ],
)
def test_what_the_hosts_proxies_do_for_onegate(
    fields: dict[str, Any], declared: tuple[Tproxy, ...], expected: tuple[int, int] | None
) -> None:
    found = proxy(gate(**PROXIED | fields), declared)
    if expected is None:
        assert found is None
    else:
        assert found == Tproxy(service_port=expected[0], remote_addr="192.0.2.9", remote_port=expected[1])


@pytest.mark.parametrize(
    ("fields", "declared", "paths"),
    [
        ({}, (), []),
        ({"endpoint": "http://169.254.16.9"}, (), []),
        ({"address": None}, (), ["onegate.address"]),
        ({"address": "2001:db8::1"}, (), ["onegate.address"]),
        ({"address": "gate.example"}, (), []),
        ({"endpoint": "http://169.254.16.10:5030"}, (), ["onegate.endpoint"]),
        ({"endpoint": "http://[fe80::1]:5030"}, (), ["onegate.endpoint"]),
        ({"endpoint": "http://169.254.16.9:70000"}, (), ["onegate.endpoint"]),
        ({"endpoint": "https://169.254.16.9:5030"}, (), ["onegate.endpoint"]),
        ({"endpoint": "https://169.254.16.9:5030", "address": None}, (ELSEWHERE,), []),
        ({"address": None}, (ELSEWHERE,), []),
        ({}, (ELSEWHERE,), ["onegate.address"]),
        ({"exposure": GateExposure.CLUSTER_IP, "address": None}, (), ["drivers.network.tproxy"]),
        ({"exposure": GateExposure.CLUSTER_IP, "address": None}, (ELSEWHERE,), []),
        ({"exposure": GateExposure.CLUSTER_IP, "address": None}, None, []),
    ],
)
def test_proxies_that_would_not_find_onegate(
    fields: dict[str, Any], declared: tuple[Tproxy, ...] | None, paths: list[str]
) -> None:
    settings, hosts = gate(**PROXIED | fields), (IPv4Network("10.0.0.0/24"),)
    found = problems(settings, Version.V7_4, oneflow=True, hypervisors=hosts, tproxy=declared)
    assert [path for path, _ in found] == paths


def test_6_10_resolves_no_name_for_its_proxies() -> None:
    settings, hosts = gate(**PROXIED | {"address": "gate.example"}), (IPv4Network("10.0.0.0/24"),)
    ((path, text),) = problems(settings, Version.V6_10, oneflow=True, hypervisors=hosts)
    assert path == "onegate.address" and "6.10 takes an IPv4 address alone" in text


@pytest.mark.parametrize(
    ("fields", "ingress", "told"),
    [
        ({"enabled": False, "endpoint": "http://gate"}, "https://in", None),
        ({}, None, None),
        ({}, "https://gate.example", "https://gate.example"),
        ({}, "https://gate.example/", "https://gate.example"),
        ({"endpoint": "http://169.254.16.9:5030/"}, "https://gate.example", "http://169.254.16.9:5030"),
        ({"exposure": GateExposure.LOAD_BALANCER, "address": "192.0.2.9"}, None, "http://192.0.2.9:5030"),
        ({"exposure": GateExposure.LOAD_BALANCER, "address": "2001:db8::1"}, None, "http://[2001:db8::1]:5030"),
        (
            {"exposure": GateExposure.NODE_PORT, "address": "192.0.2.9", "node_port": 30503},
            "https://gate.example",
            "http://192.0.2.9:30503",
        ),
    ],
)
def test_what_vms_are_told(fields: dict[str, Any], ingress: str | None, told: str | None) -> None:
    assert vm_endpoint(gate(**fields), ingress) == told


BALANCED: dict[str, Any] = {"exposure": GateExposure.LOAD_BALANCER, "address": "192.0.2.9", "vm_networks": VMS}
NODE: dict[str, Any] = BALANCED | {"exposure": GateExposure.NODE_PORT, "node_port": 30503}


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        (BALANCED, []),
        (NODE, []),
        ({"endpoint": "https://gate.example", "vm_networks": VMS}, []),
        ({"endpoint": "https://gate.example"}, ["onegate.vmNetworks"]),
        ({"endpoint": "http://169.254.16.9:5030"}, ["network.hypervisors", "drivers.network.tproxy"]),
        ({"enabled": False, "node_port": 1}, []),
        ({}, ["onegate.endpoint"]),
        (NODE | {"node_port": None}, ["onegate.nodePort"]),
        (NODE | {"node_port": 5030}, ["onegate.nodePort"]),
        (BALANCED | {"node_port": 30503}, ["onegate.nodePort"]),
        (BALANCED | {"vm_networks": ()}, ["onegate.vmNetworks"]),
        (BALANCED | {"address": None}, ["onegate.address"]),
        (BALANCED | {"endpoint": "http://gate"}, ["onegate.endpoint"]),
        ({"address": "192.0.2.9", "endpoint": "http://g"}, ["onegate.address", "onegate.endpoint"]),
        (BALANCED | {"raw": {"auth": "none"}}, ["onegate.raw"]),
        (BALANCED | {"raw": {"nonsense": 1}}, ["onegate.raw"]),
        (BALANCED | {"raw": {"oneflow_server": "http://elsewhere"}}, ["onegate.raw"]),
        (BALANCED | {"raw": {"expire_delta": 60}}, []),
    ],
)
def test_rules_of_two_values(fields: dict[str, Any], paths: list[str]) -> None:
    assert [path for path, _ in problems(gate(**fields), Version.V7_4, oneflow=True)] == paths


def test_each_release_knows_its_own_listen_keys() -> None:
    for version, key in ((Version.V6_10, "server"), (Version.V7_4, "host")):
        ((path, reason),) = problems(gate(**BALANCED, raw={key: {}}), version, oneflow=True)
        assert path == "onegate.raw" and f"OpenNebula {version.value} does not read {key}" in reason


def test_a_tls_url_is_seen_by_the_raw_rule() -> None:
    settings = gate(endpoint="https://gate.example", vm_networks=VMS, raw={"ssl_server": "https://other"})
    assert [path for path, _ in problems(settings, Version.V7_4, oneflow=True)] == ["onegate.raw"]


def test_oneflow_elsewhere_may_be_named_raw() -> None:
    settings = gate(**BALANCED, raw={"oneflow_server": "http://elsewhere:2474"})
    assert list(problems(settings, Version.V7_4, oneflow=False)) == []


def test_a_changed_setting_is_a_new_config_and_a_new_pod_and_nothing_else() -> None:
    assert changed(onegate(), onegate(settings=gate(log_level=3))) == {"onegate-config", "onegate-deployment"}


def test_a_vm_network_more_restarts_nothing() -> None:
    assert changed(onegate(), onegate(settings=gate(vm_networks=VMS))) == {"onegate-policy-onegate"}


@given(
    st.builds(
        OneGateSettings,
        log_level=st.integers(0, 3),
        permissions=st.builds(Permissions, vm=st.builds(VmPermissions, show=st.booleans(), update=st.booleans())),
        restricted_actions=st.lists(st.sampled_from(["reboot", "terminate", "snapshot_create"])).map(tuple),
        restricted_attributes=st.lists(st.sampled_from(["ROLE_NAME", "Y", "NO"])).map(tuple),
    ),
    st.sampled_from(Version),
)
def test_every_setting_is_read_back_as_it_was_set(settings: OneGateSettings, version: Version) -> None:
    found = yaml.safe_load(text(settings, version))
    assert found[":log"][":level"] == settings.log_level
    assert found[":permissions"][":vm"][":show"] is settings.permissions.vm.show
    assert found[":permissions"][":vm"][":update"] is settings.permissions.vm.update
    assert tuple(found[":restricted_actions"]) == settings.restricted_actions
    assert tuple(found[":restricted_attrs"]) == settings.restricted_attributes
