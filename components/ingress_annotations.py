"""What each well-known ingress controller must be told beyond the Ingress standard: one table, pure.

The standard has hosts, paths and certificates only. Four things that OpenNebula needs are said in annotations, in every
controller's own words: refuse plain HTTP, keep a WebSocket open (consoles are silent for minutes), take uploads of any size
(disk images), and send one browser always to the same FireEdge (its sessions live in the process, facts §6).

Sources: ingress-nginx' annotations page and its cookie affinity example; Traefik's page on Kubernetes Ingress (its router
takes TLS only from an annotation, `spec.tls` merely loads the certificate; its sticky cookie is read from the Service);
the pages of HAProxy Technologies' controller (`haproxy.org/`, tunnels live an hour by default) and of HAProxy Ingress
(`haproxy-ingress.github.io/`), which share the usual class name; Skipper's pages on filters and on Ingress; GKE's on Ingress,
whose load balancer takes times and cookies from a BackendConfig, which a Service's annotation names, and its class from an
annotation alone. A controller ignores annotations that are not its own: of one that is not in the table nothing is known,
and an operator has to answer for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

COOKIE: Final = "one-ingress"
_TUNNEL_SECONDS: Final = "3600"


class Controller(StrEnum):
    """Whose annotations to write; the class name decides unless the operator says it."""

    NGINX = "nginx"
    TRAEFIK = "traefik"
    HAPROXY = "haproxy"
    SKIPPER = "skipper"
    GCE = "gce"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One controller's annotations. `tls` may not be overridden: without it the controller would answer in clear.

    `class_annotation`: it knows its Ingress by the old annotation, and leaves one with a class name to others.
    `asks_for_a_page`: it sends nobody to a daemon before a GET without a login is answered with 200 there.
    """

    tls: Mapping[str, str] = field(default_factory=dict)
    websocket: Mapping[str, str] = field(default_factory=dict)
    uploads: Mapping[str, str] = field(default_factory=dict)
    sticky: Mapping[str, str] = field(default_factory=dict)
    sticky_service: Mapping[str, str] = field(default_factory=dict)  # on the Service, not on the Ingress
    class_annotation: bool = False
    asks_for_a_page: bool = False

    @property
    def keeps_sessions(self) -> bool:
        """Whether the annotations send one browser always to the same pod."""
        return bool(self.sticky or self.sticky_service)


def _with(prefix: str, **values: str) -> dict[str, str]:
    return {f"{prefix}{name.replace('_', '-')}": value for name, value in values.items()}


_NGINX = "nginx.ingress.kubernetes.io/"
_TRAEFIK_ROUTER = "traefik.ingress.kubernetes.io/router."
_TRAEFIK_COOKIE = "traefik.ingress.kubernetes.io/service.sticky.cookie"
_HAPROXY = "haproxy.org/"
_HAPROXY_INGRESS = "haproxy-ingress.github.io/"
_SKIPPER = "zalando.org/skipper-"

# Skipper has no cookie of its own but the parts of one: a random id, over it the one that the browser brought along (a
# filter whose placeholder is empty does nothing), that id as the key that chooses the pod, and the cookie.
_SKIPPER_COOKIE = (
    "flowId()"
    f' -> setRequestHeader("X-Flow-Id", "${{request.cookie.{COOKIE}}}")'
    ' -> consistentHashKey("${request.header.X-Flow-Id}")'
    f' -> appendResponseHeader("Set-Cookie", "{COOKIE}=${{request.header.X-Flow-Id}};'
    ' Path=/; Secure; HttpOnly; SameSite=Lax")'
    # Node, and so FireEdge, sends it with every answer; Skipper hands it on, and HTTP/2 clients break off there.
    ' -> dropResponseHeader("Keep-Alive")'
)

