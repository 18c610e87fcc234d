"""Objects on a real API server: create, update, refresh, delete."""

from __future__ import annotations

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2

from lab.plugins.wire import Secret, decode
from tests.kubectl import Kubectl
from tests.lab.plugins.harness import Plugin, error_text, init_failed
from tests.lab.plugins.kubernetes.conftest import Objects, bare, pod_spec, workload

pytestmark = pytest.mark.engine
AUTONAMED = "pulumi.com/autonamed"


@pytest.fixture
def config_maps(objects: Objects) -> Plugin:
    return objects.plugin("core/v1", "ConfigMap", enableConfigMapMutable="true")


def made(plugin: Plugin, inputs: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Id, state and checked inputs of a new object."""
    checked = plugin.checked(inputs)
    return *plugin.create(checked), checked


def refreshed(plugin: Plugin, id: str, state: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs after a refresh, which must find the object."""
    response = plugin.read(id, state, inputs)
    assert response.id == id
    return decode(response.inputs)


def test_created_as_asked(config_maps: Plugin, kubectl: Kubectl) -> None:
    id, state, inputs = made(config_maps, {"data": {"a": "1"}})
    name = inputs["metadata"]["name"]
    assert id == f"{kubectl.namespace}/{name}"
    assert inputs["metadata"]["annotations"] == {AUTONAMED: "true"}
    assert kubectl.get("configmap", name)["data"] == {"a": "1"}
    assert state["metadata"]["uid"]
    assert "managedFields" not in state["metadata"]
    assert state["__inputs"] == inputs
    assert state["__fieldManager"].startswith("pulumi-kubernetes-")


def test_an_existing_object_is_not_taken_over(config_maps: Plugin, objects: Objects, kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "theirs", "--from-literal=a=1")
    inputs = config_maps.checked({"metadata": {"name": "theirs"}, "data": {"b": "2"}})
    with pytest.raises(grpc.RpcError) as caught:
        config_maps.create(inputs)
    text = error_text(caught.value)
    assert 'configmaps "theirs" already exists' in text
    assert "upsertExistingObjects" in text
    assert kubectl.get("configmap", "theirs")["data"] == {"a": "1"}
    objects.plugin("core/v1", "ConfigMap", upsertExistingObjects="true").create(inputs)
    assert kubectl.get("configmap", "theirs")["data"] == {"a": "1", "b": "2"}


def test_preview_asks_the_server_and_makes_nothing(objects: Objects, kubectl: Kubectl) -> None:
    services = objects.plugin("core/v1", "Service")
    inputs = services.checked({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}})
    id, state = services.create(inputs, preview=True)
    assert id == ""
    assert state["spec"]["sessionAffinity"] == "None", "a default that only the server knows"
    assert not kubectl.exists("service", "web")
    wrong = services.checked({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 99999}]}})
    with pytest.raises(grpc.RpcError) as caught:
        services.create(wrong, preview=True)
    assert "99999" in error_text(caught.value)


def test_preview_in_a_namespace_that_is_previewed_too(config_maps: Plugin) -> None:
    inputs = config_maps.checked({"metadata": {"name": "it", "namespace": "not-yet"}})
    assert config_maps.create(inputs, preview=True) == ("", inputs)


def test_waits_for_a_namespace_made_in_the_same_run(config_maps: Plugin, kubectl: Kubectl) -> None:
    late = f"{kubectl.namespace}-late"
    inputs = config_maps.checked({"metadata": {"name": "it", "namespace": late}})
    with ThreadPoolExecutor() as pool:
        result = pool.submit(config_maps.create, inputs)
        time.sleep(1)
        kubectl("create", "namespace", late)
        assert result.result(20)[0] == f"{late}/it"
    kubectl("delete", "namespace", late, "--wait=false")


def test_update_adds_changes_and_takes_away(config_maps: Plugin, kubectl: Kubectl) -> None:
    id, state, inputs = made(
        config_maps, {"metadata": {"name": "it", "labels": {"a": "1"}}, "data": {"a": "1", "b": "1"}}
    )
    kubectl("label", "configmap", "it", "theirs=x")
    news = config_maps.checked({"metadata": {"name": "it"}, "data": {"a": "2", "c": "3"}}, inputs)
    state = config_maps.update(id, state, news)
    live = kubectl.get("configmap", "it")
    assert live["data"] == {"a": "2", "c": "3"}
    assert live["metadata"]["labels"] == {"theirs": "x"}
    managers = [entry["manager"] for entry in live["metadata"]["managedFields"]]
    assert state["__fieldManager"] in managers
    again = config_maps.checked({"metadata": {"name": "it"}, "data": {"c": "3"}}, news)
    assert bare(config_maps.update(id, state, again))["data"] == {"c": "3"}


def test_previewed_update_changes_nothing(config_maps: Plugin, kubectl: Kubectl) -> None:
    id, state, inputs = made(config_maps, {"metadata": {"name": "it"}, "data": {"a": "1"}})
    news = config_maps.checked({"metadata": {"name": "it"}, "data": {"a": "2"}}, inputs)
    assert config_maps.update(id, state, news, preview=True)["data"] == {"a": "2"}
    assert kubectl.get("configmap", "it")["data"] == {"a": "1"}


