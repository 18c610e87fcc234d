"""`ReachableHosts`: whom oned's ssh must be able to reach: the declared hosts, and those that are about to leave.

The engine changes things first and deletes last. Without this a host that has left the configuration would be gone from oned's
known_hosts and ssh configuration before its VMs are moved away, its probes stopped, and it is deleted in oned. So all that
leave with a change are kept, and of those that left earlier as many as make LEAVERS hosts with them: an address and a pinned
key that nobody asks for any more. Pure: no call to anybody; the state remembers. Output `entries`: name → address, port, host key.

`components.registration.reachable.ReachableHostsProvider` is a reference in the state, as in `provider.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

LEAVERS: Final = 100
_ID: Final = "hosts"

Entries = Mapping[str, tuple[str, str, str]]


class ReachableHostsProvider(ResourceProvider):
    """See the module."""

    serialize_as_secret_always = False  # nothing is captured, and a secret would hide the reference in every diff

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        before = {name: olds["entries"].get(name) for name in olds["declared"]}
        return DiffResult(changes=before != news["entries"])

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(_ID, _outputs(props, {}))

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        declared = set(olds["declared"])
        former = {name: entry for name, entry in olds["entries"].items() if name not in news["entries"]}
        leaving = {name: entry for name, entry in former.items() if name in declared}
        # Those that are gone for longest come last, and are the first to be forgotten.
        earlier = [(name, entry) for name, entry in former.items() if name not in declared]
        return UpdateResult(_outputs(news, leaving | dict(earlier[: max(0, LEAVERS - len(leaving))])))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, props)


def _outputs(props: dict[str, Any], leavers: dict[str, Any]) -> dict[str, Any]:
    return {"entries": {**props["entries"], **leavers}, "declared": sorted(props["entries"])}


class ReachableHosts(Resource, module="opennebula", name="ReachableHosts"):
    """`entries`: name → (address, port, host key) of the declared hosts, all texts."""

    entries: pulumi.Output[dict[str, list[str]]]

    def __init__(self, name: str, entries: Entries, opts: pulumi.ResourceOptions | None = None) -> None:
        props = {"entries": {host: list(entry) for host, entry in entries.items()}, "declared": None}
        super().__init__(ReachableHostsProvider(), name, props, opts)
