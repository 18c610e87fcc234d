"""Emptying a host, one situation a test, against oned in memory: what is moved, what stays, how long it takes."""

from __future__ import annotations

from typing import Any

import pytest

from components.registration.client import AdminState, HostRecord, HostState, LcmState, VmState
from components.registration.drain import AT_ONCE, LAG, LISTED, DrainMode, DrainPolicy
from components.registration.errors import HostInUse
from components.registration.reconcile import NO_DRAIN
from components.registration.spec import AdoptPolicy, HostSpec
from tests.registration.conftest import Zone

LIVE = DrainPolicy(mode=DrainMode.LIVE, vm_limit=60, limit=600)
COLD = DrainPolicy(mode=DrainMode.COLD, vm_limit=60, limit=600)
KVM = HostSpec(name="old", im_mad="kvm", vm_mad="kvm")
MAINTENANCE = HostSpec(name="old", im_mad="kvm", vm_mad="kvm", state=AdminState.MAINTENANCE, owner="a")


def two_hosts(zone: Zone, *, room: int = 100, memory: int = 10**6) -> tuple[int, int]:
    """The host to be emptied, and one with room for so many VMs."""
    old = zone.oned.insert("old", state=HostState.MONITORED)
    new = zone.oned.insert("new", state=HostState.MONITORED, free_cpu=room * 100, free_memory=memory)
    return old, new


def migrations(zone: Zone) -> list[tuple[object, ...]]:
    return [call[1:] for call in zone.oned.calls if call[0] == "migrate"]


# ---- removal


def test_without_a_setting_the_vms_are_listed_and_nothing_is_touched(zone: Zone) -> None:
    old, _ = two_hosts(zone)
    for _ in range(2):
        zone.oned.run_machine(old, "web")
    with pytest.raises(HostInUse) as caught:
        zone.rules.remove(old, "old")
    text = str(caught.value)
    assert "host 'old' (id 0) is not removed: 2 VMs run on it\n  0 web-0 (RUNNING)\n  1 web-1 (RUNNING). Next: " in text
    assert "drain.mode" in text
    assert zone.oned.rows[old].state == HostState.MONITORED
    assert zone.oned.counted() == {"delete": 1, "host": 2, "vms": 1}


def test_a_long_list_is_cut(zone: Zone) -> None:
    old, _ = two_hosts(zone)
    for _ in range(LISTED + 7):
        zone.oned.run_machine(old)
    with pytest.raises(HostInUse, match="… and 7 more") as caught:
        zone.rules.remove(old, "old")
    assert str(caught.value).count("(RUNNING)") == LISTED


@pytest.mark.parametrize(("policy", "live"), [(LIVE, True), (COLD, False)])
def test_disable_then_drain_then_delete(zone: Zone, policy: DrainPolicy, live: bool) -> None:
    old, new = two_hosts(zone)
    vm = zone.oned.run_machine(old)
    zone.rules.remove(old, "old", policy)
    assert old not in zone.oned.rows
    assert zone.oned.rows[new].vms == (vm,)
    order = [call[0] for call in zone.oned.calls if call[0] in ("set_state", "migrate", "delete")]
    assert order == ["delete", "set_state", "migrate", "delete"], "oned itself refuses the first, so it costs nothing"
    assert migrations(zone) == [(vm, new, live)]


def test_an_empty_host_costs_a_look_and_the_removal(zone: Zone) -> None:
    old, _ = two_hosts(zone)
    zone.rules.remove(old, "old", LIVE)
    assert zone.oned.counted() == {"host": 1, "delete": 1}


def test_what_has_no_room_stays_listed_and_the_host_disabled(zone: Zone) -> None:
    old, new = two_hosts(zone, room=1)
    first, second = zone.oned.run_machine(old, "web"), zone.oned.run_machine(old, "db")
    with pytest.raises(HostInUse) as caught:
        zone.rules.remove(old, "old", LIVE)
    text = str(caught.value)
    assert (
        f"1 VM runs on it\n  {second} db-{second} (RUNNING): none of 1 other enabled hosts of cluster 'default'" in text
    )
    assert "The host is disabled" in text
    assert f"`onehost enable {old}` takes it back" in text
    assert zone.oned.rows[new].vms == (first,)
    assert zone.oned.rows[old].state == HostState.DISABLED
    zone.oned.change(new, free_cpu=100)
    zone.run_again().remove(old, "old", LIVE)
    assert zone.oned.rows[new].vms == (first, second)
    assert old not in zone.oned.rows


