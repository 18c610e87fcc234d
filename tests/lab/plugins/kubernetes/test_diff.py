"""What changes, and what a change costs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime.proto import provider_pb2

from lab.plugins.diffs import changes, parse_path, show_path
from lab.plugins.kubernetes.diff import respond
from lab.plugins.kubernetes.immutable import replacing_paths
from lab.plugins.kubernetes.objects import AUTONAMED, Kind, kind_of
from lab.plugins.wire import UNKNOWN

PropertyDiff = provider_pb2.PropertyDiff


def obj(kind: str, api_version: str = "v1", *, name: str = "it", **members: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "one"}, **members}


def diff(old: dict[str, Any], new: dict[str, Any], *ignore: str, **flags: bool) -> provider_pb2.DiffResponse:
    mutable = {"configmap_mutable": False, "secret_mutable": False} | flags
    return respond(old, new, replacing_paths(kind_of(new), new, **mutable), ignore)


def kinds(response: provider_pb2.DiffResponse) -> dict[str, str]:
    return {path: PropertyDiff.Kind.Name(found.kind) for path, found in response.detailedDiff.items()}


def test_nothing_changed() -> None:
    response = diff(obj("ConfigMap", data={"a": "b"}), obj("ConfigMap", data={"a": "b"}))
    assert response.changes == provider_pb2.DiffResponse.DIFF_NONE
    assert not response.deleteBeforeReplace


def test_every_change_has_its_path() -> None:
    old = obj("Deployment", "apps/v1", spec={"replicas": 1, "template": {"spec": {"containers": [{"image": "a"}]}}})
    new = obj(
        "Deployment",
        "apps/v1",
        spec={"paused": True, "template": {"spec": {"containers": [{"image": "b"}, {"image": "c"}]}}},
    )
    new["metadata"]["labels"] = {"app.kubernetes.io/name": "x"}
    assert kinds(diff(old, new)) == {
        "metadata.labels": "ADD",
        "spec.paused": "ADD",
        "spec.replicas": "DELETE",
        "spec.template.spec.containers[0].image": "UPDATE",
        "spec.template.spec.containers[1]": "ADD",
    }


@pytest.mark.parametrize(
    ("kind", "api_version", "before", "after", "replaces"),
    [
        ("StatefulSet", "apps/v1", {"serviceName": "a"}, {"serviceName": "b"}, ["spec.serviceName"]),
        ("StatefulSet", "apps/v1", {"podManagementPolicy": "Parallel"}, {}, ["spec.podManagementPolicy"]),
        ("StatefulSet", "apps/v1", {"replicas": 1}, {"replicas": 2}, []),
        (
            "StatefulSet",
            "apps/v1",
            {"volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "1Gi"}}}}]},
            {"volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "2Gi"}}}}]},
            ["spec.volumeClaimTemplates[0].spec.resources.requests.storage"],
        ),
        (
            "Deployment",
            "apps/v1",
            {"selector": {"matchLabels": {"a": "b"}}},
            {"selector": {"matchLabels": {"a": "c"}}},
            ["spec.selector.matchLabels.a"],
        ),
        ("PersistentVolumeClaim", "v1", {"accessModes": ["A"]}, {"accessModes": ["B"]}, ["spec.accessModes[0]"]),
        (
            "PersistentVolumeClaim",
            "v1",
            {"resources": {"requests": {"storage": "1Gi"}}},
            {"resources": {"requests": {"storage": "2Gi"}}},
            [],
        ),
        ("Service", "v1", {"clusterIP": "None"}, {"clusterIP": ""}, ["spec.clusterIP"]),
        ("Service", "v1", {"ports": [{"port": 1}]}, {"ports": [{"port": 2}]}, []),
        (
            "Job",
            "batch/v1",
            {"template": {"spec": {"containers": [{"image": "a"}]}}},
            {"template": {"spec": {"containers": [{"image": "b"}]}}},
            ["spec.template.spec.containers[0].image"],
        ),
        ("Job", "batch/v1", {"backoffLimit": 1}, {"backoffLimit": 2}, []),
        (
            "Pod",
            "v1",
            {"containers": [{"name": "a", "image": "x"}]},
            {"containers": [{"name": "a", "image": "y"}]},
            ["spec.containers[0].image"],
        ),
        ("Pod", "v1", {}, {"containers": [{"name": "a", "image": "y"}]}, ["spec.containers"]),
        ("Pod", "v1", {"tolerations": []}, {"tolerations": [{"key": "a"}]}, []),
    ],
)
def test_replacing_changes(
    kind: str, api_version: str, before: dict[str, Any], after: dict[str, Any], replaces: list[str]
) -> None:
    response = diff(obj(kind, api_version, spec=before), obj(kind, api_version, spec=after))
    assert list(response.replaces) == replaces
    assert response.changes == provider_pb2.DiffResponse.DIFF_SOME


def test_adding_the_whole_spec_counts_for_the_paths_inside() -> None:
    response = diff(obj("StatefulSet", "apps/v1"), obj("StatefulSet", "apps/v1", spec={"serviceName": "x"}))
    assert list(response.replaces) == ["spec"]


def test_storage_class_and_role_binding() -> None:
    for kind, group, field in (
        ("StorageClass", "storage.k8s.io/v1", "provisioner"),
        ("RoleBinding", "rbac.authorization.k8s.io/v1", "roleRef"),
    ):
        response = diff(obj(kind, group, **{field: "a"}), obj(kind, group, **{field: "b"}))
        assert list(response.replaces) == [field]


@pytest.mark.parametrize(
    ("kind", "field", "flag"),
    [("ConfigMap", "data", "configmap_mutable"), ("Secret", "stringData", "secret_mutable")],
)
def test_data_replaces_unless_it_may_change(kind: str, field: str, flag: str) -> None:
    old, new = obj(kind) | {field: {"a": "1"}}, obj(kind) | {field: {"a": "2"}}
    assert list(diff(old, new).replaces) == [f"{field}.a"]
    assert not diff(old, new, **{flag: True}).replaces
    frozen = {**new, "immutable": True}
    assert f"{field}.a" in diff(old, frozen, **{flag: True}).replaces


def test_another_name_or_namespace_is_another_object() -> None:
    moved = obj("ConfigMap")
    moved["metadata"]["namespace"] = "two"
    for new in (obj("ConfigMap", name="other"), moved):
        response = diff(obj("ConfigMap"), new)
        assert response.replaces
        assert not response.deleteBeforeReplace, "both can exist"


def test_the_same_given_name_must_be_free_first() -> None:
    old, new = obj("ConfigMap", data={"a": "1"}), obj("ConfigMap", data={"a": "2"})
    assert diff(old, new).deleteBeforeReplace
    for one in (old, new):
        one["metadata"]["annotations"] = {AUTONAMED: "true"}
    assert not diff(old, new).deleteBeforeReplace, "a generated name will be another one"


def test_unknown_counts_as_changed() -> None:
    response = diff(obj("ConfigMap", data={"a": "1"}), obj("ConfigMap", data={"a": UNKNOWN}))
    assert kinds(response) == {"data.a": "UPDATE_REPLACE"}


def test_ignored_paths() -> None:
    old = obj("Deployment", "apps/v1", spec={"replicas": 1, "containers": [{"image": "a"}]})
    new = obj("Deployment", "apps/v1", spec={"replicas": 2, "containers": [{"image": "b"}]})
    assert list(kinds(diff(old, new, "spec.replicas"))) == ["spec.containers[0].image"]
    assert diff(old, new, "spec").changes == provider_pb2.DiffResponse.DIFF_NONE
    assert list(kinds(diff(old, new, "spec.containers[*].image"))) == ["spec.replicas"]


def test_a_boolean_is_not_a_number() -> None:
    assert list(changes({"a": 1}, {"a": True}))


_steps = st.integers(0, 20) | st.text(min_size=1).filter(lambda text: "\\" not in text)


@given(st.lists(_steps, min_size=1).filter(lambda path: isinstance(path[0], str)))
def test_paths_are_read_as_they_are_written(path: list[str | int]) -> None:
    assert parse_path(show_path(tuple(path))) == tuple(path)


_json = st.recursive(
    st.text() | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=2), _json), st.dictionaries(st.text(max_size=2), _json))
def test_only_equal_inputs_have_no_changes(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert not list(changes(old, old))
    if old != new:
        assert list(changes(old, new))


def test_core_group_has_two_names() -> None:
    assert kind_of({"apiVersion": "v1", "kind": "Pod"}) == Kind("", "v1", "Pod")
    assert kind_of({"apiVersion": "core/v1", "kind": "Pod"}) == Kind("", "v1", "Pod")
