"""What oned may download: apps of marketplaces, images by URL. Rules of its network policy; nothing unless it is asked for. Pure.

Its drivers fetch by HTTP(S) from oned's pod (market and datastore drivers, downloader.sh). Facts A3 call this edge an opt-in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

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


def download_rules(networks: Sequence[object], *, internet: bool) -> tuple[Manifest, ...]:
    """Egress rules from oned to these networks, and to all public IPv4 addresses with `internet`."""
    peers = [cidr_peer(str(network)) for network in networks]
    if internet:
        peers.append({"ipBlock": {"cidr": "0.0.0.0/0", "except": list(NOT_PUBLIC)}})
    return ({"to": peers, "ports": policy_ports(*(("TCP", port) for port in PORTS))},) if peers else ()
