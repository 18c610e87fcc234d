"""On which nodes pods run: what is accepted, and what becomes of it in every pod of the program."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stacks.settings import ConfigError, parse
from tests.examples import config
from tests.graph import Graph
from tests.program.test_program import lts_like, run

HERE: dict[str, Any] = {"nodeSelector": {"kubernetes.io/hostname": "node-1"}}
THERE: dict[str, Any] = {"nodeSelector": {"kubernetes.io/hostname": "node-2", "node-role.kubernetes.io/edge": ""}}
TAINTED: dict[str, Any] = {
    "tolerations": [
        {"key": "dedicated", "value": "one", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30},
        {"operator": "Exists"},
    ]
}
PARTS = {"mariadb", "oned", "fireedge", "oneflow", "onegate", "sunstone"}

NOTHING: dict[str, Any] = {name: {} for name in PARTS}


def pods(graph: Graph) -> dict[str, dict[str, Any]]:
    """Spec of every workload's pods, by their label."""
    found = {}
    for record in graph.records:
        template = record.inputs.get("spec", {}).get("template") if record.type.startswith("kubernetes:") else None
        if template is not None:
            found[template["metadata"]["labels"]["app.kubernetes.io/name"]] = template["spec"]
    return found


def placed(**changes: Any) -> dict[str, dict[str, Any]]:
    """What stands in each pod's spec about nodes."""
    values = lts_like()
    for section, value in changes.items():
        key = f"opennebula:{section}"
        values[key] = json.dumps(json.loads(values.get(key, "{}")) | value)
    return {
        name: {key: spec[key] for key in ("nodeSelector", "tolerations") if key in spec}
        for name, spec in pods(run(values)).items()
    }


def test_nothing_is_said_unless_asked_for() -> None:
    assert placed() == NOTHING


def test_all_pods_are_told() -> None:
    default = {"operator": "Equal"}
    tolerations = [default | each for each in TAINTED["tolerations"]]
    assert placed(scheduling=HERE | TAINTED) == dict.fromkeys(PARTS, HERE | {"tolerations": tolerations})


def test_oned_and_onegate_may_be_told_otherwise() -> None:
    found = placed(scheduling=HERE | TAINTED, oned={"scheduling": THERE}, onegate={"scheduling": {}})
    assert found["oned"] == THERE and found["onegate"] == {}
    assert all(found[name].keys() == {"nodeSelector", "tolerations"} for name in PARTS - {"oned", "onegate"})
    alone = placed(onegate={"scheduling": THERE})
    assert alone == NOTHING | {"onegate": THERE}


@pytest.mark.parametrize(
    ("scheduling", "path", "says"),
    [
        ({"nodeSelector": {"a b": "c"}}, "nodeSelector.a b", "must be a label's name"),
        ({"nodeSelector": {"disk": "-ssd"}}, "nodeSelector.disk", "must be a label's value"),
        ({"nodeSelector": {"disk": "a" * 64}}, "nodeSelector.disk", "63"),
        ({"nodeSelector": {"gpu": True}}, "nodeSelector.gpu", "must be a text"),
        ({"tolerations": [{"key": "a", "operator": "In"}]}, "tolerations[0].operator", "Equal"),
        ({"tolerations": [{"key": "a", "effect": "NoRun"}]}, "tolerations[0].effect", "NoExecute"),
        ({"tolerations": [{"value": "a"}]}, "tolerations[0]", "needs a key"),
        ({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}, "tolerations[0]", "leave value out"),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 5}]}, "tolerations[0]", "effect: NoExecute"),
        ({"tolerations": [{"key": "a", "seconds": 5}]}, "tolerations[0].seconds", "unknown key"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused(scheduling: dict[str, Any], path: str, says: str) -> None:
    for section in ("scheduling", "oned", "onegate"):
        given = scheduling if section == "scheduling" else {"scheduling": scheduling}
        with pytest.raises(ConfigError) as caught:
            parse(config() | {section: json.dumps(given)})
        (problem,) = caught.value.problems
        assert problem.path == f"{'' if section == 'scheduling' else f'{section}.'}scheduling.{path}"
        assert says in problem.text
