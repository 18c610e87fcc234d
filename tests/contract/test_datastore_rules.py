"""The rules of this program for datastores, over its own client, against the endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from components.registration.access import GivenCredential, UrlDialer
from components.registration.datastore_client import DatastoreType
from components.registration.datastore_reconcile import DatastoreRegistrar
from components.registration.datastore_spec import DatastoreSpec
from components.registration.datastore_xmlrpc import XmlRpcDatastores
from components.registration.errors import ActionRefused, DatastoreInUse, DatastoreTaken, NotFound
from components.registration.lease import ProcessLocks
from components.registration.pool import Listing
from components.registration.spec import AdoptPolicy
from components.registration.xmlrpc import Limits, XmlRpcClient
from tests.contract.endpoint import NO_DRIVER, Endpoint, unique
from tests.registration.engine import engine


class Rules:
    """A process of its own each time: nothing remembered."""

    def __init__(self, api: Endpoint) -> None:
        password = api.session.partition(":")[2]
        limits = Limits(wait=5, per_second=1000)
        self.client = XmlRpcDatastores(XmlRpcClient(UrlDialer(api.url), GivenCredential(password), limits))

    def again(self) -> DatastoreRegistrar:
        return DatastoreRegistrar(self.client, Listing(self.client.datastores), ProcessLocks())


@pytest.fixture
def rules(api: Endpoint) -> Rules:
    return Rules(api)


@pytest.fixture
def spec(api: Endpoint) -> Iterator[DatastoreSpec]:
    """An image datastore with the first boot's driver, whose leftovers go."""
    driver = api.xml("datastore.info", 1).findtext("TM_MAD") or ""
    name = unique()
    yield DatastoreSpec(name=name, type=DatastoreType.IMAGE, ds_mad="fs", tm_mad=driver)
    for item in api.xml("datastorepool.info").iterfind("DATASTORE"):
        if (item.findtext("NAME") or "").startswith(name):
            api.call("datastore.delete", int(item.findtext("ID") or -1))


def test_the_life_of_a_datastore(api: Endpoint, rules: Rules, spec: DatastoreSpec) -> None:
    first, second = unique(), unique()
    api.cluster(first)
    api.cluster(second)
    made = replace(
        spec,
        type=DatastoreType.SYSTEM,
        ds_mad="",
        clusters=tuple(sorted((first, second))),
        attributes={"LIMIT_MB": "500", "BRIDGE_LIST": 'a "b"'},
        enabled=False,
    )
    oid = rules.again().register(made, AdoptPolicy.REFUSE)
    seen = rules.again()
    record = seen.observe(oid, made)
    assert record is not None
    assert seen.seen(made, record) == made
    assert record.plain

    foreign = {**record.template, "NOTE": "somebody's"}
    api.ok("datastore.update", oid, 'NOTE = "somebody\'s"', 1)
    changed = replace(made, name=f"{spec.name} 2", clusters=("default",), attributes={"BRIDGE_LIST": "c"}, enabled=True)
    rules.again().update(oid, made, changed)
    seen = rules.again()
    record = seen.observe(oid, changed)
    assert record is not None
    assert seen.seen(changed, record) == changed
    del foreign["LIMIT_MB"]
    assert record.template == {**foreign, "BRIDGE_LIST": "c"}, "dropped what is no longer declared, and nothing else"

    assert rules.again().register(changed, AdoptPolicy.MATCHING) == oid
    rules.again().remove(oid, changed.name)
    assert rules.again().observe(oid, changed) is None
    rules.again().remove(oid, changed.name)