def test_targets_are_enabled_hosts_of_the_cluster_with_the_driver(zone: Zone) -> None:
    zone.oned.cluster_names[100] = "other"
    old = zone.oned.insert("old", state=HostState.MONITORED)
    room: dict[str, Any] = {"free_cpu": 1000, "free_memory": 10**6}
    zone.oned.insert("elsewhere", cluster_id=100, state=HostState.MONITORED, **room)
    zone.oned.insert("container", "lxc", "lxc", state=HostState.MONITORED, **room)
    for state in (HostState.DISABLED, HostState.ERROR, HostState.OFFLINE, HostState.INIT):
        zone.oned.insert(f"in-{state}", state=state, **room)
    zone.oned.run_machine(old)
    with pytest.raises(HostInUse, match="none of 0 other enabled hosts"):
        zone.rules.remove(old, "old", LIVE)
    assert migrations(zone) == []


def test_the_roomiest_host_comes_first_and_one_that_may_leave_as_well_last(zone: Zone) -> None:
    old, new = two_hosts(zone)
    roomier = zone.oned.insert("roomier", state=HostState.MONITORED, free_cpu=900, free_memory=10**7)
    going = zone.oned.insert("going", state=HostState.MONITORED, free_cpu=900, free_memory=10**8)
    vm = zone.oned.run_machine(old)
    zone.rules.remove(old, "old", LIVE, avoid=lambda name: name == "going")
    assert zone.oned.rows[roomier].vms == (vm,)
    zone.oned.change(new, free_memory=0)
    zone.rules.remove(roomier, "roomier", LIVE, avoid=lambda name: name == "going")
    assert zone.oned.rows[going].vms == (vm,), "better there than nowhere"


def test_a_full_host_is_oned_to_judge_and_the_next_one_is_asked(zone: Zone) -> None:
    old, new = two_hosts(zone, memory=10**7)
    other = zone.oned.insert("other", state=HostState.MONITORED, free_cpu=900, free_memory=10**6)
    vm = zone.oned.run_machine(old)
    listed = zone.oned.hosts()
    zone.oned.change(new, free_memory=0)
    zone.oned.hosts = lambda: listed  # type: ignore[method-assign]
    zone.run_again().remove(old, "old", LIVE)
    assert [target for _, target, _ in migrations(zone)] == [new, other]
    assert zone.oned.rows[other].vms == (vm,)


@pytest.mark.parametrize("under_way", [LcmState.RUNNING, 4])
def test_at_most_two_at_once(zone: Zone, under_way: int) -> None:
    """Counted from the moment that oned accepts: it says RUNNING until it has begun (MIGRATE is 4)."""
    old, new = two_hosts(zone)
    most = 0
    zone.oned.migrated = lambda vm: zone.oned.change_machine(vm, lcm_state=under_way)

    def tick() -> None:
        nonlocal most
        moving = [vm for vm in zone.oned.rows[new].vms if vm in zone.oned.rows[old].vms]
        most = max(most, len(moving))
        for vm in moving[:1]:
            zone.oned.arrive(vm)

    zone.clock.at_tick = tick
    for _ in range(7):
        zone.oned.run_machine(old)
    zone.rules.remove(old, "old", LIVE)
    assert most == AT_ONCE == 2
    assert old not in zone.oned.rows


def test_a_vm_that_somebody_else_migrates_is_waited_for(zone: Zone) -> None:
    old, new = two_hosts(zone)
    vm = zone.oned.run_machine(old)
    zone.oned.migrated = lambda _vm: None
    zone.oned.migrate(vm, new, live=True)
    zone.oned.calls.clear()
    zone.clock.at_tick = lambda: zone.oned.arrive(vm)
    zone.rules.remove(old, "old", LIVE)
    assert migrations(zone) == []
    assert zone.oned.rows[new].vms == (vm,)


def test_a_vm_that_is_accepted_is_not_yet_gone(zone: Zone) -> None:
    """oned notes the new host at once; a live migration that runs has the VM in the lists of both."""
    old, new = two_hosts(zone)
    vm = zone.oned.run_machine(old)
    zone.oned.migrated = lambda _vm: None
    ticks = iter(range(3))
    zone.clock.at_tick = lambda: zone.oned.arrive(vm) if next(ticks, 2) == 2 else None
    zone.rules.remove(old, "old", LIVE)
    assert len(zone.clock.slept) >= 3
    assert zone.oned.rows[new].vms == (vm,)


