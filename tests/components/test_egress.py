"""Where oned may go: nowhere unless it is asked for, and with the internet never to what is not public."""

from __future__ import annotations

import ipaddress

import pytest

from components.egress import NOT_PUBLIC, EgressSettings, download_rules, further_rules


def test_nothing_unless_asked_for() -> None:
    assert download_rules((), internet=False) == ()


def test_one_rule_for_the_ports_of_the_web() -> None:
    (rule,) = download_rules((ipaddress.IPv4Network("192.0.2.0/29"),), internet=True)
    assert [(port["protocol"], port["port"]) for port in rule["ports"]] == [("TCP", 80), ("TCP", 443)]
    assert [peer["ipBlock"]["cidr"] for peer in rule["to"]] == ["192.0.2.0/29", "0.0.0.0/0"]


def test_what_the_operator_names_is_one_rule_each() -> None:
    power = EgressSettings.model_validate_json('{"networks": ["192.0.2.32/28"], "ports": [623], "protocol": "UDP"}')
    store = EgressSettings.model_validate_json('{"networks": ["192.0.2.1", "192.0.2.2"], "ports": [9000, 8080]}')
    assert further_rules(()) == ()
    assert further_rules((power, store)) == (
        {"to": [{"ipBlock": {"cidr": "192.0.2.32/28"}}], "ports": [{"protocol": "UDP", "port": 623}]},
        {
            "to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}, {"ipBlock": {"cidr": "192.0.2.2/32"}}],
            "ports": [{"protocol": "TCP", "port": 9000}, {"protocol": "TCP", "port": 8080}],
        },
    )


@pytest.mark.parametrize(
    ("address", "open_"),
    [
        ("8.8.8.8", True),
        ("172.15.255.255", True),
        ("223.255.255.255", True),
        ("10.96.0.1", False),
        ("172.31.0.1", False),
        ("192.168.1.1", False),
        ("100.127.0.1", False),
        ("169.254.169.254", False),
        ("127.0.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
    ],
)
def test_the_internet_is_what_is_public(address: str, open_: bool) -> None:
    found = any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in NOT_PUBLIC)
    assert found is not open_


def test_blocks_are_networks_and_apart() -> None:
    networks = [ipaddress.IPv4Network(network) for network in NOT_PUBLIC]
    assert not any(one.overlaps(other) for one in networks for other in networks if one is not other)
