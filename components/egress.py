"""Where oned may go besides its parts, the hosts and the directory: rules of its network policy, all of them opt-ins. Pure.

Downloads: its drivers fetch apps of marketplaces and images by URL over HTTP(S) (market and datastore drivers, downloader.sh;
facts A3 call this edge an opt-in). And what nobody but the operator knows: a mirror on another port, object storage, and what
hooks and drivers of his own call, such as a power switch (IPMI) or a mail relay; all of them run in oned's pod.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import Field

from components.domain import NamedNetwork, Port, Section
from components.manifests import Manifest, cidr_peer, policy_ports

PORTS: Final = (80, 443)
# What is no public IPv4 address (RFC 6890): "this" network, private, shared, loopback, link-local with the clouds' metadata
# services, protocol assignments, benchmarking, multicast and reserved. The API server of a cluster is nearly always in one.
NOT_PUBLIC: Final = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
)


class EgressSettings(Section):
    """Something that oned's drivers and hooks call."""

    networks: tuple[NamedNetwork, ...] = Field(min_length=1, description="where it is: networks, such as 192.0.2.30/32")
    ports: tuple[Port, ...] = Field(min_length=1, description="its ports")
    protocol: Literal["TCP", "UDP"] = Field(default="TCP", description="of these ports: TCP or UDP (IPMI)")


def further_rules(further: Sequence[EgressSettings]) -> tuple[Manifest, ...]:
    """Egress rules from oned to what the operator names."""
    return tuple(
        {
            "to": [cidr_peer(str(network)) for network in item.networks],
            "ports": policy_ports(*((item.protocol, port) for port in item.ports)),
        }
        for item in further
    )


def download_rules(networks: Sequence[object], *, internet: bool) -> tuple[Manifest, ...]:
    """Egress rules from oned to these networks, and to all public IPv4 addresses with `internet`."""
    peers = [cidr_peer(str(network)) for network in networks]
    if internet:
        peers.append({"ipBlock": {"cidr": "0.0.0.0/0", "except": list(NOT_PUBLIC)}})
    return ({"to": peers, "ports": policy_ports(*(("TCP", port) for port in PORTS))},) if peers else ()
