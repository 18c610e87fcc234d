"""The ingress on a recorded graph."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components.ingress import Ingress, IngressArgs, backends
from components.ingress_annotations import DIALECTS, Controller
from components.ingress_settings import EXPOSURES, service_annotations
from components.placement import Placement
from policy.rules import violations
from tests.components.ingress_examples import pair, settings
from tests.graph import Graph, Record, Secret, deploy, reveal
from tests.program.test_program import lts_like, run

PLACEMENT = Placement(namespace="one", namespace_name="one", image_pull_policy="IfNotPresent")


def ingress(key: str | None = None, **changes: Any) -> Graph:
    chosen = settings(**changes)

    def program() -> None:
        secret = None if key is None else pulumi.Output.secret(key)
        Ingress("ingress", IngressArgs(settings=chosen, placement=PLACEMENT, backends=backends(chosen), key=secret))

    return deploy(program)


def inline() -> Graph:
    certificate, key = pair("cloud.example", "api.example")
    return ingress(key, tls={"kind": "inline", "certificate": certificate})


def cert_manager() -> Graph:
    return ingress(tls={"kind": "certManager", "clusterIssuer": "letsencrypt"})


def notes(record: Record) -> dict[str, str]:
    found: dict[str, str] = record.inputs["metadata"]["annotations"]
    return found


BUILDS = (ingress, inline, cert_manager)


@pytest.mark.parametrize("build", BUILDS)
def test_every_rule_holds(build: Callable[[], Graph]) -> None:
    graph = build()
    assert [line for r in graph.records for line in violations(r.type, r.name, reveal(dict(r.inputs)))] == []
    assert all(r.name.startswith("ingress-") and r.parent == "ingress" for r in graph.records[1:])


@pytest.mark.parametrize("build", BUILDS)
def test_one_ingress_a_daemon_and_each_with_tls_for_its_host(build: Callable[[], Graph]) -> None:
    specs = {record.name: record.inputs["spec"] for record in build().all("Ingress") if record.custom}
    assert set(specs) == {"ingress-fireedge", "ingress-api"}
    for spec, host, service, port in (
        (specs["ingress-fireedge"], "cloud.example", "fireedge", 2616),
        (specs["ingress-api"], "api.example", "oned", 2633),
    ):
        assert spec["ingressClassName"] == "nginx"
        (rule,) = spec["rules"]
        (path,) = rule["http"]["paths"]
        assert rule["host"] == host
        assert (path["path"], path["pathType"]) == ("/", "Prefix")
        assert path["backend"] == {"service": {"name": service, "port": {"number": port}}}
        (tls,) = spec["tls"]
        assert tls["hosts"] == [host]
        assert tls["secretName"]


def test_the_operators_secret_is_used_as_it_is() -> None:
    graph = ingress()
    assert not graph.all("Secret")
    assert {r.inputs["spec"]["tls"][0]["secretName"] for r in graph.all("Ingress") if r.custom} == {"one-tls"}


def test_an_inline_certificate_becomes_a_secret_and_its_key_is_nowhere_in_clear() -> None:
    graph = inline()
    record = graph.one("Secret")
    assert record.inputs["type"] == "kubernetes.io/tls"
    assert isinstance(record.inputs["stringData"], Secret)
    assert reveal(record.inputs["stringData"])["tls.key"].startswith("-----BEGIN PRIVATE KEY")
    assert "PRIVATE KEY" not in json.dumps([dict(each.inputs) for each in graph.records], default=repr)
    # Auto-named, and the name is what the Ingress points to.
    assert "name" not in record.inputs["metadata"]
    named = {each.inputs["spec"]["tls"][0]["secretName"] for each in graph.all("Ingress") if each.custom}
    assert named == {"ingress-certificate-a1b2c3d4"}


def test_cert_manager_owns_one_secret_for_each_host_and_its_solver_is_reachable() -> None:
    graph = cert_manager()
    names = [each.inputs["spec"]["tls"][0]["secretName"] for each in graph.all("Ingress") if each.custom]
    assert sorted(names) == ["one-tls-api", "one-tls-fireedge"]
    for each in graph.all("Ingress")[1:]:
        assert notes(each)["cert-manager.io/cluster-issuer"] == "letsencrypt"
        assert "cert-manager.io/issuer" not in notes(each)
    solver = graph.one("NetworkPolicy", "ingress-to-acme-solver").inputs["spec"]
    assert solver["podSelector"] == {"matchLabels": {"acme.cert-manager.io/http01-solver": "true"}}
    assert solver["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 8089}]
    own = ingress(tls={"kind": "certManager", "issuer": "mine", "secretName": "certs"})
    assert notes(own.one("Ingress", "ingress-api"))["cert-manager.io/issuer"] == "mine"
    assert own.one("Ingress", "ingress-api").inputs["spec"]["tls"][0]["secretName"] == "certs-api"


def test_names_proved_by_dns_open_no_way_to_a_solver() -> None:
    graph = ingress(tls={"kind": "certManager", "clusterIssuer": "letsencrypt", "challenge": "dns01"})
    assert not [record for record in graph.records if "solver" in record.name]
    assert graph.one("Ingress", "ingress-api").inputs["spec"]["tls"][0]["secretName"] == "one-tls-api"


def test_only_the_controller_reaches_exactly_the_exposed_port() -> None:
    graph = ingress(controllerLabels={"app.kubernetes.io/name": "ingress-nginx"})
    assert {r.inputs["metadata"]["name"] for r in graph.all("NetworkPolicy")} == {
        "ingress-to-fireedge",
        "ingress-to-api",
    }
    spec = graph.one("NetworkPolicy", "ingress-to-api").inputs["spec"]
    assert spec == {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "oned"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [
                    {
                        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}},
                        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "ingress-nginx"}},
                    }
                ],
                "ports": [{"protocol": "TCP", "port": 2633}],
            }
        ],
    }


def test_a_controller_outside_the_pod_network_is_let_in_by_address() -> None:
    graph = ingress(controllerNamespace=None, controllerNetworks=["10.9.0.0/24"])
    (rule,) = graph.one("NetworkPolicy", "ingress-to-fireedge").inputs["spec"]["ingress"]
    assert rule["from"] == [{"ipBlock": {"cidr": "10.9.0.0/24"}}]


def test_waiting_for_an_address_is_a_choice() -> None:
    assert notes(ingress().one("Ingress", "ingress-api"))["pulumi.com/skipAwait"] == "true"
    assert "pulumi.com/skipAwait" not in notes(ingress(awaitAddress=True).one("Ingress", "ingress-api"))


# Written from the controllers' own documentation, not from the table: an hour of silence on a WebSocket, bodies without a
# limit (ingress-nginx: 0), no plain HTTP, one pod a browser.
COMMON = {"pulumi.com/skipAwait": "true"}
N, H, HI = "nginx.ingress.kubernetes.io/", "haproxy.org/", "haproxy-ingress.github.io/"
EXPECTED: dict[str, tuple[dict[str, str], dict[str, str], dict[str, str]]] = {
    "nginx": (
        {
            f"{N}force-ssl-redirect": "true",
            f"{N}proxy-read-timeout": "3600",
            f"{N}proxy-send-timeout": "3600",
            f"{N}proxy-body-size": "0",
            f"{N}proxy-request-buffering": "off",
            f"{N}affinity": "cookie",
            f"{N}affinity-mode": "persistent",
            f"{N}session-cookie-name": "one-ingress",
            f"{N}session-cookie-secure": "true",
            f"{N}session-cookie-samesite": "Lax",
        },
        {f"{N}force-ssl-redirect": "true", f"{N}proxy-body-size": "0", f"{N}proxy-request-buffering": "off"},
        {},
    ),
    "traefik": (
        {"traefik.ingress.kubernetes.io/router.tls": "true"},
        {"traefik.ingress.kubernetes.io/router.tls": "true"},
        {
            "traefik.ingress.kubernetes.io/service.sticky.cookie": "true",
            "traefik.ingress.kubernetes.io/service.sticky.cookie.name": "one-ingress",
            "traefik.ingress.kubernetes.io/service.sticky.cookie.secure": "true",
            "traefik.ingress.kubernetes.io/service.sticky.cookie.httponly": "true",
            "traefik.ingress.kubernetes.io/service.sticky.cookie.samesite": "lax",
        },
    ),
    "haproxy": (
        {
            f"{H}ssl-redirect": "true",
            f"{HI}ssl-redirect": "true",
            f"{HI}timeout-tunnel": "1h",
            f"{H}cookie-persistence": "one-ingress",
            f"{HI}affinity": "cookie",
            f"{HI}session-cookie-name": "one-ingress",
        },
        {f"{H}ssl-redirect": "true", f"{HI}ssl-redirect": "true"},
        {},
    ),
    "skipper": (
        {
            "zalando.org/skipper-ingress-redirect": "true",
            "zalando.org/skipper-loadbalancer": "consistentHash",
            "zalando.org/skipper-filter": "flowId()"
            ' -> setRequestHeader("X-Flow-Id", "${request.cookie.one-ingress}")'
            ' -> consistentHashKey("${request.header.X-Flow-Id}")'
            ' -> appendResponseHeader("Set-Cookie", "one-ingress=${request.header.X-Flow-Id};'
            ' Path=/; Secure; HttpOnly; SameSite=Lax")'
            ' -> dropResponseHeader("Keep-Alive")',
        },
        {"zalando.org/skipper-ingress-redirect": "true"},
        {},
    ),
    "gce": (
        {"kubernetes.io/ingress.allow-http": "false", "kubernetes.io/ingress.class": "gce"},
        {"kubernetes.io/ingress.allow-http": "false", "kubernetes.io/ingress.class": "gce"},
        {},
    ),
    "other": ({}, {}, {}),
}


@pytest.mark.parametrize("controller", list(Controller))
def test_each_controller_is_told_in_its_own_words(controller: Controller) -> None:
    fireedge, api, service = EXPECTED[controller.value]
    graph = ingress(className=controller.value, controller=controller.value)
    assert notes(graph.one("Ingress", "ingress-fireedge")) == fireedge | COMMON
    assert notes(graph.one("Ingress", "ingress-api")) == api | COMMON
    assert service_annotations(settings(className=controller.value), "fireedge") == service


def test_googles_controller_knows_its_ingress_by_the_annotation_alone() -> None:
    """It leaves an Ingress with a class name alone, and the API refuses one with both."""
    for name in ("gce", "gce-internal"):
        found = ingress(className=name).one("Ingress", "ingress-api")
        assert "ingressClassName" not in found.inputs["spec"]
        assert notes(found)["kubernetes.io/ingress.class"] == name
    assert "kubernetes.io/ingress.class" not in notes(ingress().one("Ingress", "ingress-api"))


def test_the_class_name_decides_unless_the_controller_is_said() -> None:
    assert settings(className="traefik").known_controller is Controller.TRAEFIK
    assert settings(className="gce-internal").known_controller is Controller.GCE
    assert settings(className="edge").known_controller is None
    assert settings(className="other").known_controller is None
    assert settings(className="edge", controller="haproxy").dialect is DIALECTS[Controller.HAPROXY]


def test_traefik_reads_the_cookie_from_fireedges_service_and_from_no_other() -> None:
    chosen = settings(className="traefik")
    assert service_annotations(chosen, "fireedge") == DIALECTS[Controller.TRAEFIK].sticky_service
    assert service_annotations(chosen, "api") == {}
    assert service_annotations(settings(className="traefik", hosts={"api": "a.example"}), "fireedge") == {}
    assert service_annotations(settings(className="traefik", enabled=False), "fireedge") == {}
    assert service_annotations(settings(), "fireedge") == {}


def test_a_daemon_with_a_page_is_asked_for_it_by_its_own_readiness_probe() -> None:
    """GKE's load balancer takes its health check from an HTTP probe of the serving container, else GET /."""
    asked = set()
    for record in run(lts_like()).records:
        pod = record.inputs.get("spec", {}).get("template", {}).get("spec", {})
        for container in pod.get("containers", ()):
            if "httpGet" in container.get("readinessProbe", {}):
                asked.add(container["readinessProbe"]["httpGet"]["port"])
    assert asked == {exposed.port for exposed in EXPOSURES.values() if exposed.page}


def test_the_operators_annotations_win() -> None:
    timeout = "nginx.ingress.kubernetes.io/proxy-read-timeout"
    graph = ingress(annotations={timeout: "7200", "example.com/team": "cloud"})
    found = notes(graph.one("Ingress", "ingress-fireedge"))
    assert (found[timeout], found["example.com/team"]) == ("7200", "cloud")
