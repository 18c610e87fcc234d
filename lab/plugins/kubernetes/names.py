"""Names of objects: given, generated, kept.

An object without a name gets `<resource>-<8 hexadecimal digits>`, from the engine's seed so that preview and update
agree, and keeps it on later updates. Generated names are marked with an annotation, which tells later that a
replacement may live beside the old object.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Any

from pulumi.runtime.proto import provider_pb2

from lab.plugins.errors import PluginError
from lab.plugins.kubernetes.objects import AUTONAMED, Kind, annotation, metadata, name_of
from lab.plugins.wire import UNKNOWN

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_RBAC_GROUP = "rbac.authorization.k8s.io"
_Autonaming = provider_pb2.CheckRequest.AutonamingOptions


def unique(prefix: str, seed: bytes) -> str:
    """`prefix` and 8 hexadecimal digits, the same for the same seed."""
    return prefix + (hashlib.sha256(seed + prefix.encode()).hexdigest()[:8] if seed else secrets.token_hex(4))


def has_name(inputs: dict[str, Any]) -> bool:
    """Whether a name is given, be it known or not."""
    return bool(name_of(inputs)) or metadata(inputs).get("name") is UNKNOWN


def assign(
    inputs: dict[str, Any], old: dict[str, Any], resource: str, seed: bytes, autonaming: _Autonaming | None = None
) -> None:
    """Give `inputs` a name if it has none: the old generated one, else a new one. Raises PluginError if it may not."""
    meta = inputs.setdefault("metadata", {})
    if meta is UNKNOWN or has_name(inputs):
        return
    if meta.get("generateName"):
        raise PluginError("metadata.generateName does not work with server-side apply; leave the name out instead")
    if old and annotation(old, AUTONAMED) == "true":
        name = name_of(old)
    elif autonaming is not None and autonaming.mode == _Autonaming.DISABLE:
        raise PluginError("autonaming is disabled for this resource; set metadata.name")
    elif autonaming is not None and autonaming.proposed_name:
        name = autonaming.proposed_name
    else:
        name = unique(f"{resource}-", seed)
    meta["name"] = name
    annotations = meta.setdefault("annotations", {})
    if annotations is not UNKNOWN:
        annotations[AUTONAMED] = "true"


def problem(kind: Kind, name: str) -> str | None:
    """Why the API server would refuse the name of an object of this kind, or None."""
    if kind.group == _RBAC_GROUP:
        return None if name not in (".", "..") and "/" not in name and "%" not in name else "may not hold / or %"
    if kind.group == "" and kind.kind == "Service":
        rule, text = _SERVICE, "must be at most 63 of a-z, 0-9 and -, begin with a letter, end with a letter or digit"
    elif kind.group == "" and kind.kind == "Namespace":
        rule, text = _LABEL, "must be at most 63 of a-z, 0-9 and -, begin and end with a letter or digit"
    else:
        rule, text = _SUBDOMAIN, "must be at most 253 of a-z, 0-9, - and ., each part between letters or digits"
    return None if rule.fullmatch(name) and len(name) <= 253 else text