DIALECTS: dict[Controller, Dialect] = {
    Controller.NGINX: Dialect(
        tls=_with(_NGINX, force_ssl_redirect="true"),
        websocket=_with(_NGINX, proxy_read_timeout=_TUNNEL_SECONDS, proxy_send_timeout=_TUNNEL_SECONDS),
        # 1 MiB is its default; buffered, an image would first fill the controller's disk.
        uploads=_with(_NGINX, proxy_body_size="0", proxy_request_buffering="off"),
        sticky=_with(
            _NGINX,
            affinity="cookie",
            affinity_mode="persistent",
            session_cookie_name=COOKIE,
            session_cookie_secure="true",
            session_cookie_samesite="Lax",
        ),
    ),
    Controller.TRAEFIK: Dialect(
        # On whichever entry point: a router with TLS answers nothing that comes in clear. It sets no limit to tunnels or
        # bodies (the entry point's own read timeout is its administrator's).
        tls={f"{_TRAEFIK_ROUTER}tls": "true"},
        sticky_service={
            _TRAEFIK_COOKIE: "true",
            f"{_TRAEFIK_COOKIE}.name": COOKIE,
            f"{_TRAEFIK_COOKIE}.secure": "true",
            f"{_TRAEFIK_COOKIE}.httponly": "true",
            f"{_TRAEFIK_COOKIE}.samesite": "lax",
        },
    ),
    Controller.HAPROXY: Dialect(
        tls=_with(_HAPROXY, ssl_redirect="true") | _with(_HAPROXY_INGRESS, ssl_redirect="true"),
        websocket=_with(_HAPROXY_INGRESS, timeout_tunnel="1h"),
        sticky=_with(_HAPROXY, cookie_persistence=COOKIE)
        | _with(_HAPROXY_INGRESS, affinity="cookie", session_cookie_name=COOKIE),
    ),
    Controller.SKIPPER: Dialect(
        tls=_with(_SKIPPER, ingress_redirect="true"),
        sticky=_with(_SKIPPER, loadbalancer="consistentHash", filter=_SKIPPER_COOKIE),
    ),
    Controller.GCE: Dialect(
        tls={"kubernetes.io/ingress.allow-http": "false"},
        class_annotation=True,
        # GKE's page on Ingress, "Health checks": from a BackendConfig (HTTP, HTTPS and HTTP2 alone), else from the readiness
        # probe if that is an HTTP one of the serving container, else GET /; healthy is 200.
        asks_for_a_page=True,
    ),
    Controller.OTHER: Dialect(),
}
CLASSES: Final[Mapping[str, Controller]] = {
    **{each.value: each for each in Controller if each is not Controller.OTHER},
    "gce-internal": Controller.GCE,
}

# By the part after the prefix, because controllers read several prefixes. Whether a value says no or yes decides.
_NO = ("false", "off", "no", "0")
_REDIRECTS = (
    "ssl-redirect",
    "force-ssl-redirect",
    "redirect-to-https",
    "ssl-always-add-https",
    "skipper-ingress-redirect",
    "router.tls",
)
_IN_CLEAR = ("ingress.allow-http", "ssl-passthrough", "no-tls-redirect-locations", "canary")
_NOT_STICKY = ("service-upstream",)
_CORS_VALUES = ("access-control-allow-", "corsorigin(")


def undone(dialect: Dialect, key: str, value: str, *, sticky: bool) -> str | None:
    """What of the program's an operator's annotation would undo, as a sentence. `sticky`: sessions depend on it."""
    name = key.rpartition("/")[2].lower()
    says_no = value.strip().lower() in _NO
    if key in dialect.tls:
        return "is fixed: nothing is exposed without TLS; remove it"
    if (name in _REDIRECTS and says_no) or (name in _IN_CLEAR and not says_no):
        return f"{value} would let plain HTTP or a way round the redirect in, and nothing is exposed without TLS; remove it"
    if ("cors" in re.split(r"[-.]", name) and not says_no) or any(word in value.lower() for word in _CORS_VALUES):
        text = "lets pages of other origins call the daemons with their users' logins, for which none of them is made"
        return f"{text}; remove it"
    if sticky and (key in dialect.sticky or (name in _NOT_STICKY and not says_no)):
        return "decides which pod a browser gets, and FireEdge's sessions live in one; remove it, or set fireedge.replicas: 1"
    return None
