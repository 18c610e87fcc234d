"""Settings of the ingress: which daemons are reachable from outside, under which names, with whose certificate. Pure.

Nothing is ever exposed without TLS: an enabled ingress needs a certificate. oned, OneFlow and OneGate take passwords and
tokens in plain HTTP, FireEdge a login form, and FireEdge's cookie does not insist on TLS by itself (facts §1.4, 6, 7), so a
plain ingress would be a way to lose them and nothing else. A controller that the program does not know is believed only on
its operator's word. What a cluster does in front of its controller is its own matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from components import naming
from components.domain import AnnotationKey, DnsLabel, DnsSubdomain, NamedNetwork, Section
from components.ingress_annotations import CLASSES, DIALECTS, Controller, Dialect, undone
from components.ingress_certificate import Chain, chain_problems, key_problem, read_chain, read_key

KEY: Final = "ingressKey"  # the secret config value with the private key of tls.kind inline
_ISSUER = ("cert-manager.io/issuer", "cert-manager.io/cluster-issuer")
# cert-manager takes each Ingress with one of these, and with this one those that name no issuer (its ingress-shim), and writes
# the certificate into the Secret that the Ingress names.
_ACME = "kubernetes.io/tls-acme"
# ingress-nginx and HAProxy Ingress: further names of a server, told by no rule of the Ingress.
_ALIASES = ("server-alias", "server-alias-regex")
# The await annotation and the old spelling of the class have a key of their own.
_TYPED = {"kubernetes.io/ingress.class": "className", "pulumi.com/skipAwait": "awaitAddress"}


def _dns_name(value: str) -> str:
    try:
        ip_address(value)
    except ValueError:
        return value
    raise ValueError("must be a DNS name: an ingress tells its hosts apart by name, and an address has none")


def _certificate(value: str) -> str:
    read_chain(value)
    return value


DnsName = Annotated[DnsSubdomain, AfterValidator(_dns_name)]


class Challenge(StrEnum):
    """How an ACME issuer proves that a name is its operator's."""

    HTTP01 = "http01"
    DNS01 = "dns01"


class SecretTls(Section):
    """A certificate that is already in the cluster."""

    kind: Literal["secret"] = Field(description="secret, certManager or inline")
    name: DnsSubdomain = Field(
        description="kind secret: a Secret of type kubernetes.io/tls in the control plane's namespace"
    )
    check: bool = Field(
        default=True,
        description="kind secret: look at it in every preview and up; missing, or for other names, it is refused. Told "
        "only, while the cluster does not answer or the namespace is not there yet",
    )


class CertManagerTls(Section):
    """Certificates that cert-manager obtains and renews, one for each host name."""

    kind: Literal["certManager"] = Field(description="secret, certManager or inline")
    issuer: DnsSubdomain | None = Field(default=None, description="kind certManager: an Issuer of the namespace")
    cluster_issuer: DnsSubdomain | None = Field(default=None, description="kind certManager: or a ClusterIssuer")
    secret_name: DnsLabel = Field(
        default="one-tls",
        max_length=50,
        description="kind certManager: beginning of the Secrets' names; the daemon's name follows",
    )

    challenge: Challenge = Field(
        default=Challenge.HTTP01,
        description="kind certManager: how its issuer proves the names; http01 lets the controller reach the pods that "
        "cert-manager makes for it here, dns01 (or an issuer that proves nothing) needs no such way",
    )

    @model_validator(mode="after")
    def _one_issuer(self) -> CertManagerTls:
        if (self.issuer is None) == (self.cluster_issuer is None):
            raise ValueError("needs either issuer or clusterIssuer")
        return self

    @property
    def annotation(self) -> tuple[str, str]:
        """What cert-manager looks for on an Ingress."""
        kinds = zip(_ISSUER, (self.issuer, self.cluster_issuer), strict=True)
        return next((key, name) for key, name in kinds if name is not None)


class InlineTls(Section):
    """A certificate of the configuration; its key is the secret config value `ingressKey`."""

    kind: Literal["inline"] = Field(description="secret, certManager or inline")
    certificate: Annotated[str, AfterValidator(_certificate)] = Field(
        description="kind inline, PEM: the server's certificate, then its intermediates; the key is the secret ingressKey"
    )


