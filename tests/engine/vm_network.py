"""A network of virtual machines beside the lab's hosts: one machine's view of the network, without a machine.

A namespace on the hosts' bridge with an address of `Instance.vms` and the node as its way out, as a bridged VM has it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from lab.box import Box
from lab.network import BRIDGE
from lab.paths import Instance

NAME = "vm-net"


@dataclass(frozen=True)
class VmNetwork:
    """The namespace; `address` is the machine's."""

    instance: Instance
    address: IPv4Address

    @property
    def namespace(self) -> Path:
        """The network namespace as a file that this process can enter: the box keeps its own mounts."""
        init = Box(self.instance).init()
        assert init is not None, f"the lab {self.instance.name} does not run"
        return Path(f"/proc/{init.pid}/root/run/netns/{NAME}")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as the machine would, whatever comes of it."""
        return Box(self.instance).run(["ip", "netns", "exec", NAME, *command], check=False)


@contextmanager
def vm_network(instance: Instance) -> Iterator[VmNetwork]:
    """The network for as long as the context lasts; only one at a time in a lab."""
    box, address = Box(instance), instance.vms[10]
    script = f"""
        ip netns add {NAME}
        ip link add {NAME} type veth peer name eth0 netns {NAME}
        ip link set {NAME} master {BRIDGE} up
        ip -n {NAME} addr add {address}/{instance.hypervisors.prefixlen} dev eth0
        ip -n {NAME} link set lo up
        ip -n {NAME} link set eth0 up
        ip -n {NAME} route add default via {instance.node_ip}
    """
    box.run(["sh", "-euc", script])
    try:
        yield VmNetwork(instance, address)
    finally:
        # The link first: a namespace's own end goes some time after it.
        box.run(["sh", "-euc", f"ip link delete {NAME}; ip netns delete {NAME}"])
