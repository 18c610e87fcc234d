"""Who owns which field of an object, as far as server-side apply needs to know.

Objects are created by a plain POST under one general manager, which never applies. The first update hands those fields
over to the manager of the resource; without that, a field taken out of the program would stay on the object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lab.plugins.diffs import parse_path
from lab.plugins.kubernetes.objects import Object, dig, metadata

CREATOR: Final = "pulumi-kubernetes"
_PREDECESSORS: Final = frozenset({(CREATOR, "Update"), ("kubectl", "Update"), ("kubectl", "Apply")})


def handed_over(live: Object, manager: str) -> list[dict[str, Any]] | None:
    """managedFields with our predecessors' fields given to `manager`, or None when there is nothing to hand over."""
    entries: list[dict[str, Any]] = list(metadata(live).get("managedFields") or ())
    theirs = [entry for entry in entries if _predecessor(entry)]
    if not theirs:
        return None
    ours = next((entry for entry in entries if _is_ours(entry, manager)), None)
    fields: dict[str, Any] = dict((ours or {}).get("fieldsV1") or {})
    for entry in theirs:
        fields = _union(fields, entry.get("fieldsV1") or {})
    base = ours or theirs[0]
    kept = [entry for entry in entries if not _predecessor(entry) and entry is not ours]
    return [*kept, {**base, "manager": manager, "operation": "Apply", "fieldsV1": fields}]


def respecting(inputs: Object, live: Object, manager: str, ignore: Sequence[str]) -> Object:
    """Inputs for an update with ignored paths: another's field is left out, one of ours keeps its live value.

    Only paths through objects are looked at; inside a list the engine's own handling (the old input) stays.
    """
    result = inputs
    for text in ignore:
        path = parse_path(text)
        if not path or not all(isinstance(step, str) and step != "*" for step in path):
            continue
        names = [str(step) for step in path]
        if _owned(live, names, lambda entry: not _is_ours(entry, manager)) and not _owned(
            live, names, lambda entry: _is_ours(entry, manager)
        ):
            result = _without(result, names)
        elif (value := dig(live, *names)) is not None:
            result = _with(result, names, value)
    return result


def _predecessor(entry: Mapping[str, Any]) -> bool:
    return (entry.get("manager"), entry.get("operation")) in _PREDECESSORS and not entry.get("subresource")


def _is_ours(entry: Mapping[str, Any], manager: str) -> bool:
    return entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")


def _owned(live: Object, names: Sequence[str], whose: Any) -> bool:
    keys = [f"f:{name}" for name in names]
    entries = metadata(live).get("managedFields") or ()
    return any(whose(entry) and dig(entry.get("fieldsV1"), *keys) is not None for entry in entries)


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for name, value in other.items():
        merged[name] = _union(merged[name], value) if name in merged else value
    return merged


def _without(obj: Object, names: Sequence[str]) -> Object:
    head, rest = names[0], names[1:]
    if not rest:
        return {name: value for name, value in obj.items() if name != head}
    return {**obj, head: _without(obj[head], rest)} if isinstance(obj.get(head), dict) else obj


def _with(obj: Object, names: Sequence[str], value: Any) -> Object:
    head, rest = names[0], names[1:]
    inner = obj.get(head)
    return {**obj, head: _with(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}
