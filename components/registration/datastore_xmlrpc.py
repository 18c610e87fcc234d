"""`DatastoreClient` over XML-RPC, by the one connection pool, pace and patience that hosts use too; and its XML."""

from __future__ import annotations

from collections.abc import Mapping

from components.registration import template
from components.registration.client import ClusterRecord
from components.registration.datastore_client import DatastoreRecord, DatastoreType
from components.registration.records import Leaves, each_record, number_at, text_at
from components.registration.transport import AnswerBroken
from components.registration.xmlrpc import APPEND, REPLACE, XmlRpcClient, new_id

_ALL_OWNERS, _ALL_IDS, _NOT_DONE = -2, -1, -1
"""Filters of `one.vmpool.info`: everybody's, from the first to the last, in any state but DONE."""
_NO_DRIVER = "-"


class XmlRpcDatastores:
    """Thread-safe."""

    def __init__(self, client: XmlRpcClient) -> None:
        self._client = client

    def datastores(self) -> tuple[DatastoreRecord, ...]:
        return self._client.read("list the datastores", parse_datastores, "datastorepool.info")

    def datastore(self, datastore_id: int) -> DatastoreRecord:
        return self._client.read(f"read datastore {datastore_id}", parse_datastore, "datastore.info", datastore_id)

    def clusters(self) -> tuple[ClusterRecord, ...]:
        return self._client.clusters()

    def vms_on(self, datastore_id: int) -> tuple[int, ...]:
        places = self._client.read(
            "list the VMs", parse_places, "vmpool.info", _ALL_OWNERS, _ALL_IDS, _ALL_IDS, _NOT_DONE
        )
        return tuple(sorted(vm for vm, place in places if place == datastore_id))

    def allocate(self, attributes: Mapping[str, str], cluster_id: int, *, within: float) -> int:
        what = f"make datastore {attributes['NAME']!r}"
        text = template.render(attributes)
        return self._client.call(
            what, "datastore.allocate", text, cluster_id, convert=new_id, writes=True, within=within
        )

    def update(self, datastore_id: int, attributes: Mapping[str, str], *, whole: bool = False) -> None:
        text = template.render(attributes)
        mode = REPLACE if whole else APPEND
        self._client.write(f"update datastore {datastore_id}", "datastore.update", datastore_id, text, mode)

    def rename(self, datastore_id: int, name: str) -> None:
        self._client.write(f"rename datastore {datastore_id} to {name!r}", "datastore.rename", datastore_id, name)

    def enable(self, datastore_id: int, enabled: bool) -> None:
        what = f"{'enable' if enabled else 'disable'} datastore {datastore_id}"
        self._client.write(what, "datastore.enable", datastore_id, enabled)

    def join(self, datastore_id: int, cluster_id: int) -> None:
        what = f"put datastore {datastore_id} into cluster {cluster_id}"
        self._client.write(what, "cluster.adddatastore", cluster_id, datastore_id)

    def leave(self, datastore_id: int, cluster_id: int) -> None:
        what = f"take datastore {datastore_id} out of cluster {cluster_id}"
        self._client.write(what, "cluster.deldatastore", cluster_id, datastore_id)

    def delete(self, datastore_id: int) -> None:
        self._client.write(f"delete datastore {datastore_id}", "datastore.delete", datastore_id)


def parse_datastores(xml: str) -> tuple[DatastoreRecord, ...]:
    return each_record(xml, "DATASTORE_POOL/DATASTORE", _datastore)


def parse_datastore(xml: str) -> DatastoreRecord:
    found = each_record(xml, "DATASTORE", _datastore)
    if len(found) != 1:
        raise AnswerBroken(f"{len(found)} datastores where one was asked for")
    return found[0]


def parse_places(xml: str) -> tuple[tuple[int, int], ...]:
    """VM and system datastore, -1 for a VM that was never placed."""
    return each_record(
        xml,
        "VM_POOL/VM",
        lambda leaves: (number_at(leaves, "ID"), number_at(leaves, "HISTORY_RECORDS/HISTORY/DS_ID", default=-1)),
    )


def _datastore(leaves: Leaves) -> DatastoreRecord:
    inside = {path.removeprefix("TEMPLATE/"): texts for path, texts in leaves.items() if path.startswith("TEMPLATE/")}
    number = number_at(leaves, "TYPE")
    types = list(DatastoreType)
    ds_mad = text_at(leaves, "DS_MAD")
    return DatastoreRecord(
        id=number_at(leaves, "ID"),
        name=text_at(leaves, "NAME"),
        type=types[number].value if 0 <= number < len(types) else str(number),
        ds_mad="" if ds_mad == _NO_DRIVER else ds_mad,
        tm_mad=text_at(leaves, "TM_MAD"),
        clusters=tuple(sorted(_ids(leaves, "CLUSTERS/ID"))),
        enabled=number_at(leaves, "STATE", default=0) == 0,
        images=tuple(sorted(_ids(leaves, "IMAGES/ID"))),
        template={name: texts[0] for name, texts in inside.items() if "/" not in name},
        plain=all("/" not in name and len(texts) == 1 for name, texts in inside.items()),
    )


def _ids(leaves: Leaves, path: str) -> list[int]:
    texts = leaves.get(path, [])
    if not all(text.isdecimal() and len(text) < 20 for text in texts):
        raise AnswerBroken(f"a record whose {path} is no number")
    return [int(text) for text in texts]
