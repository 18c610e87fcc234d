"""Where the lab keeps things, and the addresses of a lab instance.

Two places only: a cache that survives `make down` (builds, root file systems, keyed by what they were made of) and a
state directory in the checkout (running lab, Pulumi state). Pure values; nothing here touches the machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
STATE = PROJECT / ".state"
CACHE = Path(os.environ.get("ONELAB_CACHE") or Path.home() / ".cache" / "opennebula-lab")

_FIRST_OCTET = 124  # 10.124.0.0/16 and up: seldom used by sites, so a lab beside a VPN keeps working


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One lab on this machine: everything that must differ between two of them follows from its index.

    `lasting`: it stays up until `make down`. What is found of any other is left over from a run that was killed.
    """

    name: str
    index: int
    lasting: bool = False

    def _net(self, tail: str) -> IPv4Network:
        return IPv4Network(f"10.{_FIRST_OCTET + self.index}.{tail}")

    @property
    def state(self) -> Path:
        return STATE / "lab" / self.name

    @property
    def uplink(self) -> str:
        """Root side of the veth pair into the box."""
        return f"onelab{self.index}"

    @property
    def cgroup(self) -> str:
        return f"onelab-{self.name}"

    @property
    def hypervisors(self) -> IPv4Network:
        return self._net("0.0/22")

    @property
    def vms(self) -> IPv4Network:
        """Where virtual machines have their addresses: on the hosts' bridge, apart from the hosts."""
        return self._net("3.0/24")

    @property
    def node_ip(self) -> IPv4Address:
        return self.hypervisors[1]

    @property
    def services(self) -> IPv4Network:
        return self._net("32.0/20")

    @property
    def dns_ip(self) -> IPv4Address:
        return self.services[10]

    @property
    def pods(self) -> IPv4Network:
        return self._net("64.0/20")

    @property
    def uplink_net(self) -> IPv4Network:
        return self._net("255.0/30")

    @property
    def root_ip(self) -> IPv4Address:
        return self.uplink_net[1]

    @property
    def box_ip(self) -> IPv4Address:
        return self.uplink_net[2]

    @property
    def api_url(self) -> str:
        return f"https://{self.box_ip}:6443"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    def host_ip(self, number: int) -> IPv4Address:
        """Address of the n-th hypervisor host (from 1)."""
        return self.hypervisors[10 + number]


LAB = Instance(name="lab", index=0, lasting=True)
TEST = Instance(name="test", index=1)
INSTANCES = {instance.name: instance for instance in (LAB, TEST)}
