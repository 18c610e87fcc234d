"""FireEdge: the web interface, its API, and consoles of VMs through guacd beside it.

Runs a Deployment whose pods have two containers: FireEdge, and guacd on loopback, which opens the VNC ports of the hosts.
Sessions live in a process's memory (a valid token alone does not log in), so several replicas need a client to stay with
one: the Service does it by the client's address, an ingress that picks pods by itself must do it by cookie. Deliberately
not here: the ingress and TLS, OneForm, tunnels for consoles over SSH. Makes a ServiceAccount without token, a Secret with
`sunstone_auth` and `fireedge_key`, a ConfigMap, a Service, NetworkPolicies, the Deployment and, with several replicas, a
PodDisruptionBudget. Outputs: `endpoint`, the URL inside the cluster; `ready`, the same once the login page is served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from components import host_addresses, naming, oneflow, web_daemon
from components.domain import Network, Version
from components.fireedge_settings import PATHS, FireEdgeSettings, config_files
from components.manifests import Manifest, cidr_peer, empty_dir, exec_probe, mount
from components.placement import Placement
from components.service_pod import (
    SCRIPTS,
    ServicePod,
    admits,
    calls,
    container,
    deployment,
    http_probe,
    own_policy,
)
from components.service_pod import service as cluster_service
from components.sunstone_server import UPLOADS
from components.web_daemon import WebDaemon, serveradmin_session

LOGIN_PAGE = "/fireedge/sunstone"  # answers 200 without a login; there is no health endpoint
VNC_PORTS = (5900, 65535)


@dataclass(frozen=True, kw_only=True)
class FireEdgeArgs:
    """`fireedge_key` are 32 hex digits (credentials.py), `oned_endpoint` is oned's XML-RPC URL, `oneflow` whether it runs.

    `host_files` is the ConfigMap that says where the hosts are (components/host_addresses.py). `service_annotations` are
    what an ingress controller wants to read on the Service to keep a client with one pod.
    """

    settings: FireEdgeSettings
    version: Version
    placement: Placement
    image: str
    serveradmin_password: pulumi.Input[str]
    fireedge_key: pulumi.Input[str]
    uploads_claim: pulumi.Input[str]
    host_files: pulumi.Input[str]
    oned_endpoint: str
    oneflow: bool
    hypervisors: tuple[Network, ...]
    resources: Manifest
    guacd_resources: Manifest
    service_annotations: Mapping[str, str] = field(default_factory=dict)


class FireEdge(pulumi.ComponentResource):
    """See the module."""

    endpoint: pulumi.Output[str]
    ready: pulumi.Output[str]

    def __init__(self, name: str, args: FireEdgeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:FireEdge", name, None, opts)
        place, settings = args.placement, args.settings
        workload = web_daemon.declare(
            self,
            name,
            WebDaemon(
                role=naming.FIREEDGE,
                placement=place,
                credential={
                    "sunstone_auth": serveradmin_session(args.serveradmin_password),
                    # Without a newline: FireEdge takes the file's bytes as they are for an AES-256 key.
                    "fireedge_key": args.fireedge_key,
                },
                files=config_files(
                    settings,
                    args.version,
                    namespace=place.namespace_name,
                    oned_endpoint=args.oned_endpoint,
                    oneflow_endpoint=oneflow.endpoint(place) if args.oneflow else None,
                ),
                policies=network_policies(args.hypervisors, oneflow=args.oneflow),
                service=service(settings),
                service_annotations=args.service_annotations,
                deployment=lambda objects: deployment(pod(args), objects, overlap=True),
                replicas=settings.replicas,
            ),
        )
        self.endpoint = pulumi.Output.from_input(endpoint(place))
        self.ready = workload.apply(lambda _: endpoint(place))
        self.register_outputs({"endpoint": self.endpoint})


def pod(args: FireEdgeArgs) -> ServicePod:
    """FireEdge with guacd beside it."""
    return ServicePod(
        name=naming.FIREEDGE,
        port=naming.PORT_FIREEDGE,
        image=args.image,
        placement=args.placement,
        config_files=PATHS,
        resources=args.resources,
        readiness=http_probe(LOGIN_PAGE, naming.PORT_FIREEDGE, period=10, failures=3),
        startup_seconds=180,
        replicas=args.settings.replicas,
        # For the commands of OpenNebula's tools that it runs; they know nothing of fireedge-server.conf.
        environment={"ONE_XMLRPC": args.oned_endpoint},
        # oneadmin's group, as in oned's pod: with a group of its own each pod's start would take the shared uploads
        # volume away from the other.
        shared_group=naming.UID_ONEADMIN,
        volumes=[
            empty_dir("files", "64Mi"),
            empty_dir("guacd-tmp", "64Mi"),
            {"name": "uploads", "persistentVolumeClaim": {"claimName": args.uploads_claim}},
            *host_addresses.volumes(args.host_files),
        ],
        mounts=[mount("files", "/var/lib/one/fireedge"), mount("uploads", UPLOADS)],
        sidecars=[guacd(args)],
        init_containers=[host_addresses.init_container(args.image, args.placement)],
    )


def endpoint(placement: Placement) -> str:
    """The login page's URL inside the cluster."""
    return placement.url(naming.FIREEDGE, naming.PORT_FIREEDGE) + LOGIN_PAGE


