"""The external hypervisor hosts: prepared over SSH, registered in oned, seen to be monitored.

Runs nothing in the cluster. Makes one Command and one Host resource for each host, one Command that makes all hosts known
to each other and ends monitoring clients of numbers that they had before (ADR 19), and one FleetReady that waits for all of
them. A host that cannot be prepared or registered is missing from these two, and stops neither.
A host's Command runs the script over one SSH connection (`components/preparing`); its inputs are what concerns that host alone,
with the script's digest in place of its text, and no key (ADR 11). Preparing needs only oneadmin's public key, so it runs while
the database and oned still start; only the registration waits for oned.
Deliberately not here: the hosts' operating systems, their disks and networks. Outputs: `hosts`, id and state by name.

A host leaves in the opposite order: oned empties and deletes it first, then, where `onRemoval` says so, the Host's delete takes
the preparation back (ADR 18), and only then is its Command deleted, because the Host depends on it; a removal that stops
(VMs, a host that does not answer) leaves both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pulumi
from pulumi.runtime.stack import ResourceRegistrationFailed

from components import host_addresses, monitoring, naming
from components.bootstrap.peers import Peer, render_peers
from components.bootstrap.script import HostPlan, render
from components.domain import Version
from components.host_settings import (
    FleetSettings,
    HostSettings,
    PackageSettings,
    SshSettings,
    endpoint,
    repository,
    way,
)
from components.manifests import content_hash
from components.monitoring import MonitoringSettings
from components.oned_conf import render as render_conf
from components.preparation_settings import PreparationSettings, with_preparation
from components.preparing.resource import Preparations
from components.registration.gate import OnedReady
from components.registration.resource import FleetHost, FleetReady, FleetReadyArgs, Host, HostArgs, default_owner
from components.source_position import short
from components.way_back import WayBackSettings


@dataclass(frozen=True, kw_only=True)
class HostsArgs:
    """`oned` is waited for before the first registration. `private_key` None = the SSH agent.

    `cluster`: a cluster's name, known once the cluster exists. `remotes`: any text that changes with oned's remote scripts.
    """

    hosts: tuple[HostSettings, ...]
    ssh: SshSettings
    packages: PackageSettings | None
    fleet: FleetSettings
    version: Version
    monitoring: MonitoringSettings
    way_back: WayBackSettings
    private_key: pulumi.Input[str] | None
    oneadmin_public_key: pulumi.Input[str]
    frontend_name: str
    frontend_host_public_key: pulumi.Input[str]
    oned: Sequence[pulumi.Resource]
    monitor_key: pulumi.Input[str] = ""
    preparation: PreparationSettings
    namespace_name: str
    cluster: Callable[[str], pulumi.Input[str]] = str
    remotes: str = ""


class Hosts(pulumi.ComponentResource):
    """See the module."""

    hosts: pulumi.Output[dict[str, dict[str, object]]]

    def __init__(self, name: str, args: HostsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:Hosts", name, None, opts)
        registered: dict[str, Host] = {}
        preparations = Preparations(f"{name}-prepare", way(args.ssh), args.private_key)
        keys = pulumi.Output.all(args.oneadmin_public_key, args.frontend_host_public_key)
        with short():
            # Also without hosts: the engine hands today's configuration to a dynamic provider of which something is declared,
            # and yesterday's when all that is left is to be deleted; then the last hosts would seem to be declared still.
            ready = OnedReady(f"{name}-oned", pulumi.ResourceOptions(parent=self, depends_on=[*args.oned]))
            for settings in args.hosts:
                at = endpoint(settings, args.ssh)
                prepared = preparations.command(
                    settings.name,
                    at,
                    keys.apply(partial(script, settings, args)),
                    pulumi.ResourceOptions(parent=self, ignore_changes=deferred(settings)),
                )
                registered[settings.name] = Host(
                    f"{name}-{settings.name}",
                    HostArgs(
                        name=settings.name,
                        im_mad=settings.driver,
                        vm_mad=settings.driver,
                        cluster=args.cluster(settings.cluster),
                        labels=settings.labels,
                        reserved_cpu=settings.reserved_cpu,
                        reserved_memory=settings.reserved_memory,
                        state=settings.state,
                        adopt=settings.adopt,
                        drain=drain(settings),
                        owner=args.fleet.owner,
                        login=str(at),
                        host_key=at.host_key,
                        on_removal=settings.on_removal,
                    ),
                    # Real orders without a data edge: a host is probed as soon as it is registered, so it must be prepared;
                    # and oned must answer.
                    opts=pulumi.ResourceOptions(parent=self, depends_on=[prepared, ready]),
                )
        ids = reached(registered)
        if registered:
            # One that is declared offline may be switched off. It is told when it comes back.
            on = [(item.name, endpoint(item, args.ssh)) for item in by_name(args.hosts) if item.state != "offline"]
            preparations.everyone(
                f"{name}-peers",
                ids.apply(partial(peers, args.hosts)),
                ids.apply(lambda known: [(host, at) for host, at in on if host in known]),
                # Without oned no host is reached, and there is nothing to be told.
                pulumi.ResourceOptions(parent=self, depends_on=[ready]),
            )
            FleetReady(
                f"{name}-monitored",
                FleetReadyArgs(
                    hosts=ids.apply(partial(fleet, args.hosts)),
                    trigger=pulumi.Output.from_input(args.monitor_key).apply(
                        lambda key: content_hash(render_conf(monitoring.entries(args.monitoring, args.version)), key)
                    ),
                    remotes=args.remotes,
                    limit_seconds=args.fleet.wait,
                    poll_seconds=args.fleet.poll,
                    reprobe_seconds=args.fleet.reprobe,
                    monitoring_interval_seconds=args.monitoring.host_interval,
                    push_target=f"{args.monitoring.address}:{args.monitoring.port} (TCP and UDP)",
                    monitor_log=f"`kubectl -n {args.namespace_name} exec {naming.ONED}-0 -c oned -- "
                    "tail /var/log/one/monitor.log`",
                ),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[ready]),
            )
        self.hosts = ids.apply(partial(listing, {item.name: item.kind.value for item in args.hosts}))
        self.register_outputs({"hosts": self.hosts})


def reached(registered: Mapping[str, Host]) -> pulumi.Output[dict[str, float]]:
    """Numbers by name, without hosts that this run could not prepare or register: their own resources say why.

    With `--continue-on-error` whatever waits for a resource that failed is left out. One dead host must not keep all
    others from what concerns them together.
    """
    if not registered:
        return pulumi.Output.from_input({})  # `Output.all` of nothing would be a list
    found = pulumi.Output.all(**{name: host.host_id.recover(_without) for name, host in registered.items()})
    return found.apply(lambda ids: {name: number for name, number in ids.items() if number is not None})


def _without(error: Exception) -> Any:
    if isinstance(error, ResourceRegistrationFailed):
        return None
    raise error


def fleet(hosts: Sequence[HostSettings], ids: Mapping[str, float]) -> list[FleetHost]:
    """Those of them that have a number."""
    known = numbers(ids)
    return [FleetHost(name=host.name, id=known[host.name], state=host.state) for host in hosts if host.name in known]


def deferred(host: HostSettings) -> list[str] | None:
    """What its preparation leaves as it was: one that is declared offline may be switched off, and is prepared anew when it
    is declared otherwise. One that is new is prepared at once, for nothing is there to be left."""
    return ["create", "environment"] if host.state == "offline" else None


def drain(host: HostSettings) -> dict[str, str | float] | None:
    """A host's own way of being emptied. The fleet's is not written into every host's state: the provider reads it."""
    return None if host.drain is None else host.drain.model_dump()


