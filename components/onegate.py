"""OneGate: what VMs tell about themselves and ask about their service, with a token from their context.

Runs a Deployment; OneGate keeps nothing, so there may be several. It is the only daemon that tenants' machines reach:
its Service has an exposure of its own, and the network policy lets in `vmNetworks` alone, or the
hosts where their transparent proxies speak for the VMs. Deliberately not here: oned's ONEGATE_ENDPOINT and the hosts' proxies,
which `vm_endpoint` and `proxy` of its settings compute for oned's pod; TLS and rate limits (the ingress).
Makes a ServiceAccount without token, a Secret with `onegate_auth`, a ConfigMap, a Service, NetworkPolicies, the
Deployment and, with several replicas, a PodDisruptionBudget. Outputs: `endpoint`, the URL inside the cluster; `ready`,
the same once it listens.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components import naming, oneflow, web_daemon
from components.domain import Network, Version
from components.load_balancer import balanced
from components.manifests import Manifest, cidr_peer, policy_ports, tcp_probe
from components.onegate_settings import CONFIG, GateExposure, OneGateSettings, admitted, config_text
from components.placement import Placement
from components.service_pod import ServicePod, admits, calls, deployment, own_policy
from components.service_pod import service as cluster_service
from components.web_daemon import WebDaemon, serveradmin_session


@dataclass(frozen=True, kw_only=True)
class OneGateArgs:
    """`oned_endpoint` is oned's XML-RPC URL; `oneflow` whether OneFlow runs; `url` what VMs are told (vm_endpoint);
    `hypervisors` are the hosts' networks, for those whose proxies come in place of VMs."""

    settings: OneGateSettings
    version: Version
    placement: Placement
    image: str
    serveradmin_password: pulumi.Input[str]
    oned_endpoint: str
    oneflow: bool
    url: str | None
    resources: Manifest
    hypervisors: tuple[Network, ...] = ()


class OneGate(pulumi.ComponentResource):
    """See the module."""

    endpoint: pulumi.Output[str]
    ready: pulumi.Output[str]

    def __init__(self, name: str, args: OneGateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:OneGate", name, None, opts)
        place, settings = args.placement, args.settings
        text = config_text(
            settings,
            args.version,
            oned_endpoint=args.oned_endpoint,
            oneflow_endpoint=oneflow.endpoint(place) if args.oneflow else None,
            url=args.url,
        )
        workload = web_daemon.declare(
            self,
            name,
            WebDaemon(
                role=naming.ONEGATE,
                placement=place,
                credential={"onegate_auth": serveradmin_session(args.serveradmin_password)},
                files={CONFIG: text},
                policies=network_policies(admitted(settings, args.hypervisors), oneflow=args.oneflow),
                service=service(settings, admitted(settings, args.hypervisors)),
                service_annotations=settings.service_annotations,
                deployment=lambda objects: deployment(pod(args), objects, overlap=True),
                replicas=settings.replicas,
            ),
        )
        self.endpoint = pulumi.Output.from_input(endpoint(place))
        self.ready = workload.apply(lambda _: endpoint(place))
        self.register_outputs({"endpoint": self.endpoint})


def pod(args: OneGateArgs) -> ServicePod:
    """OneGate alone."""
    return ServicePod(
        name=naming.ONEGATE,
        port=naming.PORT_ONEGATE,
        image=args.image,
        placement=args.placement,
        config_files={CONFIG: f"/etc/one/{CONFIG}"},
        resources=args.resources,
        # Every path asks for a VM's token; the port opens last.
        readiness=tcp_probe(naming.PORT_ONEGATE, period=5, failures=2),
        startup_seconds=120,
        replicas=args.settings.replicas,
    )


def endpoint(placement: Placement) -> str:
    """OneGate's URL inside the cluster."""
    return placement.url(naming.ONEGATE, naming.PORT_ONEGATE)


def service(settings: OneGateSettings, networks: tuple[Network, ...]) -> Manifest:
    """The Service towards VMs, who come from `networks`. Outside the cluster it keeps the sender's address, which the
    network policy looks at."""
    spec = cluster_service(naming.ONEGATE, naming.PORT_ONEGATE)
    if settings.exposure is GateExposure.CLUSTER_IP:
        return spec
    spec["externalTrafficPolicy"] = "Local"
    if settings.exposure is GateExposure.NODE_PORT:
        spec["type"] = "NodePort"
        if settings.node_port is not None:
            spec["ports"][0]["nodePort"] = settings.node_port
        return spec
    return {
        **spec,
        **balanced(settings.load_balancer_class),
        "loadBalancerSourceRanges": [str(network) for network in networks],
    }


def network_policies(networks: tuple[Network, ...], *, oneflow: bool) -> dict[str, Manifest]:
    """Object name to spec: `networks` in, oned and OneFlow out."""
    role = naming.ONEGATE
    ingress: list[Manifest] = []
    if networks:
        vms = [cidr_peer(str(network)) for network in networks]
        ingress.append({"from": vms, "ports": policy_ports(("TCP", naming.PORT_ONEGATE))})
    egress = [calls(naming.ONED, naming.PORT_XMLRPC)]
    found = {f"{role}-to-{naming.ONED}": admits(role, naming.ONED, naming.PORT_XMLRPC)}
    if oneflow:
        egress.append(calls(naming.ONEFLOW, naming.PORT_ONEFLOW))
        found[f"{role}-to-{naming.ONEFLOW}"] = admits(role, naming.ONEFLOW, naming.PORT_ONEFLOW)
    return {role: own_policy(role, ingress=ingress, egress=egress), **found}
