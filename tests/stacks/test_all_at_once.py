"""One load tells everything: the rules of two values are asked about whatever is right, and nothing is told twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stacks.settings import ConfigError, parse
from tests.certificates import self_signed
from tests.examples import config, host
from tests.stacks.test_rules import GATE


def lines(**changes: Any) -> list[tuple[str, str]]:
    """Path and text of every problem of the example config with some keys changed; None takes a key out."""
    values = config()
    for key, value in changes.items():
        if value is None:
            values.pop(key)
        else:
            values[key] = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(ConfigError) as caught:
        parse(values)
    return [(problem.path, problem.text) for problem in caught.value.problems]


def paths(**changes: Any) -> list[str]:
    return [path for path, _ in lines(**changes)]


STRANGER = host("kvm-9", address="192.0.2.9")


def test_a_wrong_value_hides_no_rule_of_others() -> None:
    others = {"onegate": GATE, "hosts": [STRANGER], "monitoring": {"address": "10.0.0.1", "port": 2633}}
    expected = ["hosts[0].address", "images.onegate", "monitoring.port"]
    assert paths(**others) == expected
    assert paths(**others, tier="huge") == [*expected, "tier"]


def test_of_the_hosts_those_that_are_right_are_looked_at_in_their_own_places() -> None:
    labelled = host("kvm-3", address="10.0.0.13", labels={"IM_MAD": "x"})
    entries = [host("kvm-1", address="10.0.0.11", port=0), STRANGER, host("-bad"), labelled]
    assert paths(hosts=entries) == ["hosts[0].port", "hosts[1].address", "hosts[2].name", "hosts[3].labels.IM_MAD"]


def test_a_group_is_looked_at_beside_a_host_that_is_wrong() -> None:
    pin = host("x")["hostKey"]
    group = {"kind": "kvm", "members": "kvm-[21-22]", "addresses": "192.0.2.21"}
    found = lines(hosts=[host("-bad")], hostGroups={"a": group}, hostKeys={"kvm-21": pin, "kvm-22": pin})
    assert [path for path, _ in found] == ["hostGroups.a.addresses", "hostGroups.a.addresses", "hosts[0].name"]
    assert "192.0.2.22" in found[1][1]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        # No network of a section that is wrong: whether a host is in one cannot be said.
        ({"network": {"hypervisors": "10.0.0.0/24"}}, "network.hypervisors"),
        ({"network": "everywhere"}, "network"),
        ({"packages": {"url": 1}}, "packages.fingerprint"),
        # Nobody knows the release, so nobody knows what it knows.
        ({"version": "5.12", "scheduler": {"interval": 20}}, "version"),
        # A host that is wrong is declared all the same.
        ({"hosts": [host("kvm-1", port=0)], "datastores": [CEPH := {
            "name": "a", "type": "image", "kind": "ceph", "bridgeList": ["kvm-1"], "cephHost": ["10.0.0.9"],
            "cephSecret": "6ed6dc1b-7b4f-4a0b-bb42-d1b9f5e5b1a8",
        }]}, "hosts[0].port"),
        ({"preparation": {"installLimit": 1}, "ssh": {"scriptTimeout": 10}}, "preparation.installLimit"),
        ({"authentication": {"default": "nobody"}, "oned": {"raw": {"DEFAULT_AUTH": "x509"}}}, "authentication.default"),
    ],
)  # fmt: skip
def test_a_rule_that_needs_what_is_wrong_says_nothing(changes: dict[str, Any], path: str) -> None:
    found = paths(**changes)
    assert path in found
    assert {each.partition(".")[0] for each in found} == {path.partition(".")[0]}


def test_a_host_that_is_wrong_needs_what_hosts_need() -> None:
    assert paths(hosts=[host("-bad")], packages=None, sshPrivateKey=None, network=None) == [
        "hosts[0].name",
        "network.hypervisors",
        "packages",
        "sshPrivateKey",
    ]


# One line each


def test_a_wrong_login_key_is_not_missing_as_well() -> None:
    (found,) = lines(sshPrivateKey="MARKER")
    assert found[0] == "sshPrivateKey" and "is required" not in found[1]


def test_a_wrong_ingress_key_is_not_missing_as_well() -> None:
    now = datetime.now(UTC)
    host_name = "cloud.example"
    chain, key = self_signed(host_name, host_name, begins=now - timedelta(days=1), ends=now + timedelta(days=90))
    ingress = {
        "enabled": True,
        "className": "nginx",
        "controllerNamespace": "ingress-nginx",
        "tls": {"kind": "inline", "certificate": chain},
        "hosts": {"fireedge": host_name},
    }
    assert parse(config() | {"ingress": json.dumps(ingress), "ingressKey": key}).ingress.enabled
    assert "is required" in dict(lines(ingress=ingress))["ingressKey"]
    (found,) = lines(ingress=ingress, ingressKey="MARKER")
    assert found[0] == "ingressKey" and "is required" not in found[1]


def test_wrong_ldap_passwords_are_not_missing_as_well() -> None:
    servers = [
        {"name": "a", "host": "192.0.2.1", "base": "dc=a", "user": "cn=a"},
        {"name": "b", "host": "192.0.2.2", "base": "dc=b"},
    ]
    assert paths(authentication={"ldap": {"servers": servers}}) == ["authentication.ldap.servers[0].user"]
    assert paths(authentication={"ldap": {"servers": servers}}, ldapPasswords="nonsense") == ["ldapPasswords"]


# Each message says how to mend it

WRONG: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"storage": []}, "storage", "must be a mapping: KEY: value"),
    ({"images": 3}, "images", "must be a mapping: KEY: value"),
    ({"hosts": {"a": 1}}, "hosts", "must be a list: lines that begin with '- '"),
    ({"hosts": [host("kvm-1", labels=["A"])]}, "hosts[0].labels", "must be a mapping: KEY: value"),
    ({"hosts": [host("kvm-1", address=5)]}, "hosts[0].address", "must be a text; write a number"),
    ({"network": {"hypervisors": ["10.0.0"]}}, "network.hypervisors[0]", "an IPv4 network such as 192.0.2.0/24"),
    ({"network": {"hypervisors": ["10.0.0.5/24"]}}, "network.hypervisors[0]", "write 10.0.0.0/24, or 10.0.0.5/32"),
    ({"network": {"hypervisors": ["fd00::/8"]}}, "network.hypervisors[0]", "an IPv4 network"),
    ({"packages": {"url": "ftp://a", "key": "x", "fingerprint": "A" * 40}}, "packages.url", "http(s) URL"),
    ({"packages": {"url": "https://a", "key": "x", "fingerprint": "A" * 40}}, "packages.key", "gpg --armor --export"),
    ({"oned": {"frontendName": "-x"}}, "oned.frontendName", "lower-case letters"),
    ({"oned": {"maxConnections": 3.5}}, "oned.maxConnections", "a whole number, not in quotes"),
    ({"api": {"url": "one.example"}}, "api.url", "such as https://one.example/RPC2"),
)


@pytest.mark.parametrize(("changes", "path", "words"), WRONG)
def test_each_message_says_how_to_mend_it(changes: dict[str, Any], path: str, words: str) -> None:
    found = dict(lines(**changes))
    assert words in found[path]
    for text in found.values():
        assert not any(word in text for word in ("Input should", "String should", "octets", "object", "pattern")), text
