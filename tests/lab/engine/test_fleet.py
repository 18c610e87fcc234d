"""Progress of many hosts as counts, and failures by host with cause and next command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pulumi.automation import EngineEvent, OpType
from pulumi.automation.events import (
    DiagnosticEvent,
    ResOpFailedEvent,
    ResourcePreEvent,
    ResOutputsEvent,
    StepEventMetadata,
)

from components.registration.progress import counting
from lab import console
from lab.engine.failures import Failure, explain
from lab.engine.fleet import host_step
from lab.engine.logins import logins
from lab.engine.trace import Trace

BASE = "urn:pulumi:s::p::opennebula:index:ControlPlane$opennebula:index:Hosts$"
STACK_URN = "urn:pulumi:s::p::pulumi:pulumi:Stack::p-s"


def prepare(host: str) -> str:
    return f"{BASE}command:local:Command::hosts-prepare-{host}"


def register(host: str) -> str:
    return f"{BASE}pulumi-python:dynamic/opennebula:Host::hosts-{host}"


@pytest.mark.parametrize(
    ("urn", "operation", "step"),
    [
        (prepare("kvm-1"), "create", ("prepared", "kvm-1")),
        (register("kvm-1"), "same", ("registered", "kvm-1")),
        (register("prepare-1"), "create", ("registered", "prepare-1")),
        (register("kvm-1"), "delete", ("removed", "kvm-1")),
        (prepare("kvm-1"), "delete", None),
        (f"{BASE}pulumi-python:dynamic/opennebula:FleetReady::hosts-monitored", "create", None),
        ("urn:pulumi:s::p::opennebula:index:Oned$kubernetes:core/v1:Secret::oned-ssh", "create", None),
        (STACK_URN, "create", None),
    ],
)
def test_whose_step_it_is(urn: str, operation: str, step: tuple[str, str] | None) -> None:
    assert host_step(urn, operation) == step


class Run:
    """An engine's events on a clock of our own, and the lines that come of them."""

    def __init__(self, hosts: int, pace: float = 3.0) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.trace = Trace(self.lines.append, clock=lambda: self.now, hosts=hosts, pace=pace)

    def event(self, **parts: Any) -> None:
        self.trace.on_event(EngineEvent(sequence=1, timestamp=0, **parts))

    def step(self, urn: str, op: OpType = OpType.CREATE, *, failed: bool = False) -> None:
        fields = dict.fromkeys(("new", "old", "keys"))
        metadata = StepEventMetadata(op=op.value, urn=urn, type="t", provider="", logical=True, **fields)  # type: ignore[arg-type]
        self.event(resource_pre_event=ResourcePreEvent(metadata=metadata))
        if failed:
            self.event(res_op_failed_event=ResOpFailedEvent(metadata=metadata, status=1, steps=1))
        else:
            self.event(res_outputs_event=ResOutputsEvent(metadata=metadata))

    def message(self, text: str, severity: str = "info") -> None:
        self.event(diagnostic_event=DiagnosticEvent(message=text, color="", severity=severity))

    @property
    def counts(self) -> list[str]:
        return [line.partition("hosts: ")[2] for line in self.lines if "hosts: " in line]


def test_few_hosts_have_lines_of_their_own() -> None:
    run = Run(hosts=2)
    run.step(prepare("kvm-1"))
    run.trace.close()
    assert len(run.lines) == 1 and "hosts-prepare-kvm-1" in run.lines[0]


def test_many_hosts_are_counted_at_most_every_three_seconds() -> None:
    run = Run(hosts=100)
    for number in range(100):
        run.now += 0.1
        run.step(prepare(f"kvm-{number}"))
        run.step(register(f"kvm-{number}"))
    run.trace.close()
    assert len(run.lines) == 5
    assert run.counts[-1] == "prepared 100/100, registered 100/100"
    assert not any("\r" in line or "\x1b" in line for line in run.lines)


