"""The resources a program declares: `Host`, one for each hypervisor, and `FleetReady`, which waits for all of them.

Typed faces of the dynamic providers, nothing more. Their types in the state are
`pulumi-python:dynamic/opennebula:Host` and `…:FleetReady`. A logical name that changes without an alias makes the
engine create before it deletes: the new resource takes the host over and the old one then leaves it alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from components.registration.names import DEFAULT_CLUSTER
from components.registration.provider import FleetReadyProvider, HostProvider


@dataclass(frozen=True, kw_only=True)
class HostArgs:
    """One host of oned. The name is what oned passes to ssh; another name or driver replaces the host."""

    name: pulumi.Input[str]
    im_mad: pulumi.Input[str]
    """Monitoring driver: kvm, qemu or lxc. oned does not check it: an unknown one leaves the host in INIT."""
    vm_mad: pulumi.Input[str]
    cluster: pulumi.Input[str] = DEFAULT_CLUSTER
    """Name of an existing cluster."""
    labels: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None
    """Further template attributes. One that is removed here is emptied in oned, which cannot drop single attributes."""
    reserved_cpu: pulumi.Input[str | int] | None = None
    """RESERVED_CPU: hundredths of a core or a percentage, negative to overcommit. None: not managed."""
    reserved_memory: pulumi.Input[str | int] | None = None
    """RESERVED_MEM: KiB or a percentage, negative to overcommit. None: not managed."""
    state: pulumi.Input[str] = "enabled"
    """enabled, disabled (no new VMs), offline (not monitored) or maintenance (disabled and emptied of VMs)."""
    adopt: pulumi.Input[str] = "matching"
    """A host of this name that exists already: refuse, matching (take over what is this stack's) or always."""
    drain: Mapping[str, str | float] | None = None
    """How VMs leave it for maintenance or removal: mode (refuse, live, cold), vm_limit and limit. None: as the fleet."""
    owner: pulumi.Input[str] | None = None
    """Written to the host as MANAGED_BY, so that another stack does not take it over. None: the stack, as PROJECT/STACK."""
    login: pulumi.Input[str] | None = None
    """`user@address:port` of the host's sshd, and below its pinned key: where its preparation is taken back when it goes."""
    host_key: pulumi.Input[str] | None = None
    on_removal: str | None = None
    """What becomes of the preparation once the host has left oned: keep, clean or uninstall. None: as the fleet."""


class Host(Resource, module="opennebula", name="Host"):
    """A hypervisor registered in oned. Its number is `host_id`; whether it is monitored is FleetReady's question."""

    host_id: pulumi.Output[int]
    name: pulumi.Output[str]
    im_mad: pulumi.Output[str]
    vm_mad: pulumi.Output[str]
    cluster: pulumi.Output[str]
    labels: pulumi.Output[Mapping[str, str]]
    reserved_cpu: pulumi.Output[str | None]
    reserved_memory: pulumi.Output[str | None]
    state: pulumi.Output[str]
    adopt: pulumi.Output[str]
    owner: pulumi.Output[str | None]
    drain: pulumi.Output[Mapping[str, Any] | None]
    login: pulumi.Output[str | None]
    host_key: pulumi.Output[str | None]
    on_removal: pulumi.Output[str | None]

    def __init__(self, name: str, args: HostArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        owner = default_owner() if args.owner is None else args.owner
        super().__init__(HostProvider(), name, {**_props(args), "owner": owner, "host_id": None}, opts)


def default_owner() -> str:
    """What marks this stack's hosts where nobody says otherwise."""
    return f"{pulumi.get_project()}/{pulumi.get_stack()}"


@dataclass(frozen=True, kw_only=True)
class FleetHost:
    """One host that FleetReady looks at. Only enabled ones are waited for."""

    name: pulumi.Input[str]
    id: pulumi.Input[str | int]
    """`Host.host_id` (or `Host.id`): the data edge that makes the wait come after the registration."""
    state: pulumi.Input[str] = "enabled"


@dataclass(frozen=True, kw_only=True)
class FleetReadyArgs:
    """All times in seconds."""

    hosts: Sequence[FleetHost] | pulumi.Output[list[FleetHost]]
    trigger: pulumi.Input[str] = ""
    """Any text; a change probes every host again and waits. `hosts` changing waits by itself."""
    remotes: pulumi.Input[str] = ""
    """The same, of oned's remote scripts: starting a host's probes copies them to it, as `onehost sync` does."""
    limit_seconds: pulumi.Input[float] = 600
    poll_seconds: pulumi.Input[float] = 2
    reprobe_seconds: pulumi.Input[float] = 20
    """A host in ERROR is probed again this often."""
    first_probe_seconds: pulumi.Input[float] = 100
    """A host in INIT is probed again after this long; more than the 90 s that the driver lets a probe run."""
    monitoring_interval_seconds: pulumi.Input[float] = 180
    """monitord's MONITORING_INTERVAL_HOST. Must exceed its MONITOR_HOST period, or nothing can be told apart."""
    push_target: pulumi.Input[str] = "monitord's port 4124"
    """Address and port that hosts push to, for the message when nothing arrives."""
    monitor_log: pulumi.Input[str] = "/var/log/one/monitor.log in oned's pod"
    """Where monitord's log is, for messages: often the only place that says why a probe failed."""


class FleetReady(Resource, module="opennebula", name="FleetReady"):
    """Every enabled host is monitored, and its numbers arrive. `states`: state by host name when that was so."""

    states: pulumi.Output[Mapping[str, str]]
    hosts: pulumi.Output[Sequence[Mapping[str, Any]]]
    trigger: pulumi.Output[str]
    remotes: pulumi.Output[str]

    def __init__(self, name: str, args: FleetReadyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        hosts = args.hosts.apply(_each) if isinstance(args.hosts, pulumi.Output) else _each(args.hosts)
        props = {**_props(args), "hosts": hosts, "states": None}
        super().__init__(FleetReadyProvider(), name, props, opts)


def _each(hosts: Sequence[FleetHost]) -> list[dict[str, Any]]:
    return [_props(host) for host in hosts]


def _props(args: HostArgs | FleetHost | FleetReadyArgs) -> dict[str, Any]:
    return {field.name: getattr(args, field.name) for field in fields(args)}
