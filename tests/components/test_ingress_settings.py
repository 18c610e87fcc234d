"""Every rule of the ingress's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from components.ingress import backends
from components.ingress_settings import EXPOSURES, IngressSettings, check_key, problems, urls
from tests.components.ingress_examples import NOW, pair, settings

ALL = {"fireedge": True, "sunstone": True, "oneflow": True, "onegate": True}


def wrong(
    chosen: IngressSettings, enabled: Mapping[str, bool] = ALL, key: str | None = None, replicas: int = 1
) -> dict[str, str]:
    found = list(problems(chosen, enabled, fireedge_replicas=replicas, key=key, now=NOW))
    assert len({path for path, _ in found}) == len(found)
    return dict(found)


@pytest.mark.parametrize(
    ("class_name", "key", "says"),
    [
        ("nginx", "nginx.ingress.kubernetes.io/force-ssl-redirect", "without TLS"),
        ("traefik", "traefik.ingress.kubernetes.io/router.tls", "without TLS"),
        ("nginx", "kubernetes.io/ingress.class", "ingress.className"),
        ("nginx", "pulumi.com/skipAwait", "ingress.awaitAddress"),
    ],
)
def test_annotations_that_fight_the_settings_are_refused(class_name: str, key: str, says: str) -> None:
    found = wrong(settings(className=class_name, annotations={key: "false"}))
    assert list(found) == [f"ingress.annotations.{key}"]
    assert says in found[f"ingress.annotations.{key}"]


REFUSES = {"controllerRefusesPlainHttp": True}
PAGES = {"fireedge": "cloud.example", "sunstone": "classic.example"}


@pytest.mark.parametrize("class_name", ["edge", "nginx-internal", "alb", "other"])
def test_a_class_that_names_no_known_controller_needs_one_said(class_name: str) -> None:
    found = wrong(settings(className=class_name))
    assert list(found) == ["ingress.controller"]
    assert "nginx, traefik, haproxy, skipper, gce, other" in found["ingress.controller"]
    assert wrong(settings(className=class_name, controller="nginx")) == {}


def test_a_controller_that_nobody_knows_needs_its_operators_word() -> None:
    found = wrong(settings(className="edge", controller="other"))
    assert list(found) == ["ingress.controllerRefusesPlainHttp"]
    assert "in clear" in found["ingress.controllerRefusesPlainHttp"]
    assert wrong(settings(className="edge", controller="other", **REFUSES)) == {}
    # Where annotations say it, a word too many would suggest that they do not.
    assert list(wrong(settings(**REFUSES))) == ["ingress.controllerRefusesPlainHttp"]
    assert wrong(settings(className="gce", hosts=PAGES)) == {}


@pytest.mark.parametrize("chosen", [{"className": "gce"}, {"className": "edge", "controller": "other", **REFUSES}])
def test_several_fireedges_need_a_controller_that_keeps_sessions(chosen: dict[str, Any]) -> None:
    path = "ingress.controllerKeepsSessions"
    chosen = chosen | {"hosts": PAGES}
    found = wrong(settings(**chosen), replicas=2)
    assert list(found) == [path] and "fireedge.replicas: 1" in found[path]
    assert wrong(settings(**chosen), replicas=1) == {}
    assert wrong(settings(**chosen, controllerKeepsSessions=True), replicas=2) == {}
    assert wrong(settings(**chosen | {"hosts": {"sunstone": "classic.example"}}), replicas=2) == {}


@pytest.mark.parametrize("chosen", [{"className": "gce"}, {"className": "gce-internal"}, {"controller": "gce"}])
def test_gkes_load_balancer_has_no_way_to_a_daemon_without_a_page(chosen: dict[str, Any]) -> None:
    hosts = {name: f"{name}.example" for name in EXPOSURES}
    found = wrong(settings(**chosen, hosts=hosts))
    assert set(found) == {f"ingress.hosts.{name}" for name in ("oneflow", "onegate", "api")}
    assert "login on every path" in found["ingress.hosts.oneflow"]
    assert all("FireEdge" in text and "BackendConfig" in text for text in found.values())
    assert wrong(settings(hosts=hosts)) == {}


@pytest.mark.parametrize("class_name", ["nginx", "traefik", "haproxy", "skipper"])
def test_a_known_controller_keeps_the_sessions_of_several_fireedges(class_name: str) -> None:
    assert wrong(settings(className=class_name), replicas=3) == {}
    found = wrong(settings(className=class_name, controllerKeepsSessions=True), replicas=3)
    assert list(found) == ["ingress.controllerKeepsSessions"]


@pytest.mark.parametrize(
    ("class_name", "key", "value", "says"),
    [
        ("gce", "kubernetes.io/ingress.allow-http", "true", "without TLS"),
        ("edge", "kubernetes.io/ingress.allow-http", "true", "without TLS"),
        ("nginx", "nginx.ingress.kubernetes.io/ssl-redirect", "false", "without TLS"),
        ("nginx", "nginx.ingress.kubernetes.io/ssl-passthrough", "true", "without TLS"),
        ("haproxy", "ingress.kubernetes.io/ssl-redirect", "False", "without TLS"),
        ("haproxy", "haproxy-ingress.github.io/no-tls-redirect-locations", "/RPC2", "without TLS"),
        ("haproxy", "haproxy.org/ssl-passthrough", "true", "without TLS"),
        ("skipper", "zalando.org/skipper-ingress-redirect", "false", "without TLS"),
        ("nginx", "nginx.ingress.kubernetes.io/enable-cors", "true", "other origins"),
        ("nginx", "nginx.ingress.kubernetes.io/cors-allow-origin", "*", "other origins"),
        ("haproxy", "haproxy.org/cors-enable", "true", "other origins"),
        ("haproxy", "haproxy-ingress.github.io/cors-enable", "true", "other origins"),
        ("skipper", "zalando.org/skipper-filter", 'corsOrigin("https://a.example")', "other origins"),
        (
            "nginx",
            "nginx.ingress.kubernetes.io/configuration-snippet",
            "add_header Access-Control-Allow-Origin *;",
            "other origins",
        ),
    ],
)
def test_annotations_that_open_what_must_stay_closed_are_refused(
    class_name: str, key: str, value: str, says: str
) -> None:
    more = {"controller": "other", **REFUSES} if class_name == "edge" else {}
    found = wrong(settings(className=class_name, hosts=PAGES, annotations={key: value}, **more))
    assert list(found) == [f"ingress.annotations.{key}"]
    assert says in found[f"ingress.annotations.{key}"]


@pytest.mark.parametrize(
    ("class_name", "key", "value"),
    [
        ("nginx", "nginx.ingress.kubernetes.io/affinity", "none"),
        ("nginx", "nginx.ingress.kubernetes.io/affinity-mode", "balanced"),
        ("nginx", "nginx.ingress.kubernetes.io/service-upstream", "true"),
        ("haproxy", "haproxy.org/cookie-persistence", "x"),
        ("skipper", "zalando.org/skipper-loadbalancer", "random"),
        ("skipper", "zalando.org/skipper-filter", "status(200)"),
    ],
)
def test_annotations_that_scatter_sessions_are_refused_while_there_are_several_pods(
    class_name: str, key: str, value: str
) -> None:
    chosen = settings(className=class_name, annotations={key: value})
    assert list(wrong(chosen, replicas=2)) == [f"ingress.annotations.{key}"]
    assert wrong(chosen, replicas=1) == {}


def test_annotations_that_only_say_the_safe_thing_again_are_accepted() -> None:
    alb = {"alb.ingress.kubernetes.io/ssl-redirect": "443", "alb.ingress.kubernetes.io/listen-ports": '[{"HTTPS":443}]'}
    assert wrong(settings(className="alb", controller="other", annotations=alb, **REFUSES), replicas=1) == {}
    same = {"nginx.ingress.kubernetes.io/ssl-redirect": "true", "nginx.ingress.kubernetes.io/enable-cors": "false"}
    assert wrong(settings(annotations=same)) == {}


@pytest.mark.parametrize("key", ["two words", "/x", "x/", "Upper.example/x", "a/b/c", "", "a" * 64])
def test_an_annotation_has_a_name_that_kubernetes_takes(key: str) -> None:
    with pytest.raises(ValidationError, match="annotation's name"):
        settings(annotations={key: "x"})


def test_the_issuer_is_said_in_one_place() -> None:
    key = "cert-manager.io/cluster-issuer"
    tls = {"kind": "certManager", "issuer": "mine"}
    assert list(wrong(settings(annotations={key: "x"}, tls=tls))) == [f"ingress.annotations.{key}"]
    assert wrong(settings(annotations={"kubernetes.io/tls-acme": "true"}, tls=tls)) == {}


@pytest.mark.parametrize("kind", ["secret", "inline"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("cert-manager.io/cluster-issuer", "x"), ("cert-manager.io/issuer", "x"), ("kubernetes.io/tls-acme", "true")],
)
def test_cert_manager_does_not_write_over_a_certificate_that_is_given(kind: str, key: str, value: str) -> None:
    tls = (
        {"kind": "secret", "name": "mine"}
        if kind == "secret"
        else {"kind": "inline", "certificate": pair("a.example")[0]}
    )
    found = wrong(settings(annotations={key: value}, tls=tls))[f"ingress.annotations.{key}"]
    assert f"cert-manager write its own certificate over the one of ingress.tls of kind {kind}" in found
    no = settings(annotations={"kubernetes.io/tls-acme": "false"}, tls=tls)
    assert "ingress.annotations.kubernetes.io/tls-acme" not in wrong(no)


@pytest.mark.parametrize("key", ["nginx.ingress.kubernetes.io/server-alias", "haproxy-ingress.github.io/server-alias"])
def test_a_further_name_is_not_given_to_several_daemons_at_once(key: str) -> None:
    two = {"fireedge": "a.example", "api": "b.example"}
    found = wrong(settings(annotations={key: "c.example"}, hosts=two))
    assert list(found) == [f"ingress.annotations.{key}"]
    assert "c.example to each of fireedge, api" in found[f"ingress.annotations.{key}"]
    assert wrong(settings(annotations={key: "c.example"}, hosts={"api": "b.example"})) == {}


def test_urls() -> None:
    chosen = settings(hosts={name: f"{name}.example" for name in EXPOSURES})
    assert urls(chosen) == {
        "fireedge": "https://fireedge.example/fireedge/sunstone",
        "sunstone": "https://sunstone.example/",
        "oneflow": "https://oneflow.example",
        "onegate": "https://onegate.example",
        "api": "https://api.example/RPC2",
    }
    assert urls(settings(enabled=False)) == {}
    assert backends(settings(enabled=False)) == ()


def test_good_settings_have_no_problem_and_those_of_a_closed_ingress_are_not_looked_at() -> None:
    assert wrong(settings()) == {}
    assert wrong(IngressSettings()) == {}
    assert wrong(settings(enabled=False, className=None, tls=None), {}) == {}


@pytest.mark.parametrize(
    ("changes", "path", "says"),
    [
        ({"className": None}, "ingress.className", "without a class no controller"),
        ({"tls": None}, "ingress.tls", "nothing is exposed without TLS"),
        ({"controllerNamespace": None}, "ingress.controllerNamespace", "answer nobody but the controller"),
        ({"hosts": {}}, "ingress.hosts", "names no daemon"),
        (
            {"hosts": {"fireedge": "one.example", "oneflow": "one.example"}},
            "ingress.hosts.oneflow",
            "one.example is already ingress.hosts.fireedge",
        ),
        (
            {"controllerNamespace": None, "controllerNetworks": ["10.0.0.0/8"], "controllerLabels": {"a": "b"}},
            "ingress.controllerLabels",
            "needs ingress.controllerNamespace",
        ),
    ],
)
def test_what_is_missing_is_named(changes: dict[str, Any], path: str, says: str) -> None:
    found = wrong(settings(**changes))
    assert list(found) == [path]
    assert says in found[path]


def test_every_problem_is_said_at_once() -> None:
    found = wrong(settings(className=None, tls=None, controllerNamespace=None, hosts={}))
    assert set(found) == {"ingress.className", "ingress.tls", "ingress.controllerNamespace", "ingress.hosts"}


@pytest.mark.parametrize("daemon", ["fireedge", "sunstone", "oneflow", "onegate"])
def test_a_name_for_a_daemon_that_does_not_run_is_refused(daemon: str) -> None:
    chosen = settings(hosts={daemon: "one.example"})
    found = wrong(chosen, ALL | {daemon: False})
    assert list(found) == [f"ingress.hosts.{daemon}"]
    assert f"{daemon} is not enabled" in found[f"ingress.hosts.{daemon}"]
    assert wrong(chosen, {}) == found
    assert wrong(settings(hosts={"api": "one.example"}), {}) == {}


@pytest.mark.parametrize("host", ["10.0.0.1", "*.example.com", "Cloud.Example", "a_b.example", "https://a.example", ""])
def test_a_host_is_a_plain_dns_name(host: str) -> None:
    with pytest.raises(ValidationError):
        settings(hosts={"fireedge": host})


@pytest.mark.parametrize(
    "tls",
    [
        {"kind": "plain"},
        {"kind": "secret"},
        {"kind": "certManager"},
        {"kind": "certManager", "issuer": "a", "clusterIssuer": "b"},
        {"kind": "inline", "certificate": "nonsense"},
        {"kind": "inline", "certificate": ""},
        {"kind": "secret", "name": "one", "certificate": "x"},
    ],
)
def test_a_certificate_is_of_one_of_three_kinds(tls: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        settings(tls=tls)


def test_a_key_among_the_certificates_is_refused_and_not_repeated() -> None:
    certificate, key = pair("cloud.example")
    with pytest.raises(ValidationError) as caught:
        settings(tls={"kind": "inline", "certificate": certificate + key})
    assert "secret ingressKey" in str(caught.value)
    assert key.splitlines()[1] not in str(caught.value)


def with_certificate(certificate: str, key: str | None) -> dict[str, str]:
    return wrong(settings(tls={"kind": "inline", "certificate": certificate}), key=key)


def test_a_certificate_that_matches_has_no_problem() -> None:
    assert with_certificate(*pair("cloud.example", "api.example")) == {}
    assert with_certificate(*pair("*.example")) == {}


def test_the_key_must_be_there_and_belong_to_the_certificate() -> None:
    names = ("cloud.example", "api.example")
    certificate, _ = pair(*names)
    other_certificate, other_key = pair(*names, ends=31)
    assert "ingressKey" in with_certificate(certificate, None)["ingressKey"]
    found = with_certificate(certificate, other_key)
    assert list(found) == ["ingressKey"]
    assert "is not the key of the certificate of cloud.example, api.example" in found["ingressKey"]
    assert "private key in PEM" in with_certificate(certificate, "nonsense")["ingressKey"]
    # A chain in the wrong order is a mistake of its own.
    assert "certificate 2 of the chain" in with_certificate(certificate + other_certificate, other_key)["ingressKey"]


def test_the_certificate_must_cover_every_host() -> None:
    found = with_certificate(*pair("cloud.example"))
    assert found == {"ingress.hosts.api": "the certificate does not cover api.example; it is for cloud.example"}
    # A wildcard is one label deep, and the common name counts for nothing.
    assert set(with_certificate(*pair("*.cloud.example"))) == {"ingress.hosts.fireedge", "ingress.hosts.api"}
    deep = settings(hosts={"fireedge": "a.b.example"}, tls={"kind": "inline", "certificate": pair("*.example")[0]})
    assert set(wrong(deep, key=pair("*.example")[1])) == {"ingress.hosts.fireedge"}
    without = settings(hosts={"fireedge": "cn.example"}, tls={"kind": "inline", "certificate": pair()[0]})
    assert "no subject alternative name" in wrong(without, key=pair()[1])["ingress.hosts.fireedge"]


def test_the_certificate_must_be_of_today() -> None:
    names = ("cloud.example", "api.example")
    expired = with_certificate(*pair(*names, begins=-30, ends=-2))
    assert list(expired) == ["ingress.tls.certificate"]
    assert "expired on 2026-11-20 00:00 UTC" in expired["ingress.tls.certificate"]
    future = with_certificate(*pair(*names, begins=2, ends=9))
    assert "valid from 2026-11-24 00:00 UTC on" in future["ingress.tls.certificate"]
    assert list(with_certificate(*pair(*names, begins=-30, ends=0))) == ["ingress.tls.certificate"]


def test_a_key_is_a_private_key_without_a_passphrase() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    protected = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x" * 8)
    ).decode()
    check_key(pair("a.example")[1])
    with pytest.raises(ValueError, match="passphrase"):
        check_key(protected)
    with pytest.raises(ValueError, match="PEM"):
        check_key(pair("a.example")[0])