Tls = Annotated[SecretTls | CertManagerTls | InlineTls, Field(discriminator="kind")]


class IngressHosts(Section):
    """Host name of each daemon that is reachable from outside; without one it is not."""

    fireedge: DnsName | None = Field(default=None, description="the web interface, with its consoles")
    sunstone: DnsName | None = Field(
        default=None, description="the web interface of 6.10; its consoles are FireEdge's, or sunstone.consoleClients'"
    )
    oneflow: DnsName | None = Field(default=None, description="the API of services")
    onegate: DnsName | None = Field(default=None, description="what VMs report to")
    api: DnsName | None = Field(default=None, description="oned's XML-RPC, at /RPC2")

    @property
    def named(self) -> dict[str, str]:
        """Host name by daemon, of those that have one."""
        return {name: host for name in EXPOSURES if (host := getattr(self, name)) is not None}


class IngressSettings(Section):
    """The way in from outside the cluster: one Ingress for each daemon that has a host name, always with TLS."""

    enabled: bool = Field(default=False, description="make Ingress objects; the controller is the cluster's own")
    class_name: DnsSubdomain | None = Field(default=None, description="ingressClassName; needed when enabled")
    controller: Controller | None = Field(
        default=None,
        description="whose annotations to write: nginx, traefik, haproxy, skipper, gce (hosts.fireedge and sunstone alone), "
        "other; needed when className is none of these (or gce-internal)",
    )
    controller_refuses_plain_http: bool = Field(
        default=False,
        description="controller other: I have seen that it refuses or redirects plain HTTP for these Ingresses. Without "
        "this word nothing is exposed through it",
    )
    controller_keeps_sessions: bool = Field(
        default=False,
        description="controllers gce and other: I have told it to send a browser always to the same pod; needed with "
        "several fireedge.replicas",
    )
    controller_namespace: DnsLabel | None = Field(
        default=None, description="namespace of the controller's pods: the only ones that may reach the daemons"
    )
    controller_labels: dict[str, str] = Field(
        default={}, description="labels of these pods; all of the namespace if empty"
    )
    controller_networks: tuple[NamedNetwork, ...] = Field(
        default=(), description="instead, or as well: addresses that a controller outside the pod network comes from"
    )
    annotations: dict[AnnotationKey, str] = Field(
        default={}, description="further annotations of every Ingress; they win over the program's own"
    )
    tls: Tls | None = Field(default=None, description="the certificate: kind secret, certManager or inline")
    hosts: IngressHosts = IngressHosts()
    await_address: bool = Field(
        default=False, description="wait until the controller publishes an address; some never do, so not by default"
    )

    @property
    def known_controller(self) -> Controller | None:
        """As said, or by the class name; None when neither tells."""
        return self.controller or CLASSES.get(self.class_name or "")

    @property
    def dialect(self) -> Dialect:
        """The controller's annotations."""
        return DIALECTS[self.known_controller or Controller.OTHER]


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """What one daemon needs of an ingress. `sticky` and `websocket` as in facts §6, `path` is where people begin.

    `page`: its readiness probe is a GET that is answered with 200 and without a login.
    """

    service: str
    port: int
    path: str = ""
    websocket: bool = False
    uploads: bool = False
    sticky: bool = False
    page: bool = False


EXPOSURES: dict[str, Exposure] = {
    "fireedge": Exposure(
        service=naming.FIREEDGE,
        port=naming.PORT_FIREEDGE,
        path="/fireedge/sunstone",
        websocket=True,
        uploads=True,
        sticky=True,
        page=True,
    ),
    # Not noVNC: 6.10's page asks for it at `/` of the page's own host, which an Ingress gives to Sunstone (consoleClients).
    "sunstone": Exposure(service=naming.SUNSTONE, port=naming.PORT_SUNSTONE, path="/", uploads=True, page=True),
    "oneflow": Exposure(service=naming.ONEFLOW, port=naming.PORT_ONEFLOW),
    "onegate": Exposure(service=naming.ONEGATE, port=naming.PORT_ONEGATE),
    "api": Exposure(service=naming.ONED, port=naming.PORT_XMLRPC, path="/RPC2", uploads=True),
}


