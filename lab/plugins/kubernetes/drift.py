"""A live object reduced to what the inputs say about it.

The server adds defaults, drops empty fields and rewrites values (`1000m` becomes `1`). None of that is drift. The
evidence is what the server answered to our last write: where the live object still says the same, the input stands as
it was written; where it says something else, somebody changed it and the live value is reported.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

_ABSENT: Final = object()

# Lists in which others may keep elements of their own beside ours (server-side apply merges them by key); the keys are
# the server's. In any other list an element more is a change.
_MERGED: Final[Mapping[str, tuple[str, ...]]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "port", "protocol"),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "ownerReferences": ("uid",),
    "webhooks": ("name",),
    "secrets": ("name",),
}
_MERGED_SETS: Final = frozenset({"finalizers"})


def reduce(live: Mapping[str, Any], inputs: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """`inputs` with every value somebody changed behind them; `written` is the object as our last write left it."""
    if live.get("kind") == "Secret" and isinstance(inputs.get("stringData"), dict):
        keys = inputs["stringData"].keys()
        live, written = _with_string_data(live, keys), _with_string_data(written, keys)
    result: dict[str, Any] = _reduce(live, dict(inputs), written, "")
    return result


def without_nulls(value: Any) -> Any:
    """A copy without null members, as properties travel."""
    if isinstance(value, dict):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _reduce(live: Any, inputs: Any, written: Any, field: str) -> Any:
    if live == written:
        return inputs
    if isinstance(live, Mapping) and isinstance(inputs, dict):
        before = written if isinstance(written, Mapping) else {}
        reduced = {}
        for name, value in inputs.items():
            if name in live:
                reduced[name] = _reduce(live[name], value, before.get(name, _ABSENT), name)
            elif written is not _ABSENT and name not in before:
                reduced[name] = value  # the server never stored it: an empty value, or one it drops
        return reduced
    if isinstance(live, list) and isinstance(inputs, list):
        if field in _MERGED_SETS:
            return [item for item in inputs if item in live]
        stored = written if isinstance(written, list) else []
        keys = _MERGED.get(field)
        return _reduce_merged(live, inputs, stored, keys) if keys else _reduce_list(live, inputs, stored)
    return live


def _reduce_list(live: list[Any], inputs: list[Any], before: list[Any]) -> list[Any]:
    at = dict(enumerate(before))
    reduced = [_reduce(value, inputs[i], at.get(i, _ABSENT), "") for i, value in enumerate(live[: len(inputs)])]
    return reduced + live[len(inputs) :]


def _reduce_merged(live: list[Any], inputs: list[Any], before: list[Any], keys: tuple[str, ...]) -> list[Any]:
    def key(item: Any) -> tuple[Any, ...]:
        return tuple(item.get(name, "TCP" if name == "protocol" else None) for name in keys)

    if not all(isinstance(item, Mapping) for item in (*live, *inputs, *before)):
        return live
    now, then = {key(item): item for item in live}, {key(item): item for item in before}
    return [_reduce(now[key(item)], item, then.get(key(item), _ABSENT), "") for item in inputs if key(item) in now]


def _with_string_data(secret: Mapping[str, Any], keys: Any) -> dict[str, Any]:
    """stringData is written but never read: what it says stands, encoded, in data."""
    data = secret.get("data") or {}
    return {**secret, "stringData": {name: _text(data[name]) for name in keys if name in data}}


def _text(encoded: Any) -> str:
    try:
        return base64.b64decode(str(encoded)).decode(errors="replace")
    except binascii.Error:
        return str(encoded)