def test_a_field_that_somebody_took_over_is_a_conflict(config_maps: Plugin, kubectl: Kubectl) -> None:
    id, state, inputs = made(config_maps, {"metadata": {"name": "it"}, "data": {"a": "1"}})
    state = config_maps.update(id, state, config_maps.checked({"metadata": {"name": "it"}, "data": {"a": "2"}}, inputs))
    kubectl("patch", "configmap", "it", "--patch", '{"data":{"a":"theirs"}}', "--field-manager=somebody")
    news = config_maps.checked({"metadata": {"name": "it"}, "data": {"a": "3"}}, inputs)
    with pytest.raises(grpc.RpcError) as caught:
        config_maps.update(id, state, news)
    text = error_text(caught.value)
    assert 'conflict with "somebody"' in text
    assert ".data.a" in text
    assert "pulumi.com/patchForce" in text
    assert kubectl.get("configmap", "it")["data"] == {"a": "theirs"}
    news["metadata"]["annotations"] = {"pulumi.com/patchForce": "true"}
    assert config_maps.update(id, state, news)["data"] == {"a": "3"}


def test_ignored_field_of_an_autoscaler_stays_its(objects: Objects, kubectl: Kubectl) -> None:
    deployments = objects.plugin("apps/v1", "Deployment")
    inputs = workload({"containers": [{"name": "a", "image": "none"}]}, replicas=0)
    inputs["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}
    id, state, checked = made(deployments, inputs)
    state = deployments.update(id, state, checked)
    kubectl("scale", "deployment", "it", "--replicas=1")
    checked["metadata"]["labels"] = {"new": "label"}
    deployments.update(id, state, checked, ignoreChanges=["spec.replicas"])
    live = kubectl.get("deployment", "it")
    assert live["spec"]["replicas"] == 1
    assert live["metadata"]["labels"] == {"new": "label"}


def test_refresh_finds_no_drift_in_what_the_server_does(objects: Objects) -> None:
    sets = objects.plugin("apps/v1", "StatefulSet")
    pod = pod_spec("none", resources={"limits": {"cpu": "1000m", "memory": "1024Mi"}}, env=[{"name": "A", "value": ""}])
    inputs = workload(pod | {"hostNetwork": False, "volumes": []}, serviceName="it", replicas=0)
    inputs["spec"]["volumeClaimTemplates"] = [
        {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
        }
    ]
    id, state, checked = made(sets, inputs)
    assert state["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "1Gi"}
    assert refreshed(sets, id, state, checked) == checked
    assert sets.diff(state, checked, sets.checked(inputs, checked)).changes == provider_pb2.DiffResponse.DIFF_NONE


def test_refresh_finds_what_somebody_changed(config_maps: Plugin, kubectl: Kubectl) -> None:
    id, state, inputs = made(config_maps, {"metadata": {"name": "it"}, "data": {"a": "1", "b": "1"}})
    kubectl("patch", "configmap", "it", "--patch", '{"data":{"a":"theirs","b":null,"c":"theirs"}}')
    response = config_maps.read(id, state, inputs)
    seen = decode(response.inputs)
    assert seen["data"] == {"a": "theirs"}
    diff = config_maps.diff(decode(response.properties), seen, inputs)
    assert sorted(diff.detailedDiff) == ["data.a", "data.b"]


def test_refresh_of_a_deleted_object(config_maps: Plugin, kubectl: Kubectl) -> None:
    id, state, inputs = made(config_maps, {"metadata": {"name": "it"}})
    kubectl("delete", "configmap", "it")
    assert config_maps.read(id, state, inputs).id == ""
    config_maps.delete(id, state)


def test_import(config_maps: Plugin, kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "theirs", "--from-literal=a=1")
    id = f"{kubectl.namespace}/theirs"
    inputs = decode(config_maps.read(id, {}, {}).inputs)
    assert inputs == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "theirs", "namespace": kubectl.namespace},
        "data": {"a": "1"},
    }


def test_update_of_a_deleted_object_tells_to_refresh(config_maps: Plugin, kubectl: Kubectl) -> None:
    id, state, inputs = made(config_maps, {"metadata": {"name": "it"}})
    kubectl("delete", "configmap", "it")
    with pytest.raises(grpc.RpcError) as caught:
        config_maps.update(id, state, inputs | {"data": {"a": "1"}})
    assert "pulumi refresh" in error_text(caught.value)