def test_through_the_provider_host_as_the_engine_runs_it(api: Endpoint, rules: Rules, spec: DatastoreSpec) -> None:
    """Property bags, the reference in the state, the client and oned, in one: create, refresh, drift, update, delete."""
    assert rules
    config = {"opennebula:api": {"url": api.url}, "opennebula:apiPassword": api.session.partition(":")[2]}
    given = {"name": spec.name, "type": "image", "ds_mad": "fs", "tm_mad": spec.tm_mad, "attributes": {"limit_mb": 5.0}}
    with engine() as provider:
        provider.configure(config)
        inputs, failures = provider.check("datastore", given)
        assert failures == {}
        oid, outputs = provider.create("datastore", inputs)
        assert outputs == {**inputs, "datastore_id": float(oid)}
        assert provider.read("datastore", oid, outputs) == (oid, outputs, inputs), "nothing of oned's own shows"
    api.ok("datastore.update", int(oid), "LIMIT_MB = 6", 1)
    with engine() as provider:
        provider.configure(config)
        _, seen, seen_inputs = provider.read("datastore", oid, outputs)
        assert seen_inputs == {**inputs, "attributes": {"LIMIT_MB": "6"}}
        assert provider.diff("datastore", seen, inputs, oid) == (True, [], True)
        healed = provider.update("datastore", oid, seen, {**inputs, "attributes": {}})
        assert api.xml("datastore.info", int(oid)).find("TEMPLATE/LIMIT_MB") is None
    with engine() as provider:
        provider.configure({**config, "opennebula:datastores": [{"name": spec.name, "kind": "nfs", "type": "image"}]})
        provider.delete("datastore", oid, {**healed, "tm_mad": "shared"})
        assert api.call("datastore.info", int(oid))[0], "the configuration still declares it"
        provider.delete("datastore", oid, healed)
        assert not api.call("datastore.info", int(oid))[0]
        assert provider.read("datastore", oid, healed) == ("", {}, {})


def test_adoption_changes_drivers_only_when_told(api: Endpoint, rules: Rules, spec: DatastoreSpec) -> None:
    oid = rules.again().register(spec, AdoptPolicy.REFUSE)
    shared = replace(spec, tm_mad="shared")
    with pytest.raises(DatastoreTaken, match="its drivers are fs/"):
        rules.again().register(shared, AdoptPolicy.MATCHING)
    assert rules.again().register(shared, AdoptPolicy.ALWAYS) == oid
    assert api.xml("datastore.info", oid).findtext("TM_MAD") == "shared"


def test_a_name_in_other_letters(rules: Rules, spec: DatastoreSpec) -> None:
    rules.again().register(spec, AdoptPolicy.REFUSE)
    with pytest.raises(DatastoreTaken, match="without regard to case"):
        rules.again().register(replace(spec, name=spec.name.upper()), AdoptPolicy.ALWAYS)


def test_a_driver_that_oned_does_not_know(rules: Rules, spec: DatastoreSpec) -> None:
    with pytest.raises(ActionRefused, match="is not defined in oned"):
        rules.again().register(replace(spec, tm_mad="nosuch"), AdoptPolicy.MATCHING)


def test_a_datastore_that_is_not_there(rules: Rules) -> None:
    with pytest.raises(NotFound):
        rules.client.datastore(999999)
    assert rules.client.vms_on(999999) == ()


def test_images_stop_a_removal(api: Endpoint, rules: Rules, spec: DatastoreSpec) -> None:
    oid = rules.again().register(spec, AdoptPolicy.REFUSE)
    answer = api.call("image.allocate", f"NAME = {unique()}\nTYPE = DATABLOCK\nSIZE = 1", oid, True)
    assert answer[0], answer
    image = answer[1]
    try:
        with pytest.raises(DatastoreInUse, match=rf"1 images are in it \(ids {image}\)"):
            rules.again().remove(oid, spec.name)
        with pytest.raises(DatastoreInUse, match="keeps its drivers"):
            rules.again().register(replace(spec, tm_mad="shared"), AdoptPolicy.ALWAYS)
        with pytest.raises(DatastoreInUse):
            rules.client.delete(oid)
    finally:
        api.call("image.delete", image)


def test_vms_stop_the_removal_of_their_system_datastore(api: Endpoint, rules: Rules, spec: DatastoreSpec) -> None:
    disks = replace(spec, type=DatastoreType.SYSTEM, ds_mad="")
    oid = rules.again().register(disks, AdoptPolicy.REFUSE)
    host = int(api.ok("host.allocate", unique(), NO_DRIVER, "kvm", -1))
    api.later(lambda: api.call("host.delete", host))
    vm = api.ok("vm.allocate", f"NAME = {unique()}\nCPU = 0.1\nMEMORY = 16", True)
    try:
        api.ok("vm.deploy", vm, host, False, oid, "")
        assert rules.client.vms_on(oid) == (vm,)
        with pytest.raises(DatastoreInUse, match=rf"1 VMs have their disks on it \(ids {vm}\)"):
            rules.again().remove(oid, disks.name)
    finally:
        api.call("vm.recover", vm, 3)