def guacd(args: FireEdgeArgs) -> Manifest:
    """The console gateway, reachable by FireEdge alone."""
    command = [
        *(f"{SCRIPTS}/guacd-start", "-f"),
        *("-b", "127.0.0.1"),
        *("-l", str(naming.PORT_GUACD)),
    ]
    return {
        **container("guacd", args.image, args.placement, command, args.guacd_resources),
        "env": [
            {"name": "LD_LIBRARY_PATH", "value": "/usr/share/one/guacd/lib"},
            # Its RDP part writes the certificates that it has seen below the home directory.
            {"name": "HOME", "value": "/tmp"},
        ],
        # The kubelet cannot reach loopback; the script looks whether somebody listens there.
        "startupProbe": exec_probe([f"{SCRIPTS}/guacd-alive"], period=1, failures=60),
        "livenessProbe": exec_probe([f"{SCRIPTS}/guacd-alive"], period=15, failures=4),
        "volumeMounts": [mount("guacd-tmp", "/tmp"), *host_addresses.mounts()],
    }


def service(settings: FireEdgeSettings) -> Manifest:
    """A cluster IP; with several replicas a client stays with one for as long as a remembered session may last."""
    spec = cluster_service(naming.FIREEDGE, naming.PORT_FIREEDGE)
    if settings.replicas > 1:
        # 86400 is the most that Kubernetes takes.
        seconds = min(60 * max(settings.session, settings.session_remember), 86400)
        spec |= {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}
    return spec


def network_policies(hypervisors: Sequence[Network], *, oneflow: bool) -> dict[str, Manifest]:
    """Object name to spec: oned, OneFlow and the hosts' VNC ports out. The ingress lets itself in."""
    role = naming.FIREEDGE
    oned_ports = (naming.PORT_XMLRPC, naming.PORT_HOOK_EVENTS)
    egress = [calls(naming.ONED, *oned_ports)]
    found = {f"{role}-to-{naming.ONED}": admits(role, naming.ONED, *oned_ports)}
    if oneflow:
        egress.append(calls(naming.ONEFLOW, naming.PORT_ONEFLOW))
        found[f"{role}-to-{naming.ONEFLOW}"] = admits(role, naming.ONEFLOW, naming.PORT_ONEFLOW)
    if hypervisors:
        first, last = VNC_PORTS
        hosts = [cidr_peer(str(network)) for network in hypervisors]
        egress.append({"to": hosts, "ports": [{"protocol": "TCP", "port": first, "endPort": last}]})
    return {role: own_policy(role, ingress=(), egress=egress), **found}