def test_a_cold_migration_is_waited_for_until_the_disks_have_left(zone: Zone) -> None:
    old, new = two_hosts(zone)
    vm = zone.oned.run_machine(old)

    def shut_down(number: int) -> None:
        zone.oned.arrive(number)
        zone.oned.change_machine(number, lcm_state=8)  # PROLOG_MIGRATE: the old host's list is empty already

    zone.oned.migrated = shut_down
    ticks = iter(range(4))

    def tick() -> None:
        assert old in zone.oned.rows
        if next(ticks, 3) == 3:
            zone.oned.arrive(vm)

    zone.clock.at_tick = tick
    zone.rules.remove(old, "old", COLD)
    assert zone.oned.rows[new].vms == (vm,)


def test_a_migration_that_breaks_off_keeps_the_host(zone: Zone) -> None:
    old, _ = two_hosts(zone)
    vm = zone.oned.run_machine(old)
    zone.oned.migrated = zone.oned.break_off
    with pytest.raises(HostInUse, match=rf"PROLOG_MIGRATE_FAILURE\): no space left.*onevm recover --retry {vm}"):
        zone.rules.remove(old, "old", COLD)
    assert old in zone.oned.rows


def test_a_failed_migration_is_not_repeated(zone: Zone) -> None:
    old, _ = two_hosts(zone)
    vm = zone.oned.run_machine(old)
    zone.oned.migrated = zone.oned.fall_back
    with pytest.raises(HostInUse, match="its migration failed: Error executing driver action"):
        zone.rules.remove(old, "old", LIVE)
    assert len(migrations(zone)) == 1
    assert zone.oned.rows[old].vms == (vm,)


def test_a_vm_has_its_limit_and_the_others_go_on(zone: Zone) -> None:
    old, new = two_hosts(zone)
    slow, quick = zone.oned.run_machine(old), zone.oned.run_machine(old)
    zone.oned.migrated = lambda vm: zone.oned.arrive(vm) if vm == quick else zone.oned.change_machine(vm, lcm_state=4)
    begun = zone.clock.now
    with pytest.raises(HostInUse, match="not done after 60 s"):
        zone.rules.remove(old, "old", LIVE)
    assert zone.oned.rows[new].vms == (slow, quick)
    assert 60 <= zone.clock.now - begun < 70


def test_the_host_has_its_limit(zone: Zone) -> None:
    old, _ = two_hosts(zone)
    zone.oned.migrated = lambda vm: zone.oned.change_machine(vm, lcm_state=4)
    for _ in range(20):
        zone.oned.run_machine(old)
    begun = zone.clock.now
    with pytest.raises(HostInUse, match="the limit for the host, 100 s, is over"):
        zone.rules.remove(old, "old", DrainPolicy(mode=DrainMode.LIVE, vm_limit=60, limit=100))
    assert zone.clock.now - begun < 110
    assert len(migrations(zone)) <= 2 * AT_ONCE


def test_one_that_arrives_after_its_limit_is_not_listed(zone: Zone) -> None:
    old, _ = two_hosts(zone)
    late, stuck = zone.oned.run_machine(old), zone.oned.run_machine(old)
    zone.oned.migrated = lambda vm: zone.oned.change_machine(vm, lcm_state=4)
    zone.clock.at_tick = lambda: zone.oned.arrive(late) if len(migrations(zone)) > 1 and zone.clock.now > 1058 else None
    with pytest.raises(HostInUse, match="1 VM runs on it") as caught:
        zone.rules.remove(old, "old", LIVE)
    assert f"  {stuck} vm-{stuck}" in str(caught.value)


@pytest.mark.parametrize("executed", [True, False])
def test_a_lost_answer_to_a_migration_is_looked_up(zone: Zone, executed: bool) -> None:
    old, new = two_hosts(zone)
    vm = zone.oned.run_machine(old)
    zone.oned.lose("migrate", executed=executed)
    if executed:
        zone.rules.remove(old, "old", LIVE)
        assert zone.oned.rows[new].vms == (vm,)
    else:
        with pytest.raises(HostInUse, match="its migration failed"):
            zone.rules.remove(old, "old", LIVE)
    assert len(migrations(zone)) == 1


