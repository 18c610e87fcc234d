"""OneFlow: services of several VMs, their order, scaling and health.

Runs a Deployment of exactly one: OneFlow keeps its watch and its autoscaler in memory, so a second one would act twice
and an old one beside a new one as well (Recreate). Its start waits for oned, because it takes up unfinished services once,
at its start, and never again (LifeCycleManager.rb, catch_up): its container does so itself, made beside oned (ADR 13).
Deliberately not here: the web interface (FireEdge), the VMs' side (OneGate), TLS (the ingress). Makes a ServiceAccount
without token, a Secret with `oneflow_auth`, a ConfigMap, a Service, NetworkPolicies and the Deployment. Outputs: `endpoint`,
the URL inside the cluster; `ready`, the same once it listens.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components import naming, web_daemon
from components.domain import Version
from components.manifests import Manifest, tcp_probe
from components.oneflow_settings import CONFIG, OneFlowSettings, config_text
from components.placement import Placement
from components.service_pod import ServicePod, admits, calls, deployment, own_policy, service
from components.web_daemon import WebDaemon, serveradmin_session


@dataclass(frozen=True, kw_only=True)
class OneFlowArgs:
    """`oned_endpoint` is oned's XML-RPC URL."""

    settings: OneFlowSettings
    version: Version
    placement: Placement
    image: str
    serveradmin_password: pulumi.Input[str]
    oned_endpoint: str
    resources: Manifest


class OneFlow(pulumi.ComponentResource):
    """See the module."""

    endpoint: pulumi.Output[str]
    ready: pulumi.Output[str]

    def __init__(self, name: str, args: OneFlowArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:OneFlow", name, None, opts)
        place = args.placement
        text = config_text(
            args.settings, args.version, namespace=place.namespace_name, oned_endpoint=args.oned_endpoint
        )
        workload = web_daemon.declare(
            self,
            name,
            WebDaemon(
                role=naming.ONEFLOW,
                placement=place,
                credential={"oneflow_auth": serveradmin_session(args.serveradmin_password)},
                files={CONFIG: text},
                policies=network_policies(),
                service=service(naming.ONEFLOW, naming.PORT_ONEFLOW),
                deployment=lambda objects: deployment(pod(args), objects, overlap=False),
            ),
        )
        self.endpoint = pulumi.Output.from_input(endpoint(place))
        self.ready = workload.apply(lambda _: endpoint(place))
        self.register_outputs({"endpoint": self.endpoint})


def pod(args: OneFlowArgs) -> ServicePod:
    """OneFlow alone, which waits for oned by itself."""
    return ServicePod(
        name=naming.ONEFLOW,
        port=naming.PORT_ONEFLOW,
        image=args.image,
        placement=args.placement,
        config_files={CONFIG: f"/etc/one/{CONFIG}"},
        resources=args.resources,
        # Every path asks for a login, so a probe by HTTP would need the credential; the port opens last.
        readiness=tcp_probe(naming.PORT_ONEFLOW, period=5, failures=2),
        startup_seconds=args.settings.oned_wait + 60,
        environment={
            "ONED_HOST": naming.service_dns(naming.ONED, args.placement.namespace_name),
            "ONED_PORT": str(naming.PORT_XMLRPC),
            "ONED_WAIT_SECONDS": str(args.settings.oned_wait),
        },
    )


def endpoint(placement: Placement) -> str:
    """OneFlow's URL inside the cluster."""
    return placement.url(naming.ONEFLOW, naming.PORT_ONEFLOW)


def network_policies() -> dict[str, Manifest]:
    """Object name to spec: OneFlow's edges to oned; who calls OneFlow adds its own."""
    oned_ports = (naming.PORT_XMLRPC, naming.PORT_HOOK_EVENTS)
    return {
        naming.ONEFLOW: own_policy(naming.ONEFLOW, ingress=(), egress=[calls(naming.ONED, *oned_ports)]),
        f"{naming.ONEFLOW}-to-{naming.ONED}": admits(naming.ONEFLOW, naming.ONED, *oned_ports),
    }