def test_a_failed_host_is_told_at_once_and_counted() -> None:
    run = Run(hosts=10)
    run.step(prepare("kvm-1"))
    run.step(prepare("kvm-2"), failed=True)
    assert "FAILED" in run.lines[-1] and "kvm-2" in run.lines[-1]
    run.trace.close()
    assert run.counts[-1] == "prepared 1/10 (1 failed)"


def test_what_the_registration_warns_of_is_told_for_some_hosts() -> None:
    run = Run(hosts=100)
    run.message("host kvm-1 is said to be lost: it stays\n\n", "info#err")
    run.message("no cluster for Leases\n", "info#err")
    run.message("host kvm-2 as some program prints it\n")
    assert [line.partition(" s  ")[2] for line in run.lines] == ["host kvm-1 is said to be lost: it stays"]
    for number in range(100):
        run.message(f"host kvm-{number} was there\n", "info#err")
    assert len(run.lines) == 20


def test_hosts_that_are_as_they_should_be_are_no_news() -> None:
    run = Run(hosts=100)
    for number in range(100):
        run.step(prepare(f"kvm-{number}"), OpType.SAME)
    run.trace.close()
    assert run.lines == []


def test_what_is_missing_is_counted_with_what_was_there() -> None:
    run = Run(hosts=10)
    for number in range(9):
        run.step(register(f"kvm-{number}"), OpType.SAME)
    run.step(register("kvm-9"))
    run.trace.close()
    assert run.counts[-1] == "registered 10/10"


def test_the_wait_for_monitoring_is_part_of_it() -> None:
    run = Run(hosts=100)
    for done in (12, 80):
        run.now += 5
        run.message(f"<{{%reset%}}>monitored {done}/100 hosts<{{%reset%}}>\n")
    run.message("something else")
    assert run.counts == ["monitored 12/100", "monitored 80/100"]


def test_more_may_leave_than_stay() -> None:
    run = Run(hosts=2)
    for number in range(20):
        run.now += 1
        run.step(register(f"kvm-{number}"), OpType.DELETE)
    for number in range(20):
        run.step(prepare(f"kvm-{number}"), OpType.DELETE)
    run.trace.close()
    assert run.counts[-1] == "removed 20"
    assert sum("deleted" in line for line in run.lines) < 5


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_wait_speaks_rarely_and_not_of_few_hosts() -> None:
    lines: list[str] = []
    clock = Clock()
    tell = counting(lines.append, clock)
    for done in range(101):
        clock.now += 0.5
        tell(done, 100)
    assert lines[0] == "monitored 0/100 hosts" and lines[-1] == "monitored 100/100 hosts"
    assert len(lines) == 11
    few = counting(lines.append, clock)
    few(1, 2)
    assert len(lines) == 11


def test_the_same_count_is_not_said_twice() -> None:
    lines: list[str] = []
    clock = Clock()
    tell = counting(lines.append, clock)
    for _ in range(100):
        clock.now += 5
        tell(3, 100)
    assert len(lines) == 1


# Failures

UNREACHABLE = "one-prepare: kvm-3: unreachable: no answer within 2 s from root@10.0.0.3:22; next: mend the network"
COMMANDS = {"kvm-3": "ssh -p 2222 deploy@10.0.0.3"}


def test_each_failed_host_has_its_cause_and_its_command() -> None:
    failures = [
        Failure(urn=prepare("kvm-3"), text=UNREACHABLE),
        Failure(urn=prepare("kvm-4"), text="kvm-4: apt: lock held; next: wait"),
        Failure(urn=prepare("kvm-5"), text="exit status 1: killed"),
    ]
    cause, fix = explain(failures, "up", hosts=20, commands=COMMANDS)
    lines = [line.strip() for line in cause.splitlines()]
    assert lines[0] == "3 of 20 hosts failed, the others are done:"
    assert lines[1] == f"kvm-3: {UNREACHABLE}" and lines[2] == "by hand: ssh -p 2222 deploy@10.0.0.3"
    assert lines[3].endswith("next: wait") and lines[4] == "kvm-5: exit status 1: killed"
    assert "touches only what is missing" in fix


