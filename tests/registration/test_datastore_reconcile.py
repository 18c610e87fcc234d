"""The rules for datastores, one situation a test, against oned in memory."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

import pytest

from components.registration.datastore_client import DatastoreType
from components.registration.datastore_reconcile import DatastoreRegistrar
from components.registration.datastore_spec import DatastoreSpec
from components.registration.errors import (
    Ambiguous,
    DatastoreInUse,
    DatastoreTaken,
    DuplicateDatastores,
    Inconsistent,
    NotFound,
)
from components.registration.lease import ProcessLocks
from components.registration.pool import Listing
from components.registration.settle import SETTLE
from components.registration.spec import AdoptPolicy
from tests.registration.datastore_memory import MemoryDatastores
from tests.registration.memory import ManualClock

MATCHING, ALWAYS, REFUSE = AdoptPolicy.MATCHING, AdoptPolicy.ALWAYS, AdoptPolicy.REFUSE
IMAGES = DatastoreSpec(name="fast", type=DatastoreType.IMAGE, ds_mad="fs", tm_mad="local")
DISKS = DatastoreSpec(name="disks", type=DatastoreType.SYSTEM, ds_mad="", tm_mad="local")
DEFAULT = replace(IMAGES, name="default")


class Zone:
    def __init__(self) -> None:
        self.oned, self.clock = MemoryDatastores(), ManualClock()
        self.run_again()

    def run_again(self) -> DatastoreRegistrar:
        """A new process: nothing remembered but what oned knows."""
        pool = Listing(self.oned.datastores, self.clock)
        self.rules = DatastoreRegistrar(self.oned, pool, ProcessLocks(), self.clock)
        return self.rules


@pytest.fixture
def zone() -> Zone:
    return Zone()


def test_a_new_datastore_is_allocated_once_and_read_back(zone: Zone) -> None:
    zone.oned.cluster_names[100] = "prod"
    spec = replace(IMAGES, clusters=("prod",), attributes={"LIMIT_MB": "100"})
    oid = zone.rules.register(spec, MATCHING)
    assert zone.oned.ids("fast") == [oid] == [100]
    assert zone.oned.counted() == {"clusters": 1, "datastores": 2, "allocate": 1}
    assert zone.rules.seen(spec, zone.oned.rows[oid]) == spec


def test_two_calls_a_datastore_and_one_more(zone: Zone) -> None:
    for number in range(50):
        zone.rules.register(replace(IMAGES, name=f"ds-{number}"), MATCHING)
    assert len(zone.oned.calls) <= 2 * 50 + 1


def test_a_system_datastore_has_no_ds_mad(zone: Zone) -> None:
    assert "DS_MAD" not in zone.oned.rows[zone.rules.register(DISKS, MATCHING)].template


def test_more_clusters_and_a_disabled_one(zone: Zone) -> None:
    zone.oned.cluster_names |= {100: "a", 101: "b"}
    spec = replace(DISKS, clusters=("a", "b"), enabled=False)
    row = zone.oned.rows[zone.rules.register(spec, MATCHING)]
    assert (row.clusters, row.enabled) == ((100, 101), False)
    assert zone.oned.counted()["join"] == 1, "allocate takes the first"


def test_an_unknown_cluster_is_refused_before_anything_is_made(zone: Zone) -> None:
    with pytest.raises(NotFound, match=r"no cluster 'prod'.*it knows default.*onecluster create prod"):
        zone.rules.register(replace(IMAGES, clusters=("prod",)), MATCHING)
    assert zone.oned.counted()["allocate"] == 0


@pytest.mark.parametrize(("name", "kind", "ds_mad", "oid"), [("system", "system", "", 0), ("files", "file", "fs", 2)])
def test_the_first_boots_are_adopted_by_name_and_updated(
    zone: Zone, name: str, kind: str, ds_mad: str, oid: int
) -> None:
    spec = DatastoreSpec(
        name=name, type=DatastoreType(kind), ds_mad=ds_mad, tm_mad="local", attributes={"LIMIT_MB": "5"}
    )
    assert zone.rules.register(spec, MATCHING) == oid
    assert zone.oned.rows[oid].attribute("LIMIT_MB") == "5"
    assert zone.oned.rows[oid].attribute("CLONE_TARGET") == "SYSTEM"
    assert zone.oned.counted() == {"datastores": 1, "datastore": 1, "update": 1}


def test_adopting_what_is_as_declared_writes_nothing(zone: Zone) -> None:
    assert zone.rules.register(DEFAULT, MATCHING) == 1
    assert zone.oned.counted() == {"datastores": 1, "datastore": 1}


def test_foreign_drivers_are_refused_unless_always(zone: Zone) -> None:
    shared = replace(DEFAULT, tm_mad="shared")
    with pytest.raises(
        DatastoreTaken,
        match=r"'default' is taken by datastore 1: its drivers are fs/local, declared are fs/shared.*`always`",
    ):
        zone.rules.register(shared, MATCHING)
    assert zone.oned.rows[1].tm_mad == "local"
    assert zone.rules.register(shared, ALWAYS) == 1
    assert zone.oned.rows[1].tm_mad == "shared"


def test_refuse_takes_over_nothing(zone: Zone) -> None:
    with pytest.raises(DatastoreTaken, match="the policy is to take over no datastore"):
        zone.rules.register(DEFAULT, REFUSE)


@pytest.mark.parametrize("policy", list(AdoptPolicy))
def test_another_type_is_never_taken_over(zone: Zone, policy: AdoptPolicy) -> None:
    with pytest.raises(DatastoreTaken, match="its type is image, declared is file"):
        zone.rules.register(replace(DEFAULT, type=DatastoreType.FILE), policy)


def test_drivers_do_not_change_under_images(zone: Zone) -> None:
    zone.oned.change(1, images=(7, 9))
    with pytest.raises(DatastoreInUse, match=r"'default' \(id 1\) keeps its drivers fs/local: 2 images.*ids 7, 9"):
        zone.rules.register(replace(DEFAULT, tm_mad="shared"), ALWAYS)
    assert zone.oned.counted()["update"] == 0


def test_drivers_do_not_change_under_vms(zone: Zone) -> None:
    zone.oned.vms = {4: 0, 5: 1}
    with pytest.raises(DatastoreInUse, match=r"keeps its drivers -/local: 1 VMs have their disks on it \(ids 4\)"):
        zone.rules.register(replace(DISKS, name="system", tm_mad="shared"), ALWAYS)


def test_a_name_in_other_letters_is_refused(zone: Zone) -> None:
    zone.oned.insert("Fast")
    with pytest.raises(DatastoreTaken, match=r"called 'Fast'.*without regard to case"):
        zone.rules.register(IMAGES, ALWAYS)


def test_two_of_one_name_are_reported_and_kept(zone: Zone) -> None:
    zone.oned.in_the_race = lambda: zone.oned.insert("fast")
    with pytest.raises(DuplicateDatastores, match="exists 2 times in oned: ids 100, 101"):
        zone.rules.register(IMAGES, MATCHING)
    zone.run_again()
    with pytest.raises(DuplicateDatastores):
        zone.rules.register(IMAGES, ALWAYS)
    assert zone.oned.ids("fast") == [100, 101]


def test_threads_that_make_one_name_at_once_make_one_datastore(zone: Zone) -> None:
    """oned looks and inserts without a lock: the other thread is let in exactly between."""
    gate = threading.Barrier(2)

    def race() -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            gate.wait(0.2)

    zone.oned.in_the_race = race
    made: list[int] = []
    threads = [threading.Thread(target=lambda: made.append(zone.rules.register(IMAGES, MATCHING))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert made == [100, 100]
    assert zone.oned.ids("fast") == [100]


def test_a_lost_allocate_is_looked_for_and_never_sent_again(zone: Zone) -> None:
    zone.oned.lose("allocate", executed=True)
    assert zone.rules.register(IMAGES, MATCHING) == 100
    zone.oned.lose("allocate", executed=False)
    with pytest.raises(Ambiguous):
        zone.rules.register(replace(IMAGES, name="other"), MATCHING)
    assert zone.oned.counted()["allocate"] == 2
    assert sum(zone.clock.slept) >= SETTLE


@pytest.mark.parametrize("method", ["update", "rename", "join", "leave", "enable", "delete"])
def test_other_lost_writes_are_looked_for(zone: Zone, method: str) -> None:
    zone.oned.cluster_names |= {100: "a", 101: "b"}
    before = replace(DISKS, clusters=("a",), attributes={"X": "1"})
    after = DatastoreSpec(
        name="other", type=DatastoreType.SYSTEM, ds_mad="", tm_mad="local", clusters=("b",), enabled=False
    )
    oid = zone.rules.register(before, MATCHING)
    rules = zone.run_again()
    zone.oned.lose(method, executed=True)
    rules.update(oid, before, after)
    assert rules.seen(after, zone.oned.rows[oid]) == after
    rules.remove(oid, "other")
    assert oid not in zone.oned.rows
    assert zone.oned.counted()[method] <= 1


def test_an_attribute_that_is_dropped_is_gone_and_nothing_else(zone: Zone) -> None:
    before = replace(IMAGES, attributes={"LIMIT_MB": "5", "BRIDGE_LIST": "a"})
    oid = zone.rules.register(before, MATCHING)
    zone.oned.change(oid, template={**zone.oned.rows[oid].template, "FOREIGN": "x"})
    was = dict(zone.oned.rows[oid].template)
    zone.rules.update(oid, before, replace(IMAGES, attributes={"BRIDGE_LIST": "a b"}))
    del was["LIMIT_MB"]
    assert zone.oned.rows[oid].template == {**was, "BRIDGE_LIST": "a b"}
    assert zone.oned.counted()["replace"] == 1


@pytest.mark.parametrize("foreign", [{"plain": False}, {"template": {"NOTE": "two\nlines"}}])
def test_where_a_template_cannot_be_written_back_the_attribute_is_emptied(
    zone: Zone, foreign: dict[str, object]
) -> None:
    before = replace(IMAGES, attributes={"LIMIT_MB": "5"})
    oid = zone.rules.register(before, MATCHING)
    row = zone.oned.rows[oid]
    template = foreign.get("template", {})
    assert isinstance(template, dict)
    zone.oned.change(oid, plain=foreign.get("plain", True), template={**row.template, **template})
    zone.rules.update(oid, before, IMAGES)
    assert zone.oned.counted()["replace"] == 0
    assert zone.oned.rows[oid].template["LIMIT_MB"] == ""
    assert template.items() <= zone.oned.rows[oid].template.items()


def test_an_update_merges(zone: Zone) -> None:
    oid = zone.rules.register(IMAGES, MATCHING)
    zone.rules.update(oid, IMAGES, replace(IMAGES, attributes={"LIMIT_MB": "5"}))
    assert zone.oned.calls[-1] == ("update", oid, {"LIMIT_MB": "5"})


def test_an_update_that_changes_nothing_is_one_read(zone: Zone) -> None:
    oid = zone.rules.register(IMAGES, MATCHING)
    zone.oned.calls.clear()
    zone.rules.update(oid, IMAGES, IMAGES)
    assert zone.oned.calls == [("datastore", oid)]


def test_a_renamed_datastore_gets_its_name_back_after_a_refresh(zone: Zone) -> None:
    oid = zone.rules.register(IMAGES, MATCHING)
    zone.oned.change(oid, name="renamed")
    seen = zone.rules.seen(IMAGES, zone.oned.rows[oid])
    assert seen.name == "renamed"
    with pytest.raises(Inconsistent, match="behind the stack's back"):
        zone.rules.update(oid, replace(IMAGES, name="x"), replace(IMAGES, name="x"))
    zone.rules.update(oid, seen, IMAGES)
    assert zone.oned.ids("fast") == [oid]


def test_the_first_boots_change_drivers_in_place_and_others_do_not(zone: Zone) -> None:
    shared = replace(DEFAULT, tm_mad="shared")
    zone.rules.update(1, DEFAULT, shared)
    assert zone.oned.rows[1].tm_mad == "shared"
    oid = zone.rules.register(IMAGES, MATCHING)
    zone.oned.change(oid, tm_mad="qcow2")
    zone.rules.update(oid, IMAGES, replace(IMAGES, attributes={"LIMIT_MB": "1"}))
    assert zone.oned.calls[-1] == ("update", oid, {"LIMIT_MB": "1"})


def test_drift_is_what_is_declared_and_nothing_else(zone: Zone) -> None:
    zone.oned.cluster_names[100] = "a"
    spec = replace(DISKS, attributes={"LIMIT_MB": "5"})
    oid = zone.rules.register(spec, MATCHING)
    template = {**zone.oned.rows[oid].template, "SOMEBODY": "wrote this"}
    zone.oned.change(oid, template=template)
    assert zone.rules.seen(spec, zone.oned.rows[oid]) == spec
    zone.oned.change(oid, clusters=(0, 100), enabled=False, tm_mad="ssh", template={**template, "LIMIT_MB": "6"})
    seen = zone.rules.seen(spec, zone.oned.rows[oid])
    assert (seen.clusters, seen.enabled, seen.tm_mad) == (("a", "default"), False, "ssh")
    assert seen.attributes == {"LIMIT_MB": "6"}
    zone.oned.change(oid, clusters=(777,))
    assert zone.rules.seen(spec, zone.oned.rows[oid]).clusters == ("777",)


def test_reading_a_hundred_takes_one_call(zone: Zone) -> None:
    for number in range(100):
        zone.oned.insert(f"ds-{number}")
    assert all(zone.rules.observe(oid, replace(IMAGES, name=row.name)) for oid, row in zone.oned.rows.items())
    assert zone.oned.counted() == {"datastores": 1}
    assert zone.rules.observe(4711, IMAGES) is None


def test_what_this_run_wrote_is_read_anew(zone: Zone) -> None:
    zone.rules.observe(1, DEFAULT)
    zone.rules.update(1, DEFAULT, replace(DEFAULT, attributes={"LIMIT_MB": "5"}))
    record = zone.rules.observe(1, DEFAULT)
    assert record is not None
    assert record.attribute("LIMIT_MB") == "5"


def test_removal(zone: Zone) -> None:
    oid = zone.rules.register(IMAGES, MATCHING)
    rules = zone.run_again()
    rules.remove(oid, "fast")
    assert zone.oned.ids("fast") == []
    rules.remove(oid, "fast")
    assert zone.oned.counted()["delete"] == 1


def test_a_number_that_is_another_datastores_now_is_only_forgotten(
    zone: Zone, caplog: pytest.LogCaptureFixture
) -> None:
    """After another database."""
    oid = zone.oned.insert("somebody-elses")
    zone.rules.remove(oid, "fast")
    assert zone.oned.ids("somebody-elses") == [oid]
    assert zone.oned.counted()["delete"] == 0
    assert "datastore fast (id 100) is only forgotten by this stack" in caplog.text


def test_a_refresh_learns_a_new_name_but_not_another_datastores(zone: Zone) -> None:
    """Else the next run would rename it, or delete it to replace it."""
    oid = zone.oned.insert("by-hand")
    assert zone.rules.observe(oid, IMAGES) == zone.oned.rows[oid]
    other = zone.oned.insert("disks", "SYSTEM_DS")
    assert zone.run_again().observe(other, IMAGES) is None
    zone.oned.insert("fast")
    assert zone.run_again().observe(oid, IMAGES) is None


@pytest.mark.parametrize("oid", [0, 1, 2])
def test_the_first_boots_are_never_deleted(zone: Zone, oid: int) -> None:
    zone.rules.remove(oid, "x")
    assert oid in zone.oned.rows
    assert zone.oned.counted()["delete"] == 0


def test_images_stop_a_removal_and_are_listed(zone: Zone) -> None:
    oid = zone.oned.insert("fast")
    zone.oned.change(oid, images=tuple(range(30)))
    with pytest.raises(
        DatastoreInUse, match=r"'fast' \(id 100\) is not removed: 30 images.*ids 0, 1, .*19, …\).*oneimage"
    ):
        zone.rules.remove(oid, "fast")
    assert zone.oned.counted()["delete"] == 0


def test_an_image_that_comes_in_between_is_listed_too(zone: Zone) -> None:
    oid = zone.oned.insert("fast")

    class Late(MemoryDatastores):
        def delete(self, datastore_id: int) -> None:
            self.change(datastore_id, images=(3,))
            super().delete(datastore_id)

    zone.oned.__class__ = Late
    with pytest.raises(DatastoreInUse, match=r"is not removed: 1 images are in it \(ids 3\)"):
        zone.rules.remove(oid, "fast")


def test_vms_stop_the_removal_of_their_system_datastore(zone: Zone) -> None:
    oid = zone.oned.insert("disks", "SYSTEM_DS")
    zone.oned.vms = {11: oid, 12: 0}
    with pytest.raises(DatastoreInUse, match=r"1 VMs have their disks on it \(ids 11\)"):
        zone.rules.remove(oid, "disks")
    assert oid in zone.oned.rows


def test_a_name_that_moves_to_another_resource_is_not_deleted_by_the_old_one(zone: Zone) -> None:
    oid = zone.oned.insert("fast")
    zone.rules.register(IMAGES, MATCHING)
    zone.rules.remove(oid, "fast")
    assert oid in zone.oned.rows
