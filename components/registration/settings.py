"""What the provider reads of the stack's configuration: the way to oned. Parsing only; nothing is connected to.

The dynamic provider host hands over every value as text, structured ones as JSON. `stacks/settings.py` has checked the
same keys more strictly; here a value that cannot be used is still named, because `pulumi refresh` and `destroy` run
without the program.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.registration import names
from components.registration.errors import SettingsError
from components.registration.xmlrpc import Limits


@dataclass(frozen=True, kw_only=True)
class ProviderSettings:
    """`kubernetes` False: a URL and a password are given, and no cluster is asked for anything."""

    kubernetes: bool
    kubeconfig: str | None
    context: str | None
    namespace: str
    url: str | None
    password: str | None = field(repr=False)
    limits: Limits

    @classmethod
    def read(cls, get: Callable[[str], Any]) -> ProviderSettings:
        """From a function that gives the text of a configuration key, or None. Raises SettingsError."""
        cluster, api = _section(get, names.CONFIG_KUBERNETES), _section(get, names.CONFIG_API)
        url, password = _text(api, names.CONFIG_API, "url"), get(names.CONFIG_API_PASSWORD)
        usual = Limits()
        limits = Limits(
            connect=_positive(api, "connectTimeout", usual.connect),
            read=_positive(api, "readTimeout", usual.read),
            wait=_positive(api, "waitSeconds", usual.wait),
            connections=int(_positive(api, "maxConnections", usual.connections)),
            per_second=_positive(api, "requestsPerSecond", usual.per_second),
        )
        return cls(
            kubernetes=not (url and password),
            kubeconfig=_text(cluster, names.CONFIG_KUBERNETES, "kubeconfig"),
            context=_text(cluster, names.CONFIG_KUBERNETES, "context"),
            namespace=_text(cluster, names.CONFIG_KUBERNETES, "namespace") or names.DEFAULT_NAMESPACE,
            url=url,
            password=str(password) if password else None,
            limits=limits,
        )


def _section(get: Callable[[str], Any], key: str) -> Mapping[str, Any]:
    value = get(key)
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise SettingsError(key, "is not JSON text", then=f"`pulumi config get {key}`") from None
    if not isinstance(value, Mapping):
        raise SettingsError(key, "must be a group of settings", then=f"`pulumi config get {key}`")
    return value


def _text(section: Mapping[str, Any], key: str, name: str) -> str | None:
    value = section.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise SettingsError(f"{key}.{name}", "must be text", then=f"`pulumi config set --path {key}.{name} …`")
    return value


def _positive(section: Mapping[str, Any], name: str, default: float) -> float:
    value = section.get(name)
    if value is None:
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if isinstance(value, bool) or not 0 < number < float("inf"):
        key = f"{names.CONFIG_API}.{name}"
        raise SettingsError(key, "must be a number above 0", then=f"`pulumi config set --path {key} {default:g}`")
    return number
