"""Which hosts, datastores and clusters the stack's configuration still declares: tells a release from a removal.

The engine deletes a Host or Datastore when it has left the configuration, and when the whole stack is destroyed. Only the first means
that oned shall forget it: data outlives a destroy, and an object's id is part of it (ADR 1). The dynamic provider is handed
the stack's configuration in both cases, so the difference is there to be read. Parsing only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.host_groups import expand
from components.registration import names
from components.registration.datastore_spec import LOCAL_DRIVERS, DatastoreSpec
from components.registration.departure import Departure
from components.registration.drain import DrainMode, DrainPolicy
from components.registration.spec import HostSpec


@dataclass(frozen=True, kw_only=True)
class Declared:
    """`drivers` by host name, as the configuration has them; `retain` False: a destroy takes everything.

    `datastores`: type and possible transfer drivers by name.
    """

    drivers: Mapping[str, str]
    retain: bool
    datastores: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    clusters: frozenset[str] = frozenset()
    drain: DrainPolicy = field(default_factory=DrainPolicy)
    """How hosts without a way of their own are emptied. Here, not in the state: it may be decided after the removal."""
    departure: Departure = field(default_factory=Departure)
    """What becomes of a host's preparation when it goes, likewise."""

    @classmethod
    def read(cls, get: Callable[[str], Any]) -> Declared:
        """From a function that gives the text of a configuration key. What cannot be read declares nothing."""
        storage, fleet = _json(get(names.CONFIG_STORAGE)), _json(get(names.CONFIG_FLEET))
        hosts = dict((*_named(get(names.CONFIG_HOSTS)), *_members(get)))
        return cls(
            drivers={name: _driver(host) for name, host in hosts.items()},
            retain=not (isinstance(storage, Mapping) and storage.get("retain") is False),
            datastores={
                name: (str(item.get("type", "")), _transfers(item))
                for name, item in _named(get(names.CONFIG_DATASTORES))
            },
            clusters=frozenset(name for name, _ in _named(get(names.CONFIG_CLUSTERS))),
            drain=_drain(fleet),
            departure=Departure.read(get, fleet, hosts),
        )

    def keeps(self, spec: HostSpec) -> bool:
        """Whether a deleted resource leaves its host in oned. With other drivers it is a replacement: that one goes."""
        return self.retain and self.declares(spec)

    def declares(self, spec: HostSpec) -> bool:
        """Whether the configuration still has this host: then the whole stack is going, not this one."""
        return self.drivers.get(spec.name) == spec.vm_mad

    def leaves(self, name: str) -> bool:
        """Whether a host of this name is none of the configuration's: it may be the next to be removed."""
        return name not in self.drivers

    def keeps_datastore(self, spec: DatastoreSpec) -> bool:
        """The same of a datastore: type and transfer driver are what makes another one of it."""
        type_, transfers = self.datastores.get(spec.name, ("", ()))
        return self.retain and type_ == spec.type and spec.tm_mad in transfers

    def keeps_cluster(self, name: str) -> bool:
        """The same of a cluster."""
        return self.retain and name in self.clusters


def _drain(fleet: Any) -> DrainPolicy:
    """The settings have checked it; what cannot be read here moves no VM."""
    drain = fleet.get("drain") if isinstance(fleet, Mapping) else None
    if not isinstance(drain, Mapping):
        return DrainPolicy()
    usual = DrainPolicy()
    try:
        return DrainPolicy(
            mode=DrainMode(drain.get("mode", usual.mode)),
            vm_limit=float(drain.get("vmLimit", usual.vm_limit)),
            limit=float(drain.get("limit", usual.limit)),
        )
    except (TypeError, ValueError):
        return usual


def _named(text: Any) -> list[tuple[str, Mapping[str, Any]]]:
    items = _json(text)
    return [
        (str(item["name"]), item)
        for item in (items if isinstance(items, list) else [])
        if isinstance(item, Mapping) and "name" in item
    ]


def _members(get: Callable[[str], Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Hosts that are declared by groups."""
    return [(member.name, member.entry) for member in expand(_json(get(names.CONFIG_HOST_GROUPS)))[0]]


def _transfers(datastore: Mapping[str, Any]) -> tuple[str, ...]:
    """As the settings derive it, except that which of two drivers is local's own depends on oned's version."""
    if given := datastore.get("transfer"):
        return (str(given),)
    match datastore.get("kind"):
        case "local":
            return LOCAL_DRIVERS
        case "nfs":
            return ("shared",)
        case kind:
            return (str(kind),)


def _driver(host: Mapping[str, Any]) -> str:
    """As the settings derive it: LXC has one driver, KVM hosts may be without hardware virtualisation."""
    kind = str(host.get("kind", ""))
    return str(host.get("driver") or kind) if kind == "kvm" else kind


def _json(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return None
