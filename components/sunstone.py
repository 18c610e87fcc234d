"""Sunstone of 6.10: the legacy Ruby web interface on 9869, with noVNC for consoles on 29876.

Runs a Deployment of one pod with two containers that share the directory of console tokens: `sunstone` and `novnc`.
One pod and never two at a time, because sessions live in its memory. noVNC speaks without TLS, and a browser on an https
page wants it with: whoever publishes it puts a TLS proxy of their own before it, whose networks are `consoleClients`, and
which a Service of its own lets in from outside the cluster (`consoleExposure`). Deliberately not here: 7.x, which no longer ships
it (FireEdge is the interface there); the ingress; logs of VMs, which lie on oned's volume and which the interface then
calls not available. Makes a Secret with serveradmin's session, a ConfigMap, a Service, a ServiceAccount without token,
NetworkPolicies and the Deployment. Outputs: `endpoint`, its URL inside the cluster.

Sources: sunstone-server.rb, sunstone_vnc.rb, OpenNebulaAddons.rb and etc/sunstone-server.conf at release-6.10.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes.core.v1 import Service

from components import host_addresses, naming, web_daemon
from components.domain import Network, Version
from components.load_balancer import balanced
from components.manifests import (
    SKIP_AWAIT,
    Manifest,
    cidr_peer,
    empty_dir,
    mount,
    pod_security,
    policy_ports,
    tcp_probe,
)
from components.placement import Placement, balanced_service
from components.scheduling import pod_fields
from components.service_pod import SCRIPTS, PodObjects, admits, calls, container, http_probe, own_policy
from components.sunstone_settings import CONFIG, ConsoleExposure, SunstoneSettings, config_text, problems
from components.web_daemon import WebDaemon, serveradmin_session

NOVNC_RESOURCES: Final[Manifest] = {
    "requests": {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "16Mi"},
    "limits": {"cpu": "1", "memory": "256Mi", "ephemeral-storage": "128Mi"},
}
# VNC ports that OpenNebula gives to VMs: 5900 plus the VM's number (oned.conf, VNC_PORTS).
CONSOLES: Final[Manifest] = {"protocol": "TCP", "port": 5900, "endPort": 65535}


@dataclass(frozen=True, kw_only=True)
class SunstoneArgs:
    """`oned_endpoint` is the zone's XML-RPC URL. `oneflow` and `fireedge`: whether these run too.

    `uploads_claim` is /var/tmp, which oned must share: an uploaded image lands there and oned reads it. `host_files` is the
    ConfigMap that says where the hosts are (components/host_addresses.py).
    """

    settings: SunstoneSettings
    version: Version
    placement: Placement
    image: str
    serveradmin_password: pulumi.Input[str]
    uploads_claim: pulumi.Input[str]
    host_files: pulumi.Input[str]
    oned_endpoint: str
    oneflow: bool
    fireedge: bool
    hypervisors: tuple[Network, ...]
    resources: Manifest


class Sunstone(pulumi.ComponentResource):
    """See the module."""

    endpoint: pulumi.Output[str]

    def __init__(self, name: str, args: SunstoneArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:Sunstone", name, None, opts)
        if sentences := [text for _, text in problems(args.settings, args.version)]:
            raise ValueError(f"sunstone: {'; '.join(sentences)}")
        place = args.placement
        text = config_text(
            args.settings,
            place.url,
            oned_endpoint=args.oned_endpoint,
            oneflow=args.oneflow,
            fireedge=args.fireedge,
        )
        web_daemon.declare(
            self,
            name,
            WebDaemon(
                role=naming.SUNSTONE,
                placement=place,
                credential={"sunstone_auth": serveradmin_session(args.serveradmin_password)},
                files={CONFIG: text},
                policies=network_policies(args),
                policy_prefix="",
                service=service(),
                deployment=lambda objects: deployment(args, objects),
            ),
        )
        if (consoles := console_service(args.settings)) is not None:
            Service(
                f"{name}-consoles",
                metadata=place.meta(naming.SUNSTONE, f"{naming.SUNSTONE}-consoles")
                | {"annotations": args.settings.console_service_annotations | SKIP_AWAIT},
                spec=consoles,
                opts=balanced_service(self),
            )
        self.endpoint = pulumi.Output.from_input(place.url(naming.SUNSTONE, naming.PORT_SUNSTONE))
        self.register_outputs({"endpoint": self.endpoint})


def service() -> Manifest:
    """The interface and the consoles, inside the cluster."""
    return {
        "type": "ClusterIP",
        "selector": naming.selector(naming.SUNSTONE),
        "ports": [
            {"name": "http", "port": naming.PORT_SUNSTONE},
            {"name": "novnc", "port": naming.PORT_NOVNC},
        ],
    }


def console_service(settings: SunstoneSettings) -> Manifest | None:
    """noVNC alone, towards a proxy outside the cluster; it keeps the sender's address, which the network policy looks at."""
    exposure = settings.console_exposure
    if exposure is ConsoleExposure.CLUSTER_IP:
        return None
    port: Manifest = {"name": "novnc", "port": naming.PORT_NOVNC}
    spec: Manifest = {
        "selector": naming.selector(naming.SUNSTONE),
        "externalTrafficPolicy": "Local",
        "ports": [port],
    }
    if exposure is ConsoleExposure.NODE_PORT:
        port["nodePort"] = settings.console_node_port
        return {"type": "NodePort", **spec}
    ranges = [str(network) for network in settings.console_clients]
    return {**balanced(settings.console_load_balancer_class), **spec, "loadBalancerSourceRanges": ranges}


