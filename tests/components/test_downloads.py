"""What oned may download: nothing unless it is asked for, and with the internet never what is not public."""

from __future__ import annotations

import ipaddress

import pytest

from components.downloads import NOT_PUBLIC, download_rules


def test_nothing_unless_asked_for() -> None:
    assert download_rules((), internet=False) == ()


def test_one_rule_for_the_ports_of_the_web() -> None:
    (rule,) = download_rules((ipaddress.IPv4Network("192.0.2.0/29"),), internet=True)
    assert [(port["protocol"], port["port"]) for port in rule["ports"]] == [("TCP", 80), ("TCP", 443)]
    assert [peer["ipBlock"]["cidr"] for peer in rule["to"]] == ["192.0.2.0/29", "0.0.0.0/0"]


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
