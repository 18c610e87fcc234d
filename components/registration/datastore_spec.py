"""What is declared of a datastore, and how it compares with what oned reports. Pure values and predicates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from components.registration.client import NO_ATTRIBUTES
from components.registration.datastore_client import DatastoreRecord, DatastoreType
from components.registration.names import DEFAULT_CLUSTER

LOCAL_DRIVERS = ("local", "ssh")
"""Transfer drivers that copy between machines. `ssh` is the older: the only one of 6.10, still there in 7.x."""


@dataclass(frozen=True, kw_only=True)
class DatastoreSpec:
    """One declared datastore."""

    name: str
    type: DatastoreType
    ds_mad: str
    """Empty for a system datastore."""
    tm_mad: str
    clusters: tuple[str, ...] = (DEFAULT_CLUSTER,)
    attributes: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES)
    enabled: bool = True

    def drivers(self) -> tuple[str, str]:
        return self.ds_mad, self.tm_mad

    def driver_attributes(self) -> dict[str, str]:
        """The drivers as template attributes. oned refuses DS_MAD in a system datastore."""
        return {"TM_MAD": self.tm_mad} | ({"DS_MAD": self.ds_mad} if self.ds_mad else {})

    def template(self) -> dict[str, str]:
        """Everything of a new datastore."""
        return {**self.attributes, "NAME": self.name, "TYPE": self.type.word, **self.driver_attributes()}

    def as_seen(self, record: DatastoreRecord, cluster_name: Callable[[int], str]) -> DatastoreSpec:
        """The same declaration with oned's present values: what differs from `self` is drift.

        Only declared attributes are looked at, so what oned, its drivers and other people write never shows. oned
        cannot make a backup datastore of another (Datastore::post_update_template), so no unknown type comes up.
        """
        return DatastoreSpec(
            name=record.name,
            type=DatastoreType(record.type) if record.type in list(DatastoreType) else self.type,
            ds_mad=record.ds_mad,
            tm_mad=record.tm_mad,
            clusters=tuple(sorted(cluster_name(number) for number in record.clusters)),
            attributes={name: record.attribute(name) for name in self.attributes},
            enabled=record.enabled,
        )


def drivers_of(record: DatastoreRecord) -> tuple[str, str]:
    return record.ds_mad, record.tm_mad


def spelled(drivers: tuple[str, str]) -> str:
    """Drivers as an operator reads them."""
    return "/".join(driver or "-" for driver in drivers)
