"""Any history of our own and of foreign actions on datastores: the rules keep their promises after each step."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from components.registration.datastore_client import FIRST_OWN_ID, DatastoreType
from components.registration.datastore_reconcile import DatastoreRegistrar
from components.registration.datastore_spec import DatastoreSpec
from components.registration.errors import (
    ActionRefused,
    Ambiguous,
    DatastoreInUse,
    DatastoreTaken,
    DuplicateDatastores,
    Inconsistent,
    NotFound,
)
from components.registration.lease import ProcessLocks
from components.registration.pool import RECENT_SECONDS, Listing
from components.registration.spec import AdoptPolicy
from tests.registration.datastore_memory import MemoryDatastores
from tests.registration.memory import ManualClock

NAMES = strategies.sampled_from(["default", "system", "a", "b"])
TYPES = strategies.sampled_from([DatastoreType.IMAGE, DatastoreType.SYSTEM])
DRIVERS = strategies.sampled_from(["local", "shared"])
ATTRIBUTES = strategies.dictionaries(
    strategies.sampled_from(["LIMIT_MB", "BRIDGE_LIST"]), strategies.sampled_from(["1", "2"])
)
CLUSTERS = strategies.sampled_from([("default",), ("one",), ("default", "one")])
SPECS = strategies.builds(
    lambda name, kind, driver, attributes, clusters: DatastoreSpec(
        name=name,
        type=kind,
        ds_mad="" if kind is DatastoreType.SYSTEM else "fs",
        tm_mad=driver,
        attributes=attributes,
        clusters=clusters,
    ),
    NAMES,
    TYPES,
    DRIVERS,
    ATTRIBUTES,
    CLUSTERS,
)
WRITES = strategies.sampled_from(["allocate", "update", "join", "leave", "enable", "delete"])


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.oned, self.clock = MemoryDatastores(), ManualClock()
        self.oned.cluster_names[100] = "one"
        self.ours: dict[int, DatastoreSpec] = {}
        self.inserted: dict[str, float] = {}
        """When somebody else last gave a datastore that name: a look-up may be older than that."""
        self.holding: set[int] = set()
        """Datastores that ever held something: their drivers must be what they were, and they must be there."""
        self.drivers: dict[int, str] = {}
        self.probed: set[int] = set()
        self.new_process()

    @rule()
    def new_process(self) -> None:
        pool = Listing(self.oned.datastores, self.clock)
        self.registrar = DatastoreRegistrar(self.oned, pool, ProcessLocks(), self.clock)

    @rule(spec=SPECS, policy=strategies.sampled_from(list(AdoptPolicy)))
    def register(self, spec: DatastoreSpec, policy: AdoptPolicy) -> None:
        name = spec.name
        there = self.oned.ids(name)
        try:
            oid = self.registrar.register(spec, policy)
        except DatastoreTaken:
            assert there
            assert self.oned.ids(name) == there
            return
        except DuplicateDatastores:
            assert len(there) > 1
            assert self.oned.ids(name) == there, "nothing is deleted to resolve a conflict"
            return
        except DatastoreInUse:
            assert policy is AdoptPolicy.ALWAYS
            return
        except Ambiguous:
            assert len(self.oned.ids(name)) <= max(1, len(there))
            return
        if self.clock.now - self.inserted.get(name, 0.0) > RECENT_SECONDS:
            assert self.oned.ids(name) == [oid]
        assert self.registrar.seen(spec, self.oned.rows[oid]) == spec
        self.ours[oid] = spec

    @rule(attributes=ATTRIBUTES, clusters=CLUSTERS)
    def update(self, attributes: dict[str, str], clusters: tuple[str, ...]) -> None:
        for oid, before in list(self.ours.items()):
            spec = replace(before, attributes=attributes, clusters=clusters)
            try:
                self.registrar.update(oid, before, spec)
            except (NotFound, Inconsistent, Ambiguous, ActionRefused):
                continue
            row = self.oned.rows[oid]
            assert all(row.attribute(key) == attributes.get(key, "") for key in {*attributes, *before.attributes})
            self.ours[oid] = spec

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.new_process()
        for oid in [number for number, spec in self.ours.items() if spec.name == name]:
            others = set(self.oned.rows) - {oid}
            before = self.oned.rows.get(oid)
            try:
                self.registrar.remove(oid, name)
            except DatastoreInUse:
                assert oid in self.holding
            except Ambiguous:
                pass
            else:
                if oid < FIRST_OWN_ID or (before is not None and before.name != name):
                    assert self.oned.rows[oid] == before
                else:
                    assert oid not in self.oned.rows
                del self.ours[oid]
            assert others <= set(self.oned.rows)

    @rule(name=NAMES, driver=DRIVERS)
    def foreign_allocate(self, name: str, driver: str) -> None:
        self.oned.insert(name, "IMAGE_DS", driver)
        self.inserted[name] = self.clock.now

    @rule(data=strategies.data())
    def something_is_stored(self, data: strategies.DataObject) -> None:
        oid = data.draw(strategies.sampled_from(sorted(self.oned.rows)))
        if self.oned.rows[oid].type == DatastoreType.SYSTEM:
            self.oned.vms[len(self.oned.vms)] = oid
        else:
            self.oned.change(oid, images=(1, 2))
        self.holding.add(oid)
        self.drivers = {number: self.oned.rows[number].tm_mad for number in self.holding}

    @rule(data=strategies.data())
    def foreign_change(self, data: strategies.DataObject) -> None:
        oid = data.draw(strategies.sampled_from(sorted(self.oned.rows)))
        self.oned.change(oid, clusters=data.draw(strategies.sampled_from([(), (0,), (0, 100)])))

    @rule(method=WRITES, executed=strategies.booleans())
    def an_answer_will_be_lost(self, method: str, executed: bool) -> None:
        self.oned.lose(method, executed=executed)

    @rule(seconds=strategies.sampled_from([1, 60]))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    @invariant()
    def data_is_safe(self) -> None:
        assert {0, 1, 2} <= self.oned.rows.keys()
        for oid in self.holding:
            assert self.oned.rows[oid].tm_mad == self.drivers[oid]

    @invariant()
    def what_others_wrote_stays(self) -> None:
        for oid, row in list(self.oned.rows.items()):
            if "PROBED" not in row.template:
                assert oid not in self.probed
                self.oned.change(oid, template={**row.template, "PROBED": "yes"})
        self.probed = set(self.oned.rows)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
