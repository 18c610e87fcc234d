"""The rules of registration, one situation a test, against oned in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from components.registration.client import AdminState, HostState
from components.registration.drain import DrainMode, DrainPolicy
from components.registration.errors import (
    Ambiguous,
    DuplicateHosts,
    HostInUse,
    Inconsistent,
    NameTaken,
    NotFound,
)
from components.registration.spec import AdoptPolicy, HostSpec
from components.registration.template import WRITTEN_BY_ONED
from tests.registration.conftest import Zone

KVM = HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm")
MATCHING = AdoptPolicy.MATCHING


def test_a_new_host_is_allocated_once_and_confirmed(zone: Zone) -> None:
    assert zone.rules.register(KVM, MATCHING) == 0
    assert zone.oned.ids("kvm-1") == [0]
    assert zone.oned.counted() == {"hosts": 2, "allocate": 1}


def test_two_calls_a_host_and_five_more(zone: Zone) -> None:
    for number in range(50):
        zone.rules.register(HostSpec(name=f"kvm-{number}", im_mad="kvm", vm_mad="kvm"), MATCHING)
    assert len(zone.oned.calls) <= 2 * 50 + 5


@pytest.mark.parametrize(
    ("policy", "mark"), [(MATCHING, "them"), (AdoptPolicy.REFUSE, "them"), (AdoptPolicy.REFUSE, "")]
)
def test_a_lost_answer_does_not_make_anothers_host_ours(zone: Zone, policy: AdoptPolicy, mark: str) -> None:
    """Somebody was faster since the list that was looked at, which may be some seconds old; oned refused, and that was lost."""
    ours = replace(KVM, owner="us")
    zone.rules.register(replace(ours, name="kvm-2"), MATCHING)  # the list
    foreign = zone.oned.insert("kvm-1", template={"MANAGED_BY": mark} if mark else {})
    before = zone.oned.rows[foreign]
    zone.oned.lose("allocate", executed=False)
    with pytest.raises(NameTaken, match=f"is taken by host {foreign}"):
        zone.rules.register(ours, policy)
    assert zone.oned.rows[foreign] == before


def test_everything_declared_is_written_with_one_update(zone: Zone) -> None:
    zone.oned.cluster_names[100] = "prod"
    spec = HostSpec(
        name="kvm-1",
        im_mad="kvm",
        vm_mad="kvm",
        cluster="prod",
        labels={"RACK": "r1"},
        reserved_cpu="100",
        state=AdminState.DISABLED,
        owner="team-a",
    )
    row = zone.oned.rows[zone.rules.register(spec, MATCHING)]
    assert (row.cluster, row.state) == ("prod", HostState.DISABLED)
    assert {"RACK": "r1", "RESERVED_CPU": "100", "MANAGED_BY": "team-a"}.items() <= row.template.items()
    assert zone.oned.counted()["update"] == 1
    assert zone.oned.counted()["move"] == 0, "allocate takes the cluster"


def test_labels_are_read_back_by_the_list_that_proves_the_name(zone: Zone) -> None:
    """No call of its own; and what oned answered to, but has not got, is written again."""
    spec = HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", labels={"RACK": "r1"})
    zone.rules.register(spec, MATCHING)
    assert [call[0] for call in zone.oned.calls if call[0] != "clusters"] == ["hosts", "allocate", "update", "hosts"]

    real, lost = zone.oned.update, iter([True])

    def update(host_id: int, attributes: Mapping[str, str]) -> None:
        real(host_id, {} if next(lost, False) else attributes)

    zone.oned.update = update  # type: ignore[method-assign]
    host_id = zone.rules.register(HostSpec(name="kvm-2", im_mad="kvm", vm_mad="kvm", labels={"RACK": "r2"}), MATCHING)
    assert zone.oned.rows[host_id].attribute("RACK") == "r2"


def test_a_lost_answer_to_the_labels_of_a_new_host_is_looked_up(zone: Zone) -> None:
    spec = HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", labels={"RACK": "r1"})
    zone.oned.lose("update", executed=True)
    zone.rules.register(spec, MATCHING)
    assert zone.oned.counted()["update"] == 1
    assert zone.oned.rows[0].attribute("RACK") == "r1"


def test_an_unknown_cluster_is_refused_before_anything_is_registered(zone: Zone) -> None:
    with pytest.raises(NotFound, match=r"no cluster 'prod'.*it knows default.*onecluster create prod"):
        zone.rules.register(HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", cluster="prod"), MATCHING)
    assert zone.oned.rows == {}


def test_a_cluster_made_later_in_the_same_run_is_found(zone: Zone) -> None:
    spec = HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", cluster="prod")
    with pytest.raises(NotFound):
        zone.rules.register(spec, MATCHING)
    zone.oned.cluster_names[100] = "prod"
    assert zone.oned.rows[zone.rules.register(spec, MATCHING)].cluster_id == 100


# ---- adoption


def test_lost_state_is_healed_by_adoption(zone: Zone) -> None:
    first = zone.rules.register(KVM, MATCHING)
    assert zone.run_again().register(KVM, MATCHING) == first
    assert zone.oned.counted()["allocate"] == 1


def test_adoption_brings_the_declared_fields_and_leaves_the_probes_alone(zone: Zone) -> None:
    zone.oned.insert(
        "kvm-1", template={"ARCH": "x86_64", "IM_MAD": "kvm", "VM_MAD": "kvm", "NOTE": "by hand", "MANAGED_BY": "a"}
    )
    zone.rules.register(HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", labels={"RACK": "r1"}, owner="a"), MATCHING)
    assert zone.oned.rows[0].template == {
        "ARCH": "x86_64", "IM_MAD": "kvm", "VM_MAD": "kvm", "NOTE": "by hand", "RACK": "r1", "MANAGED_BY": "a",
    }  # fmt: skip


@pytest.mark.parametrize("state", [HostState.ERROR, HostState.MONITORED, HostState.INIT])
def test_adoption_of_an_enabled_host_does_not_touch_its_state(zone: Zone, state: HostState) -> None:
    zone.oned.insert("kvm-1", state=state)
    zone.rules.register(KVM, MATCHING)
    assert zone.oned.counted() == {"hosts": 1, "host": 2}


def test_policy_refuse_takes_over_nothing(zone: Zone) -> None:
    zone.oned.insert("kvm-1")
    with pytest.raises(NameTaken, match=r"taken by host 0: the policy is to take over no host.*onehost show 0"):
        zone.rules.register(KVM, AdoptPolicy.REFUSE)


def test_policy_matching_refuses_other_drivers_and_names_both(zone: Zone) -> None:
    zone.oned.insert("kvm-1", "lxc", "lxc")
    with pytest.raises(NameTaken, match="its drivers are lxc/lxc, declared are kvm/kvm"):
        zone.rules.register(KVM, MATCHING)
    assert zone.oned.rows[0].im_mad == "lxc"


def test_a_stack_without_an_owner_takes_no_host_that_bears_a_mark(zone: Zone) -> None:
    marked = HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", owner="stack-a")
    host_id = zone.rules.register(marked, MATCHING)
    before = zone.oned.rows[host_id]
    with pytest.raises(NameTaken, match=r"belongs to stack-a .*this stack has no owner") as caught:
        zone.run_again().register(KVM, MATCHING)
    assert "`always`" in str(caught.value)
    assert zone.oned.rows[host_id] == before, "nothing foreign is touched"
    assert zone.run_again().register(KVM, AdoptPolicy.ALWAYS) == host_id
    assert zone.run_again().register(marked, MATCHING) == host_id, "the owner's own lost state heals"


def test_policy_matching_refuses_a_host_of_another_stack(zone: Zone) -> None:
    mine = HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", owner="stack-b")
    zone.rules.register(HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", owner="stack-a"), MATCHING)
    with pytest.raises(NameTaken, match="it belongs to stack-a"):
        zone.run_again().register(mine, MATCHING)
    assert zone.run_again().register(mine, AdoptPolicy.ALWAYS) == 0
    assert zone.oned.rows[0].attribute("MANAGED_BY") == "stack-b"


def test_what_a_killed_run_left_without_its_mark_is_adopted_and_marked(zone: Zone) -> None:
    """Between the allocate and the mark, and then monitored for a while."""
    spec = HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", labels={"RACK": "r1"}, owner="stack-a")

    def killed(host_id: int, attributes: Mapping[str, str]) -> None:
        raise KeyboardInterrupt(host_id, attributes)

    real, zone.oned.update = zone.oned.update, killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        zone.rules.register(spec, MATCHING)
    zone.oned.update = real  # type: ignore[method-assign]
    seen = dict.fromkeys(WRITTEN_BY_ONED - {"IM_MAD", "VM_MAD"}, "1")
    zone.oned.change(0, state=HostState.MONITORED, template={**zone.oned.rows[0].template, **seen})
    assert zone.run_again().register(spec, MATCHING) == 0
    assert zone.oned.rows[0].attribute("MANAGED_BY") == "stack-a"


@pytest.mark.parametrize(
    ("used", "told"),
    [
        ({"running_vms": 2}, "2 VMs are on it"),
        ({"cluster_id": 100, "cluster": "prod"}, "it is in cluster 'prod'"),
        ({"state": HostState.DISABLED}, "it is disabled"),
        ({"state": HostState.OFFLINE}, "it is offline"),
        ({"template": {"IM_MAD": "kvm", "VM_MAD": "kvm", "NOTE": "x", "RACK": "1"}}, "it has NOTE, RACK"),
        ({"template": {"IM_MAD": "kvm", "VM_MAD": "kvm", "RESERVED_CPU": "100"}}, "it has RESERVED_CPU"),
    ],
)
def test_a_host_without_a_mark_that_somebody_uses_is_adopted_only_on_purpose(
    zone: Zone, used: Mapping[str, object], told: str
) -> None:
    spec = HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", owner="stack-a")
    zone.oned.cluster_names[100] = "prod"
    zone.oned.insert("kvm-1", **used)  # type: ignore[arg-type]
    before = zone.oned.rows[0]
    with pytest.raises(NameTaken, match=rf"bears no mark .*MANAGED_BY.*somebody uses it: {told}\. Next: .*`always`"):
        zone.rules.register(spec, MATCHING)
    assert zone.oned.rows[0] == before, "nothing foreign is touched"
    assert zone.run_again().register(spec, AdoptPolicy.ALWAYS) == 0
    assert zone.run_again().register(spec, MATCHING) == 0, "it bears the mark now"


def test_policy_always_sets_the_drivers(zone: Zone) -> None:
    zone.oned.insert("kvm-1", "lxc", "lxc")
    assert zone.rules.register(KVM, AdoptPolicy.ALWAYS) == 0
    assert (zone.oned.rows[0].im_mad, zone.oned.rows[0].vm_mad) == ("kvm", "kvm")


def test_a_name_that_differs_in_case_is_refused_with_the_reason(zone: Zone) -> None:
    zone.oned.insert("KVM-1")
    with pytest.raises(NameTaken, match="without regard to case"):
        zone.rules.register(KVM, AdoptPolicy.ALWAYS)


def test_two_rows_of_one_name_are_an_error_that_lists_them_and_deletes_nothing(zone: Zone) -> None:
    zone.oned.insert("kvm-1")
    zone.oned.insert("kvm-1")
    with pytest.raises(DuplicateHosts, match=r"exists 2 times.*ids 0, 1.*onehost delete"):
        zone.rules.register(KVM, AdoptPolicy.ALWAYS)
    assert zone.oned.counted()["delete"] == 0
    assert len(zone.oned.rows) == 2


def test_a_list_of_some_seconds_ago_decides_nothing(zone: Zone) -> None:
    """What it shows is looked at again: renamed, deleted, or no longer double."""
    for number in range(2):
        zone.oned.insert("kvm-1")
        zone.oned.insert(f"gone-{number}")
    zone.rules.observe(0)
    zone.oned.change(2, name="renamed")
    del zone.oned.rows[1], zone.oned.rows[3]
    for name in ("kvm-1", "gone-0", "gone-1"):
        spec = HostSpec(name=name, im_mad="kvm", vm_mad="kvm")
        host_id = zone.rules.register(spec, MATCHING)
        assert zone.oned.ids(name) == [host_id]
    assert zone.oned.rows[2].name == "renamed"


def test_a_renamed_host_is_not_taken_for_the_one_that_had_its_name(zone: Zone) -> None:
    zone.oned.insert("kvm-1")
    zone.rules.observe(0)
    zone.oned.change(0, name="renamed")
    assert zone.rules.register(KVM, MATCHING) == 1


# ---- changes in place


def test_an_update_writes_only_what_differs(zone: Zone) -> None:
    before = HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", labels={"RACK": "r1", "ROOM": "a"})
    zone.rules.register(before, MATCHING)
    zone.oned.calls.clear()
    zone.rules.update(0, before, HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", labels={"RACK": "r2", "ROOM": "a"}))
    assert zone.oned.calls == [("host", 0), ("update", 0, {"RACK": "r2"})]


def test_what_is_no_longer_declared_is_emptied_and_never_by_replacing_the_template(zone: Zone) -> None:
    before = HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", labels={"RACK": "r1"}, reserved_cpu="100")
    zone.rules.register(before, MATCHING)
    zone.oned.change(0, template={**zone.oned.rows[0].template, "ARCH": "x86_64"})
    zone.rules.update(0, before, KVM)
    template = zone.oned.rows[0].template
    assert (template["RACK"], template["RESERVED_CPU"], template["ARCH"]) == ("", "", "x86_64")


def test_an_update_of_a_renamed_host_stops(zone: Zone) -> None:
    zone.rules.register(KVM, MATCHING)
    zone.oned.change(0, name="renamed")
    with pytest.raises(Inconsistent, match="is called 'renamed'"):
        zone.rules.update(0, KVM, HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", labels={"A": "b"}))


@pytest.mark.parametrize("method", ["update", "move", "set_state"])
def test_a_lost_answer_to_a_change_is_looked_up(zone: Zone, method: str) -> None:
    zone.oned.cluster_names[100] = "prod"
    zone.rules.register(KVM, MATCHING)
    spec = HostSpec(
        name="kvm-1", im_mad="kvm", vm_mad="kvm", cluster="prod", labels={"A": "b"}, state=AdminState.OFFLINE
    )
    zone.oned.lose(method, executed=True)
    zone.rules.update(0, KVM, spec)
    zone.oned.lose(method, executed=False)
    with pytest.raises(Ambiguous):
        zone.rules.update(0, spec, KVM)


# ---- whose host it is

OURS = HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", owner="stack-a")
THEIRS = replace(OURS, owner="stack-b")


def taken_over(zone: Zone) -> int:
    """A host of stack-a that stack-b has taken over, and a new process of stack-a."""
    host_id = zone.rules.register(OURS, MATCHING)
    assert zone.run_again().register(THEIRS, AdoptPolicy.ALWAYS) == host_id
    zone.run_again()
    return host_id


def test_a_host_that_another_stack_has_taken_over_is_only_forgotten(
    zone: Zone, caplog: pytest.LogCaptureFixture
) -> None:
    host_id = taken_over(zone)
    before = zone.oned.rows[host_id]
    assert zone.rules.remove(host_id, "kvm-1", owner="stack-a") is False
    assert zone.oned.rows[host_id] == before
    assert "host kvm-1 (id 0) is only forgotten by this stack" in caplog.text
    assert "it belongs to stack-b now (MANAGED_BY)" in caplog.text
    assert zone.rules.remove(host_id, "kvm-1", owner="stack-b") is True


@pytest.mark.parametrize("owner", ["stack-a", None])
def test_a_number_that_is_another_hosts_now_is_only_forgotten(
    zone: Zone, caplog: pytest.LogCaptureFixture, owner: str | None
) -> None:
    host_id = zone.oned.insert("somebody-elses", state=HostState.MONITORED)
    zone.oned.run_machine(host_id)
    before = zone.oned.rows[host_id]
    live = DrainPolicy(mode=DrainMode.LIVE)
    assert zone.rules.remove(host_id, "kvm-5", live, owner=owner) is False
    assert zone.oned.rows[host_id] == before
    assert zone.oned.counted() == {"host": 1}
    assert "the number is host somebody-elses's now" in caplog.text


def test_a_host_of_before_there_were_marks_is_ours_by_the_state(zone: Zone) -> None:
    host_id = zone.oned.insert("kvm-1")
    zone.rules.update(host_id, replace(OURS, owner=None), OURS)
    assert zone.oned.rows[host_id].attribute("MANAGED_BY") == "stack-a"
    unmarked = zone.oned.insert("kvm-2")
    assert zone.rules.remove(unmarked, "kvm-2", owner=None) is True
    assert unmarked not in zone.oned.rows


def test_a_host_that_is_gone_and_that_another_stack_has_registered_anew_is_not_free_to_be_cleaned(zone: Zone) -> None:
    again = zone.oned.insert("kvm-1")
    assert zone.rules.remove(again + 7, "kvm-1") is False
    assert zone.rules.remove(again + 7, "kvm-2") is True
    assert again in zone.oned.rows


@pytest.mark.parametrize("spec", [replace(OURS, labels={"A": "b"}), replace(OURS, owner="renamed"), OURS])
def test_an_update_refuses_a_host_of_another_stack_and_names_the_ways_out(zone: Zone, spec: HostSpec) -> None:
    host_id = taken_over(zone)
    before = zone.oned.rows[host_id]
    with pytest.raises(
        NameTaken, match=r"\(id 0\) is not changed: it belongs to stack-b now .*this stack is"
    ) as caught:
        zone.rules.update(host_id, OURS, spec)
    assert "out of this stack's configuration" in str(caught.value) and "`always`" in str(caught.value)
    assert zone.oned.rows[host_id] == before
    zone.rules.update(host_id, OURS, spec, adopt=AdoptPolicy.ALWAYS)
    assert zone.oned.rows[host_id].attribute("MANAGED_BY") == spec.owner


def test_the_owner_of_a_stack_can_change_and_end(zone: Zone) -> None:
    host_id = zone.rules.register(OURS, MATCHING)
    zone.rules.update(host_id, OURS, replace(OURS, owner="renamed"))
    assert zone.oned.rows[host_id].attribute("MANAGED_BY") == "renamed"
    zone.rules.update(host_id, replace(OURS, owner="renamed"), replace(OURS, owner=None))
    assert zone.oned.rows[host_id].attribute("MANAGED_BY") == ""


def test_a_mark_that_somebody_has_emptied_is_written_again(zone: Zone) -> None:
    host_id = zone.rules.register(OURS, MATCHING)
    zone.oned.change(host_id, template={**zone.oned.rows[host_id].template, "MANAGED_BY": ""})
    assert OURS.as_seen(zone.oned.rows[host_id]) != OURS
    zone.rules.update(host_id, OURS, OURS)
    assert zone.oned.rows[host_id].attribute("MANAGED_BY") == "stack-a"


@pytest.mark.parametrize("adopt", [MATCHING, AdoptPolicy.ALWAYS])
def test_a_replacement_of_a_host_that_is_another_stacks_stops_or_takes_it_over(zone: Zone, adopt: AdoptPolicy) -> None:
    """Other drivers: the old resource is deleted first, which only forgets it, and then the new one is made."""
    host_id = taken_over(zone)
    zone.oned.run_machine(host_id)
    other = replace(OURS, im_mad="qemu", vm_mad="qemu")
    assert zone.rules.remove(host_id, "kvm-1", owner="stack-a") is False
    if adopt is AdoptPolicy.ALWAYS:
        assert zone.rules.register(other, adopt) == host_id
        assert zone.oned.rows[host_id].vm_mad == "qemu"
    else:
        with pytest.raises(NameTaken, match="belongs to stack-b"):
            zone.rules.register(other, adopt)
        assert zone.oned.rows[host_id].vm_mad == "kvm"


# ---- removal


def test_removing_what_is_gone_is_success(zone: Zone) -> None:
    zone.rules.remove(7, "kvm-1")


def test_a_host_with_vms_is_not_removed_and_the_error_counts_them(zone: Zone) -> None:
    zone.oned.insert("kvm-1", running_vms=3)
    with pytest.raises(HostInUse, match=r"'kvm-1' \(id 0\) is not removed: 3 VMs run on it.*onevm list"):
        zone.rules.remove(0, "kvm-1")
    assert 0 in zone.oned.rows


def test_a_lost_answer_to_a_delete_is_looked_up_and_not_sent_again(zone: Zone) -> None:
    zone.oned.insert("kvm-1")
    zone.oned.lose("delete", executed=True)
    zone.rules.remove(0, "kvm-1")
    zone.oned.insert("kvm-2")
    zone.oned.lose("delete", executed=False)
    with pytest.raises(Ambiguous):
        zone.rules.remove(1, "kvm-2")
    assert zone.oned.counted()["delete"] == 2


def test_a_host_taken_over_in_this_run_survives_the_deletion_of_its_old_resource(zone: Zone) -> None:
    """A logical name changed without an alias: the engine creates the new resource, then deletes the old one."""
    zone.oned.insert("kvm-1")
    zone.rules.register(KVM, MATCHING)
    zone.rules.remove(0, "kvm-1")
    assert 0 in zone.oned.rows
    zone.run_again().remove(0, "kvm-1")
    assert zone.oned.rows == {}


# ---- drift


def test_seven_kinds_of_drift_are_seen_and_monitored_values_are_none(zone: Zone) -> None:
    spec = HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", labels={"RACK": "r1"}, reserved_cpu="100")
    zone.oned.cluster_names[100] = "prod"
    zone.rules.register(spec, MATCHING)

    def seen() -> HostSpec | None:
        zone.clock.now += 60
        record = zone.rules.observe(0)
        return spec.as_seen(record) if record else None

    row = zone.oned.rows[0]
    template = {**row.template, "ARCH": "x86_64", "SOMEBODY_ELSES": "note"}
    for state in (HostState.INIT, HostState.MONITORED, HostState.ERROR):
        zone.oned.change(0, state=state, template=template, error="probe failed")
        assert seen() == spec
    for drift in (
        {"name": "renamed"},
        {"cluster_id": 100, "cluster": "prod"},
        {"state": HostState.DISABLED},
        {"im_mad": "lxc"},
        {"template": {**template, "RACK": "r2"}},
        {"template": {key: value for key, value in template.items() if key != "RESERVED_CPU"}},
    ):
        zone.oned.rows[0] = row
        zone.oned.change(0, **{"template": template, **drift})
        assert seen() != spec, drift
    del zone.oned.rows[0]
    assert seen() is None


def test_refreshing_a_thousand_hosts_takes_one_call(zone: Zone) -> None:
    for number in range(1000):
        zone.oned.insert(f"h-{number}")
    for number in range(1000):
        assert zone.rules.observe(number)
    assert zone.oned.counted() == {"hosts": 1}


def test_a_host_that_this_process_has_changed_is_read_anew(zone: Zone) -> None:
    zone.rules.register(KVM, MATCHING)
    zone.rules.observe(0)
    zone.rules.update(0, KVM, HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", state=AdminState.DISABLED))
    record = zone.rules.observe(0)
    assert record is not None
    assert record.admin_state is AdminState.DISABLED
