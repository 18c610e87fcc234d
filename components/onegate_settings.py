"""What an operator decides about OneGate, its file and the URL that VMs are told. Pure; `components/onegate.py` makes the resources."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from components import naming
from components.domain import (
    Address,
    AttributeName,
    NamedNetwork,
    Network,
    Port,
    Section,
    Version,
    matching,
    nowhere,
    url_host,
)
from components.load_balancer import LoadBalancerClass, ServiceAnnotations, class_problem
from components.network_drivers import SERVICE_ADDRESS, Tproxy, why_no_remote
from components.scheduling import SchedulingSettings
from components.versions import RELEASES
from components.yaml_conf import Keys, Raw, Yaml, YamlError, merge_raw, render

CONFIG = "onegate-server.conf"

_KNOWN = frozenset(
    {
        "one_xmlrpc",
        "ssl_server",
        "log",
        "auth",
        "core_auth",
        "oneflow_server",
        "permissions",
        "restricted_attrs",
        "restricted_actions",
        "vnet_template_attributes",
        "expire_delta",
        "expire_margin",
    }
)

# What onegate-server.rb performs on a VM (perform_action), at both releases.
VmAction = Annotated[str, matching(r"[a-z][a-z_]{1,31}", "must be an action such as reboot or poweroff_hard")]
Url = Annotated[
    str,
    Field(max_length=255),
    matching(
        r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~/-]*)?",
        "must be an http(s) URL without user, blanks and query, such as http://192.0.2.11:5030",
    ),
]


class GateExposure(StrEnum):
    """How VMs reach OneGate's Service."""

    CLUSTER_IP = "clusterIP"
    LOAD_BALANCER = "loadBalancer"
    NODE_PORT = "nodePort"


class VmPermissions(Section):
    """What a VM may ask about itself and the VMs of its service."""

    show: bool = Field(default=True, description="a VM may see itself")
    show_by_id: bool = Field(default=True, description="a VM may see the VMs of its service or router")
    update: bool = Field(default=True, description="a VM may change its own attributes, as READY")
    update_by_id: bool = Field(default=True, description="a VM may change those of the VMs of its service")
    action_by_id: bool = Field(default=True, description="a VM may act on the VMs of its service")


class ServicePermissions(Section):
    """What a VM may ask about its OneFlow service."""

    show: bool = Field(default=True, description="a VM may see its service")
    change_cardinality: bool = Field(default=True, description="a VM may scale the roles of its service")


class RouterPermissions(Section):
    """What a VM may ask about its virtual router."""

    show: bool = Field(default=True, description="a VM of a virtual router may see it")


class NetworkPermissions(Section):
    """What a VM may ask about virtual networks."""

    show_by_id: bool = Field(default=True, description="a VM may see its virtual networks")


class Permissions(Section):
    """What OneGate answers at all. Defaults are the shipped ones."""

    vm: VmPermissions = VmPermissions()
    service: ServicePermissions = ServicePermissions()
    vrouter: RouterPermissions = RouterPermissions()
    vnet: NetworkPermissions = NetworkPermissions()


class OneGateSettings(Section):
    """OneGate, the VMs' way to the control plane."""

    enabled: bool = Field(
        default=False, description="run OneGate; needs images.onegate, and an address that VMs can reach"
    )
    replicas: int = Field(default=1, ge=1, le=20, description="pods; several on different nodes where there are any")
    exposure: GateExposure = Field(
        default=GateExposure.CLUSTER_IP,
        description="type of the Service towards VMs: clusterIP, loadBalancer, or nodePort. A node port answers only at nodes "
        "where OneGate's pods run: with more than one node, pin them to the one whose address is given "
        "(onegate.scheduling.nodeSelector)",
    )
    service_annotations: ServiceAnnotations = Field(default={})
    load_balancer_class: LoadBalancerClass = Field(default=None)
    node_port: Port | None = Field(default=None, description="30000-32767, with exposure nodePort")
    address: Address | None = Field(
        default=None,
        description="where VMs, or the hosts' transparent proxies for them, reach the Service: the load balancer's address or a node's",
    )
    endpoint: Url | None = Field(
        default=None,
        description="URL that VMs are told instead of http://ADDRESS:PORT, as that of an ingress; "
        "http://169.254.16.9:5030 with the hosts' transparent proxies, which then connect to address "
        "(or as drivers.network.tproxy says)",
    )
    vm_networks: tuple[NamedNetwork, ...] = Field(
        default=(),
        description="networks that VMs come from, or whatever forwards them; nothing else is let in, but for the ingress and, "
        "with the hosts' transparent proxies, network.hypervisors",
    )
    scheduling: SchedulingSettings | None = Field(
        default=None,
        description="on which nodes OneGate's pods run, in place of scheduling, which holds when this is left out",
    )
    log_level: int = Field(default=2, ge=0, le=3, description="0 errors, 1 warnings, 2 info, 3 debug")
    permissions: Permissions = Permissions()
    restricted_attributes: tuple[AttributeName, ...] = Field(
        default=("SCHED_REQUIREMENTS", "SERVICE_ID", "ROLE_NAME"),
        description="attributes of a VM's template that a VM may not change",
    )
    restricted_actions: tuple[VmAction, ...] = Field(
        # The shipped file leaves the list empty, which OneGate reads as no list at all and takes its built-in one.
        default=("reboot",),
        description="actions that a VM may not perform on VMs of its service",
    )
    vnet_attributes: tuple[AttributeName, ...] = Field(
        default=(
            "NETWORK_ADDRESS",
            "NETWORK_MASK",
            "GATEWAY",
            "GATEWAY6",
            "DNS",
            "GUEST_MTU",
            "METRIC",
            "IP6_METRIC",
            "SEARCH_DOMAIN",
        ),
        description="attributes of a virtual network that VMs are shown",
    )
    raw: Raw = Field(default={})


