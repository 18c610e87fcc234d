"""The lab refuses to start on addresses that the machine uses."""

from __future__ import annotations

import pytest

from lab import network
from lab.paths import INSTANCES, LAB, TEST


@pytest.mark.parametrize("destination", ["10.124.0.0/16", "10.0.0.0/8", "10.124.64.7", "10.124.255.0/30"])
def test_an_overlapping_route_is_a_conflict(destination: str) -> None:
    (found,) = network.conflicts(LAB, [{"dst": destination, "dev": "tun0"}])
    assert found.endswith("dev tun0")


@pytest.mark.parametrize(
    "route",
    [
        {"dst": "default", "dev": "eth0"},
        {"dst": "192.168.0.0/16", "dev": "eth0"},
        {"dst": "10.125.0.0/22", "dev": TEST.uplink},
        {"dst": "10.124.0.0/22", "dev": LAB.uplink},
    ],
)
def test_other_routes_and_the_labs_own_are_none(route: dict[str, object]) -> None:
    assert network.conflicts(LAB, [route]) == []


def test_two_labs_share_no_address_and_no_name() -> None:
    networks = [net for each in INSTANCES.values() for net in (*network.routed(each), each.uplink_net)]
    assert not any(a.overlaps(b) for i, a in enumerate(networks) for b in networks[i + 1 :])
    assert len({each.uplink for each in INSTANCES.values()}) == len(INSTANCES)
    assert len({each.cgroup for each in INSTANCES.values()}) == len(INSTANCES)
    assert all(len(each.uplink) <= 15 for each in INSTANCES.values())  # the kernel's limit for interface names
