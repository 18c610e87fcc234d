"""oned: the core daemon with its drivers, onemonitord, the scheduler and an ssh-agent, in one pod.

Runs a StatefulSet of one: `prepare` fills the volumes, `ssh-agent` holds oneadmin's key, `oned` heals an interrupted
first boot and becomes oned, `keeper` makes the passwords those of the Secrets. In the same pod, because they are of no
use apart from this oned: 6.10's scheduler daemon, the hook execution manager, and the way back (an sshd for datastore
drivers). They share one configuration object: a change of any of their settings restarts the pod, but for the hook
execution manager's, which have one of their own (ADR 16). Deliberately not here: several oned (the raft shape has a
database each), TLS (oned speaks plain HTTP; the Service is for this namespace only). Makes Secrets, ConfigMaps, Services,
NetworkPolicies, a ServiceAccount without token, the StatefulSet and, unless the operator gives one, onemonitord's key
pair. Outputs: `endpoint`, the XML-RPC URL inside the cluster; `ready`, which resolves when oned answers; `host_files`, the
ConfigMap that says where the hosts are; `monitor_key`, the public key for which hosts encrypt, empty without encryption.

The scripts are in `images/oned/`. oned writes its zone's endpoint at its first boot, so it is a Service name from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.apps.v1 import StatefulSet
from pulumi_kubernetes.core.v1 import ConfigMap, Secret, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from components import drivers, drs, hem, monitoring, naming, scheduler, way_back
from components.credentials import session
from components.domain import Network, Version
from components.drivers import DriverSettings
from components.generated.keys import monitor_public_half
from components.generated.resource import GeneratedMonitorKeyPair
from components.hem import HemSettings
from components.load_balancer import balanced
from components.manifests import SKIP_AWAIT, Manifest, cidr_peer, content_hash, policy_ports, stateful_set
from components.mariadb import MariaDBHandle
from components.monitoring import Exposure, MonitoringSettings
from components.network_drivers import Tproxy
from components.oned_conf import Value, render
from components.oned_pod import OnedPod, WayBackPod, pod_template
from components.oned_settings import OnedSettings, endpoint, oned_entries
from components.placement import balanced_service, configuration
from components.scheduler import SchedulerSettings
from components.scheduling import SchedulingSettings
from components.ssh_identity import SshKey
from components.versions import RELEASES
from components.way_back import WayBackSettings


@dataclass(frozen=True, kw_only=True)
class OnedArgs:
    """`namespace` is the resource's output, `namespace_name` the same as a plain value, for texts that name Services.

    `host_files` are hosts.conf and known_hosts, how oned's ssh reaches the hosts and by which keys it knows them, and
    what consoles find them by (components/hosts.py).
    `hem` and `way_back` without settings are left out; the way back needs `frontend_host_key`, which the hosts pin.
    `monitor_key` is the operator's own RSA key in PEM for what hosts push; one is made without it.
    `onegate_proxy` is what the hosts' transparent proxies do for OneGate, None without them.
    `auth_entries` are whole keys of oned.conf about authentication; `auth_files` (plain) and `auth_secret` (a Secret's
    name, whose keys are file names) are what /etc/one/auth gets. `extra_egress` are further rules of oned's policy.
    `scheduler` is OpenNebula's, `scheduling` says on which nodes of the cluster the pod runs.
    """

    settings: OnedSettings
    monitoring: MonitoringSettings
    namespace: pulumi.Input[str]
    namespace_name: str
    image: str
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...]
    database: MariaDBHandle
    home_claim: pulumi.Input[str]
    datastores_claim: pulumi.Input[str]
    oneadmin_password: pulumi.Input[str]
    serveradmin_password: pulumi.Input[str]
    oneadmin_key: SshKey
    host_files: pulumi.Input[Mapping[str, pulumi.Input[str]]]
    hypervisors: tuple[Network, ...]
    ssh_ports: tuple[int, ...]
    api_clients: tuple[Network, ...] = ()
    resources: Manifest
    version: Version = Version.V7_4
    scheduler: SchedulerSettings = field(default_factory=SchedulerSettings)
    drivers: DriverSettings = field(default_factory=DriverSettings)
    hem: HemSettings | None = None
    way_back: WayBackSettings | None = None
    frontend_host_key: SshKey | None = None
    monitor_key: pulumi.Input[str] | None = None
    uploads_claim: pulumi.Input[str] | None = None
    onegate_endpoint: str | None = None
    onegate_proxy: Tproxy | None = None
    auth_entries: Mapping[str, Value] = field(default_factory=dict)
    auth_files: Mapping[str, str] = field(default_factory=dict)
    auth_secret: pulumi.Input[str] | None = None
    extra_egress: tuple[Manifest, ...] = ()
    scheduling: SchedulingSettings = field(default_factory=SchedulingSettings)


WAY_BACK = "oned-way-back"
Meta = Callable[..., Manifest]


class Oned(pulumi.ComponentResource):
    """See the module."""

    endpoint: pulumi.Output[str]
    ready: pulumi.Output[str]
    host_files: pulumi.Output[str]
    monitor_key: pulumi.Output[str]

    def __init__(self, name: str, args: OnedArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:Oned", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        labels = naming.labels(naming.ONED)

        def meta(object_name: pulumi.Input[str] | None = None) -> Manifest:
            found: Manifest = {"namespace": args.namespace, "labels": labels}
            if object_name is not None:
                found["name"] = object_name
            return found

        oneadmin = Secret(
            f"{name}-oneadmin",
            metadata=meta(naming.ONEADMIN_SECRET),
            string_data={
                naming.ONE_AUTH_KEY: pulumi.Output.from_input(args.oneadmin_password).apply(
                    lambda password: session("oneadmin", password)
                )
            },
            opts=child,
        )
        serveradmin = Secret(
            f"{name}-serveradmin",
            metadata=meta(),
            string_data={
                "auth": pulumi.Output.from_input(args.serveradmin_password).apply(
                    lambda password: session("serveradmin", password)
                )
            },
            opts=child,
        )
        ssh_key = Secret(f"{name}-ssh", metadata=meta(), string_data={"id": args.oneadmin_key.private}, opts=child)
        files = config_files(args)
        config = ConfigMap(
            f"{name}-config",
            metadata=meta(f"oned-config-{content_hash(*files.values())}"),
            data=files,
            opts=configuration(self),
        )
        # Not part of the pod's identity: a new host must not restart oned. The kubelet brings changes in by itself.
        host_files = ConfigMap(
            f"{name}-known-hosts", metadata=meta(naming.KNOWN_HOSTS), data=args.host_files, opts=child
        )
        account = ServiceAccount(
            f"{name}-account", metadata=meta(naming.ONED), automount_service_account_token=False, opts=child
        )
        NetworkPolicy(f"{name}-policy", metadata=meta(naming.ONED), spec=network_policy(args), opts=child)
        Service(
            f"{name}-service", metadata=meta(naming.ONED) | {"annotations": SKIP_AWAIT}, spec=api_service(), opts=child
        )
        way_back_pod = self._way_back(name, args, meta, child)
        hem_config = self._hem_config(name, args, meta, child)
        monitor_secret, monitor_key = self._monitor_secret(name, args, meta, child)
        peers = Service(f"{name}-peers", metadata=meta(naming.ONED_PEERS), spec=peers_service(), opts=child)
        Service(
            f"{name}-monitord",
            metadata=meta(naming.MONITORD) | {"annotations": args.monitoring.service_annotations | SKIP_AWAIT},
            spec=monitord_service(args.monitoring),
            opts=balanced_service(self),
        )
        statefulset = StatefulSet(
            f"{name}-statefulset",
            metadata=meta(naming.ONED),
            spec=stateful_set(
                naming.selector(naming.ONED),
                peers.metadata.name,
                pod_template(
                    OnedPod(
                        image=args.image,
                        release=args.version.value,
                        image_pull_policy=args.image_pull_policy,
                        image_pull_secrets=args.image_pull_secrets,
                        service_account=account.metadata.name,
                        config=config.metadata.name,
                        ssh_files=host_files.metadata.name,
                        oneadmin_secret=oneadmin.metadata.name,
                        serveradmin_secret=serveradmin.metadata.name,
                        ssh_key_secret=ssh_key.metadata.name,
                        home_claim=args.home_claim,
                        datastores_claim=args.datastores_claim,
                        database=args.database,
                        database_wait=args.settings.database_wait,
                        monitord_port=args.monitoring.port,
                        resources=args.resources,
                        auth_services=RELEASES[args.version].auth_files,
                        monitor_secret=monitor_secret,
                        uploads_claim=args.uploads_claim,
                        auth_secret=args.auth_secret,
                        scheduler=RELEASES[args.version].scheduler_daemon,
                        hem_config=hem_config.metadata.name if hem_config is not None else None,
                        way_back=way_back_pod,
                        scheduling=args.scheduling,
                    )
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=pulumi.CustomTimeouts(create="6m", update="6m")),
        )
        self.monitor_key = monitor_key
        self.host_files = pulumi.Output.from_input(host_files.metadata.name)
        self.endpoint = pulumi.Output.from_input(endpoint(args.namespace_name))
        self.ready = statefulset.metadata.name.apply(lambda _: endpoint(args.namespace_name))
        self.register_outputs({"endpoint": self.endpoint})

    def _monitor_secret(
        self, name: str, args: OnedArgs, meta: Meta, child: pulumi.ResourceOptions
    ) -> tuple[pulumi.Output[str] | None, pulumi.Output[str]]:
        """The Secret with onemonitord's key pair, if hosts shall encrypt what they push, and the public half."""
        if not args.monitoring.encrypt:
            return None, pulumi.Output.from_input("")
        if args.monitor_key is not None:
            private = pulumi.Output.secret(args.monitor_key)
            public = private.apply(monitor_public_half)
        else:
            pair = GeneratedMonitorKeyPair(f"{name}-monitor-key", opts=child)
            private, public = pair.private_key, pair.public_key
        secret = Secret(
            f"{name}-monitord-keys",
            metadata=meta(),
            string_data={
                monitoring.PRIVATE_KEY: private,
                monitoring.PUBLIC_KEY: public,
            },
            opts=child,
        )
        # A public key is no secret, whatever it was computed from.
        return pulumi.Output.from_input(secret.metadata.name), pulumi.Output.unsecret(pulumi.Output.from_input(public))

    def _hem_config(self, name: str, args: OnedArgs, meta: Meta, child: pulumi.ResourceOptions) -> ConfigMap | None:
        """The hook execution manager's file. No part of the pod's identity: a change must not restart oned (ADR 16)."""
        if args.hem is None or not args.hem.enabled:
            return None
        data = {hem.FILE: hem.config(args.hem)}
        return ConfigMap(f"{name}-hem-config", metadata=meta(naming.HEM_CONFIG), data=data, opts=child)

    def _way_back(self, name: str, args: OnedArgs, meta: Meta, child: pulumi.ResourceOptions) -> WayBackPod | None:
        """Objects of the way back. Raises ValueError without the host key that hosts pin."""
        settings = args.way_back
        if settings is None or not settings.enabled:
            return None
        if args.frontend_host_key is None:
            raise ValueError("the way back needs frontend_host_key, which the hosts pin")
        texts = pulumi.Output.all(args.oneadmin_key.public, args.frontend_host_key.public).apply(
            lambda keys: way_back.files(
                settings, name=args.settings.frontend_name, oneadmin_key=keys[0], host_key=keys[1]
            )
        )
        config = ConfigMap(
            f"{name}-way-back",
            metadata=meta(texts.apply(lambda found: f"oned-way-back-{content_hash(*found.values())}")),
            data=texts,
            opts=configuration(self),
        )
        secret = Secret(
            f"{name}-way-back-key",
            metadata=meta(),
            string_data={way_back.HOST_KEY: args.frontend_host_key.private},
            opts=child,
        )
        Service(
            f"{name}-way-back-service",
            metadata=meta(WAY_BACK) | {"annotations": settings.service_annotations | SKIP_AWAIT},
            spec=way_back.service(settings),
            opts=balanced_service(self),
        )
        if args.hypervisors:
            NetworkPolicy(
                f"{name}-way-back-policy",
                metadata=meta(WAY_BACK),
                spec=way_back.network_policy(args.hypervisors),
                opts=child,
            )
        return WayBackPod(config=config.metadata.name, host_key_secret=secret.metadata.name)


