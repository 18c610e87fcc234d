"""What is allowed and seldom meant is told, and refused by neither a preview nor an up."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest

from components.naming import PROJECT
from stacks.advice import advice
from stacks.settings import parse
from tests.components.test_authentication import saml
from tests.examples import config, host
from tests.program.test_program import stack_config
from tests.stacks.test_ldap_asked import loaded

WAY_BACK = "wayBack.enabled"
SHARED = [
    {"name": name, "kind": "nfs", "type": type_, "adopt": "always"}
    for name, type_ in (("system", "system"), ("default", "image"))
]
CEPH = {
    "name": "ceph",
    "kind": "ceph",
    "type": "image",
    "bridgeList": ["kvm-1"],
    "cephHost": ["10.0.0.31"],
    "cephSecret": "00000000-0000-4000-8000-000000000000",
}


def told(**changes: Any) -> dict[str, str]:
    values = config() | {key: json.dumps(value) for key, value in changes.items()}
    return {problem.path: problem.text for problem in advice(parse(values))}


def test_hosts_that_cannot_get_their_disks() -> None:
    assert told().keys() == {WAY_BACK}
    assert "(system and default)" in told()[WAY_BACK] and "nfs or ceph" in told()[WAY_BACK]
    assert "(default)" in told(datastores=SHARED[:1])[WAY_BACK]
    assert told(datastores=SHARED) == {}
    assert told(wayBack={"enabled": True, "address": "10.0.0.2"}) == {}
    assert told(hosts=[]) == {}


def test_a_bridge_without_ceph() -> None:
    hosts = [host("kvm-1", address="10.0.0.11")]
    assert "kvm-1 has no ceph: true" in told(hosts=hosts, datastores=[CEPH])["datastores[0].bridgeList[0]"]
    assert told(hosts=[hosts[0] | {"ceph": True}], datastores=[CEPH]).keys() == {WAY_BACK}


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://cloud.example.com/fireedge/api/auth/acs", True),
        ("https://other.example.com/fireedge/api/auth/acs", False),
        ("https://cloud.example.com/foo", False),
    ],
)
def test_assertions_that_go_elsewhere(url: str, fine: bool) -> None:
    ingress = {
        "enabled": True,
        "className": "nginx",
        "controllerNamespace": "ingress-nginx",
        "tls": {"kind": "certManager", "clusterIssuer": "letsencrypt", "challenge": "dns01"},
        "hosts": {"fireedge": "cloud.example.com"},
    }
    found = told(authentication={"default": "saml", "saml": saml(acsUrl=url)}, ingress=ingress)
    assert ("authentication.saml.acsUrl" not in found) == fine


def test_a_preview_and_an_up_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lines.append)
    monkeypatch.setattr(pulumi.Config, "get_secret", lambda *_: None)
    loaded(config())
    (line,) = lines
    assert line.startswith(f"{PROJECT}:{WAY_BACK}: is false, so VMs with disks cannot start")


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_the_shipped_files_need_none(name: str) -> None:
    values = {key.removeprefix(f"{PROJECT}:"): value for key, value in stack_config(name).items()}
    # The dev file has no hosts, and nothing of what they need.
    keys = ("hosts", "network", "packages", "sshPrivateKey") if name == "dev" else ()
    assert list(advice(parse(values | {key: config()[key] for key in keys}))) == []
