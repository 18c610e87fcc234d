"""What a Service towards the outside gets beyond its type, on a recorded graph: annotations and a class."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

import pytest

from components.ingress_annotations import DIALECTS, Controller
from components.monitoring import Exposure, MonitoringSettings
from components.onegate_settings import GateExposure, OneGateSettings
from components.sunstone_settings import ConsoleExposure, SunstoneSettings
from components.way_back import WayBackSettings
from stacks.control_plane import FIELD_MANAGER
from tests.components.services import changed, onegate
from tests.components.test_components import oned
from tests.components.test_oned_side import EVERYTHING
from tests.components.test_sunstone import sunstone
from tests.graph import Graph, Record
from tests.program.test_program import run, stack_config

ADDRESS = {"metallb.io/loadBalancerIPs": "192.0.2.10"}
CLASS = "example.com/internal"
SOME = (IPv4Network("10.7.0.0/16"),)


def monitord(exposure: str, **more: Any) -> Graph:
    return oned(monitoring=MonitoringSettings(address="192.0.2.10", exposure=Exposure(exposure), **more))


def way_back(exposure: str, **more: Any) -> Graph:
    settings = WayBackSettings(enabled=True, address="192.0.2.10", exposure=Exposure(exposure), **more)
    return oned(**{**EVERYTHING, "way_back": settings})


def gate(exposure: str, **more: Any) -> Graph:
    return onegate(settings=OneGateSettings(enabled=True, exposure=GateExposure(exposure), vm_networks=SOME, **more))


def consoles(exposure: str, **more: Any) -> Graph:
    fields = {f"console_{name}": value for name, value in more.items()}
    chosen = ConsoleExposure(exposure)
    if chosen is ConsoleExposure.NODE_PORT:
        fields["console_node_port"] = 30876
    return sunstone(settings=SunstoneSettings(enabled=True, console_clients=SOME, console_exposure=chosen, **fields))


OUTSIDE: list[tuple[Callable[..., Graph], str]] = [
    (monitord, "oned-monitord"),
    (way_back, "oned-way-back-service"),
    (gate, "onegate-service"),
    (consoles, "sunstone-consoles"),
]
each = pytest.mark.parametrize(("build", "name"), OUTSIDE, ids=[name for _, name in OUTSIDE])


def notes(record: Record) -> dict[str, str]:
    found: dict[str, str] = record.inputs["metadata"]["annotations"]
    return found


@each
def test_an_operators_words_reach_the_service_and_no_other_object(build: Callable[..., Graph], name: str) -> None:
    before, after = build("loadBalancer"), build("loadBalancer", service_annotations=ADDRESS, load_balancer_class=CLASS)
    was, now = before.one("Service", name), after.one("Service", name)
    assert notes(was) == {"pulumi.com/skipAwait": "true"} and "loadBalancerClass" not in was.inputs["spec"]
    assert notes(now) == ADDRESS | {"pulumi.com/skipAwait": "true"}
    assert now.inputs["spec"] == was.inputs["spec"] | {"loadBalancerClass": CLASS}
    assert changed(before, after) == {name}


@each
def test_a_node_port_has_annotations_too(build: Callable[..., Graph], name: str) -> None:
    service = build("nodePort", service_annotations=ADDRESS).one("Service", name)
    assert service.inputs["spec"]["type"] == "NodePort"
    assert notes(service) == ADDRESS | {"pulumi.com/skipAwait": "true"}


@each
def test_another_class_is_another_service_and_the_old_one_goes_first(build: Callable[..., Graph], name: str) -> None:
    """Kubernetes changes the class of none, and two of one name cannot be."""
    service = build("loadBalancer").one("Service", name)
    assert service.replaced_on == ("spec.loadBalancerClass",) and service.deleted_first


def test_oneds_two_services_select_the_same_pods() -> None:
    """Else MetalLB would not let them share an address, as both keep the sender's (docs/guides/control-plane.md)."""
    graph = way_back("loadBalancer")
    specs = [graph.one("Service", name).inputs["spec"] for name in ("oned-monitord", "oned-way-back-service")]
    assert specs[0]["selector"] == specs[1]["selector"]
    assert {spec["externalTrafficPolicy"] for spec in specs} == {"Local"}


@pytest.mark.parametrize("class_name", ["gce", "traefik"])
def test_fireedges_service_has_the_operators_annotations_beside_the_controllers(class_name: str) -> None:
    values = stack_config("prod")
    ingress = json.loads(values["opennebula:ingress"]) | {
        "className": class_name,
        "hosts": {"fireedge": "cloud.example"},
    }
    named = {"cloud.google.com/backend-config": '{"default": "fireedge"}'}
    fireedge = {"serviceAnnotations": named}
    graph = run(values | {"opennebula:ingress": json.dumps(ingress), "opennebula:fireedge": json.dumps(fireedge)})
    found = notes(graph.one("Service", "fireedge-service"))
    expected = {**named, **DIALECTS[Controller(class_name)].sticky_service, "pulumi.com/skipAwait": "true"}
    assert found == expected | {"pulumi.com/patchFieldManager": FIELD_MANAGER}
