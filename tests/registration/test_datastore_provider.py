"""The provider of datastores as the engine calls it, over oned in memory; and what state and destroy rely on."""

from __future__ import annotations

import base64
import json
from typing import Any

import dill  # type: ignore[import-untyped]
import pytest
from pulumi.dynamic.dynamic import serialize_provider

from components.registration import names
from components.registration.datastore_client import DatastoreType
from components.registration.datastore_inputs import normal_datastore
from components.registration.datastore_provider import DatastoreProvider
from components.registration.datastore_reconcile import DatastoreRegistrar
from components.registration.datastore_resource import Datastore
from components.registration.datastore_spec import DatastoreSpec
from components.registration.declared import Declared
from components.registration.lease import ProcessLocks
from components.registration.pool import Listing
from components.registration.provider import ProviderError
from tests.registration.datastore_memory import MemoryDatastores
from tests.registration.memory import ManualClock

IMAGE = {"name": "fast", "type": "image", "ds_mad": "fs", "tm_mad": "local"}


class Parts:
    """What a Runtime has for datastores."""

    def __init__(self, oned: MemoryDatastores) -> None:
        clock = ManualClock()
        self.datastores = DatastoreRegistrar(oned, Listing(oned.datastores, clock), ProcessLocks(), clock)


@pytest.fixture
def oned() -> MemoryDatastores:
    return MemoryDatastores()


def provider_of(oned: MemoryDatastores, datastores: Any = (), storage: Any = None) -> Any:
    provider: Any = DatastoreProvider()
    provider._declared = declared(datastores, storage)
    provider._runtime = lambda: Parts(oned)
    return provider


def declared(datastores: Any, storage: Any = None) -> Declared:
    texts = {names.CONFIG_DATASTORES: json.dumps(datastores), names.CONFIG_STORAGE: json.dumps(storage)}
    return Declared.read(texts.get)


def test_the_life_of_a_datastore(oned: MemoryDatastores) -> None:
    provider = provider_of(oned)
    normal = normal_datastore(IMAGE)
    created = provider.create(normal)
    assert created.id == "100"
    assert created.outs == {**normal, "datastore_id": 100}
    changed = {**normal, "attributes": {"LIMIT_MB": "5"}}
    assert provider.update("100", created.outs, changed).outs == {**changed, "datastore_id": 100}
    oned.change(100, tm_mad="shared")
    read = provider.read("100", {**changed, "datastore_id": 100})
    assert (read.id, read.inputs) == ("100", {**changed, "tm_mad": "shared"})
    assert provider.diff("100", read.outs, changed).replaces == ["tm_mad"]
    provider.delete("100", read.outs)
    assert 100 not in oned.rows
    assert provider.read("100", read.outs).id is None


def test_an_error_is_one_text_for_the_operator(oned: MemoryDatastores) -> None:
    oned.change(oned.insert("fast"), images=(1,))
    with pytest.raises(ProviderError, match=r"^datastore 'fast' \(id 100\) is not removed: 1 images are in it.*Next: "):
        provider_of(oned).delete("100", normal_datastore(IMAGE))


@pytest.mark.parametrize(
    ("datastores", "storage", "kept"),
    [
        ([{"name": "fast", "kind": "local", "type": "image"}], None, True),  # destroy of the stack
        ([{"name": "fast", "kind": "local", "type": "image"}], {"retain": True}, True),
        ([{"name": "fast", "kind": "local", "type": "image"}], {"retain": False}, False),
        ([{"name": "fast", "kind": "local", "type": "image", "transfer": "local"}], None, True),
        ([{"name": "fast", "kind": "local", "type": "image", "transfer": "ssh"}], None, False),  # replaced
        ([{"name": "fast", "kind": "local", "type": "file"}], None, False),
        ([{"name": "fast", "kind": "nfs", "type": "image"}], None, False),
        ([{"name": "other", "kind": "local", "type": "image"}], None, False),  # left the configuration
        ("nonsense", None, False),
    ],
)
def test_what_the_configuration_declares_outlives_a_destroy(
    oned: MemoryDatastores, datastores: Any, storage: Any, kept: bool
) -> None:
    oid = oned.insert("fast")
    provider_of(oned, datastores, storage).delete(str(oid), normal_datastore(IMAGE))
    assert (oid in oned.rows) is kept


@pytest.mark.parametrize(
    ("item", "tm_mad"),
    [
        ({"kind": "local"}, "ssh"),
        ({"kind": "nfs"}, "shared"),
        ({"kind": "nfs", "transfer": "qcow2"}, "qcow2"),
        ({"kind": "ceph"}, "ceph"),
    ],
)
def test_each_kind_is_recognised(item: dict[str, str], tm_mad: str) -> None:
    spec = DatastoreSpec(name="x", type=DatastoreType.SYSTEM, ds_mad="", tm_mad=tm_mad)
    assert declared([{"name": "x", "type": "system", **item}]).keeps_datastore(spec)
    other = DatastoreSpec(name="x", type=DatastoreType.SYSTEM, ds_mad="", tm_mad="dummy")
    assert not declared([{"name": "x", "type": "system", **item}]).keeps_datastore(other)


def test_state_holds_a_reference_and_no_code() -> None:
    text = serialize_provider(DatastoreProvider())
    raw = base64.b64decode(text)
    assert len(text) <= 140
    assert type(dill.loads(raw)) is DatastoreProvider  # noqa: S301 - made above
    assert DatastoreProvider.serialize_as_secret_always is False


def test_the_paths_are_a_contract() -> None:
    path = f"{DatastoreProvider.__module__}.{DatastoreProvider.__qualname__}"
    assert path == "components.registration.datastore_provider.DatastoreProvider"
    assert Datastore._resource_type_name == "dynamic/opennebula:Datastore"