def test_what_only_the_scheduler_may_place_or_nobody_knows_is_not_tried(zone: Zone) -> None:
    old, _ = two_hosts(zone)
    zone.oned.run_machine(old, requirements='ARCH = "x86_64"')
    zone.oned.run_machine(old, lcm_state=LcmState.UNKNOWN)
    with pytest.raises(HostInUse, match=r"(?s)SCHED_REQUIREMENTS.*onevm resched 0.*oned does not know whether it runs"):
        zone.rules.remove(old, "old", LIVE)
    assert migrations(zone) == []


def test_containers_are_not_migrated_live(zone: Zone) -> None:
    old = zone.oned.insert("old", "lxc", "lxc", state=HostState.MONITORED)
    zone.oned.insert("new", "lxc", "lxc", state=HostState.MONITORED, free_cpu=900, free_memory=10**6)
    zone.oned.run_machine(old)
    with pytest.raises(HostInUse, match=r"lxc cannot migrate live\. Next: set drain.mode to cold"):
        zone.rules.remove(old, "old", LIVE)
    zone.run_again().remove(old, "old", COLD)


@pytest.mark.parametrize("state", [VmState.POWEROFF, VmState.SUSPENDED])
def test_a_vm_that_does_not_run_is_moved_as_it_is(zone: Zone, state: VmState) -> None:
    old, new = two_hosts(zone)
    vm = zone.oned.run_machine(old, state=state, lcm_state=0)
    zone.rules.remove(old, "old", LIVE)
    assert migrations(zone) == [(vm, new, False)]
    assert zone.oned.machine_rows[vm].state == state


def test_one_that_is_busy_is_waited_for_and_one_that_ends_is_gone(zone: Zone) -> None:
    old, new = two_hosts(zone)
    booting = zone.oned.run_machine(old, lcm_state=2)
    ending = zone.oned.run_machine(old, lcm_state=12)
    ticks = iter(range(10))

    def tick() -> None:
        if next(ticks) == 2:
            zone.oned.change_machine(booting, lcm_state=LcmState.RUNNING)
            zone.oned.end_machine(ending)

    zone.clock.at_tick = tick
    zone.rules.remove(old, "old", LIVE)
    assert zone.oned.rows[new].vms == (booting,)


def test_somebody_deletes_the_host_while_it_is_drained(zone: Zone) -> None:
    old, _ = two_hosts(zone)
    vm = zone.oned.run_machine(old)
    zone.oned.migrated = lambda _vm: None

    def tick() -> None:
        zone.oned.arrive(vm)
        zone.oned.rows.pop(old, None)

    zone.clock.at_tick = tick
    zone.rules.remove(old, "old", LIVE)
    assert old not in zone.oned.rows


def test_somebody_deploys_by_hand_after_the_drain(zone: Zone) -> None:
    old, _ = two_hosts(zone)
    zone.oned.run_machine(old)
    delete, asked = zone.oned.delete, []

    def late(host_id: int) -> None:
        asked.append(host_id)
        if len(asked) == 2:
            zone.oned.run_machine(host_id, "late")
        delete(host_id)

    zone.oned.delete = late  # type: ignore[method-assign]
    with pytest.raises(HostInUse, match=r"late-1 \(RUNNING\)"):
        zone.rules.remove(old, "old", LIVE)


@pytest.mark.parametrize("limit", [4.0, 600.0])
@pytest.mark.parametrize("ended", [True, False])
def test_a_number_that_no_vm_has_is_listed_within_the_limit(zone: Zone, limit: float, ended: bool) -> None:
    """oned's lists can be wrong (`onedb fsck` exists for that): the others leave, and the limit holds."""
    old, new = two_hosts(zone)
    lost, there = zone.oned.run_machine(old), zone.oned.run_machine(old)
    if ended:
        zone.oned.change_machine(lost, state=VmState.DONE, lcm_state=0)
    else:
        del zone.oned.machine_rows[lost]
    begun = zone.clock.now

    def tick() -> None:
        assert zone.clock.now - begun < 100, "it loops"

    zone.clock.at_tick = tick
    with pytest.raises(HostInUse, match=rf"1 VM runs on it\n  {lost}: oned counts it .*no such VM.*onedb fsck"):
        zone.rules.remove(old, "old", DrainPolicy(mode=DrainMode.LIVE, vm_limit=60, limit=limit))
    assert zone.oned.rows[new].vms == (there,)
    assert zone.clock.now - begun <= min(limit, LAG) + 4


