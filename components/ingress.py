"""The way in from outside: an Ingress with TLS for each daemon that has a host name.

Runs nothing: the ingress controller is the cluster's own. Makes one Ingress a daemon (own host, everything below `/`), for
each a NetworkPolicy `ingress-to-<daemon>` that lets the controller and nobody else reach its pods, and, for a certificate of
the configuration, a Secret. Deliberately not here: DNS records, issuers of cert-manager, noVNC of 6.10 (its page looks for it
where Sunstone itself is). Outputs: `urls`, by daemon.

An Ingress counts as done when the API server has it. Waiting for more would wait for the controller's address, which
controllers behind node ports or host ports never publish: ten minutes, then a failed `up` of a control plane that works.
`awaitAddress: true` is for clusters whose controller does publish one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import Secret
from pulumi_kubernetes.networking.v1 import Ingress as KubernetesIngress
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from components import naming
from components.ingress_settings import (
    EXPOSURES,
    CertManagerTls,
    Challenge,
    IngressSettings,
    InlineTls,
    SecretTls,
    urls,
)
from components.manifests import SKIP_AWAIT, Manifest, cidr_peer, policy_ports
from components.placement import Placement

COMPONENT = "ingress"
# cert-manager answers HTTP-01 from short-lived pods beside the Ingress, which the namespace's deny-all would cut off.
_SOLVER = {"acme.cert-manager.io/http01-solver": "true"}
_SOLVER_PORT = 8089


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One daemon behind a host name. `name` is also the Ingress's name, `service` the daemon's Service and its pods' label."""

    name: str
    host: str
    service: str
    port: int
    websocket: bool = False
    uploads: bool = False
    sticky: bool = False


def backends(settings: IngressSettings) -> tuple[Backend, ...]:
    """The daemons that the settings expose; none when the ingress is off."""
    if not settings.enabled:
        return ()
    return tuple(
        Backend(
            name=name,
            host=host,
            service=found.service,
            port=found.port,
            websocket=found.websocket,
            uploads=found.uploads,
            sticky=found.sticky,
        )
        for name, host in settings.hosts.named.items()
        for found in (EXPOSURES[name],)
    )


@dataclass(frozen=True, kw_only=True)
class IngressArgs:
    """`key` is the private key of tls.kind inline, secret. The settings are enabled and free of `problems`."""

    settings: IngressSettings
    placement: Placement
    backends: tuple[Backend, ...]
    key: pulumi.Input[str] | None = None


class Ingress(pulumi.ComponentResource):
    """See the module."""

    urls: Mapping[str, str]

    def __init__(self, name: str, args: IngressArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:Ingress", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        settings, placement = args.settings, args.placement
        shared: pulumi.Input[str] | None = None
        if isinstance(settings.tls, InlineTls):
            if args.key is None:
                raise ValueError("ingress.tls.kind inline needs the key")  # stacks/problems.py says it to the operator
            # Auto-named: a new certificate is a new Secret, and each Ingress moves over to it before the old one goes.
            shared = Secret(
                f"{name}-certificate",
                metadata=placement.meta(COMPONENT),
                type="kubernetes.io/tls",
                string_data={"tls.crt": settings.tls.certificate, "tls.key": pulumi.Output.secret(args.key)},
                opts=child,
            ).metadata.name
        for backend in args.backends:
            KubernetesIngress(
                f"{name}-{backend.name}",
                metadata=placement.meta(COMPONENT, backend.name)
                | {"annotations": ingress_annotations(settings, backend)},
                spec=ingress_spec(settings, backend, shared if shared is not None else secret_name(settings, backend)),
                opts=child,
            )
            NetworkPolicy(
                f"{name}-to-{backend.name}",
                metadata=placement.meta(COMPONENT, f"ingress-to-{backend.name}"),
                spec=network_policy(settings, naming.selector(backend.service), backend.port),
                opts=child,
            )
        if isinstance(settings.tls, CertManagerTls) and settings.tls.challenge is Challenge.HTTP01:
            NetworkPolicy(
                f"{name}-to-acme-solver",
                metadata=placement.meta(COMPONENT, "ingress-to-acme-solver"),
                spec=network_policy(settings, _SOLVER, _SOLVER_PORT),
                opts=child,
            )
        self.urls = urls(settings)
        self.register_outputs({"urls": self.urls})


def ingress_annotations(settings: IngressSettings, backend: Backend) -> dict[str, str]:
    """Of one Ingress: the controller's own words for what the backend needs, the operator's, then what nobody overrides."""
    dialect = settings.dialect
    found: dict[str, str] = {}
    if backend.websocket:
        found |= dialect.websocket
    if backend.uploads:
        found |= dialect.uploads
    if backend.sticky:
        found |= dialect.sticky
    found |= settings.annotations
    found |= dialect.tls
    if dialect.class_annotation and settings.class_name is not None:
        found["kubernetes.io/ingress.class"] = settings.class_name
    if isinstance(settings.tls, CertManagerTls):
        key, issuer = settings.tls.annotation
        found[key] = issuer
    return found if settings.await_address else found | SKIP_AWAIT


def secret_name(settings: IngressSettings, backend: Backend) -> str:
    """The certificate's Secret. cert-manager lets one Ingress own a Secret and refuses the others, so each has its own."""
    if isinstance(settings.tls, SecretTls):
        return settings.tls.name
    if isinstance(settings.tls, CertManagerTls):
        return f"{settings.tls.secret_name}-{backend.name}"
    raise ValueError("ingress.tls is missing")  # stacks/problems.py says it to the operator


def ingress_spec(settings: IngressSettings, backend: Backend, secret: pulumi.Input[str]) -> Manifest:
    """One host, everything below `/`: FireEdge's pages build their URLs from the origin and take no prefix."""
    service = {"name": backend.service, "port": {"number": backend.port}}
    # The API refuses both ways of saying the class on one object.
    named = {} if settings.dialect.class_annotation else {"ingressClassName": settings.class_name}
    return {
        **named,
        "tls": [{"hosts": [backend.host], "secretName": secret}],
        "rules": [
            {
                "host": backend.host,
                "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": service}}]},
            }
        ],
    }


def network_policy(settings: IngressSettings, pods: Mapping[str, str], port: int) -> Manifest:
    """Lets the controller reach one port of some pods; adds to whatever other policies allow."""
    peers: list[Manifest] = [cidr_peer(str(network)) for network in settings.controller_networks]
    if settings.controller_namespace is not None:
        controller: Manifest = {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.controller_namespace}}
        }
        if settings.controller_labels:
            controller["podSelector"] = {"matchLabels": dict(settings.controller_labels)}
        peers.insert(0, controller)
    return {
        "podSelector": {"matchLabels": dict(pods)},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": peers, "ports": policy_ports(("TCP", port))}],
    }
