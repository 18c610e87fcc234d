"""The plugin process where no cluster answers: provider settings, checks, and what stays possible."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2

from lab.plugins.wire import UNKNOWN, Secret, decode, encode
from tests.lab.plugins.conftest import free_port
from tests.lab.plugins.harness import Plugin, error_text
from tests.lab.plugins.kubernetes.test_kubeconfig import config

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"


@pytest.fixture
def configured(start: Callable[..., Plugin]) -> Callable[..., Plugin]:
    """A plugin whose cluster refuses connections."""

    def starter(type_: str = CONFIG_MAP, **variables: str) -> Plugin:
        plugin = start(type_)
        found = config()
        found["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{free_port()}"
        plugin.configure(kubeconfig=json.dumps(found), **variables)
        return plugin

    return starter


def test_configure_talks_to_nobody(start: Callable[..., Plugin]) -> None:
    response = start(CONFIG_MAP).configure(kubeconfig="/no/such/file")
    assert response.acceptSecrets
    assert response.supportsPreview


def test_check_completes_inputs(configured: Callable[..., Plugin]) -> None:
    inputs = configured().checked({"metadata": {"labels": {"a": "b"}, "uid": "x", "managedFields": []}})
    assert inputs["apiVersion"] == "v1"
    assert inputs["kind"] == "ConfigMap"
    assert inputs["metadata"]["namespace"] == "ns", "the context's"
    assert set(inputs["metadata"]) == {"labels", "namespace", "name", "annotations"}


def test_objects_without_a_namespace_get_none(configured: Callable[..., Plugin]) -> None:
    inputs = configured("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole").checked({"metadata": {"name": "it"}})
    assert inputs["metadata"] == {"name": "it"}


def test_check_keeps_marks(configured: Callable[..., Plugin]) -> None:
    inputs = configured().checked({"data": {"a": Secret("s"), "b": UNKNOWN, "c": Secret(UNKNOWN)}})
    assert inputs["data"] == {"a": Secret("s"), "b": UNKNOWN, "c": Secret(UNKNOWN)}
    assert configured().checked({"metadata": UNKNOWN})["metadata"] is UNKNOWN


def test_check_of_a_name_to_come(configured: Callable[..., Plugin]) -> None:
    assert configured().checked({"metadata": {"name": UNKNOWN}})["metadata"]["name"] is UNKNOWN


@pytest.mark.parametrize("annotation", ["pulumi.com/waitFor", "pulumi.com/replaceUnready"])
def test_annotations_that_would_be_ignored_are_refused(configured: Callable[..., Plugin], annotation: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        configured().check({"metadata": {"annotations": {annotation: "x"}}})
    assert annotation in error_text(caught.value)


def test_previews_pass_and_writes_say_why_not(configured: Callable[..., Plugin]) -> None:
    plugin = configured()
    inputs = plugin.checked({"metadata": {"name": "it"}})
    assert plugin.create(inputs, preview=True) == ("", inputs)
    assert plugin.update("ns/it", inputs, inputs, preview=True) == inputs
    for text in (
        refused(lambda: plugin.create(inputs)),
        refused(lambda: plugin.update("ns/it", inputs, inputs)),
        refused(lambda: plugin.read("ns/it", inputs, inputs)),
        refused(lambda: plugin.delete("ns/it", inputs)),
    ):
        assert text.startswith("Kubernetes API server https://127.0.0.1:")
        assert "does not answer" in text


def test_delete_unreachable(configured: Callable[..., Plugin]) -> None:
    plugin = configured(deleteUnreachable="true")
    plugin.delete("ns/it", {})
    assert plugin.read("ns/it", {}, {}).id == ""
    assert len(plugin.engine.warnings()) == 2


def test_skip_update_unreachable(configured: Callable[..., Plugin]) -> None:
    plugin = configured(skipUpdateUnreachable="true")
    old = {"metadata": {"name": "old"}}
    assert plugin.checked({"metadata": {"name": "new"}}, old) == old
    assert decode(plugin.read("ns/it", {"a": "b"}, old).properties) == {"a": "b"}


def diff_config(plugin: Plugin, old: dict[str, Any], new: dict[str, Any]) -> provider_pb2.DiffResponse:
    response: provider_pb2.DiffResponse = plugin.stub.DiffConfig(
        provider_pb2.DiffRequest(olds=encode(old), news=encode(new))
    )
    return response


def kubeconfig(server: str, user: str = "one") -> str:
    found = config({"token": user})
    found["clusters"][0]["cluster"]["server"] = server
    return json.dumps(found)


A, B = kubeconfig("https://a"), kubeconfig("https://b")


@pytest.mark.parametrize(
    ("old", "new", "replaces"),
    [
        ({"kubeconfig": A}, {"kubeconfig": B}, ["kubeconfig"]),
        ({"kubeconfig": A}, {"kubeconfig": kubeconfig("https://a", "other")}, []),
        ({"kubeconfig": A, "clusterIdentifier": "x"}, {"kubeconfig": B, "clusterIdentifier": "x"}, []),
        ({"clusterIdentifier": "x"}, {"clusterIdentifier": "y"}, ["clusterIdentifier"]),
        ({"kubeconfig": A}, {"kubeconfig": A, "clusterIdentifier": "x"}, []),
        ({"kubeconfig": A}, {"kubeconfig": A, "context": "there"}, ["context"]),
        ({"kubeconfig": A}, {"kubeconfig": UNKNOWN}, ["kubeconfig"]),
        ({"kubeconfig": A, "clusterIdentifier": "x"}, {"kubeconfig": UNKNOWN, "clusterIdentifier": "x"}, []),
        ({"kubeconfig": A}, {"kubeconfig": A, "enableSecretMutable": "true"}, []),
    ],
)
def test_which_provider_changes_replace_everything(
    start: Callable[..., Plugin], old: dict[str, Any], new: dict[str, Any], replaces: list[str]
) -> None:
    response = diff_config(start(CONFIG_MAP), old, new)
    assert list(response.replaces) == replaces
    assert response.changes == provider_pb2.DiffResponse.DIFF_SOME


def test_an_unchanged_provider(start: Callable[..., Plugin]) -> None:
    response = diff_config(start(CONFIG_MAP), {"kubeconfig": A}, {"kubeconfig": Secret(A)})
    assert response.changes == provider_pb2.DiffResponse.DIFF_NONE


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return error_text(caught.value)


def test_components_and_functions_are_refused_by_name(start: Callable[..., Plugin]) -> None:
    stub, suffix = start(CONFIG_MAP).stub, "is not supported by this rehearsal stand-in"
    function = refused(lambda: stub.Invoke(provider_pb2.InvokeRequest(tok="kubernetes:yaml:decode")))
    assert f"kubernetes:yaml:decode {suffix}" in function
    component = refused(lambda: stub.Construct(provider_pb2.ConstructRequest(type="kubernetes:yaml/v2:ConfigFile")))
    assert f"kubernetes:yaml/v2:ConfigFile {suffix}" in component