def test_a_vm_that_the_pool_shows_late_is_moved(zone: Zone) -> None:
    old, new = two_hosts(zone)
    vm = zone.oned.run_machine(old)
    late = zone.oned.machine_rows.pop(vm)
    zone.clock.at_tick = lambda: zone.oned.machine_rows.setdefault(vm, late)
    zone.rules.remove(old, "old", LIVE)
    assert zone.oned.rows[new].vms == (vm,)


def test_without_a_drain_a_number_that_no_vm_has_is_listed_too(zone: Zone) -> None:
    old, _ = two_hosts(zone)
    lost = zone.oned.run_machine(old)
    del zone.oned.machine_rows[lost]
    with pytest.raises(HostInUse, match="onedb fsck"):
        zone.rules.remove(old, "old")


def test_vms_that_keep_coming_do_not_outlast_the_limit(zone: Zone) -> None:
    old, _ = two_hosts(zone)
    zone.oned.migrated = lambda vm: zone.oned.change_machine(vm, lcm_state=4)
    zone.oned.run_machine(old)
    read = zone.oned.host

    def host(host_id: int) -> HostRecord:
        zone.oned.run_machine(old)
        zone.clock.now += 1
        assert zone.clock.now < 2000
        return read(host_id)

    zone.oned.host = host  # type: ignore[method-assign]
    with pytest.raises(HostInUse, match="the limit for the host, 100 s, is over"):
        zone.rules.remove(old, "old", DrainPolicy(mode=DrainMode.LIVE, vm_limit=60, limit=100))


# ---- maintenance


def test_maintenance_disables_and_drains_and_ends_by_enabling(zone: Zone) -> None:
    old, new = two_hosts(zone)
    vm = zone.oned.run_machine(old)
    zone.rules.update(old, KVM, MAINTENANCE, LIVE)
    row = zone.oned.rows[old]
    assert (row.state, row.vms) == (HostState.DISABLED, ())
    assert MAINTENANCE.as_seen(row) == MAINTENANCE
    assert zone.oned.rows[new].vms == (vm,)
    zone.rules.update(old, MAINTENANCE, KVM, LIVE)
    assert zone.oned.rows[old].admin_state is AdminState.ENABLED


def test_maintenance_that_cannot_be_reached_lists_the_vms_and_is_seen_as_disabled(zone: Zone) -> None:
    old, _ = two_hosts(zone)
    zone.oned.run_machine(old, "web")
    with pytest.raises(HostInUse) as caught:
        zone.rules.update(old, KVM, MAINTENANCE, NO_DRAIN)
    text = str(caught.value)
    assert "is disabled, but not empty for maintenance: 1 VM runs on it\n  0 web-0 (RUNNING)" in text
    assert "onehost enable 0" in text
    row = zone.oned.rows[old]
    assert row.state == HostState.DISABLED
    assert MAINTENANCE.as_seen(row).state is AdminState.DISABLED, "drift: the next run drains it again"
    zone.oned.end_machine(0)
    zone.rules.update(old, KVM, MAINTENANCE, NO_DRAIN)
    assert MAINTENANCE.as_seen(zone.oned.rows[old]) == MAINTENANCE


def test_a_disabled_host_that_goes_into_maintenance_is_drained(zone: Zone) -> None:
    old, new = two_hosts(zone)
    zone.oned.change(old, state=HostState.DISABLED)
    vm = zone.oned.run_machine(old)
    zone.rules.update(old, KVM, MAINTENANCE, LIVE)
    assert zone.oned.rows[new].vms == (vm,)
    assert zone.oned.counted()["set_state"] == 0


def test_a_new_host_can_be_registered_for_maintenance(zone: Zone) -> None:
    host_id = zone.rules.register(MAINTENANCE, AdoptPolicy.MATCHING, LIVE)
    assert zone.oned.rows[host_id].state == HostState.DISABLED
    assert zone.run_again().register(MAINTENANCE, AdoptPolicy.MATCHING, LIVE) == host_id
    assert zone.oned.counted()["set_state"] == 1


def test_a_vm_that_comes_between_the_look_and_the_disabling_is_moved_too(zone: Zone) -> None:
    old, new = two_hosts(zone)
    set_state = zone.oned.set_state

    def late(host_id: int, state: AdminState) -> None:
        zone.oned.run_machine(host_id)
        set_state(host_id, state)

    zone.oned.set_state = late  # type: ignore[method-assign]
    zone.rules.update(old, KVM, MAINTENANCE, LIVE)
    assert zone.oned.rows[old].vms == ()
    assert zone.oned.rows[new].vms == (0,)
