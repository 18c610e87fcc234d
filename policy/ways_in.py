"""Rules about how somebody gets in: an API in plain text, a host taken at its word, a password that everybody knows, a
grant too wide. All four are what other ways of installing OpenNebula ship. Pure, as `policy/rules.py` is.

What a graph cannot show is not here: whether an input is marked as secret (Pulumi's policy packs get plain values; the
program's tests look at the marks), and Services without a selector.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policy.resource import Properties, kind_of

# oned speaks no TLS. Its numbers (components/naming.py, which the pack must not import), and the names of its ports.
PLAIN_PORTS: Mapping[int | str, str] = {
    2633: "XML-RPC API",
    "xmlrpc": "XML-RPC API",
    2634: "gRPC API",
    2101: "hook events",
    "events": "hook events",
    2102: "hook replies",
}
_ONED = "oned"

# What OpenNebula's guides, its installers and its charts put in, and what people do.
KNOWN_PASSWORDS = frozenset(
    ("", "admin", "changeme", "one", "oneadmin", "opennebula", "password", "root", "secret", "serveradmin", "test")
)

_HOST = "pulumi-python:dynamic/opennebula:Host"
_REACHABLE = "pulumi-python:dynamic/opennebula:ReachableHosts"
_COMMAND = "command:local:Command"
_REMOTE = "command:remote:"
_LOOSE = re.compile(r"""StrictHostKeyChecking['"]?[\s=]+['"]?(no|off|false|accept-new)\b""", re.IGNORECASE)
# `ON *.*`, and `ON *`, which is whatever schema the session is in. USAGE is the word for no rights.
_GRANT = re.compile(r"\bGRANT\s+(?!USAGE\s+ON\b)[^;]{1,300}?\bON\s+(?:TABLE\s+)?`?\*`?(?:\.|\s)", re.IGNORECASE)


def private_api(type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """oned's API and its events, which are plain text, leave the cluster through an Ingress with a certificate only.

    Of everybody's objects: a Service counts when it selects oned's pods, an Ingress when it leads to oned.
    """
    spec = properties.get("spec") or {}
    if kind_of(type_token) == "Service" and _selects_oned(spec.get("selector") or {}):
        way = spec.get("type") or "ClusterIP"
        if way not in ("NodePort", "LoadBalancer"):
            if not spec.get("externalIPs"):
                return
            way = "Service with external addresses"
        for port in spec.get("ports") or ():
            # Without a targetPort the pod's port is the Service's.
            target = port.get("targetPort", port.get("port"))
            if target in PLAIN_PORTS:
                yield f"{name}: a {way} opens oned's {PLAIN_PORTS[target]} in plain text"
    if kind_of(type_token) == "Ingress" and any(_leads_to_oned(backend) for backend in _backends(spec)):
        yield from encrypted(type_token, name, properties)


def encrypted(type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """Every host of an Ingress has a certificate, and no rule is for any host at all."""
    if kind_of(type_token) != "Ingress":
        return
    spec = properties["spec"]
    covered = {host for entry in spec.get("tls") or () if entry.get("secretName") for host in entry.get("hosts") or ()}
    if "defaultBackend" in spec:
        yield f"{name}: answers for any host, without a certificate"
    for rule in spec.get("rules") or ():
        host = rule.get("host")
        if not host:
            yield f"{name}: a rule without a host answers for all of them"
        elif host not in covered:
            yield f"{name}: {host} has no certificate"


def pinned_host_keys(type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """Every host is known by a pinned key, and no ssh takes whatever key it is shown."""
    if type_token == _HOST and properties.get("login") and not _is_key(properties.get("host_key")):
        yield f"{name}: {properties['login']} has no pinned host key"
    if type_token == _REACHABLE:
        for host, entry in (properties.get("entries") or {}).items():
            if not _is_key(entry[-1]):
                yield f"{name}: {host} has no pinned host key"
    if type_token == _COMMAND:
        environment = properties.get("environment") or {}
        if environment.get("ONE_LOGIN") and not _is_key(environment.get("ONE_HOST_KEY")):
            yield f"{name}: {environment['ONE_LOGIN']} has no pinned host key"
    if type_token.startswith(_REMOTE):
        connection = properties.get("connection") or {}
        for hop, what in ((connection, "the host"), (connection.get("proxy"), "the proxy")):
            if hop is not None and not _is_key(hop.get("hostKey")):
                yield f"{name}: {what} has no pinned hostKey"
    for place, text in _texts(type_token, properties):
        if found := _LOOSE.search(text):
            yield f"{name}: {place} has StrictHostKeyChecking {found[1]}"


def narrow_grants(type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """No account of the database gets rights on every schema."""
    for place, text in _texts(type_token, properties):
        if _GRANT.search(text):
            yield f"{name}: {place} grants rights on every schema"


def own_passwords(type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """No Secret has an empty password, or one that everybody knows."""
    if kind_of(type_token) != "Secret":
        return
    for key, value in (properties.get("stringData") or {}).items():
        if _known(str(value)):
            yield f"{name}: {key} is empty, or a password that everybody knows"
    for key, value in (properties.get("data") or {}).items():
        # A Secret of bytes that are no text has no such password.
        if _known(base64.b64decode(value).decode(errors="replace")):
            yield f"{name}: {key} is empty, or a password that everybody knows"


def _selects_oned(selector: Mapping[str, Any]) -> bool:
    pod = str(selector.get("statefulset.kubernetes.io/pod-name") or "")
    return selector.get("app.kubernetes.io/name") == _ONED or pod.startswith(f"{_ONED}-")


def _backends(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield spec.get("defaultBackend") or {}
    for rule in spec.get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            yield path.get("backend") or {}


def _leads_to_oned(backend: Mapping[str, Any]) -> bool:
    service = backend.get("service") or {}
    # A port's name says little of somebody else's Service, a number of the API does.
    return service.get("name") == _ONED or (service.get("port") or {}).get("number") in (2633, 2634)


def _is_key(text: Any) -> bool:
    """`type base64`, as the pins are."""
    return isinstance(text, str) and len(text.split()) >= 2


def _known(secret: str) -> bool:
    """A password, or `user:password` as in OpenNebula's files. A text of several lines is a key, or a certificate."""
    text = secret.strip()
    user, colon, password = text.partition(":")
    return "\n" not in text and (password if colon else user).casefold() in KNOWN_PASSWORDS


def _texts(type_token: str, properties: Properties) -> Iterator[tuple[str, str]]:
    """(where it stands, text) of files and commands that the resource brings."""
    if kind_of(type_token) == "ConfigMap":
        yield from ((key, str(text)) for key, text in (properties.get("data") or {}).items())
    if type_token.startswith("command:"):
        yield from ((key, str(properties.get(key) or "")) for key in ("create", "update", "delete"))
    pod = (((properties.get("spec") or {}).get("template") or {}).get("spec") or {}) if kind_of(type_token) else {}
    for container in (*_each(pod.get("initContainers")), *_each(pod.get("containers"))):
        words = (*_each(container.get("command")), *_each(container.get("args")))
        yield f"the command of {container.get('name')}", " ".join(str(word) for word in words)


def _each(value: Sequence[Any] | None) -> Sequence[Any]:
    return value or ()