def _host(url: str | None) -> str | None:
    return None if url is None else url_host(url)


def vm_endpoint(settings: OneGateSettings, ingress_url: str | None = None) -> str | None:
    """ONEGATE_ENDPOINT for oned: the URL that VMs are told. None while OneGate is off or nobody said where it is.

    `ingress_url` is the ingress's own URL of OneGate, where it has one. An explicit `endpoint` wins over all.
    """
    if not settings.enabled:
        return None
    if settings.endpoint is not None:
        return settings.endpoint.rstrip("/")
    if settings.exposure is not GateExposure.CLUSTER_IP and settings.address is not None:
        host = f"[{settings.address}]" if ":" in settings.address else settings.address
        return f"http://{host}:{_outer_port(settings)}"
    return ingress_url.rstrip("/") if ingress_url is not None else None


def _outer_port(settings: OneGateSettings) -> int:
    """The Service's port outside the cluster."""
    if settings.exposure is GateExposure.NODE_PORT and settings.node_port is not None:
        return settings.node_port
    return naming.PORT_ONEGATE


def transparent(settings: OneGateSettings) -> bool:
    """Whether VMs are told a link-local address: a proxy on their host takes that, and connects from the host's own.

    Facts: src/vnm_mad/remotes/lib/tproxy, OuterProxy in the host's own network namespace.
    """
    try:
        return ip_address(_host(settings.endpoint) or "").is_link_local
    except ValueError:
        return False


def proxy(settings: OneGateSettings, declared: tuple[Tproxy, ...]) -> Tproxy | None:
    """What the hosts' transparent proxies do for OneGate; None without them, and where one of `declared` does it."""
    port = _guest_port(settings)
    if not settings.enabled or not transparent(settings) or settings.address is None or port is None:
        return None
    if any(each.service_port == port for each in declared):
        return None
    return Tproxy(service_port=port, remote_addr=settings.address, remote_port=_outer_port(settings))


def _guest_port(settings: OneGateSettings) -> int | None:
    """The port of `endpoint`; None where nobody can read one."""
    try:
        parts = urlsplit(settings.endpoint or "")
        return parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None


def admitted(settings: OneGateSettings, hypervisors: tuple[Network, ...]) -> tuple[Network, ...]:
    """Networks from which OneGate is called, beside the ingress."""
    return tuple(dict.fromkeys((*settings.vm_networks, *(hypervisors if transparent(settings) else ()))))


def config_text(
    settings: OneGateSettings, version: Version, *, oned_endpoint: str, oneflow_endpoint: str | None, url: str | None
) -> str:
    """onegate-server.conf. Raises YamlError when a raw key fights a typed one or is unknown to the release."""
    # Shipped as 127.0.0.1, which no other pod could reach.
    listen: dict[str, Yaml] = {"host": "0.0.0.0", "port": naming.PORT_ONEGATE}
    if RELEASES[version].onegate_server_section:
        listen = {"server": {"bind": "0.0.0.0", "port": naming.PORT_ONEGATE}}
    typed: dict[str, Yaml] = {"one_xmlrpc": oned_endpoint, **listen}
    if url is not None and url.startswith("https:"):
        # Behind TLS, OneGate cannot see the URL of its own answers' links.
        typed["ssl_server"] = url
    typed |= {
        "log": {"level": settings.log_level, "system": "file"},
        "auth": "onegate",
        "core_auth": "cipher",
    }
    if oneflow_endpoint is not None:
        typed["oneflow_server"] = oneflow_endpoint
    typed |= {
        "permissions": settings.permissions.model_dump(),
        "restricted_attrs": settings.restricted_attributes,
        "vnet_template_attributes": settings.vnet_attributes,
        "restricted_actions": settings.restricted_actions,
    }
    return render(merge_raw(typed, settings.raw, known=_KNOWN | set(listen), release=version.value), Keys.SYMBOLS)


def problems(
    settings: OneGateSettings,
    version: Version,
    *,
    oneflow: bool,
    ingress_url: str | None = None,
    hypervisors: tuple[Network, ...] = (),
    tproxy: tuple[Tproxy, ...] | None = (),
) -> Iterator[tuple[str, str]]:
    """Rules that need two values, as (path, text). `oneflow`: OneFlow is enabled; `ingress_url`: see vm_endpoint; `tproxy`:
    the declared proxies, None where nobody knows them."""
    if not settings.enabled:
        return
    yield from _service_problems(settings)
    yield from _guest_problems(settings, ingress_url, hypervisors)
    yield from _url_problems(settings, ingress_url)
    if tproxy is not None and transparent(settings):
        yield from _proxy_problems(settings, version, tproxy)
    try:
        config_text(
            settings,
            version,
            oned_endpoint="",
            oneflow_endpoint="" if oneflow else None,
            url=vm_endpoint(settings, ingress_url),
        )
    except YamlError as error:
        yield "onegate.raw", str(error)


