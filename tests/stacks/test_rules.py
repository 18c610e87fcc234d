"""Rules of two values: that each section's are asked, and what they refuse."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import components
from stacks.settings import ConfigError, parse
from stacks.tiers import TIERS
from tests.components.test_authentication import saml
from tests.examples import config


def problems(**changes: Any) -> dict[str, str]:
    """Path → text of all problems of the example config with some keys changed."""
    try:
        parse(
            config() | {key: value if isinstance(value, str) else json.dumps(value) for key, value in changes.items()}
        )
    except ConfigError as error:
        assert len({problem.path for problem in error.problems}) == len(error.problems), error
        return {problem.path: problem.text for problem in error.problems}
    return {}


IMAGES = {
    **{name: f"registry.example/one/{name}:7.4.0" for name in ("oned", "fireedge", "oneflow", "onegate")},
    "mariadb": "docker.io/library/mariadb:10.11.14",
}
GATE = {"enabled": True, "exposure": "loadBalancer", "address": "192.0.2.11", "vmNetworks": ["100.64.0.0/16"]}
LTS: dict[str, Any] = {
    "version": "6.10",
    "images": {name: image.replace("7.4.0", "6.10.5") for name, image in IMAGES.items()}
    | {"sunstone": "registry.example/one/sunstone:6.10.5"},
    "sunstone": {"enabled": True},
}


def test_the_hosts_proxies_are_looked_up_among_the_drivers() -> None:
    network = {"hypervisors": ["10.0.0.0/8"]}
    gate = {"enabled": True, "endpoint": "http://169.254.16.9:5030"}
    entry = {"servicePort": 5030, "remoteAddr": "10.0.0.1", "remotePort": 80}

    def found(**network_drivers: Any) -> list[str]:
        return list(problems(onegate=gate, images=IMAGES, network=network, drivers={"network": network_drivers}))

    assert found() == ["drivers.network.tproxy"]
    assert found(tproxy=[entry]) == []
    # A mistake in the drivers is told once: nobody knows then which proxies there are.
    assert found(tproxy=[entry | {"remotePort": 0}]) == ["drivers.network.tproxy[0].remotePort"]


# Each section's rules are asked


def rule_modules() -> list[ModuleType]:
    found = [importlib.import_module(f"components.{item.name}") for item in pkgutil.iter_modules(components.__path__)]
    return [module for module in found if getattr(vars(module).get("problems"), "__module__", "") == module.__name__]


@pytest.mark.parametrize("module", rule_modules(), ids=lambda module: module.__name__.rpartition(".")[2])
def test_the_rules_of_every_module_are_asked(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def marked(*_: object, **__: object) -> Iterator[tuple[str, str]]:
        yield "marker", "rule was asked"

    monkeypatch.setattr(module, "problems", marked)
    # The optimizer's rules are the scheduler's business, those of networks the drivers'; both only where they are configured.
    found = problems(scheduler={"drs": {}}, drivers={"network": {}})
    assert [path for path, text in found.items() if text == "rule was asked"]


def test_logins_by_saml_need_the_page_where_people_log_in() -> None:
    login = {"default": "saml", "saml": saml(acsUrl="https://cloud.example.com/fireedge/api/auth/acs")}
    assert problems(authentication=login) == {}
    assert list(problems(authentication=login, fireedge={"enabled": False})) == ["authentication.saml"]


# Ports

BALANCED_BACK = {"enabled": True, "address": "192.0.2.20"}
NODE_BACK = {"enabled": True, "exposure": "nodePort", "port": 30222, "address": "10.0.0.9"}


@pytest.mark.parametrize(
    ("monitoring", "back", "gate", "path"),
    [
        ({"exposure": "nodePort", "port": 30503}, {}, {"exposure": "nodePort", "nodePort": 30503}, "onegate.nodePort"),
        ({"exposure": "nodePort", "port": 30222}, NODE_BACK, {}, "wayBack.port"),
        ({}, NODE_BACK, {"exposure": "nodePort", "nodePort": 30222}, "onegate.nodePort"),
        ({"port": 2222}, BALANCED_BACK, {}, "monitoring.port"),
        *(({"port": port}, {}, {}, "monitoring.port") for port in (2633, 2634, 2101, 2102)),
        ({}, {"enabled": True, "address": "10.0.0.1", "port": 4124}, {}, "wayBack.port"),
        ({}, {"enabled": True, "address": "10.0.0.2", "port": 4124}, {}, None),
        ({"port": 5030}, {}, {"address": "10.0.0.1"}, "onegate.address"),
        ({"exposure": "nodePort", "port": 30501}, NODE_BACK, {"exposure": "nodePort", "nodePort": 30503}, None),
        ({"port": 2222}, {"enabled": False}, {}, None),
        ({"port": 30222}, NODE_BACK, {}, None),
        ({"exposure": "nodePort", "port": 30222}, NODE_BACK | {"enabled": False}, {}, None),
        ({}, {"enabled": True, "address": "10.0.0.1"}, {"address": "10.0.0.1"}, None),
    ],
)
def test_no_number_is_wanted_twice(
    monitoring: dict[str, Any], back: dict[str, Any], gate: dict[str, Any], path: str | None
) -> None:
    found = problems(monitoring={"address": "10.0.0.1"} | monitoring, wayBack=back, onegate=GATE | gate, images=IMAGES)
    assert list(found) == [path] * (path is not None), found


def test_the_port_of_grpc_is_one_of_the_pod_wherever_it_is() -> None:
    assert list(problems(oned={"raw": {"GRPC_PORT": 4124}})) == ["monitoring.port"]
    assert list(problems(oned={"raw": {"GRPC_PORT": "2633"}})) == ["oned.raw.GRPC_PORT"]
    assert problems(oned={"raw": {"GRPC_PORT": 2650}}, monitoring={"address": "10.0.0.1", "port": 2634}) == {}


# Load balancers and node ports

NODE_MONITORING = {"exposure": "nodePort", "port": 30424}


@pytest.mark.parametrize(
    ("monitoring", "back", "says"),
    [
        ({}, {}, "allow-shared-ip"),
        (NODE_MONITORING, {}, "allow-shared-ip"),
        ({}, {"exposure": "nodePort", "port": 30222}, "its node's address"),
        (NODE_MONITORING, {"exposure": "nodePort", "port": 30222}, None),
        ({}, {"enabled": False}, None),
    ],
)
def test_the_way_back_is_not_sought_where_only_monitord_is(
    monitoring: dict[str, Any], back: dict[str, Any], says: str | None
) -> None:
    monitoring = {"address": "10.0.0.1"} | monitoring
    found = problems(monitoring=monitoring, wayBack={"enabled": True} | back)
    assert list(found) == ["wayBack.address"] * (says is not None)
    assert says is None or says in found["wayBack.address"]
    # Said of both, one address is the operator's word that they share it.
    assert problems(monitoring=monitoring, wayBack={"enabled": True, "address": "10.0.0.1"} | back) == {}


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("monitoring", "serviceAnnotations"),
        ("wayBack", "serviceAnnotations"),
        ("onegate", "serviceAnnotations"),
        ("fireedge", "serviceAnnotations"),
        ("sunstone", "consoleServiceAnnotations"),
    ],
)
def test_annotations_of_services_are_valid_and_not_pulumis(section: str, key: str) -> None:
    stack: dict[str, Any] = LTS | {
        "monitoring": {"address": "10.0.0.1"},
        "sunstone": {"enabled": True, "consoleClients": ["192.0.2.0/28"], "consoleExposure": "loadBalancer"},
    }

    def found(name: str, value: Any) -> dict[str, str]:
        return problems(**stack | {section: stack.get(section, {}) | {key: {name: value}}})

    assert found("metallb.io/loadBalancerIPs", "10.0.0.1") == {}
    for name, value, says in (
        ("pulumi.com/skipAwait", "false", "Pulumi's own"),
        ("pulumi.com/patchForce", "true", "Pulumi's own"),
        ("no name", "a", "must be an annotation's name"),
        ("example.com/a/b", "a", "must be an annotation's name"),
        ("example.com/internal", True, "must be a text"),
    ):
        ((path, text),) = found(name, value).items()
        assert path == f"{section}.{key}.{name}" and says in text


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"monitoring": {"address": "10.0.0.1"} | NODE_MONITORING}, "monitoring.loadBalancerClass"),
        ({"wayBack": NODE_BACK}, "wayBack.loadBalancerClass"),
        ({"onegate": GATE | {"exposure": "nodePort", "nodePort": 30503}}, "onegate.loadBalancerClass"),
        (
            {"onegate": {"enabled": True, "endpoint": "http://g", "vmNetworks": ["10.9.0.0/16"]}},
            "onegate.loadBalancerClass",
        ),
        (LTS, "sunstone.consoleLoadBalancerClass"),
    ],
)
def test_a_class_is_a_load_balancers(changes: dict[str, Any], path: str) -> None:
    section, key = path.split(".")
    changes = {"images": IMAGES} | changes
    assert problems(**changes) == {}
    found = problems(**changes | {section: changes[section] | {key: "example.com/internal"}})
    assert list(found) == [path] and "loadBalancer" in found[path]


def test_a_class_has_a_valid_name() -> None:
    monitoring = {"address": "10.0.0.1", "loadBalancerClass": "service.k8s.aws/nlb"}
    assert problems(monitoring=monitoring) == {}
    found = problems(monitoring=monitoring | {"loadBalancerClass": "an nlb"})
    assert (
        list(found) == ["monitoring.loadBalancerClass"]
        and "service.k8s.aws/nlb" in found["monitoring.loadBalancerClass"]
    )


def test_annotations_of_no_service_are_refused() -> None:
    sunstone = {"enabled": True, "consoleServiceAnnotations": {"example.com/a": "b"}}
    assert list(problems(**LTS | {"sunstone": sunstone})) == ["sunstone.consoleServiceAnnotations"]


def test_the_cookie_that_traefik_reads_from_fireedges_service_is_the_programs() -> None:
    ingress = {
        "enabled": True,
        "className": "traefik",
        "controllerNamespace": "traefik",
        "tls": {"kind": "secret", "name": "one-tls", "check": False},
        "hosts": {"fireedge": "cloud.example"},
    }
    cookie = "traefik.ingress.kubernetes.io/service.sticky.cookie"
    annotations = {"serviceAnnotations": {cookie: "false", "example.com/team": "cloud"}}
    assert list(problems(ingress=ingress, fireedge=annotations)) == [f"fireedge.serviceAnnotations.{cookie}"]
    assert problems(ingress=ingress | {"className": "nginx"}, fireedge=annotations) == {}


# What VMs are told


@pytest.mark.parametrize(
    ("gate", "path"),
    [
        (GATE | {"address": "127.0.0.1"}, "onegate.address"),
        (GATE | {"address": "127.1.2.3"}, "onegate.address"),
        (GATE | {"address": "localhost"}, "onegate.address"),
        ({"enabled": True, "endpoint": "http://localhost:5030", "vmNetworks": ["10.9.0.0/16"]}, "onegate.endpoint"),
        ({"enabled": True, "endpoint": "http://[::1]:5030", "vmNetworks": ["10.9.0.0/16"]}, "onegate.endpoint"),
        ({"enabled": True, "endpoint": "http://127.1.1.1:80/", "vmNetworks": ["10.9.0.0/16"]}, "onegate.endpoint"),
        ({"enabled": True, "endpoint": "http://0.0.0.0", "vmNetworks": ["10.9.0.0/16"]}, "onegate.endpoint"),
    ],
)
def test_vms_are_not_told_to_ask_themselves(gate: dict[str, Any], path: str) -> None:
    found = problems(onegate=gate, images=IMAGES)
    assert list(found) == [path]
    assert "themselves" in found[path]


@pytest.mark.parametrize(
    ("endpoint", "good"),
    [
        ("https://gate.example", True),
        ("https://gate.example/", True),
        ("http://gate.example", False),
        ("https://other.example", False),
    ],
)
def test_an_endpoint_is_not_another_one_than_the_ingress_has(endpoint: str, good: bool) -> None:
    found = problems(
        images=IMAGES,
        onegate={"enabled": True, "endpoint": endpoint, "vmNetworks": ["10.9.0.0/16"]},
        ingress={
            "enabled": True,
            "className": "nginx",
            "controllerNamespace": "ingress-nginx",
            "tls": {"kind": "secret", "name": "a"},
            "hosts": {"onegate": "gate.example"},
        },
    )
    assert list(found) == ([] if good else ["onegate.endpoint"])


@pytest.mark.parametrize("url", ["http://[::1", "http://[x]:1", "http://:5030"])
def test_an_endpoint_without_a_readable_host_is_refused(url: str) -> None:
    gate = {"enabled": True, "endpoint": url, "vmNetworks": ["10.9.0.0/16"]}
    assert "is no URL" in problems(onegate=gate, images=IMAGES)["onegate.endpoint"]
    assert "is no URL" in problems(api={"url": url})["api.url"]


# In clear


@pytest.mark.parametrize(
    ("api", "good"),
    [
        ({"url": "http://192.0.2.9:2633/RPC2"}, False),
        ({"url": "http://one.example:2633/RPC2"}, False),
        ({"url": "http://one.svc.example/RPC2"}, False),
        ({"url": "http://192.0.2.9:2633/RPC2", "allowClear": True}, True),
        ({"url": "https://one.example/RPC2"}, True),
        ({"url": "http://127.0.0.1:2633/RPC2"}, True),
        ({"url": "http://[::1]:2633/RPC2"}, True),
        ({"url": "http://oned.opennebula.svc:2633/RPC2"}, True),
        ({}, True),
    ],
)
def test_the_password_goes_to_no_other_machine_in_clear_unless_wanted(api: dict[str, Any], good: bool) -> None:
    found = problems(api=api)
    assert list(found) == ([] if good else ["api.url"])
    assert good or "api.allowClear" in found["api.url"]


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("network.apiClients[1]", {"network": {"apiClients": ["10.1.0.0/16", "0.0.0.0/0"]}}),
        ("network.hypervisors[0]", {"network": {"hypervisors": ["0.0.0.0/0"]}}),
        ("onegate.vmNetworks[0]", {"onegate": {"vmNetworks": ["0.0.0.0/0"]}}),
        ("ingress.controllerNetworks[0]", {"ingress": {"controllerNetworks": ["0.0.0.0/0"]}}),
        ("sunstone.consoleClients[0]", {"sunstone": {"consoleClients": ["0.0.0.0/0"]}}),
    ],
)
def test_nobody_is_let_in_from_everywhere(path: str, changes: dict[str, Any]) -> None:
    changes = {"hosts": [], "network": {}} | changes
    assert problems(**changes) == {path: EVERYBODY}


EVERYBODY = "0.0.0.0/0 is everybody: name the networks that are meant, such as 10.20.0.0/16"


@pytest.mark.parametrize("kind", ["lvm", "LVM", "fs_LVM"])
def test_a_datastore_that_cannot_be_is_refused_with_the_reason_in_any_spelling(kind: str) -> None:
    (text,) = problems(datastores=[{"name": "a", "type": "image", "kind": kind}]).values()
    assert "sudo" in text


# What is MariaDB's and Kubernetes' own


@pytest.mark.parametrize("name", ["mysql", "information_schema", "performance_schema", "sys"])
def test_the_schema_is_none_of_mariadbs_own(name: str) -> None:
    assert "of MariaDB itself" in problems(database={"name": name})["database.name"]


@pytest.mark.parametrize("user", ["root", "mysql", "mariadb.sys"])
def test_the_account_is_none_of_mariadbs_own(user: str) -> None:
    assert list(problems(database={"user": user})) == ["database.user"]


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public", "kube-node-lease"])
def test_the_namespace_is_none_of_kubernetes_own(name: str) -> None:
    assert "Kubernetes' own" in problems(kubernetes={"namespace": name})["kubernetes.namespace"]


# Two values that do not go together


def test_the_buffer_pool_fits_into_the_pod() -> None:
    for tier, most, more, limit in (("small", "576Mi", "577Mi", "768Mi"), ("large", "12Gi", "13Gi", "16Gi")):
        assert problems(tier=tier, database={"bufferPool": most}) == {}
        text = problems(tier=tier, database={"bufferPool": more})["database.bufferPool"]
        assert more in text and limit in text


def test_every_tiers_own_buffer_pool_is_accepted() -> None:
    for tier, sizing in TIERS.items():
        assert problems(tier=str(tier), database={"bufferPool": sizing.buffer_pool}) == {}


def test_a_preparation_may_last_as_long_as_its_parts() -> None:
    preparation = {"installLimit": 600, "lockWait": 60}
    assert problems(preparation=preparation, ssh={"scriptTimeout": 661}) == {}
    text = problems(preparation=preparation, ssh={"scriptTimeout": 660})["ssh.scriptTimeout"]
    assert "600 + 60 = 660 s" in text
    assert list(problems(preparation={"installLimit": 7200})) == ["ssh.scriptTimeout"]


def test_an_image_is_of_the_release_that_its_tag_names() -> None:
    older = LTS["images"]
    for daemon in ("oned", "fireedge", "oneflow"):
        text = problems(images=IMAGES | {daemon: older[daemon]})[f"images.{daemon}"]
        assert text == (
            'is of OpenNebula 6.10 by its tag 6.10.5, but version is 7.4: name an image of 7.4, or set version: "6.10"'
        )
    assert set(problems(**LTS | {"images": IMAGES | {"sunstone": "registry.example/one/sunstone:7.4.0"}})) == {
        *("images.oned", "images.fireedge", "images.oneflow", "images.sunstone")
    }
    assert problems(images=older | {"sunstone": None}, version="6.10") == {}
    # Nobody pulls what is not enabled, and MariaDB's numbers are its own.
    assert problems(images=IMAGES | {"onegate": older["onegate"], "mariadb": "registry.example/mariadb:6.10"}) == {}


DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize("tag", [":6.10", ":6.10-7f3a", ":6.10.5.1", ":6.10_2026"])
def test_a_tag_begins_with_another_release(tag: str) -> None:
    assert list(problems(images=IMAGES | {"oned": f"registry.example:5000/one/oned{tag}"})) == ["images.oned"]


@pytest.mark.parametrize(
    "tag", [":7.4", ":7.4.1-6.10", ":6.100", ":stable-6.10", ":2026-12-01", f"@{DIGEST}", f":6.10.5@{DIGEST}"]
)
def test_a_tag_that_says_nothing_is_left_alone(tag: str) -> None:
    assert problems(images=IMAGES | {"oned": f"registry.example:6100/6.10/oned{tag}"}) == {}


def test_the_control_plane_is_called_like_no_host() -> None:
    assert "hosts[0]" in problems(oned={"frontendName": "kvm-1"})["oned.frontendName"]
    assert problems(oned={"frontendName": "kvm-9"}) == {}


@pytest.mark.parametrize("address", ["2001:db8::1", "::ffff:10.0.0.1"])
def test_hosts_push_to_an_ipv4_address(address: str) -> None:
    assert "IPv4" in problems(monitoring={"address": address})["monitoring.address"]