def test_secret_values_are_marked_wherever_they_appear(objects: Objects, kubectl: Kubectl) -> None:
    secrets = objects.plugin("core/v1", "Secret")
    id, state, inputs = made(secrets, {"metadata": {"name": "it"}, "stringData": {"password": "hunter2"}})
    encoded = base64.b64encode(b"hunter2").decode()
    assert inputs["stringData"] == Secret({"password": "hunter2"})
    assert state["data"] == Secret({"password": encoded})
    assert state["__inputs"]["stringData"] == Secret({"password": "hunter2"})
    assert kubectl.get("secret", "it")["data"] == {"password": encoded}
    assert refreshed(secrets, id, state, inputs) == inputs
    kubectl("patch", "secret", "it", "--patch", '{"stringData":{"password":"theirs"}}')
    assert refreshed(secrets, id, state, inputs)["stringData"] == Secret({"password": "theirs"})


def test_a_secret_elsewhere_stays_secret(config_maps: Plugin) -> None:
    _, state, inputs = made(config_maps, {"metadata": {"name": "it"}, "data": {"a": Secret("hunter2"), "b": "plain"}})
    for data in (inputs["data"], state["data"], state["__inputs"]["data"]):
        assert data == {"a": Secret("hunter2"), "b": "plain"}


def test_delete_waits_for_finalizers_and_says_so(config_maps: Plugin, kubectl: Kubectl) -> None:
    id, state, _ = made(config_maps, {"metadata": {"name": "it", "finalizers": ["example.org/keep"]}})
    with pytest.raises(grpc.RpcError) as caught:
        config_maps.delete(id, state, timeout=1)
    assert "held by finalizers" in error_text(caught.value)
    assert "example.org/keep" in init_failed(caught.value).reasons[0]
    with ThreadPoolExecutor() as pool:
        result = pool.submit(config_maps.delete, id, state)
        time.sleep(0.5)
        assert not result.done()
        kubectl("patch", "configmap", "it", "--type=merge", "--patch", '{"metadata":{"finalizers":null}}')
        result.result(10)
    assert not kubectl.exists("configmap", "it")


def test_deleting_a_workload_takes_its_pods_first(objects: Objects, kubectl: Kubectl, image: str) -> None:
    deployments = objects.plugin("apps/v1", "Deployment")
    id, state, _ = made(deployments, workload(pod_spec(image), replicas=2))
    assert len(kubectl("get", "pods", "-o", "name").splitlines()) == 2
    deployments.delete(id, state)
    assert kubectl("get", "pods,replicasets", "-o", "name") == ""


def test_orphans_stay_when_asked(objects: Objects, kubectl: Kubectl, image: str) -> None:
    deployments = objects.plugin("apps/v1", "Deployment")
    inputs = workload(pod_spec(image))
    inputs["metadata"]["annotations"] = {"pulumi.com/deletionPropagationPolicy": "orphan"}
    id, state, _ = made(deployments, inputs)
    deployments.delete(id, state)
    assert kubectl("get", "replicasets", "-o", "name")


def test_the_servers_warnings_are_shown(config_maps: Plugin) -> None:
    made(config_maps, {"metadata": {"name": "it"}, "dta": {"a": "1"}})
    assert any('unknown field "dta"' in text for text in config_maps.engine.warnings())


def test_names_and_kinds_that_cannot_be(objects: Objects, config_maps: Plugin) -> None:
    response = config_maps.check({"metadata": {"name": "Not_A_Name"}})
    assert [failure.property for failure in response.failures] == ["metadata.name"]
    for module, kind, text in (
        ("core/v1", "ConfigMapPatch", "not supported by this rehearsal stand-in"),
        ("core/v1", "ConfigMapList", "list resources cannot be created"),
        ("helm.sh/v3", "Release", "not supported by this rehearsal stand-in"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            objects.plugin(module, kind).check({"metadata": {"name": "x"}})
        assert text in error_text(caught.value)
    widgets = objects.plugin("example.org/v1", "Widget")
    inputs = widgets.checked({"metadata": {"name": "x"}})
    assert widgets.create(inputs, preview=True) == ("", inputs), "its definition may be made in the same run"
    assert widgets.read("one/x", inputs, inputs).id == ""


def test_custom_resources_of_a_definition_made_in_the_same_run(objects: Objects, kubectl: Kubectl) -> None:
    group = f"{kubectl.namespace}.example.org"
    definitions = objects.plugin("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    schema = {"openAPIV3Schema": {"type": "object", "x_kubernetes_preserve_unknown_fields": True}}
    definition = {
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    id, state, checked = made(definitions, definition)
    assert "namespace" not in checked["metadata"]
    assert state["spec"]["versions"][0]["schema"] == schema
    widgets = objects.plugin(f"{group}/v1", "Widget")
    widget_id, widget, _ = made(widgets, {"metadata": {"name": "it"}, "size": 3})
    assert kubectl.get(f"widgets.{group}", "it")["size"] == 3
    widgets.delete(widget_id, widget)
    definitions.delete(id, state)


def test_many_at_once(config_maps: Plugin, kubectl: Kubectl) -> None:
    with ThreadPoolExecutor(64) as pool:
        ids = list(pool.map(lambda n: made(config_maps, {"metadata": {"name": f"it-{n}"}})[0], range(64)))
    assert len(set(ids)) == 64
    assert len(kubectl("get", "configmaps", "-o", "name").splitlines()) == 65  # and the cluster's own certificate
