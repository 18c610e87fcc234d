"""The rules about how somebody gets in: what they find, what they let be, and that nothing given to them stops a run."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import naming
from policy.resource import kind_of, ours, said
from policy.rules import OF_EVERYBODY, RULES, violations
from policy.ways_in import PLAIN_PORTS, narrow_grants, own_passwords, pinned_host_keys, private_api
from tests.graph import reveal
from tests.program.test_program import graph

SERVICE = "kubernetes:core/v1:Service"
INGRESS = "kubernetes:networking.k8s.io/v1:Ingress"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET = "kubernetes:core/v1:Secret"
HOST = "pulumi-python:dynamic/opennebula:Host"
LOCAL = "command:local:Command"
KEY = "ssh-ed25519 AAAA"


def service(port: Any, kind: str | None = "NodePort", **spec: Any) -> list[str]:
    spec = {"type": kind, "selector": naming.selector(naming.ONED), "ports": [port], **spec}
    return list(private_api(SERVICE, "s", {"spec": spec}))


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
@pytest.mark.parametrize(
    "port", [{"port": 2633}, {"port": 80, "targetPort": 2633}, {"port": 80, "targetPort": "xmlrpc"}]
)
def test_the_api_is_not_opened_in_plain_text(kind: str, port: dict[str, Any]) -> None:
    assert service(port, kind) == [f"s: a {kind} opens oned's XML-RPC API in plain text"]


def test_other_ways_to_oneds_pod_are_found() -> None:
    assert service({"port": 2634.0}) == ["s: a NodePort opens oned's gRPC API in plain text"]
    assert "hook events" in service({"port": 2101})[0]
    assert "external addresses" in service({"port": 2633}, None, externalIPs=["192.0.2.1"])[0]
    assert service({"port": 2633}, selector={"statefulset.kubernetes.io/pod-name": "oned-0"})


def test_the_ports_are_oneds() -> None:
    numbers = {naming.PORT_XMLRPC, naming.PORT_GRPC, naming.PORT_HOOK_EVENTS, naming.PORT_HOOK_REPLIES}
    assert {port for port in PLAIN_PORTS if isinstance(port, int)} == numbers


def test_what_may_be_reached_may_be() -> None:
    assert service({"port": 2633}, "ClusterIP") == service({"port": 2633}, None) == []
    assert service({"port": 4124, "protocol": "UDP"}, "LoadBalancer") == []
    assert service({"port": 2633, "targetPort": 2222}) == []
    assert service({"port": 2633}, selector={"app.kubernetes.io/name": "other"}) == []
    assert service({"port": 2633}, selector=None) == []


def ingress(service: dict[str, Any], **spec: Any) -> list[str]:
    path = {"backend": {"service": service}}
    return list(private_api(INGRESS, "i", {"spec": {"rules": [{"host": "a", "http": {"paths": [path]}}], **spec}}))


@pytest.mark.parametrize("backend", [{"name": "oned", "port": {"name": "x"}}, {"name": "x", "port": {"number": 2633}}])
def test_an_ingress_to_oned_has_a_certificate(backend: dict[str, Any]) -> None:
    assert ingress(backend) == ["i: a has no certificate"]
    assert ingress(backend, tls=[{"hosts": ["a"], "secretName": "t"}]) == []


def test_an_ingress_to_something_else_is_not_this_rules_matter() -> None:
    assert ingress({"name": "other", "port": {"number": 80}}) == []
    assert ingress({"name": "other", "port": {"name": "events"}}) == []
    assert list(private_api(INGRESS, "i", {"spec": {"defaultBackend": {"service": {"name": "oned"}}}}))


@pytest.mark.parametrize("key", [None, "", "ssh-ed25519"])
def test_a_host_without_a_pinned_key_is_found_whatever_resource_has_it(key: str | None) -> None:
    def said_of(token: str, **inputs: Any) -> list[str]:
        return list(pinned_host_keys(token, "r", inputs))

    missing = ["r: me@h:22 has no pinned host key"]
    assert said_of(HOST, login="me@h:22", host_key=key) == missing
    assert said_of(LOCAL, environment={"ONE_LOGIN": "me@h:22", "ONE_HOST_KEY": key}) == missing
    assert said_of("pulumi-python:dynamic/opennebula:ReachableHosts", entries={"h": ["a", "22", key]})
    assert said_of("command:remote:Command", connection={"host": "h", "hostKey": key}) == [
        "r: the host has no pinned hostKey"
    ]
    proxied = {"host": "h", "hostKey": KEY, "proxy": {"host": "p", "hostKey": key}}
    assert said_of("command:remote:CopyToRemote", connection=proxied) == ["r: the proxy has no pinned hostKey"]


def test_pinned_hosts_are_fine() -> None:
    assert list(pinned_host_keys(HOST, "r", {"login": "me@h:22", "host_key": KEY})) == []
    assert list(pinned_host_keys(HOST, "r", {"name": "h"})) == []  # registered alone: nothing of ours logs in
    assert list(pinned_host_keys(LOCAL, "r", {"create": "true"})) == []
    assert list(pinned_host_keys("command:remote:Command", "r", {"connection": {"hostKey": KEY}})) == []


@pytest.mark.parametrize(
    "text",
    [
        "Host *\n  StrictHostKeyChecking no\n",
        "stricthostkeychecking accept-new",
        "ssh -o StrictHostKeyChecking=no x",
        "StrictHostKeyChecking = off",
    ],
)
def test_ssh_that_believes_what_it_is_shown_is_found(text: str) -> None:
    pod = {"containers": [{"name": "c", "command": ["sh", "-c"], "args": [text]}]}
    assert list(pinned_host_keys(CONFIG_MAP, "r", {"data": {"config": text}}))
    assert list(pinned_host_keys(LOCAL, "r", {"create": "true", "delete": text}))
    assert list(pinned_host_keys("kubernetes:apps/v1:Deployment", "r", {"spec": {"template": {"spec": pod}}}))


def test_strict_ssh_is_fine() -> None:
    text = "StrictHostKeyChecking yes\n# accept-new is not for us\nUpdateHostKeys no\n"
    assert list(pinned_host_keys(CONFIG_MAP, "r", {"data": {"config": text}})) == []


def grants(text: str) -> list[str]:
    return list(narrow_grants(CONFIG_MAP, "r", {"data": {"start.sh": text}}))


@pytest.mark.parametrize(
    "text",
    [
        "GRANT ALL PRIVILEGES ON *.* TO 'one'@'%';",
        "grant all on\n  *.* to one",
        "GRANT SELECT, INSERT ON `*`.* TO one",
        "GRANT ALL ON * TO one",
    ],
)
def test_a_grant_on_everything_is_found(text: str) -> None:
    assert grants(text) == ["r: start.sh grants rights on every schema"]


@pytest.mark.parametrize(
    "text",
    [
        "GRANT ALL PRIVILEGES ON `opennebula`.* TO 'one'@'%';",
        "GRANT USAGE ON *.* TO one;",
        "REVOKE ALL PRIVILEGES, GRANT OPTION FROM 'one'@'%'; SELECT 1 ON *.*",
    ],
)
def test_a_grant_on_one_schema_is_fine(text: str) -> None:
    assert grants(text) == []


def test_the_real_grant_is_looked_at() -> None:
    [(name, files)] = [
        (r.name, reveal(dict(r.inputs))["data"]) for r in graph("dev").all("ConfigMap") if "GRANT ALL" in repr(r.inputs)
    ]
    assert list(narrow_grants(CONFIG_MAP, name, {"data": files})) == []
    broken = files["start.sh"].replace("ON \\`%s\\`.*", "ON *.*")
    assert broken != files["start.sh"]
    assert list(narrow_grants(CONFIG_MAP, name, {"data": {"start.sh": broken}}))


@pytest.mark.parametrize(
    "secret", ["opennebula", "oneadmin:opennebula", "serveradmin:", "", "Password\n", "x:CHANGEME"]
)
def test_a_password_that_everybody_knows_is_found_and_not_repeated(secret: str) -> None:
    said_of = ["r: p is empty, or a password that everybody knows"]
    assert list(own_passwords(SECRET, "r", {"stringData": {"p": secret}})) == said_of
    assert list(own_passwords(SECRET, "r", {"data": {"p": base64.b64encode(secret.encode()).decode()}})) == said_of


def test_other_secrets_are_fine() -> None:
    own = {"a": "oneadmin:8dGh2k", "b": "8dGh2k", "c": "-----BEGIN KEY-----\nA:\n", "d": "opennebula:8dGh2k"}
    assert list(own_passwords(SECRET, "r", {"stringData": own})) == []
    assert list(own_passwords(SECRET, "r", {"data": {"a": base64.b64encode(b"\xff\xfe").decode()}})) == []


def test_a_resource_is_ours_by_what_it_stands_in() -> None:
    inside = "urn:pulumi:prod::any::opennebula:index:ControlPlane$opennebula:index:Oned$kubernetes:core/v1:Service::s"
    assert ours(inside)
    assert ours("urn:pulumi:prod::any::opennebula:index:ControlPlane::opennebula")
    assert not ours("urn:pulumi:prod::opennebula::kubernetes:core/v1:Service::opennebula:index:x")
    assert not ours("urn:pulumi:prod::any::opennebula:index/virtualMachine:VirtualMachine::vm")
    assert not ours("")


def test_every_resource_of_the_program_is_ours_but_the_stack_itself() -> None:
    assert [r.name for r in graph("prod").records if not ours(r.urn)] == []


def test_kinds_are_kubernetes_own() -> None:
    assert kind_of("kubernetes:batch/v1:Job") == "Job"
    assert kind_of("aws:glue/job:Job") == ""
    assert violations("nomad:index:Job", "j", {}) == []


FIELDS = "spec template metadata labels containers name image ports selector data stringData rules tls type".split()  # noqa: SIM905
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)
TOKENS = sorted({r.type for name in ("prod", "lts") for r in graph(name).records} | {"command:remote:Command", "a:b:C"})


@given(st.sampled_from(TOKENS), st.dictionaries(st.sampled_from(["spec", "metadata", "data", "environment"]), json))
def test_nothing_given_to_a_rule_stops_a_run(token: str, properties: dict[str, Any]) -> None:
    assert all(sentence.startswith("r") for sentence in violations(token, "r", properties))


def test_an_object_that_cannot_be_read_is_wrong_and_its_values_stay_unsaid() -> None:
    told = violations("kubernetes:apps/v1:StatefulSet", "r", {"metadata": {}})
    assert "r: has no 'spec'" in told
    data = {"data": {"p": base64.b64encode(b"x").decode()[:-1]}}
    assert list(said(own_passwords, SECRET, "r", data)) == ["r: is not made as its kind is (Error)"]


def test_rules_of_everybodys_objects_are_rules() -> None:
    assert set(RULES) >= OF_EVERYBODY