def test_what_concerns_hosts_alone() -> None:
    wait = f"{BASE}pulumi-python:dynamic/opennebula:FleetReady::hosts-monitored"
    assert all(Failure(urn=urn, text="").of_hosts for urn in (prepare("a"), register("a"), wait))
    assert not any(Failure(urn=urn, text="").of_hosts for urn in ("", STACK_URN, f"{STACK_URN}-opennebula:FleetReady"))


def test_of_many_hosts_only_the_line_that_helps_is_told() -> None:
    text = "exit status 6: running a script:\none-bootstrap: step 3\none-bootstrap: h: disk full; next: make room"
    few = explain([Failure(urn=prepare("h-1"), text=text)], "up", hosts=9, commands={})[0]
    assert "step 3" in few and all(line.startswith(" ") for line in few.splitlines()[1:])
    many = [Failure(urn=prepare(f"h-{number}"), text=text) for number in range(9)]
    cause = explain(many, "up", hosts=9, commands={})[0]
    assert "step 3" not in cause and cause.count("disk full; next: make room") == 9


def test_hundreds_of_failed_hosts_are_a_page() -> None:
    failures = [Failure(urn=prepare(f"kvm-{number:03d}"), text=UNREACHABLE) for number in range(1, 301)]
    cause, _ = explain(failures, "up", hosts=1000, commands={})
    assert len(cause.splitlines()) < 50
    assert "and 280 more: kvm-[021-300]" in cause


def test_what_is_not_of_a_host_is_told_beside_it() -> None:
    pod = Failure(urn="urn:pulumi:s::p::a$kubernetes:apps/v1:StatefulSet::oned-statefulset", text="ErrImagePull")
    cause, fix = explain([Failure(urn=prepare("kvm-3"), text=UNREACHABLE), pod], "up", hosts=2, commands=COMMANDS)
    assert "the others are done" not in cause and "oned-statefulset: ErrImagePull" in cause
    assert "correct opennebula:images" in fix
    cause, fix = explain([pod], "up", hosts=2, commands={})
    assert cause == "oned-statefulset: ErrImagePull" and "goes on from there" in fix


def test_the_command_that_logs_in_is_the_stack_files(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    config = {
        "opennebula:ssh": {"user": "deploy", "bastion": {"host": "gate", "hostKey": "x", "user": "jump"}},
        "opennebula:hosts": [{"name": "a-1", "kind": "kvm", "address": "10.0.0.1", "port": 2222, "user": "root"}],
        "opennebula:hostGroups": {"g": {"kind": "kvm", "members": "b-[1-2]"}},
        "opennebula:sshPrivateKey": {"secure": "v1:xxx"},
    }
    file.write_text(yaml.safe_dump({"config": config}))
    assert logins(file) == {
        "a-1": "ssh -J jump@gate:22 -p 2222 root@10.0.0.1",
        "b-1": "ssh -J jump@gate:22 deploy@b-1",
        "b-2": "ssh -J jump@gate:22 deploy@b-2",
    }
    assert logins(tmp_path / "missing") == {}


def test_a_log_has_fewer_lines_than_a_terminal() -> None:
    watched, logged = Run(100), Run(100, pace=30)
    for run in (watched, logged):
        for number in range(100):
            run.now = float(number)
            run.step(prepare(f"kvm-{number}"))
        run.trace.close()
    assert len(watched.counts) == 34
    assert [text.split(",")[0] for text in logged.counts] == [f"prepared {n}/100" for n in (1, 31, 61, 91, 100)]


@pytest.mark.parametrize(("terminal", "seconds"), [(True, 3.0), (False, 30.0)])
def test_the_pace_is_that_of_the_reader(monkeypatch: pytest.MonkeyPatch, terminal: bool, seconds: float) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    assert console.pace() == seconds