def config_files(args: OnedArgs) -> dict[str, str]:
    """Everything that `prepare` puts into place, by the names that it knows (images/oned/prepare)."""
    release = RELEASES[args.version]
    files = {
        "oned.conf": render(
            oned_entries(
                args.settings,
                namespace=args.namespace_name,
                user=args.database.user,
                schema=args.database.name,
                connections=args.database.connections,
                version=args.version,
                scheduling=args.scheduler,
                onegate_endpoint=args.onegate_endpoint,
                auth=args.auth_entries,
            )
        ),
        "monitord.conf": render(monitoring.entries(args.monitoring, args.version)),
    }
    if release.scheduler_daemon:
        files["sched.conf"] = render(scheduler.sched_entries(args.scheduler))
    else:
        files["rank.conf"] = render(scheduler.rank_entries(args.scheduler))
        if (optimizer := scheduler.drs_config(args.scheduler)) is not None:
            files[drs.FILE] = optimizer
    if kvm := drivers.kvm_exec_entries(args.drivers.kvm_exec, args.version):
        files["vmm_exec_kvm.conf"] = render(kvm)
    files |= drivers.remote_files(args.drivers, args.onegate_proxy)
    return files | {f"auth.{name}": text for name, text in args.auth_files.items()}


def api_service() -> Manifest:
    """XML-RPC inside the cluster. Never exposed by itself: oned has no TLS."""
    return {
        "type": "ClusterIP",
        "selector": naming.selector(naming.ONED),
        "ports": [
            {"name": "xmlrpc", "port": naming.PORT_XMLRPC},
            # Hook events for FireEdge and OneFlow; their pods alone may come, by network policy.
            {"name": "events", "port": naming.PORT_HOOK_EVENTS},
        ],
    }


