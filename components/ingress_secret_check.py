"""A look at the certificate of `ingress.tls` of kind secret before anything is touched: is it there, and for these names?

A missing Secret, or one for other names, breaks no object: the controller serves a certificate of its own, and browsers and
API clients fail later. Asked of the cluster in every preview and up, bounded, unless `ingress.tls.check: false`. What cannot
be seen is no mistake and only told (`unseen`): a cluster that does not answer now, a kubeconfig that may not read Secrets,
and a namespace that this very run will make. Deliberately not here: kinds inline (looked at without a cluster) and
certManager (its Secrets come after the Ingress). Nothing is written, and the key is compared and not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from components.ingress_certificate import chain_problems, key_problem, read_chain, read_key
from components.ingress_settings import IngressSettings, SecretTls
from components.registration.errors import OnedError
from components.registration.kube import Cluster, Missing
from components.registration.transport import NotSent

PATH = "ingress.tls.name"


def check_secret(
    settings: IngressSettings, cluster: Cluster, unseen: Callable[[str], None], now: datetime | None = None
) -> Iterator[tuple[str, str]]:
    """(config path, sentence) of everything wrong with the Secret; `unseen` is told what could not be looked at, and why."""
    tls = settings.tls
    if not settings.enabled or not isinstance(tls, SecretTls) or not tls.check:
        return
    make = f"{cluster.kubectl} create secret tls {tls.name} --cert=CHAIN --key=KEY"
    try:
        data = cluster.secret_texts(tls.name)
    except Missing:
        if _namespace_is_there(cluster):
            yield PATH, f"there is no Secret {tls.name} in namespace {cluster.namespace}; make it: {make}"
        else:
            unseen(f"{PATH}: namespace {cluster.namespace} is not there yet; once this run has made it: {make}")
        return
    except (OnedError, NotSent) as error:
        unseen(f"{PATH}: the Secret {tls.name} could not be looked at: {error}")
        return
    yield from _contents(settings, data, now or datetime.now(UTC))


def _namespace_is_there(cluster: Cluster) -> bool:
    try:
        return cluster.has_namespace()
    except (OnedError, NotSent):
        return True  # who may read Secrets of it was given that by somebody who made it


def _contents(settings: IngressSettings, data: dict[str, str], now: datetime) -> Iterator[tuple[str, str]]:
    if missing := [key for key in ("tls.crt", "tls.key") if not data.get(key)]:
        yield PATH, f"the Secret has no {' and no '.join(missing)}: it must be of type kubernetes.io/tls"
        return
    try:
        chain = read_chain(data["tls.crt"])
    except ValueError as error:
        yield PATH, f"tls.crt in the Secret: {error}"
        return
    for daemon, text in chain_problems(chain, settings.hosts.named, now):
        yield f"ingress.hosts.{daemon}" if daemon else PATH, text
    try:
        wrong = key_problem(chain, read_key(data["tls.key"]))
    except ValueError as error:
        wrong = str(error)
    if wrong:
        yield PATH, f"tls.key in the Secret {wrong}"