_WITHOUT_PAGE: Final = {
    "oneflow": "OneFlow asks for a login on every path",
    "onegate": "OneGate asks for a VM's token on every path",
    "api": "oned answers nothing but XML-RPC's POST",
}


def urls(settings: IngressSettings) -> dict[str, str]:
    """Where each exposed daemon is found from outside; empty when the ingress is off."""
    if not settings.enabled:
        return {}
    return {name: f"https://{host}{EXPOSURES[name].path}" for name, host in settings.hosts.named.items()}


def service_annotations(settings: IngressSettings, daemon: str) -> dict[str, str]:
    """What the controller reads from a daemon's Service instead of from its Ingress; for the daemon's component."""
    exposed = settings.enabled and daemon in settings.hosts.named
    return dict(settings.dialect.sticky_service) if exposed and EXPOSURES[daemon].sticky else {}


def check_key(value: str) -> None:
    """Is it a private key at all? ValueError if not."""
    read_key(value)


def problems(
    settings: IngressSettings,
    enabled: Mapping[str, bool],
    *,
    fireedge_replicas: int = 1,
    fireedge_annotations: Collection[str] = (),
    key: str | None = None,
    now: datetime | None = None,
) -> Iterator[tuple[str, str]]:
    """(config path, sentence) for all that is wrong between values.

    `enabled` says which daemons run (fireedge, sunstone, oneflow, onegate; the API always does), `fireedge_replicas` in how
    many pods FireEdge does, `fireedge_annotations` are the operator's annotations of its Service, `key` is the secret config
    value ingressKey, `now` is for tests.
    """
    if not settings.enabled:
        return
    if settings.class_name is None:
        yield (
            "ingress.className",
            "is required: without a class no controller takes the Ingress. List: kubectl get ingressclass",
        )
    if settings.controller_namespace is None and not settings.controller_networks:
        text = "is required: the daemons' pods answer nobody but the controller (or set ingress.controllerNetworks)"
        yield "ingress.controllerNamespace", text
    if settings.controller_namespace is None and settings.controller_labels:
        yield "ingress.controllerLabels", "needs ingress.controllerNamespace: labels are of pods in one namespace"
    for name in service_annotations(settings, naming.FIREEDGE).keys() & set(fireedge_annotations):
        yield (
            f"fireedge.serviceAnnotations.{name}",
            "is made from ingress.controller, for FireEdge's sessions; remove it",
        )
    sticky = settings.hosts.fireedge is not None and fireedge_replicas > 1
    yield from _controller(settings, sticky)
    yield from _hosts(settings.hosts, enabled)
    yield from _unhealthy(settings)
    yield from _annotations(settings, sticky)
    yield from _tls(settings, key, now or datetime.now(UTC))


def _controller(settings: IngressSettings, sticky: bool) -> Iterator[tuple[str, str]]:
    """What must hold of the controller itself: known, never in clear, and sticky where sessions need it."""
    found = settings.known_controller
    if found is None:
        if settings.class_name is not None:
            choices = ", ".join(each.value for each in Controller)
            text = (
                f"is required: className {settings.class_name} does not say which controller it is, and each is told in "
                f"its own words to refuse plain HTTP; one of {choices}"
            )
            yield "ingress.controller", text
        return
    if found is Controller.OTHER and not settings.controller_refuses_plain_http:
        text = (
            "must be true with controller other: passwords and tokens would cross in clear if it answered plain HTTP. "
            "Have it refuse or redirect (ingress.annotations, or its own configuration), try with: curl http://HOST"
        )
        yield "ingress.controllerRefusesPlainHttp", text
    if found is not Controller.OTHER and settings.controller_refuses_plain_http:
        text = f"stands only with controller other: {found.value} is told by annotations; remove it"
        yield "ingress.controllerRefusesPlainHttp", text
    if settings.dialect.keeps_sessions:
        if settings.controller_keeps_sessions:
            text = f"stands only with controllers gce and other: {found.value} is told by annotations; remove it"
            yield "ingress.controllerKeepsSessions", text
    elif sticky and not settings.controller_keeps_sessions:
        text = (
            f"must be true with controller {found.value} and several fireedge.replicas: FireEdge's sessions live in one "
            "pod, and nothing here makes this controller keep to it. Configure that, or set fireedge.replicas: 1"
        )
        yield "ingress.controllerKeepsSessions", text