def network_policies(args: SunstoneArgs) -> dict[str, Manifest]:
    """Its own edges, and on each server's pods the rule that lets it in. Who comes in from outside is the ingress's part."""
    servers: dict[str, tuple[int, ...]] = {naming.ONED: (naming.PORT_XMLRPC, naming.PORT_HOOK_EVENTS)}
    if args.oneflow:
        servers[naming.ONEFLOW] = (naming.PORT_ONEFLOW,)
    if args.fireedge and args.settings.public_fireedge_url is not None:
        servers[naming.FIREEDGE] = (naming.PORT_FIREEDGE,)
    egress = [calls(server, *ports) for server, ports in servers.items()]
    egress += [{"to": [cidr_peer(str(network))], "ports": [CONSOLES]} for network in args.hypervisors]
    found = {
        f"{naming.SUNSTONE}-to-{server}": admits(naming.SUNSTONE, server, *ports) for server, ports in servers.items()
    }
    ingress: list[Manifest] = []
    if args.settings.console_clients:
        clients = [cidr_peer(str(network)) for network in args.settings.console_clients]
        ingress.append({"from": clients, "ports": policy_ports(("TCP", naming.PORT_NOVNC))})
    return {**found, naming.SUNSTONE: own_policy(naming.SUNSTONE, ingress=ingress, egress=egress)}


def deployment(args: SunstoneArgs, objects: PodObjects) -> Manifest:
    """One pod, replaced rather than doubled."""
    return {
        "replicas": 1,
        "revisionHistoryLimit": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": naming.selector(naming.SUNSTONE)},
        "template": {
            "metadata": {"labels": naming.labels(naming.SUNSTONE)},
            "spec": {
                "serviceAccountName": objects.account,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                # The uploads' group is oned's: two groups on one volume would be taken back and forth at each start.
                "securityContext": pod_security(naming.UID_SERVICES) | {"fsGroup": naming.UID_ONEADMIN},
                "imagePullSecrets": [{"name": item} for item in args.placement.image_pull_secrets],
                **pod_fields(args.placement.scheduling),
                "terminationGracePeriodSeconds": 15,
                "initContainers": [host_addresses.init_container(args.image, args.placement)],
                "containers": [_sunstone(args), _novnc(args)],
                "volumes": [
                    {"name": "config", "configMap": {"name": objects.config, "defaultMode": 0o444}},
                    {"name": "auth", "secret": {"secretName": objects.secret, "defaultMode": 0o440}},
                    {"name": "uploads", "persistentVolumeClaim": {"claimName": args.uploads_claim}},
                    empty_dir("log", "256Mi"),
                    empty_dir("lock", "1Mi"),
                    empty_dir("tokens", "16Mi"),
                    empty_dir("assets", "64Mi"),
                    empty_dir("tmp", "256Mi"),
                    *host_addresses.volumes(args.host_files),
                ],
            },
        },
    }


def _container(args: SunstoneArgs, name: str, script: str, resources: Manifest) -> Manifest:
    # -g: SIGTERM reaches what the script started as well.
    command = ["/usr/bin/tini", "-g", "--", f"{SCRIPTS}/{script}"]
    return container(name, args.image, args.placement, (), resources) | {"command": command}


def _sunstone(args: SunstoneArgs) -> Manifest:
    port = naming.PORT_SUNSTONE
    return {
        **_container(args, "sunstone", "start", args.resources),
        "env": [{"name": "HOME", "value": "/var/lib/one"}],
        "ports": [{"name": "http", "containerPort": port}],
        "startupProbe": tcp_probe(port, period=1, failures=180),
        # The login page, which needs no session and no oned.
        "readinessProbe": http_probe("/", port, period=5, failures=3),
        "livenessProbe": tcp_probe(port, period=10, failures=6),
        "volumeMounts": [
            mount("config", f"/etc/one/{CONFIG}", read_only=True) | {"subPath": CONFIG},
            mount("auth", "/var/lib/one/.one", read_only=True),
            mount("assets", "/var/lib/one/sunstone"),
            mount("tokens", "/var/lib/one/sunstone_vnc_tokens"),
            mount("lock", "/var/lock/one"),
            mount("log", "/var/log/one"),
            mount("tmp", "/tmp"),
            mount("uploads", "/var/tmp"),
        ],
    }


def _novnc(args: SunstoneArgs) -> Manifest:
    port = naming.PORT_NOVNC
    return {
        **_container(args, "novnc", "novnc-start", NOVNC_RESOURCES),
        "env": [{"name": "NOVNC_PORT", "value": str(port)}],
        "ports": [{"name": "novnc", "containerPort": port}],
        "startupProbe": tcp_probe(port, period=1, failures=60),
        "livenessProbe": tcp_probe(port, period=15, failures=4),
        "volumeMounts": [
            mount("tokens", "/var/lib/one/sunstone_vnc_tokens"),
            mount("lock", "/var/lock/one"),
            mount("tmp", "/tmp"),
            *host_addresses.mounts(),
        ],
    }
