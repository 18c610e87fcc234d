"""What the bench makes of a trace, and that the measured start is the program's own. No lab runs here."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from bench.changes import CHANGES, restarted
from bench.figures import Figure, control_plane_up, starts, table
from components.domain import Section
from lab.paths import PROJECT
from stacks.settings import StackSettings


def step(type_token: str, name: str, began: float, ended: float | None, **more: Any) -> dict[str, Any]:
    return {
        "type": type_token,
        "name": name,
        "began": began,
        "ended": ended,
        "operation": "create",
        "failed": False,
    } | more


TRACE = [
    step("kubernetes:core/v1:Namespace", "namespace-namespace", 1.0, 1.2),
    step("kubernetes:apps/v1:StatefulSet", "mariadb-statefulset", 2.0, 8.0),
    step("kubernetes:apps/v1:StatefulSet", "oned-statefulset", 2.0, 12.0),
    step("kubernetes:apps/v1:Deployment", "oneflow-deployment", 12.0, 15.0),
    step("kubernetes:networking.k8s.io/v1:Ingress", "ingress-fireedge", 3.0, 3.1),
    step("opennebula:index:FleetReady", "hosts-ready", 13.0, 40.0),
]


def test_a_daemons_own_start_is_its_workloads_step_the_slowest_first() -> None:
    assert [(each.name, each.took) for each in starts(TRACE)] == [("oned", 10.0), ("mariadb", 6.0), ("oneflow", 3.0)]


def test_the_control_plane_is_up_with_its_last_object_whatever_hosts_do() -> None:
    assert control_plane_up(TRACE) == 15.0


@pytest.mark.parametrize(
    "trace",
    [
        [],
        [TRACE[0]],
        [step("kubernetes:apps/v1:Deployment", "oneflow-deployment", 1.0, None)],
        [step("kubernetes:apps/v1:Deployment", "oneflow-deployment", 1.0, 2.0, failed=True)],
    ],
)
def test_a_trace_without_every_daemons_start_gives_no_figure(trace: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"did not come up|no daemon's start"):
        starts(trace)


def test_a_missed_aim_says_so_and_no_other_line_does() -> None:
    lines = table(
        [
            Figure(name="a", value=1.6, unit="", aim=1.5),
            Figure(name="longer", value=1.5, unit="s", aim=1.5),
            Figure(name="free", value=900, unit="s"),
        ]
    ).splitlines()
    assert [line.endswith("missed") for line in lines] == [False, True, False, False]
    assert lines[1].split() == ["a", "1.60", "≤", "1.5", "missed"]
    assert "–" in lines[3]


def test_the_start_that_is_measured_is_the_programs() -> None:
    command = [sys.executable, "-m", "bench.program_start", "Pulumi.dev.yaml"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(done.stdout)
    # Nothing orders the namespace, the generated passwords and the list of hosts.
    dynamic = "pulumi-python:dynamic/opennebula:"
    assert found["type"].startswith(("kubernetes:core/v1:Namespace", f"{dynamic}Generated", f"{dynamic}ReachableHosts"))
    assert 0 < found["component"] < found["resource"]


def test_a_replaced_pod_and_a_restarted_container_count_once_each() -> None:
    before = {"oned": {"a": {"oned": 0, "hem": 0}}, "fireedge": {"b": {"fireedge": 0}, "c": {"fireedge": 1}}}
    assert restarted(before, before) == []
    assert restarted(before, {**before, "oned": {"a": {"oned": 0, "hem": 1}}}) == ["oned"]
    assert restarted(before, {**before, "fireedge": {"d": {"fireedge": 0}, "e": {"fireedge": 0}}}) == ["fireedge"] * 2


@pytest.mark.parametrize("daemon", CHANGES)
def test_every_change_is_of_a_setting_that_exists(daemon: str) -> None:
    section, keys = CHANGES[daemon]
    _, kind = next((name, each.annotation) for name, each in StackSettings.model_fields.items() if name == section)
    assert isinstance(kind, type) and issubclass(kind, Section)
    assert kind.model_validate(keys) != kind()
