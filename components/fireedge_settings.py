"""What an operator decides about FireEdge, and its two files made of it. Pure; `components/fireedge.py` makes the resources.

`fireedge-server.conf` is FireEdge's own; the one of the web interface that it serves is in `components/sunstone_server.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from components import naming, sunstone_server
from components.domain import Seconds, Section, Version, matching
from components.load_balancer import OwnAnnotationKey
from components.oned_settings import events_endpoint
from components.sunstone_server import SunstoneServerSettings, sunstone_text
from components.yaml_conf import Keys, Raw, Yaml, YamlError, merge_raw, render

CONFIG = "fireedge-server.conf"
SUNSTONE_CONFIG = "sunstone-server.conf"
PATHS = {CONFIG: f"/etc/one/{CONFIG}", SUNSTONE_CONFIG: f"/etc/one/fireedge/sunstone/{SUNSTONE_CONFIG}"}

Minutes = Annotated[int, Field(ge=1, le=525600)]

# Every key that FireEdge's server looks up, at release-6.10.5 and release-7.4.0.
_KNOWN = frozenset(
    {
        "log",
        "cors",
        "host",
        "port",
        "one_xmlrpc",
        "oneflow_server",
        "session_expiration",
        "session_remember_expiration",
        "minimum_opennebula_expiration",
        "subscriber_endpoint",
        "debug_level",
        "truncate_max_length",
        "api_timeout",
        "guacd",
        "default_zone",
        "auth",
        "auth_redirect",
        "namespace",
        "TWO_FACTOR_AUTH_ISSUER",
    }
)
KNOWN: dict[Version, frozenset[str]] = {
    Version.V6_10: _KNOWN,
    Version.V7_4: _KNOWN | {"oneform_server", "oneks_server"},
}


class Login(StrEnum):
    """Who checks a login."""

    OPENNEBULA = "opennebula"
    REMOTE = "remote"


class FireEdgeSettings(Section):
    """FireEdge, the web interface. Defaults are the shipped ones, but for CORS, which is off."""

    enabled: bool = Field(default=True, description="run FireEdge; needs images.fireedge")
    replicas: int = Field(default=1, ge=1, le=20, description="pods; a client stays with one, which holds its session")
    service_annotations: dict[OwnAnnotationKey, str] = Field(
        default={},
        description="annotations of its Service, which some ingress controllers read, as cloud.google.com/backend-config",
    )
    log_level: int = Field(default=2, ge=0, le=5, description="0 errors, 1 warnings, 2 info … 5 debug")
    log_message_length: int = Field(default=150, ge=-1, le=100000, description="longest log message; -1 for no limit")
    session: Minutes = Field(default=180, description="minutes that a login lasts")
    session_remember: Minutes = Field(default=3600, description="minutes with 'keep me logged in'")
    session_reuse: Minutes = Field(
        default=30, description="minutes that an oned token must still have to be used again"
    )
    api_timeout: Seconds = Field(default=120, description="seconds that the browser waits for an answer")
    auth: Login = Field(
        default=Login.OPENNEBULA,
        description="opennebula: oned checks logins by the user's driver; remote: a proxy does and sets X-Auth-Username, "
        "and whoever else reaches FireEdge is whom he likes to be",
    )
    auth_redirect: Annotated[str, matching(r"\.|/\S*|https?://\S+", "must be /PATH, . or an http(s) URL")] | None = (
        Field(
            default=None,
            description="where the login button leads when a proxy does the login: /, . or a URL",
        )
    )
    sunstone: SunstoneServerSettings = SunstoneServerSettings()
    raw: Raw = Field(default={})


def config_files(
    settings: FireEdgeSettings, version: Version, *, namespace: str, oned_endpoint: str, oneflow_endpoint: str | None
) -> dict[str, str]:
    """Both files by their names. Raises YamlError when a raw key fights a typed one or is unknown to the release."""
    return {
        CONFIG: _server_text(
            settings,
            version,
            namespace=namespace,
            oned_endpoint=oned_endpoint,
            oneflow_endpoint=oneflow_endpoint,
        ),
        SUNSTONE_CONFIG: sunstone_text(settings.sunstone, version),
    }


def _server_text(
    settings: FireEdgeSettings, version: Version, *, namespace: str, oned_endpoint: str, oneflow_endpoint: str | None
) -> str:
    typed: dict[str, Yaml] = {
        "log": "prod",
        # Shipped as true: any web site could then use a logged-in browser.
        "cors": False,
        "host": "0.0.0.0",
        "port": naming.PORT_FIREEDGE,
        "one_xmlrpc": oned_endpoint,
    }
    if oneflow_endpoint is not None:
        typed["oneflow_server"] = oneflow_endpoint
    typed |= {
        "session_expiration": settings.session,
        "session_remember_expiration": settings.session_remember,
        "minimum_opennebula_expiration": settings.session_reuse,
        "subscriber_endpoint": events_endpoint(namespace),
        "debug_level": settings.log_level,
        "truncate_max_length": settings.log_message_length,
        "api_timeout": settings.api_timeout * 1000,
        "guacd": {"port": naming.PORT_GUACD, "host": "127.0.0.1"},
        "default_zone": {"id": 0, "name": "OpenNebula", "endpoint": oned_endpoint},
        "auth": settings.auth.value,
    }
    if settings.auth_redirect is not None:
        typed["auth_redirect"] = settings.auth_redirect
    return render(merge_raw(typed, settings.raw, known=KNOWN[version], release=version.value), Keys.PLAIN)


def problems(settings: FireEdgeSettings, version: Version, *, oneflow: bool) -> Iterator[tuple[str, str]]:
    """Rules that need two values, as (path, text). `oneflow`: OneFlow is enabled."""
    if not settings.enabled:
        for path, text in sunstone_server.unknown(settings.sunstone, version):
            yield f"fireedge.sunstone.{path}", text
        return
    if settings.session_remember < settings.session:
        text = f"must be at least session ({settings.session}): whoever asks to stay would be logged out sooner"
        yield "fireedge.sessionRemember", text
    if settings.session_reuse >= settings.session:
        yield "fireedge.sessionReuse", f"must be less than session ({settings.session}): no token could ever be reused"
    try:
        _server_text(settings, version, namespace="one", oned_endpoint="", oneflow_endpoint="" if oneflow else None)
    except YamlError as error:
        yield "fireedge.raw", str(error)
    for path, text in sunstone_server.problems(settings.sunstone, version):
        yield f"fireedge.sunstone.{path}", text
