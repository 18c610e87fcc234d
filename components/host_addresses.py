"""Where the hosts are, for the containers that open consoles (guacd, noVNC): they get a host's name and must find it. Pure.

oned and FireEdge know a host by its name alone, and with an `address` of its own that name need stand in no DNS. These
containers therefore have an /etc/hosts made of the configuration (`images/service/hosts-file`), and a new host comes into
it while they run. An `address` that is a DNS name cannot stand there: such a host's own name must be found by DNS.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

import pulumi

from components.manifests import Manifest, empty_dir, mount
from components.placement import Placement
from components.service_pod import SCRIPTS, container

FILE: Final = "etc-hosts"  # key of oned's ConfigMap of the hosts, which changes in place
_RESOURCES: Final[Manifest] = {
    "requests": {"cpu": "10m", "memory": "8Mi", "ephemeral-storage": "1Mi"},
    "limits": {"cpu": "500m", "memory": "32Mi", "ephemeral-storage": "8Mi"},
}
_LOOPBACK: Final = "127.0.0.1 localhost\n::1 localhost\n"


def text(addresses: Mapping[str, str]) -> str:
    """A whole /etc/hosts, of addresses by host name."""
    lines = (f"{address} {name}\n" for name, address in addresses.items() if _is_ip(address))
    return _LOOPBACK + "".join(lines)


def volumes(config: pulumi.Input[str]) -> list[Manifest]:
    """`config` is the ConfigMap that has FILE."""
    items = [{"key": FILE, "path": FILE}]
    return [
        {"name": "host-addresses", "configMap": {"name": config, "items": items, "defaultMode": 0o444}},
        empty_dir("hosts-file", "1Mi"),
    ]


def init_container(image: str, placement: Placement) -> Manifest:
    """Makes the file before the others start."""
    return {
        **container("hosts-file", image, placement, [f"{SCRIPTS}/hosts-file", "make"], _RESOURCES),
        "volumeMounts": [_addresses(), mount("hosts-file", "/mnt/hosts-file")],
    }


def mounts() -> list[Manifest]:
    """Of the container that looks for hosts, whose start script runs `hosts-file follow`."""
    return [_addresses(), mount("hosts-file", "/etc/hosts") | {"subPath": "hosts"}]


def _addresses() -> Manifest:
    return mount("host-addresses", "/etc/one-hosts", read_only=True)


def _is_ip(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
