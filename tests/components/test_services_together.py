"""FireEdge, OneFlow and OneGate in one program: names do not clash, and a change of one daemon restarts that one alone."""

from __future__ import annotations

from typing import Any

import pytest

from components.domain import Version
from components.fireedge_settings import FireEdgeSettings
from components.oneflow_settings import OneFlowSettings
from components.onegate_settings import OneGateSettings
from components.sunstone_server import SunstoneServerSettings
from tests.components.services import changed, declare_fireedge, declare_oneflow, declare_onegate, policies
from tests.graph import Graph, deploy


def together(**settings: Any) -> Graph:
    def program() -> None:
        for name, declare in (
            ("fireedge", declare_fireedge),
            ("oneflow", declare_oneflow),
            ("onegate", declare_onegate),
        ):
            declare(**({"settings": settings[name]} if name in settings else {}))

    return deploy(program)


def test_no_two_objects_have_one_name() -> None:
    graph = together()
    names = [(r.kind, r.inputs["metadata"].get("name")) for r in graph.records if r.type.startswith("kubernetes:")]
    fixed = [name for name in names if name[1] is not None]
    assert len(fixed) == len(set(fixed))
    assert len({record.name for record in graph.records}) == len(graph.records)
    assert len(policies(graph)) == len(graph.all("NetworkPolicy"))


@pytest.mark.parametrize(
    ("daemon", "settings"),
    [
        ("fireedge", FireEdgeSettings(log_level=5)),
        ("fireedge", FireEdgeSettings(raw={"namespace": "two"})),
        ("fireedge", FireEdgeSettings(sunstone=SunstoneServerSettings(currency="CHF"))),
        ("oneflow", OneFlowSettings(wait_timeout=31)),
        ("onegate", OneGateSettings(enabled=True, restricted_actions=())),
    ],
)
def test_a_changed_setting_restarts_its_daemon_alone(daemon: str, settings: Any) -> None:
    assert changed(together(), together(**{daemon: settings})) == {f"{daemon}-config", f"{daemon}-deployment"}


def test_nothing_depends_on_anothers_readiness() -> None:
    """They start side by side; who needs oned waits for it inside its pod."""
    for record in together().records:
        component = record.parent or record.name
        assert all(other.startswith(component) for other in record.depends_on), record


@pytest.mark.parametrize("version", Version)
def test_both_releases_are_deployed_with_the_same_objects(version: Version) -> None:
    def program() -> None:
        declare_fireedge(version=version)
        declare_oneflow(version=version)
        declare_onegate(version=version)

    assert {record.name for record in deploy(program).records} == {record.name for record in together().records}


def test_a_daemons_pod_is_given_longer_than_its_entrypoint_gives_the_daemon() -> None:
    """serve.sh gives 6 s after SIGTERM and then hands on the logs' last lines."""
    for record in together().all("Deployment"):
        assert record.inputs["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 20