def peers_service() -> Manifest:
    """The StatefulSet's headless Service: a name for each pod, before it is ready."""
    return {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": naming.selector(naming.ONED),
        "ports": [{"name": "xmlrpc", "port": naming.PORT_XMLRPC}],
    }


def monitord_service(settings: MonitoringSettings) -> Manifest:
    """TCP and UDP on one and the same number, with the sender's address kept (the network policy looks at it)."""
    ports: list[Manifest] = []
    for protocol in ("TCP", "UDP"):
        port: Manifest = {"name": f"monitord-{protocol.lower()}", "protocol": protocol, "port": settings.port}
        if settings.exposure is Exposure.NODE_PORT:
            port["nodePort"] = settings.port
        ports.append(port)
    return {
        **({"type": "NodePort"} if settings.exposure is Exposure.NODE_PORT else balanced(settings.load_balancer_class)),
        "externalTrafficPolicy": "Local",
        "selector": naming.selector(naming.ONED),
        "ports": ports,
    }


def network_policy(args: OnedArgs) -> Manifest:
    """oned's edges: the database, ssh to hosts; pushes from hosts. XML-RPC comes by port-forward, which needs no edge."""
    hosts = [cidr_peer(str(network)) for network in args.hypervisors]
    database = {"podSelector": {"matchLabels": naming.selector(naming.MARIADB)}}
    spec: Manifest = {
        "podSelector": {"matchLabels": naming.selector(naming.ONED)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [],
        "egress": [{"to": [database], "ports": policy_ports(("TCP", naming.PORT_MARIADB))}],
    }
    if hosts:
        port = args.monitoring.port
        spec["ingress"].append({"from": hosts, "ports": policy_ports(("TCP", port), ("UDP", port))})
        spec["egress"].append({"to": hosts, "ports": policy_ports(*(("TCP", ssh_port) for ssh_port in args.ssh_ports))})
    if args.api_clients:
        clients = [cidr_peer(str(network)) for network in args.api_clients]
        spec["ingress"].append({"from": clients, "ports": policy_ports(("TCP", naming.PORT_XMLRPC))})
    spec["egress"] += args.extra_egress
    return spec
