"""What a refresh reports, and what it does not."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from lab.plugins.kubernetes.drift import reduce, without_nulls

INPUTS: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "db", "namespace": "one", "labels": {"app": "db"}, "annotations": {}},
    "spec": {
        "replicas": 1,
        "minReadySeconds": 0,
        "template": {
            "spec": {
                "hostNetwork": False,
                "automountServiceAccountToken": False,
                "containers": [
                    {
                        "name": "db",
                        "image": "db:1",
                        "args": ["--a", "--b"],
                        "env": [{"name": "A", "value": "1"}],
                        "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
                        "ports": [{"containerPort": 3306}],
                    }
                ],
                "tolerations": [{"key": "a"}],
            }
        },
    },
}


def written() -> dict[str, Any]:
    """What the API server makes of the inputs: defaults added, empty fields dropped, quantities rewritten."""
    live = copy.deepcopy(INPUTS)
    live["metadata"] |= {"uid": "1", "resourceVersion": "5"}
    del live["metadata"]["annotations"]
    del live["spec"]["minReadySeconds"]
    pod = live["spec"]["template"]["spec"]
    del pod["hostNetwork"]
    pod["restartPolicy"] = "Always"
    pod["containers"][0]["resources"]["limits"] = {"cpu": "1", "memory": "1Gi"}
    pod["containers"][0]["ports"][0]["protocol"] = "TCP"
    pod["containers"][0]["imagePullPolicy"] = "IfNotPresent"
    live["status"] = {"replicas": 1}
    return live


def changed(**paths: Any) -> dict[str, Any]:
    """The written object with values at `a__b__0` changed, or taken away (None), or added."""
    live = written()
    live["metadata"]["resourceVersion"] = "9"
    for path, value in paths.items():
        *steps, last = [int(step) if step.isdigit() else step for step in path.split("__")]
        at: Any = live
        for step in steps:
            at = at[step]
        if value is None:
            del at[last]
        elif isinstance(at, list) and isinstance(last, int) and last == len(at):
            at.append(value)
        else:
            at[last] = value
    return live


CONTAINER = "spec__template__spec__containers__0"


def seen(live: dict[str, Any]) -> dict[str, Any]:
    return reduce(live, INPUTS, written())


def test_what_the_server_did_is_no_drift() -> None:
    assert seen(changed(status={"replicas": 0})) == INPUTS


@pytest.mark.parametrize(
    "paths",
    [
        {f"{CONTAINER}__livenessProbe": {"exec": {}}},
        {"spec__template__spec__dnsPolicy": "Default"},
        {"metadata__labels__theirs": "x"},
        {"spec__template__spec__containers__1": {"name": "sidecar", "image": "s"}},
        {f"{CONTAINER}__env__1": {"name": "THEIRS", "value": "x"}},
    ],
)
def test_what_others_add_beside_ours_is_no_drift(paths: dict[str, Any]) -> None:
    assert seen(changed(**paths)) == INPUTS


@pytest.mark.parametrize(
    ("paths", "where", "value"),
    [
        ({"spec__replicas": 3}, ("spec", "replicas"), 3),
        ({"metadata__labels__app": "x"}, ("metadata", "labels", "app"), "x"),
        ({"metadata__labels": None}, ("metadata", "labels"), None),
        ({f"{CONTAINER}__image": "db:2"}, ("spec", "template", "spec", "containers", 0, "image"), "db:2"),
        (
            {f"{CONTAINER}__args": ["--a", "--b", "--c"]},
            ("spec", "template", "spec", "containers", 0, "args"),
            ["--a", "--b", "--c"],
        ),
        (
            {f"{CONTAINER}__resources__limits__cpu": "2"},
            ("spec", "template", "spec", "containers", 0, "resources", "limits"),
            {"cpu": "2", "memory": "1024Mi"},
        ),
        ({f"{CONTAINER}__env": []}, ("spec", "template", "spec", "containers", 0, "env"), []),
        (
            {"spec__template__spec__tolerations__1": {"operator": "Exists"}},
            ("spec", "template", "spec", "tolerations"),
            [{"key": "a"}, {"operator": "Exists"}],
        ),
        (
            {"spec__template__spec__automountServiceAccountToken": None},
            ("spec", "template", "spec", "automountServiceAccountToken"),
            None,
        ),
        ({"spec__template__spec__hostNetwork": True}, ("spec", "template", "spec", "hostNetwork"), True),
        ({"spec__minReadySeconds": 5}, ("spec", "minReadySeconds"), 5),
    ],
)
def test_what_others_change_is_drift(paths: dict[str, Any], where: tuple[str | int, ...], value: Any) -> None:
    expected: Any = copy.deepcopy(INPUTS)
    at = expected
    for step in where[:-1]:
        at = at[step]
    if value is None:
        del at[where[-1]]
    else:
        at[where[-1]] = value
    assert seen(changed(**paths)) == expected


def test_elements_are_matched_by_key_not_by_place() -> None:
    live = changed(spec__template__spec__containers__1={"name": "sidecar", "image": "s"})
    live["spec"]["template"]["spec"]["containers"].reverse()
    assert seen(live) == INPUTS


def test_a_container_taken_away_is_drift() -> None:
    live = changed(spec__template__spec__containers=[{"name": "other", "image": "x"}])
    assert seen(live)["spec"]["template"]["spec"]["containers"] == []


def _secret(**data: str) -> dict[str, Any]:
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": encoded}


def test_string_data_is_compared_with_data() -> None:
    inputs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "1", "b": "2"}}
    before = _secret(a="1", b="2")
    assert reduce(_secret(a="1", b="2", theirs="x"), inputs, before) == inputs
    assert reduce(_secret(a="changed", b="2"), inputs, before)["stringData"] == {"a": "changed", "b": "2"}
    assert reduce(_secret(b="2"), inputs, before)["stringData"] == {"b": "2"}


def test_finalizers_of_others_are_no_drift() -> None:
    inputs = {"kind": "X", "metadata": {"finalizers": ["ours"]}}
    live = {"kind": "X", "metadata": {"finalizers": ["kubernetes.io/x", "ours"]}}
    assert reduce(live, inputs, {"kind": "X", "metadata": {"finalizers": ["ours"]}}) == inputs
    gone = {"kind": "X", "metadata": {"finalizers": ["kubernetes.io/x"]}}
    assert reduce(gone, inputs, live)["metadata"]["finalizers"] == []


def test_without_evidence_the_live_value_stands() -> None:
    inputs = {"kind": "X", "spec": {"a": 1, "b": 2}}
    assert reduce({"kind": "X", "spec": {"a": 1}}, inputs, {})["spec"] == {"a": 1}
    assert reduce({"kind": "X", "spec": {"a": 5, "b": 2}}, inputs, {})["spec"]["a"] == 5


def test_nulls_never_count() -> None:
    assert without_nulls({"a": None, "b": [{"c": None}]}) == {"b": [{}]}
