"""Settings of an ingress that are accepted, and certificates for its hosts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from components.ingress_settings import IngressSettings
from tests.certificates import self_signed

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@cache
def pair(*names: str, begins: int = -1, ends: int = 30) -> tuple[str, str]:
    """(certificate, key) as PEM for some names; begins and ends are days from NOW."""
    return self_signed("cn.example", *names, begins=NOW + timedelta(days=begins), ends=NOW + timedelta(days=ends))


def settings(**changes: Any) -> IngressSettings:
    """As the stack's configuration gives them: JSON, camelCase. None takes a key away."""
    values: dict[str, Any] = {
        "enabled": True,
        "className": "nginx",
        "controllerNamespace": "ingress-nginx",
        "tls": {"kind": "secret", "name": "one-tls"},
        "hosts": {"fireedge": "cloud.example", "api": "api.example"},
    }
    values = {key: value for key, value in (values | changes).items() if value is not None}
    return IngressSettings.model_validate_json(json.dumps(values))
