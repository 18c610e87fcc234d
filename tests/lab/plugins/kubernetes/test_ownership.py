"""Field managers: what an update takes over, and what it leaves alone."""

from __future__ import annotations

from typing import Any

from lab.plugins.kubernetes.ownership import handed_over, respecting

OURS = "pulumi-kubernetes-abcd1234"


def entry(manager: str, operation: str, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields} | more


def live(*entries: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x", "managedFields": list(entries)}, "spec": spec}


def test_the_creators_fields_become_ours() -> None:
    creator = entry("pulumi-kubernetes", "Update", {"f:spec": {"f:replicas": {}}}, time="t")
    assert handed_over(live(creator), OURS) == [{**creator, "manager": OURS, "operation": "Apply"}]


def test_they_are_joined_with_what_is_ours_already() -> None:
    ours = entry(OURS, "Apply", {"f:spec": {"f:a": {}}})
    creator = entry("pulumi-kubernetes", "Update", {"f:spec": {"f:b": {}}, "f:data": {}})
    other = entry("kube-controller-manager", "Update", {"f:status": {}}, subresource="status")
    assert handed_over(live(ours, other, creator), OURS) == [
        other,
        entry(OURS, "Apply", {"f:spec": {"f:a": {}, "f:b": {}}, "f:data": {}}),
    ]


def test_nothing_to_hand_over() -> None:
    kubelet = entry("pulumi-kubernetes", "Update", {"f:status": {}}, subresource="status")
    assert handed_over(live(entry(OURS, "Apply", {}), kubelet, entry("kubectl-edit", "Update", {})), OURS) is None


INPUTS = {"kind": "X", "spec": {"replicas": 1, "image": "a"}}
REPLICAS: dict[str, Any] = {"f:spec": {"f:replicas": {}}}


def test_an_ignored_field_of_another_is_left_out() -> None:
    scaled = live(entry("autoscaler", "Update", REPLICAS), replicas=5)
    assert respecting(INPUTS, scaled, OURS, ["spec.replicas"]) == {"kind": "X", "spec": {"image": "a"}}


def test_an_ignored_field_of_ours_keeps_its_live_value() -> None:
    shared = live(entry("autoscaler", "Update", REPLICAS), entry(OURS, "Apply", REPLICAS), replicas=5)
    assert respecting(INPUTS, shared, OURS, ["spec.replicas"])["spec"] == {"replicas": 5, "image": "a"}


def test_inputs_are_not_changed_in_place() -> None:
    respecting(INPUTS, live(entry("autoscaler", "Update", REPLICAS)), OURS, ["spec.replicas", "spec.list[0].x"])
    assert INPUTS == {"kind": "X", "spec": {"replicas": 1, "image": "a"}}