def _service_problems(settings: OneGateSettings) -> Iterator[tuple[str, str]]:
    exposure = settings.exposure
    if exposure is GateExposure.NODE_PORT:
        if settings.node_port is None or not 30000 <= settings.node_port <= 32767:
            yield "onegate.nodePort", "must be 30000 to 32767 with exposure nodePort: VMs are told this number"
    elif settings.node_port is not None:
        yield "onegate.nodePort", f"stands only with exposure nodePort, and the exposure is {exposure.value}"
    if text := class_problem(settings.load_balancer_class, exposure):
        yield "onegate.loadBalancerClass", text
    if exposure is GateExposure.CLUSTER_IP and settings.address is not None:
        text = "a clusterIP Service has no address that VMs reach; set exposure loadBalancer or nodePort, or endpoint"
        yield "onegate.address", text


def _guest_problems(
    settings: OneGateSettings, ingress_url: str | None, hypervisors: tuple[Network, ...]
) -> Iterator[tuple[str, str]]:
    """Nobody would be let in."""
    if transparent(settings) and not hypervisors:
        text = "is required with onegate.endpoint of the transparent proxies: the hosts connect for their VMs"
        yield "network.hypervisors", text
    elif admitted(settings, hypervisors):
        return
    elif settings.exposure is not GateExposure.CLUSTER_IP:
        yield "onegate.vmNetworks", f"is required with exposure {settings.exposure.value}: nothing else is let in"
    elif settings.endpoint is not None and settings.address is None and ingress_url is None:
        text = f"is required: nobody is let in, and so nobody answers at {settings.endpoint}. Name where its callers come from"
        yield "onegate.vmNetworks", text


def _url_problems(settings: OneGateSettings, ingress_url: str | None) -> Iterator[tuple[str, str]]:
    """VMs would be told nothing, nonsense, or two things."""
    address, told = settings.address, settings.endpoint
    for path, host in (("address", address), ("endpoint", _host(told))):
        if host is not None and nowhere(host):
            yield f"onegate.{path}", "VMs would ask themselves; give an address at which they reach the control plane"
    if told is not None and _host(told) is None:
        yield "onegate.endpoint", "is no URL: http(s)://HOST:PORT, an IPv6 address in brackets"
    if told is not None and ingress_url is not None and told.rstrip("/") != ingress_url.rstrip("/"):
        text = f"contradicts ingress.hosts.onegate: VMs are told one of the two; leave one out, or write {ingress_url}"
        yield "onegate.endpoint", text
    if address is not None and told is not None and not transparent(settings):
        yield "onegate.endpoint", "fights onegate.address: VMs are told one of the two; remove the other"
    if vm_endpoint(settings, ingress_url) is None:
        exposure = settings.exposure
        wanted = "endpoint" if exposure is GateExposure.CLUSTER_IP else "address"
        text = f"is required with exposure {exposure.value}: VMs must be told where OneGate is (ONEGATE_ENDPOINT)"
        yield f"onegate.{wanted}", text


def _proxy_problems(
    settings: OneGateSettings, version: Version, declared: tuple[Tproxy, ...]
) -> Iterator[tuple[str, str]]:
    """No proxy would listen there, or none would know where OneGate is."""
    if _host(settings.endpoint) != SERVICE_ADDRESS:
        yield "onegate.endpoint", f"must name {SERVICE_ADDRESS}: the hosts' transparent proxies listen nowhere else"
        return
    port = _guest_port(settings)
    if port is None:
        yield "onegate.endpoint", f"has no port that can be read: http://{SERVICE_ADDRESS}:{naming.PORT_ONEGATE}"
        return
    place = next((index for index, each in enumerate(declared) if each.service_port == port), None)
    if place is not None:
        if settings.address is not None:
            text = f"fights drivers.network.tproxy[{place}], which says where the hosts reach OneGate; remove one of the two"
            yield "onegate.address", text
        return
    if str(settings.endpoint).startswith("https:"):
        text = "must be http: the proxies hand on what they get, and OneGate's Service has no TLS"
        yield "onegate.endpoint", f"{text}. Or have drivers.network.tproxy end where TLS does"
    if settings.exposure is GateExposure.CLUSTER_IP:
        if settings.address is None:
            text = f"needs an entry with servicePort: {port}, where the hosts reach OneGate; or set onegate.exposure and address"
            yield "drivers.network.tproxy", text
    elif settings.address is None:
        text = f"is required: where the hosts' transparent proxies reach the Service (or drivers.network.tproxy with servicePort: {port})"
        yield "onegate.address", text
    elif reason := why_no_remote(settings.address, version):
        yield "onegate.address", reason
