"""When FleetReady is content, and what it says when it is not. All in simulated time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies

from components.registration.client import AdminState, HostState, Sample
from components.registration.errors import FleetNotReady, Unavailable
from components.registration.readiness import Cadence, Expected, wait_for_fleet
from tests.registration.memory import ManualClock
from tests.registration.monitord import Machine, MonitoredZone

CADENCE = Cadence(limit=600, poll=2, reprobe=20, interval=180, push_target="10.0.0.1:30424")


PROBED = [("set_state", 0, AdminState.OFFLINE), ("set_state", 0, AdminState.ENABLED)]


class Fleet:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.zone = MonitoredZone(self.clock)
        self.expected: list[Expected] = []

    def add(self, name: str, machine: Machine | None = None, **more: object) -> int:
        host_id = self.zone.add(name, machine, **more)
        self.expected.append(Expected(id=host_id, name=name))
        return host_id

    def wait(self, cadence: Cadence = CADENCE) -> float:
        """Simulated seconds until the fleet was ready."""
        begun = self.clock.now
        states = wait_for_fleet(self.zone, self.expected, cadence, self.clock)
        assert set(states.values()) <= {"MONITORED", "DISABLED", "OFFLINE"}
        return self.clock.now - begun

    def fails(self, cadence: Cadence = CADENCE) -> str:
        with pytest.raises(FleetNotReady) as caught:
            self.wait(cadence)
        return str(caught.value)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def test_fresh_hosts_are_ready_soon_after_their_first_push(fleet: Fleet) -> None:
    fleet.add("kvm-1")
    fleet.add("lxc-1")
    assert fleet.wait() <= 6


def test_one_look_is_enough_for_a_fleet_that_has_long_been_monitored(fleet: Fleet) -> None:
    for number in range(100):
        fleet.add(f"h-{number}")
    fleet.clock.sleep(1)
    for _ in range(600):
        fleet.clock.sleep(1)
    fleet.zone.calls.clear()
    assert fleet.wait() == 0
    assert len(fleet.zone.calls) == 2


def everyone(fleet: Fleet) -> set[int]:
    return {host.id for host in fleet.expected}


def test_changed_monitoring_is_proved_anew_however_long_the_history(fleet: Fleet) -> None:
    """The old clients push to the old address, for the old key: each host is probed again, once, and must push then."""
    fleet.add("kvm-1")
    fleet.add("lxc-1")
    for _ in range(600):
        fleet.clock.sleep(1)
    fleet.zone.calls.clear()
    begun = fleet.clock.now
    wait_for_fleet(fleet.zone, fleet.expected, CADENCE, fleet.clock, stale=everyone(fleet))
    assert fleet.clock.now > begun
    probed = [call for call in fleet.zone.calls if call[0] == "set_state"]
    assert sorted(str(call[1]) for call in probed) == ["0", "0", "1", "1"]


def test_changed_monitoring_that_blocks_the_push_is_not_hidden_by_the_history(fleet: Fleet) -> None:
    fleet.add("kvm-1")
    for _ in range(600):
        fleet.clock.sleep(1)
    fleet.zone.machines[0].pushes = False
    with pytest.raises(FleetNotReady):
        wait_for_fleet(fleet.zone, fleet.expected, CADENCE, fleet.clock, stale=everyone(fleet))


def test_hosts_that_just_came_up_are_not_probed_twice(fleet: Fleet) -> None:
    host_id = fleet.add("kvm-1")
    fleet.clock.sleep(2)
    wait_for_fleet(fleet.zone, fleet.expected, CADENCE, fleet.clock, stale=everyone(fleet) - {host_id})
    assert [call for call in fleet.zone.calls if call[0] == "set_state"] == []


@pytest.mark.parametrize("age", [2, 5, 60])
def test_hosts_that_came_up_before_the_change_are_probed_however_young_they_are(fleet: Fleet, age: int) -> None:
    """A run that was killed after it had registered them, then other remote scripts: nobody else brings those."""
    fleet.add("kvm-1")
    fleet.clock.sleep(age)
    wait_for_fleet(fleet.zone, fleet.expected, CADENCE, fleet.clock, stale=everyone(fleet))
    assert [call for call in fleet.zone.calls if call[0] == "set_state"] == PROBED


def test_a_host_that_was_monitored_without_any_number_is_probed_anew(fleet: Fleet) -> None:
    fleet.add("kvm-1", state=HostState.MONITORED)
    fleet.zone.machines[0].last_heard = fleet.clock.now
    wait_for_fleet(fleet.zone, fleet.expected, CADENCE, fleet.clock, stale=everyone(fleet))
    assert [call for call in fleet.zone.calls if call[0] == "set_state"] == PROBED


def test_a_host_that_a_lagging_server_lists_late_is_probed_anew(fleet: Fleet) -> None:
    fleet.add("kvm-1")
    for _ in range(600):
        fleet.clock.sleep(1)
    fleet.zone.lag, fleet.zone._before = 2, ()
    wait_for_fleet(fleet.zone, fleet.expected, CADENCE, fleet.clock, stale=everyone(fleet))
    assert [call for call in fleet.zone.calls if call[0] == "set_state"] == PROBED


@pytest.mark.parametrize("state", [AdminState.DISABLED, AdminState.MAINTENANCE])
def test_disabled_hosts_get_the_scripts_too_and_are_not_waited_for(fleet: Fleet, state: AdminState) -> None:
    """monitord starts probes for what comes from OFFLINE, to whatever state; a host that is switched off stops nobody."""
    fleet.add("kvm-1")
    for name, machine in (("off", Machine()), ("dead", Machine(ssh_works_from=1e9))):
        host_id = fleet.zone.add(name, machine, state=HostState.DISABLED)
        fleet.expected.append(Expected(id=host_id, name=name, state=state))
    begun = fleet.clock.now
    states = wait_for_fleet(fleet.zone, fleet.expected, CADENCE, fleet.clock, stale=everyone(fleet))
    assert fleet.clock.now - begun < 20
    assert (states["off"], states["dead"]) == (state.name, state.name)
    for host_id in (1, 2):
        sent = [call[2] for call in fleet.zone.calls if call[:2] == ("set_state", host_id)]
        assert sent == [AdminState.OFFLINE, AdminState.DISABLED]
        assert fleet.zone.rows[host_id].state == HostState.DISABLED
    assert fleet.zone.machines[1].records, "its probes ran"


def test_disabled_hosts_are_left_alone_without_a_change_and_when_they_are_not_what_is_declared(fleet: Fleet) -> None:
    found = {"enabled": HostState.MONITORED, "renamed": HostState.DISABLED, "off": HostState.DISABLED}
    for name, state in found.items():
        host_id = fleet.zone.add(name, state=state)
        fleet.expected.append(Expected(id=host_id, name=name, state=AdminState.DISABLED))
    fleet.zone.change(1, name="somebody-elses")
    wait_for_fleet(fleet.zone, fleet.expected, CADENCE, fleet.clock)
    wait_for_fleet(fleet.zone, fleet.expected, CADENCE, fleet.clock, stale=everyone(fleet) - {2})
    assert fleet.zone.counted()["set_state"] == 0


def test_a_disabled_host_that_a_killed_run_left_offline_is_disabled_again(fleet: Fleet) -> None:
    host_id = fleet.zone.add("off", state=HostState.OFFLINE)
    fleet.expected.append(Expected(id=host_id, name="off", state=AdminState.DISABLED))
    fleet.zone.lose("set_state", executed=True)
    wait_for_fleet(fleet.zone, fleet.expected, CADENCE, fleet.clock, stale=everyone(fleet))
    assert fleet.zone.rows[host_id].state == HostState.DISABLED
    assert fleet.zone.counted()["set_state"] == 1


def test_a_forced_update_is_not_taken_for_a_push(fleet: Fleet) -> None:
    """What an operator does after the message about the blocked port, and then runs `pulumi up` again."""
    fleet.add("kvm-1", Machine(pushes=False))
    for second in range(90):
        fleet.clock.sleep(1)
        if second == 60:
            fleet.zone.set_state(0, AdminState.OFFLINE)
            fleet.zone.set_state(0, AdminState.ENABLED)
    assert len(fleet.zone.machines[0].records) == 2
    fleet.fails()


def test_a_first_push_in_the_second_of_the_ssh_reply_costs_one_period(fleet: Fleet) -> None:
    """Records have whole seconds and one replaces another of the same second."""
    fleet.add("kvm-1", Machine(push_every=30))
    fleet.clock.sleep(2)
    fleet.clock.sleep(2)
    fleet.zone.machines[0].records = fleet.zone.machines[0].records[:1]
    assert 20 < fleet.wait() <= 34


def test_two_calls_a_poll_however_large_the_fleet(fleet: Fleet) -> None:
    for number in range(200):
        fleet.add(f"h-{number}", Machine(ssh_takes=30))
    fleet.wait()
    calls = fleet.zone.counted()
    assert calls["hosts"] == calls["monitoring"]
    assert calls["host"] == 0


def test_monitored_by_ssh_alone_is_not_ready(fleet: Fleet) -> None:
    """The state says MONITORED from the second second on; the push path is blocked."""
    fleet.add("kvm-1", Machine(pushes=False))
    text = fleet.fails()
    assert fleet.zone.rows[0].state == HostState.MONITORED
    assert "1 of 1 enabled hosts are not monitored after 600 s" in text
    assert "kvm-1 (id 0): MONITORED, but its answer over SSH arrived and nothing is pushed, probed anew 3 times" in text
    assert "is 10.0.0.1:30424 (UDP and TCP) blocked" in text


@settings(max_examples=60, deadline=None)
@given(
    age=strategies.integers(0, 900),
    ssh=strategies.floats(0.5, 20),
    poll=strategies.floats(0.5, 30),
    interval=strategies.integers(30, 300),
)
def test_re_probes_alone_never_pass_for_pushes(age: int, ssh: float, poll: float, interval: int) -> None:
    fleet = Fleet()
    fleet.zone.interval = interval
    fleet.add("kvm-1", Machine(pushes=False, ssh_takes=ssh))
    for _ in range(age):
        fleet.clock.sleep(1)
    fleet.fails(Cadence(limit=900, poll=poll, reprobe=20, interval=interval))


@settings(max_examples=60, deadline=None)
@given(
    age=strategies.integers(0, 900),
    ssh=strategies.floats(0.5, 20),
    period=strategies.integers(5, 120),
    poll=strategies.floats(0.5, 30),
    ssh_works_from=strategies.integers(0, 100),
)
def test_a_host_that_pushes_is_always_found_ready(
    age: int, ssh: float, period: int, poll: float, ssh_works_from: int
) -> None:
    fleet = Fleet()
    fleet.add("kvm-1", Machine(push_every=period, ssh_takes=ssh, ssh_works_from=1_000 + ssh_works_from))
    for _ in range(age):
        fleet.clock.sleep(1)
    assert fleet.wait(Cadence(limit=600, poll=poll, reprobe=20, interval=180)) < 300


def test_a_host_key_published_late_is_healed_by_probing_again(fleet: Fleet) -> None:
    fleet.add("kvm-1", Machine(ssh_works_from=1_060))
    assert fleet.wait() < 60 + 20 + 10
    sent = [call for call in fleet.zone.calls if call[0] == "set_state"]
    assert sent[:2] == [("set_state", 0, AdminState.OFFLINE), ("set_state", 0, AdminState.ENABLED)]
    assert 4 <= len(sent) <= 10, "every 20 seconds, not with every poll"


def test_only_hosts_in_error_are_probed_again(fleet: Fleet) -> None:
    fleet.add("slow", Machine(ssh_takes=60))
    fleet.add("good")
    fleet.wait()
    assert fleet.zone.counted()["set_state"] == 0


def test_an_ssh_answer_before_an_error_and_one_after_are_not_a_push(fleet: Fleet) -> None:
    fleet.add("kvm-1", Machine(pushes=False))
    fleet.clock.at_tick = lambda: _run_and_fail_once(fleet)
    assert "nothing is pushed" in fleet.fails(Cadence(limit=170, poll=2, reprobe=20, interval=180))
    assert len(fleet.zone.machines[0].records) == 2


def _run_and_fail_once(fleet: Fleet) -> None:
    fleet.zone.run()
    machine = fleet.zone.machines[0]
    if len(machine.records) == 1 and fleet.clock.now > 1_030 and fleet.zone.rows[0].state == HostState.MONITORED:
        fleet.zone.change(0, state=HostState.ERROR, error="gone for a moment")


def test_a_first_probe_that_a_restarted_oned_forgot_is_made(fleet: Fleet) -> None:
    fleet.add("kvm-1", Machine(push_every=10))
    machine = fleet.zone.machines[0]
    machine.answer_due, machine.last_heard = None, fleet.clock.now
    assert 100 <= fleet.wait() <= 100 + 20
    assert fleet.zone.counted()["set_state"] == 2


def test_the_answers_of_two_first_probes_are_not_a_push(fleet: Fleet) -> None:
    """The first hangs for so long that a second is started, and then both answer."""
    fleet.add("kvm-1", Machine(pushes=False, ssh_takes=1e9))
    machine = fleet.zone.machines[0]

    def run() -> None:
        fleet.zone.run()
        if fleet.zone.counted()["set_state"] == 2 and len(machine.records) < 2:
            fleet.zone._answer(0, machine, fleet.clock.now)

    fleet.clock.at_tick = run
    assert "nothing is pushed" in fleet.fails(Cadence(limit=270, poll=2, interval=180))
    assert len(machine.records) == 2


def test_a_host_left_offline_by_a_killed_run_is_enabled(fleet: Fleet) -> None:
    fleet.add("kvm-1", state=HostState.OFFLINE)
    assert fleet.wait() <= 8
    assert fleet.zone.counted()["set_state"] == 1


def test_a_lost_answer_while_probing_again_is_not_the_end(fleet: Fleet) -> None:
    fleet.add("kvm-1", Machine(ssh_works_from=1_010))
    fleet.zone.lose("set_state", executed=True)
    fleet.zone.lose("set_state", executed=False)
    assert fleet.wait() < 90


def test_disabled_and_offline_hosts_are_not_waited_for(fleet: Fleet) -> None:
    fleet.add("kvm-1")
    dark = fleet.zone.add("dark", state=HostState.OFFLINE)
    off = fleet.zone.add("off", state=HostState.DISABLED)
    fleet.expected.append(Expected(id=dark, name="dark", state=AdminState.OFFLINE))
    fleet.expected.append(Expected(id=off, name="off", state=AdminState.DISABLED))
    assert fleet.wait() <= 6
    assert fleet.zone.counted()["set_state"] == 0


def test_an_empty_fleet_is_ready_without_a_call(fleet: Fleet) -> None:
    assert fleet.wait() == 0
    assert fleet.zone.calls == []


def test_the_error_lists_each_host_with_its_reason_and_the_next_command(fleet: Fleet) -> None:
    fleet.add("good")
    fleet.add("badkey", Machine(ssh_works_from=1e9))
    fleet.add("silent", Machine(ssh_takes=1e9))
    fleet.add("disabled", state=HostState.DISABLED)
    renamed = fleet.add("renamed")
    fleet.zone.change(renamed, name="other")
    gone = fleet.add("gone")
    del fleet.zone.rows[gone]
    text = fleet.fails(Cadence(limit=60, poll=2, reprobe=20, interval=180))
    assert "5 of 6 enabled hosts are not monitored after 60 s" in text
    for line in (
        "badkey (id 1): ERROR: Host key verification failed. Next: look for 'badkey' in /var/log/one/monitor.log",
        "silent (id 2): INIT: no answer to the first probe; SSH hangs, or oned has no driver 'kvm'. Next: look for",
        "disabled (id 3): is DISABLED though declared enabled. Next: `onehost enable 3`",
        "renamed (id 4): is now called 'other'. Next: `pulumi refresh`",
        "gone (id 5): oned has no such host. Next: `pulumi refresh`",
    ):
        assert line in text, line
    assert "good (id 0)" not in text


def test_no_host_that_can_still_come_ends_the_wait_early(fleet: Fleet) -> None:
    fleet.add("disabled", state=HostState.DISABLED)
    fleet.fails()
    assert fleet.clock.now - 1_000 < 20


def test_a_list_that_lags_is_no_reason_to_give_up(fleet: Fleet) -> None:
    fleet.add("kvm-1")
    fleet.zone.lag = 2
    assert fleet.wait() <= 10


def test_a_thousand_failures_are_told_in_fifty_lines(fleet: Fleet) -> None:
    for number in range(1000):
        fleet.add(f"h-{number}", Machine(ssh_takes=1e9))
    text = fleet.fails(Cadence(limit=10, poll=2, reprobe=20, interval=180))
    assert "1000 of 1000" in text
    assert "… and 950 more" in text
    assert len(text.splitlines()) < 60


def test_an_unreachable_oned_is_not_mistaken_for_a_fleet_that_is_not_ready(fleet: Fleet) -> None:
    fleet.add("kvm-1")

    def broken(seconds: int) -> tuple[Sample, ...]:
        raise Unavailable(f"read the last {seconds} s", "down")

    fleet.zone.monitoring = broken  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        fleet.wait()


def test_the_first_error_is_told_once_and_only_if_there_is_one(fleet: Fleet) -> None:
    told: list[float] = []

    def tell() -> None:
        told.append(fleet.clock.now)

    fleet.add("kvm-1")
    wait_for_fleet(fleet.zone, fleet.expected, CADENCE, fleet.clock, first_error=tell)
    assert told == []
    fleet.add("kvm-2", Machine(ssh_works_from=fleet.clock.now + 60))
    fleet.add("kvm-3", Machine(ssh_works_from=fleet.clock.now + 60))
    wait_for_fleet(fleet.zone, fleet.expected, CADENCE, fleet.clock, first_error=tell)
    assert len(told) == 1


def test_every_look_tells_how_far_it_is(fleet: Fleet) -> None:
    for number in range(6):
        fleet.add(f"h-{number}")
    told: list[tuple[int, int]] = []
    wait_for_fleet(
        fleet.zone, fleet.expected, CADENCE, fleet.clock, progress=lambda done, total: told.append((done, total))
    )
    assert told[0] == (0, 6) and told[-1] == (6, 6)
    assert told == sorted(told)
