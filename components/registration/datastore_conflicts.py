"""What stands against touching a datastore: another's name, other drivers, data. Pure; each raises a typed error."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from components.registration.datastore_client import DatastoreRecord
from components.registration.datastore_spec import DatastoreSpec, drivers_of, spelled
from components.registration.errors import DatastoreInUse, DatastoreTaken
from components.registration.spec import AdoptPolicy

_LISTED: Final = 20
"""So many ids of images or VMs in a message."""


def check_empty(record: DatastoreRecord, vms: Collection[int], but: str) -> None:
    """Raise DatastoreInUse, with a list, unless nothing is on the datastore. `but`: what happens therefore."""
    what = f"datastore {record.name!r} (id {record.id}) {but}"
    if record.images:
        raise DatastoreInUse(
            what,
            f"{len(record.images)} images are in it ({_listed(record.images)})",
            then=f"`oneimage list -f 'DATASTORE={record.name}'`; delete them or clone them into another datastore, "
            "then `pulumi up`; or declare the datastore as it was",
        )
    if vms:
        raise DatastoreInUse(
            what,
            f"{len(vms)} VMs have their disks on it ({_listed(vms)})",
            then="`onevm list`; migrate them with `onevm migrate VM HOST DATASTORE` or terminate them, then "
            "`pulumi up`; or declare the datastore as it was",
        )


def _listed(ids: Collection[int]) -> str:
    shown = ", ".join(str(number) for number in sorted(ids)[:_LISTED])
    return f"ids {shown}, …" if len(ids) > _LISTED else f"ids {shown}"


def check_adoption(record: DatastoreRecord, spec: DatastoreSpec, adopt: AdoptPolicy) -> None:
    """Raise DatastoreTaken unless the policy lets this row become the declared datastore."""
    what = f"datastore name {spec.name!r} is taken by datastore {record.id}"
    show = f"`onedatastore show {record.id}`"
    if record.name != spec.name:
        cause = f"that one is called {record.name!r}; oned's database compares names without regard to case"
        raise DatastoreTaken(what, cause, datastore_id=record.id, then=f"{show}, and spell the name alike")
    if record.type != spec.type:
        cause = f"its type is {record.type}, declared is {spec.type}, and what is in it cannot change its kind"
        raise DatastoreTaken(what, cause, datastore_id=record.id, then=f"{show}; choose another name or its type")
    if adopt is AdoptPolicy.ALWAYS:
        return
    if adopt is AdoptPolicy.REFUSE:
        cause = "the policy is to take over no datastore"
        raise DatastoreTaken(what, cause, datastore_id=record.id, then=f"{show}; rename it, or set adopt to `matching`")
    if drivers_of(record) != spec.drivers():
        raise DatastoreTaken(
            what,
            f"its drivers are {spelled(drivers_of(record))}, declared are {spelled(spec.drivers())}",
            datastore_id=record.id,
            then=f"{show}; correct kind or transfer, or set adopt to `always` to change its drivers while it is empty",
        )
