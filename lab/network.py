"""Addresses and routes around the box: the hypervisors' bridge inside, one veth pair to the root namespace.

The root namespace gets three routes and one interface; nothing of its packet filter or its sysctls changes.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Network

from lab.errors import LabError
from lab.paths import Instance
from lab.process import Identity

BRIDGE = "hv0"
_INSIDE = "uplink"
_LIMIT = 20  # seconds


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=_LIMIT, check=False)
    if check and done.returncode != 0:
        raise LabError(
            f"`ip {' '.join(arguments)}` failed", cause=done.stderr.strip(), fix="run `make down`, then again"
        )
    return done


def routed(instance: Instance) -> tuple[IPv4Network, ...]:
    return (instance.hypervisors, instance.services, instance.pods)


def conflicts(instance: Instance, routes: Iterable[dict[str, object]]) -> list[str]:
    """Routes of this machine that overlap the lab's networks, as `network dev name` (default routes do not)."""
    mine = (*routed(instance), instance.uplink_net)
    found = []
    for route in routes:
        if route.get("dst") == "default" or route.get("dev") == instance.uplink:
            continue
        network = ipaddress.ip_network(str(route["dst"]), strict=False)
        if isinstance(network, IPv4Network) and any(network.overlaps(net) for net in mine):
            found.append(f"{network} dev {route.get('dev')}")
    return found


def check_free(instance: Instance) -> None:
    """Raise LabError when this machine already uses one of the lab's networks."""
    taken = conflicts(instance, json.loads(_ip("-json", "-4", "route", "show").stdout or "[]"))
    if taken:
        raise LabError(
            f"the lab's addresses are in use on this machine: {', '.join(taken)}",
            cause=f"lab {instance.name} needs {', '.join(map(str, routed(instance)))} and {instance.uplink_net}",
            fix="leave that network (a VPN, most likely) while the lab runs",
        )


def connect(instance: Instance, init: Identity) -> None:
    """Bridge, loopback and veth pair of a box; does nothing where they are in place."""
    inside = f"""
        set -eu
        ip link set lo up
        ip link show dev {BRIDGE} >/dev/null 2>&1 || ip link add {BRIDGE} type bridge stp_state 0 forward_delay 0
        ip address replace {instance.node_ip}/{instance.hypervisors.prefixlen} dev {BRIDGE}
        ip link set {BRIDGE} up
    """
    _inside(init, inside)
    if _ip("link", "show", "dev", instance.uplink, check=False).returncode != 0:
        check_free(instance)
        _ip("link", "add", instance.uplink, "type", "veth", "peer", "name", _INSIDE, "netns", str(init.pid))
    prefix = instance.uplink_net.prefixlen
    _inside(init, f"set -eu; ip address replace {instance.box_ip}/{prefix} dev {_INSIDE}; ip link set {_INSIDE} up\n")
    _ip("address", "replace", f"{instance.root_ip}/{prefix}", "dev", instance.uplink)
    _ip("link", "set", instance.uplink, "up")
    for network in routed(instance):
        _ip("route", "replace", str(network), "via", str(instance.box_ip), "dev", instance.uplink)


def disconnect(instance: Instance) -> None:
    """Remove the root side of the pair, and with it the routes; fine when it is gone already."""
    _ip("link", "delete", "dev", instance.uplink, check=False)
    if _ip("link", "show", "dev", instance.uplink, check=False).returncode == 0:
        raise LabError(
            f"the interface {instance.uplink} cannot be removed", fix=f"ip link delete dev {instance.uplink}"
        )


def _inside(init: Identity, script: str) -> None:
    command = ["nsenter", "--target", str(init.pid), "--net", "--", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
    if done.returncode != 0:
        raise LabError(
            "the network inside the box cannot be set up", cause=done.stderr.strip(), fix="run `make down`, then again"
        )
