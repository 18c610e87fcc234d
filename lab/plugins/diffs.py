"""What changed between two sets of inputs, path by path, in the engine's terms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pulumi.runtime.proto import provider_pb2

from lab.plugins.wire import UNKNOWN

Path = tuple[str | int, ...]

_ADD: Final = provider_pb2.PropertyDiff.ADD
_DELETE: Final = provider_pb2.PropertyDiff.DELETE
_UPDATE: Final = provider_pb2.PropertyDiff.UPDATE
_REPLACING: Final = {
    _ADD: provider_pb2.PropertyDiff.ADD_REPLACE,
    _DELETE: provider_pb2.PropertyDiff.DELETE_REPLACE,
    _UPDATE: provider_pb2.PropertyDiff.UPDATE_REPLACE,
}
_STEP = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+|\*)\]|\.?([^.\[\]"]+)')


@dataclass(frozen=True)
class Change:
    """One change. `value` is what came, or what went."""

    path: Path
    kind: provider_pb2.PropertyDiff.Kind.ValueType
    value: Any


def changes(old: Any, new: Any, path: Path = ()) -> Iterator[Change]:
    """Every change on the way from `old` to `new`, both without secret marks. What is unknown counts as changed."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name, value in new.items():
            if name in old:
                yield from changes(old[name], value, (*path, name))
            else:
                yield Change((*path, name), _ADD, value)
        yield from (Change((*path, name), _DELETE, value) for name, value in old.items() if name not in new)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            if index >= len(old):
                yield Change((*path, index), _ADD, new[index])
            elif index >= len(new):
                yield Change((*path, index), _DELETE, old[index])
            else:
                yield from changes(old[index], new[index], (*path, index))
    elif new is UNKNOWN or old != new or isinstance(old, bool) is not isinstance(new, bool):
        yield Change(path, _UPDATE, new)


def respond(found: Iterable[tuple[Change, bool]]) -> provider_pb2.DiffResponse:
    """The engine's answer for changes, each with whether it takes a new resource."""
    response = provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE, hasDetailedDiff=True)
    for change, replacing in found:
        response.changes = provider_pb2.DiffResponse.DIFF_SOME
        shown = show_path(change.path)
        kind = _REPLACING[change.kind] if replacing else change.kind
        response.detailedDiff[shown].CopyFrom(provider_pb2.PropertyDiff(kind=kind, inputDiff=True))
        if replacing:
            response.replaces.append(shown)
    return response


def show_path(path: Path) -> str:
    """`spec.template.metadata.labels["app.kubernetes.io/name"]`, as the engine writes paths."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.search(r'[."\[\]]', step):
            escaped = step.replace('"', '\\"')
            text += f'["{escaped}"]'
        else:
            text += f".{step}" if text else step
    return text


def parse_path(text: str) -> Path:
    """The opposite of `show_path`; a `*` stays a star and stands for any step."""
    steps: list[str | int] = []
    for quoted, index, name in _STEP.findall(text):
        if index:
            steps.append(int(index) if index.isdigit() else "*")
        else:
            steps.append(quoted.replace('\\"', '"') if quoted else name)
    return tuple(steps)


def covers(ignored: Path, path: Path) -> bool:
    """Whether `path` is at or below `ignored`."""
    return len(ignored) <= len(path) and all(a in (b, "*") for a, b in zip(ignored, path, strict=False))
