"""Which changes of a provider's settings lead to another cluster, and so replace everything in it."""

from __future__ import annotations

import json
from typing import Any

from pulumi.runtime.proto import provider_pb2

from lab.plugins.kubernetes import kubeconfig
from lab.plugins.wire import UNKNOWN

_IDENTIFIER = "clusterIdentifier"


def respond(old: dict[str, Any], new: dict[str, Any]) -> provider_pb2.DiffResponse:
    """The engine's answer for two sets of settings, both without secret marks.

    A kubeconfig has no identity of its own, so a changed address stands for another cluster; an identifier that stays
    the same says that it is none. Putting an identifier in or taking it out decides nothing.
    """
    changed = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    if not changed:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)
    before, after = old.get(_IDENTIFIER), new.get(_IDENTIFIER)
    replaces = [_IDENTIFIER] if before and after and before != after else []
    if not (before and after):
        replaces = _by_address(old, new, changed)
    return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_SOME, diffs=changed, replaces=replaces)


def _by_address(old: dict[str, Any], new: dict[str, Any], changed: list[str]) -> list[str]:
    keys = [name for name in ("kubeconfig", "context", "cluster") if name in changed]
    if any(new.get(name) is UNKNOWN for name in keys):
        return [name for name in keys if new.get(name) is UNKNOWN]

    def cluster(given: dict[str, Any]) -> dict[str, Any] | None:
        text = given.get("kubeconfig") or ""
        if not text:
            return None
        text = text if isinstance(text, str) else json.dumps(text)
        return kubeconfig.active_cluster(kubeconfig.parse(text), given.get("context", ""), given.get("cluster", ""))

    before, after = cluster(old), cluster(new)
    return keys if before is not None and after is not None and before != after else []