def listing(kinds: Mapping[str, str], ids: Mapping[str, float]) -> dict[str, dict[str, object]]:
    """Id and kind by host name."""
    return {name: {"id": number, "kind": kinds[name]} for name, number in numbers(ids).items()}


def numbers(ids: Mapping[str, float]) -> dict[str, int]:
    """As whole numbers; they come back from the engine as floats."""
    return {name: int(number) for name, number in ids.items()}


def script(host: HostSettings, args: HostsArgs, public_keys: Sequence[str]) -> str:
    """The text that prepares one host, given oneadmin's and the front-end's public keys. Nothing in it is secret."""
    oneadmin_key, frontend_key = public_keys
    if args.packages is None:
        raise ValueError("hosts need opennebula:packages")
    known, address = front_end(args, frontend_key)
    plan = HostPlan(
        name=host.name,
        kind=host.kind.value,
        version=args.version.value,
        repository=repository(args.packages),
        oneadmin_public_key=oneadmin_key,
        frontend_known_hosts=(known,),
        frontend_address=address,
        # Both: a changed fleet.owner must not shut the stack out, nor a new stack after a lost state that is told its hosts' owner.
        owners=tuple(dict.fromkeys((args.fleet.owner or default_owner(), default_owner()))),
        take_over=host.adopt == "always",
    )
    return render(with_preparation(plan, host, args.preparation))


def by_name(hosts: Sequence[HostSettings]) -> list[HostSettings]:
    """In an order that does not hang on that of the configuration: a list that is only sorted anew is no change."""
    return sorted(hosts, key=lambda host: host.name)


def peers(hosts: Sequence[HostSettings], ids: Mapping[str, float]) -> str:
    """The text that makes these hosts known to each other, the same for all."""
    known = [Peer(host.name, host.ssh_address, host.port, host.host_key) for host in by_name(hosts)]
    return render_peers(known, numbers(ids))


def front_end(args: HostsArgs, key: str) -> tuple[str, str | None]:
    """The hosts' known_hosts line of the front-end, and where its name is reached.

    Without the way back nothing answers under that name; the key is pinned all the same, so that a host that is
    prepared today trusts nobody else tomorrow.
    """
    way_back = args.way_back
    if not way_back.enabled:
        return f"{args.frontend_name} {key}", None
    return f"[{args.frontend_name}]:{way_back.port} {key}", way_back.address or args.monitoring.address


def reachable(hosts: Sequence[HostSettings]) -> dict[str, tuple[str, str, str]]:
    """Address, port and pinned key by name, as `ReachableHosts` takes them."""
    return {host.name: (host.ssh_address, str(host.port), host.host_key) for host in hosts}


def host_files(entries: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """How oned's ssh reaches the hosts (their real addresses by the names that oned uses, and their pinned keys), and how
    consoles do.

    By this no DNS is needed for the hosts, and a host's key is known under its name whatever its address or port. Sorted:
    what comes back from the engine is in any order, and the texts must not differ for that.
    """
    entries = dict(sorted(entries.items()))
    stanzas = [
        f"Host {name}\n    HostName {address}\n    Port {port}\n    User oneadmin\n    HostKeyAlias {name}\n"
        for name, (address, port, _) in entries.items()
    ]
    return {
        "hosts.conf": "".join(stanzas) or "# no hosts\n",
        "known_hosts": "".join(f"{name} {key}\n" for name, (_, _, key) in entries.items()) or "# no hosts\n",
        host_addresses.FILE: host_addresses.text({name: address for name, (address, _, _) in entries.items()}),
    }
