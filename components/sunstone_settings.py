"""What an operator decides about the Sunstone of 6.10, and its file made of it. Pure; `components/sunstone.py` makes the resources.

Not FireEdge's web interface, whose settings are in `components/sunstone_server.py`.
Sources: sunstone-server.rb, OpenNebulaAddons.rb and etc/sunstone-server.conf at release-6.10.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from components import naming
from components.domain import NamedNetwork, Port, Seconds, Section, Version, matching, shape, shapes
from components.load_balancer import LoadBalancerClass, ServiceAnnotations, class_problem
from components.versions import RELEASES
from components.yaml_conf import Keys, Yaml, raw_problems, render

CONFIG = "sunstone-server.conf"
_WHAT = "the Ruby Sunstone; FireEdge is its web interface"

# What 6.10 reads beyond the typed keys, with one plain value or a list of them.
_KNOWN = frozenset(
    {
        *("memcache_host", "memcache_port", "memcache_namespace", "vnc_proxy_cert", "vnc_proxy_key", "webauthn_rpid"),
        *("webauthn_algorithms", "no_proxy", "proxy", "marketplace_url", "mapped_ips", "addons"),
        *("disable_guacamole_info_header", "expire_delta", "expire_margin"),
    }
)
RawValue = Annotated[
    Annotated[str, shape("text")]
    | Annotated[int, shape("number")]
    | Annotated[bool, shape("truth")]
    | Annotated[tuple[str, ...], shape("list")],
    shapes("must be a text, a whole number, true, false or a list of texts"),
]
Url = Annotated[
    str, matching(r"https?://[^\s/]+(/\S*)?", "must be an http(s) URL such as https://HOST, without blanks")
]


class ConsoleExposure(StrEnum):
    """How the proxy in front of noVNC reaches it."""

    CLUSTER_IP = "clusterIP"
    LOAD_BALANCER = "loadBalancer"
    NODE_PORT = "nodePort"


class SunstoneSettings(Section):
    """The legacy web interface of 6.10."""

    enabled: bool = Field(default=False, description="run it; 6.10 only")
    public_url: Url | None = Field(
        default=None, description="where browsers reach it; with https, consoles are expected over TLS too"
    )
    console_port: Port | None = Field(
        default=None,
        description="port where you publish noVNC yourself under that name, which this ingress does not; 29876 when left out. "
        "Needs consoleClients",
    )
    console_clients: tuple[NamedNetwork, ...] = Field(
        default=(),
        description="networks that may reach noVNC (29876, no TLS of its own): your TLS proxy's. Nobody may when empty, and "
        "consoles are FireEdge's, by publicFireedgeUrl",
    )
    console_exposure: ConsoleExposure = Field(
        default=ConsoleExposure.CLUSTER_IP,
        description="type of a Service of its own for noVNC: loadBalancer, or nodePort; clusterIP makes none, a proxy in the "
        "cluster uses Sunstone's. A node port answers only at the node where Sunstone's pod runs: with more than one node, pin "
        "the pods to the one that your proxy is told (scheduling.nodeSelector)",
    )
    console_node_port: Port | None = Field(default=None, description="30000-32767, with consoleExposure nodePort")
    console_service_annotations: ServiceAnnotations = Field(default={})
    console_load_balancer_class: LoadBalancerClass = Field(default=None)
    public_fireedge_url: Url | None = Field(
        default=None, description="where browsers reach FireEdge, for Guacamole consoles; without it, noVNC alone"
    )
    mode: Literal["mixed", "kvm"] = Field(default="mixed", description="directory of views")
    lang: Annotated[str, matching(r"[a-z]{2}(_[A-Z]{2})?", "must be a language code such as en_US")] = Field(
        default="en_US", description="language"
    )
    log_level: int = Field(default=2, ge=0, le=3, description="0 errors … 3 everything")
    session_seconds: Seconds = Field(default=3600, description="seconds until an idle session ends")
    keep_me_logged: bool = Field(default=True, description="offer to stay logged in")
    max_upload_bytes: Annotated[int, Field(ge=1048576)] = Field(
        default=10737418240, description="largest image that a browser may send"
    )
    call_timeout: Seconds = Field(default=60, description="seconds that a call to oned may take")
    raw: dict[
        Annotated[str, matching(r"[a-z][a-z0-9_]*", "must be a key of the file without its colon: a-z, 0-9, _")],
        RawValue,
    ] = Field(
        default={},
        description="further keys of sunstone-server.conf, without the colons; typed and unknown ones are refused",
    )


def problems(settings: SunstoneSettings, version: Version) -> Iterator[tuple[str, str]]:
    """(path below `sunstone`, sentence)."""
    release = RELEASES[version]
    if not release.ruby_sunstone:
        # Left out and off are no settings of it; anything else would silently do nothing.
        for name in SunstoneSettings.model_fields:
            if name in settings.model_fields_set and (name != "enabled" or settings.enabled):
                yield str(SunstoneSettings.model_fields[name].alias), release.unknown(_WHAT)
        return
    yield from _consoles(settings)
    typed = _typed(settings, lambda *_: "", oned_endpoint="", oneflow=False, fireedge=False)
    if "token_remote_support" in settings.raw:
        yield "raw.token_remote_support", "is a secret and this file is a ConfigMap: it cannot stand here"
    for name, text in raw_problems(
        typed, settings.raw.keys() - {"token_remote_support"}, known=_KNOWN | typed.keys(), release=version.value
    ):
        yield f"raw.{name}", text


def _consoles(settings: SunstoneSettings) -> Iterator[tuple[str, str]]:
    """A way to noVNC that lets nobody in is a mistake; no way at all is a choice, the interface works without consoles."""
    exposure = settings.console_exposure
    if not settings.console_clients:
        for name, is_set in (
            ("consolePort", settings.console_port is not None),
            ("consoleExposure", exposure is not ConsoleExposure.CLUSTER_IP),
        ):
            if is_set:
                text = "needs sunstone.consoleClients, the networks of the proxy that publishes noVNC: nobody else is let in"
                yield name, text
    if exposure is ConsoleExposure.NODE_PORT:
        if settings.console_node_port is None or not 30000 <= settings.console_node_port <= 32767:
            yield (
                "consoleNodePort",
                "must be 30000 to 32767 with consoleExposure nodePort: your proxy is told this number",
            )
    elif settings.console_node_port is not None:
        text = f"stands only with consoleExposure nodePort, and the exposure is {exposure.value}"
        yield "consoleNodePort", text
    if settings.console_service_annotations and exposure is ConsoleExposure.CLUSTER_IP:
        yield (
            "consoleServiceAnnotations",
            "needs another consoleExposure: with clusterIP noVNC has no Service of its own",
        )
    if wrong := class_problem(settings.console_load_balancer_class, exposure):
        yield "consoleLoadBalancerClass", wrong


def config_text(
    settings: SunstoneSettings, url: Callable[..., str], *, oned_endpoint: str, oneflow: bool, fireedge: bool
) -> str:
    """sunstone-server.conf. `url` is how a Service of the namespace is reached, as `Placement.url`."""
    typed = _typed(settings, url, oned_endpoint=oned_endpoint, oneflow=oneflow, fireedge=fireedge)
    return render({**typed, **settings.raw}, Keys.SYMBOLS)


def _typed(
    settings: SunstoneSettings, url: Callable[..., str], *, oned_endpoint: str, oneflow: bool, fireedge: bool
) -> dict[str, Yaml]:
    public = settings.public_url or url(naming.SUNSTONE, naming.PORT_SUNSTONE)
    public_fireedge = settings.public_fireedge_url if fireedge else None
    return {
        "tmpdir": "/var/tmp",
        "one_xmlrpc": oned_endpoint,
        "one_xmlrpc_timeout": settings.call_timeout,
        "subscriber_endpoint": url(naming.ONED, naming.PORT_HOOK_EVENTS, "tcp"),
        "host": "0.0.0.0",
        "port": naming.PORT_SUNSTONE,
        "sessions": "memory",
        "env": "prod",
        "max_upload_file_size": settings.max_upload_bytes,
        "log": {"level": settings.log_level, "system": "file"},
        "auth": "opennebula",
        "core_auth": "cipher",
        "two_factor_auth_issuer": "opennebula",
        "webauthn_origin": public.rstrip("/"),
        "webauthn_rpname": "OpenNebula Cloud",
        "webauthn_timeout": 60000,
        "vnc_proxy_port": naming.PORT_NOVNC,
        # TLS ends at the ingress: the browser is told to use it, websockify itself speaks plainly.
        "vnc_proxy_support_wss": "yes" if public.startswith("https:") else "no",
        "vnc_client_port": settings.console_port or naming.PORT_NOVNC,
        "vnc_proxy_ipv6": False,
        "vnc_request_password": False,
        "allow_vnc_federation": "no",
        "session_expire_time": settings.session_seconds,
        "keep_me_logged": settings.keep_me_logged,
        "lang": settings.lang,
        "table_order": "desc",
        "mode": settings.mode,
        "get_extended_vm_info": False,
        "get_extended_vm_monitoring": False,
        "paginate": "[[6, 12, 36, 72], [6, 12, 36, 72]]",
        "threshold_min": 0,
        "threshold_low": 33,
        "threshold_high": 66,
        "support_fs": ["ext4", "ext3", "ext2", "xfs"],
        "oneflow_server": url(naming.ONEFLOW, naming.PORT_ONEFLOW) + "/",
        # A route is Ruby code that is loaded: vcenter's and nsx's have no driver here.
        "routes": ["oneflow", "support"] if oneflow else ["support"],
        # Both or none: with one alone the interface asks a FireEdge that does not answer at every login.
        "private_fireedge_endpoint": "" if public_fireedge is None else url(naming.FIREEDGE, naming.PORT_FIREEDGE),
        "public_fireedge_endpoint": public_fireedge or "",
    }