def _hosts(hosts: IngressHosts, enabled: Mapping[str, bool]) -> Iterator[tuple[str, str]]:
    if not hosts.named:
        yield (
            "ingress.hosts",
            f"names no daemon; give one of {', '.join(EXPOSURES)} a host name, or set ingress.enabled: false",
        )
    first: dict[str, str] = {}
    for daemon, host in hosts.named.items():
        if daemon != "api" and not enabled.get(daemon, False):
            yield f"ingress.hosts.{daemon}", f"{daemon} is not enabled; enable it or leave its host name out"
        earlier = first.setdefault(host, daemon)
        if earlier != daemon:
            text = (
                f"{host} is already ingress.hosts.{earlier}; each daemon answers at / and needs a host name of its own"
            )
            yield f"ingress.hosts.{daemon}", text


def _unhealthy(settings: IngressSettings) -> Iterator[tuple[str, str]]:
    """Daemons to which the controller would never send anybody."""
    if not settings.dialect.asks_for_a_page:
        return
    for daemon in settings.hosts.named:
        if not EXPOSURES[daemon].page:
            text = (
                "cannot be healthy behind controller gce: its load balancer asks for a page (HTTP GET) and sends nobody before a "
                f"200, and {_WITHOUT_PAGE[daemon]}; a BackendConfig knows no other kind of check. FireEdge (and 6.10's Sunstone) "
                "alone works there: leave this name out, or use another controller"
            )
            yield f"ingress.hosts.{daemon}", text


def _annotations(settings: IngressSettings, sticky: bool) -> Iterator[tuple[str, str]]:
    typed = dict(_TYPED)
    if isinstance(settings.tls, CertManagerTls):
        typed |= dict.fromkeys(_ISSUER, "tls")
    for key, value in settings.annotations.items():
        if key in typed:
            yield f"ingress.annotations.{key}", f"is made from ingress.{typed[key]}; set that instead"
        elif text := undone(settings.dialect, key, value, sticky=sticky) or _of_all(settings, key, value):
            yield f"ingress.annotations.{key}", text


def _of_all(settings: IngressSettings, key: str, value: str) -> str | None:
    """What is wrong with an annotation that every Ingress gets, because of the certificate or because there are several."""
    if key in _ISSUER or (key == _ACME and value.strip().lower() == "true"):
        if settings.tls is None or isinstance(settings.tls, CertManagerTls):
            return None
        return (
            f"has cert-manager write its own certificate over the one of ingress.tls of kind {settings.tls.kind}; "
            "remove it, or set ingress.tls: {kind: certManager}"
        )
    if key.rpartition("/")[2] in _ALIASES and value.strip() and len(settings.hosts.named) > 1:
        daemons = ", ".join(settings.hosts.named)
        return (
            f"would give {value} to each of {daemons} at once: annotations are of every Ingress, and each daemon answers at "
            "/ and needs a host name of its own; remove it, and give names in ingress.hosts"
        )
    return None


def _tls(settings: IngressSettings, key: str | None, now: datetime) -> Iterator[tuple[str, str]]:
    tls = settings.tls
    if tls is None:
        text = "is required: nothing is exposed without TLS. Give a certificate of kind secret, certManager or inline"
        yield "ingress.tls", text
    elif isinstance(tls, InlineTls):
        chain = read_chain(tls.certificate)
        for daemon, text in chain_problems(chain, settings.hosts.named, now):
            yield f"ingress.hosts.{daemon}" if daemon else "ingress.tls.certificate", text
        yield from _key(chain, key)


def _key(chain: Chain, key: str | None) -> Iterator[tuple[str, str]]:
    if key is None:
        yield (
            KEY,
            f"is required by ingress.tls.kind inline: pulumi config set --secret {naming.PROJECT}:{KEY} < KEYFILE",
        )
        return
    try:
        wrong = key_problem(chain, read_key(key))
    except ValueError as error:
        wrong = str(error)
    if wrong:
        yield KEY, wrong
