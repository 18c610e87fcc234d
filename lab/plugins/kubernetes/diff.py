"""Whether an object changed, and whether the change takes a new object that can only come after the old one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi.runtime.proto import provider_pb2

from lab.plugins import diffs
from lab.plugins.kubernetes.immutable import replaces
from lab.plugins.kubernetes.objects import AUTONAMED, annotation, name_of, namespace_of


def respond(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    rules: Sequence[tuple[str, ...]],
    ignore: Sequence[str] = (),
) -> provider_pb2.DiffResponse:
    """The engine's answer for two sets of inputs; `ignore` are property paths whose changes do not count."""
    ignored = [diffs.parse_path(text) for text in ignore]
    found = [
        change for change in diffs.changes(old, new) if not any(diffs.covers(path, change.path) for path in ignored)
    ]
    response = diffs.respond(
        (change, replaces(change.path, change.value, rules) or change.path == ("metadata",)) for change in found
    )
    # A replacement with the name and namespace of the old object can only come after it.
    response.deleteBeforeReplace = bool(
        response.replaces
        and annotation(new, AUTONAMED) != "true"
        and name_of(new) == name_of(old)
        and namespace_of(new) == namespace_of(old)
    )
    return response
