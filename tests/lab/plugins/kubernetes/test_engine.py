"""The kubernetes plugin through the real engine and the official SDK: what an operator sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi import automation

from tests.kubectl import Kubectl
from tests.lab.plugins.kubernetes.conftest import pod_spec, workload
from tests.lab.plugins.stack import Program, Stack

pytestmark = pytest.mark.engine


def provider(kubeconfig: Path, namespace: str) -> pulumi.ResourceOptions:
    made = k8s.Provider(
        "cluster",
        kubeconfig=str(kubeconfig),
        cluster_identifier="test",
        enable_config_map_mutable=True,
        namespace=namespace,
    )
    return pulumi.ResourceOptions(provider=made)


def test_objects_from_create_to_destroy(stack: Stack, kubeconfig: Path, kubectl: Kubectl, image: str) -> None:
    def program(value: str, text: str = "hunter2") -> Program:
        def run() -> None:
            options = provider(kubeconfig, kubectl.namespace)
            settings = k8s.core.v1.ConfigMap("settings", metadata={"name": "settings"}, data={"a": value}, opts=options)
            secret = k8s.core.v1.Secret("password", string_data={"password": text}, opts=options)
            labels = {"app": "web"}
            pod: Any = pod_spec(image, envFrom=[{"secretRef": {"name": secret.metadata["name"]}}])
            template: Any = {"metadata": {"labels": labels}, "spec": pod}
            k8s.apps.v1.StatefulSet(
                "web",
                metadata={"name": "web"},
                spec={"service_name": "web", "selector": {"match_labels": labels}, "template": template},
                opts=pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[settings])),
            )
            k8s.core.v1.Service(
                "front",
                metadata={"name": "web"},
                spec={"selector": labels, "ports": [{"port": 80}]},
                opts=options,
            )
            pulumi.export("secret", secret.metadata["name"])

        return run

    assert stack.up(program("1")).summary == {"create": 6}
    first = kubectl("get", "secrets", "-o", "name").splitlines()
    assert stack.up(program("1")).summary == {"same": 6}
    assert stack.refresh().summary == {"same": 6}

    assert stack.up(program("2")).summary == {"update": 1, "same": 5}
    assert kubectl.get("configmap", "settings")["data"] == {"a": "2"}

    kubectl("delete", "service", "web")
    kubectl("label", "statefulset", "web", "theirs=x")
    assert stack.refresh().summary == {"delete": 1, "same": 5}
    assert stack.up(program("2")).summary == {"create": 1, "same": 5}

    replaced = stack.up(program("2", text="another"))
    assert replaced.done("password") == ["create-replacement", "replace", "delete-replaced"]
    assert replaced.done("web") == ["update"], "its pods name the new secret"
    second = kubectl("get", "secrets", "-o", "name").splitlines()
    assert len(first) == len(second) == 1
    assert first != second
    state = stack.state()
    assert "hunter2" not in state
    assert "another" not in state

    assert stack.destroy().summary == {"delete": 6}
    assert kubectl("get", "statefulsets,pods,secrets,services,configmaps", "-o", "name") == "configmap/kube-root-ca.crt"


def test_an_object_that_does_not_become_ready_is_kept_and_tried_again(
    stack: Stack, kubeconfig: Path, kubectl: Kubectl, image: str
) -> None:
    def program(name: str) -> Program:
        def run() -> None:
            found = workload(pod_spec(name, imagePullPolicy="Never"))
            k8s.apps.v1.Deployment(
                "web",
                metadata=found["metadata"],
                spec=found["spec"],
                opts=pulumi.ResourceOptions.merge(
                    provider(kubeconfig, kubectl.namespace),
                    pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="5s", update="30s")),
                ),
            )

        return run

    with pytest.raises(automation.CommandError) as caught:
        stack.up(program("none"))
    assert "container main: ErrImageNeverPull" in str(caught.value)
    assert "not ready after 5 s" in str(caught.value)
    uid = kubectl.get("deployment", "it")["metadata"]["uid"]
    assert stack.up(program(image)).done("web") == ["update"]
    assert kubectl.get("deployment", "it")["metadata"]["uid"] == uid
    assert stack.up(program(image)).summary == {"same": 3}
    stack.destroy()


def test_a_preview_needs_no_cluster(stack: Stack, tmp_path: Path) -> None:
    def program() -> None:
        made = k8s.Provider("cluster", kubeconfig=str(tmp_path / "none"), namespace="one")
        k8s.core.v1.ConfigMap("it", data={"a": "1"}, opts=pulumi.ResourceOptions(provider=made))

    assert "it create" in stack.preview(program).text
    with pytest.raises(automation.CommandError) as caught:
        stack.up(program)
    assert f"kubeconfig {tmp_path / 'none'}: No such file or directory" in str(caught.value)


def test_what_an_unchanged_stack_costs(stack: Stack, kubeconfig: Path, kubectl: Kubectl) -> None:
    """A hundred objects that did not change, and not one request to the cluster for them."""

    def program(kubeconfig: Path) -> Program:
        def run() -> None:
            options = provider(kubeconfig, kubectl.namespace)
            for number in range(100):
                k8s.core.v1.ConfigMap(f"it-{number}", metadata={"name": f"it-{number}"}, data={"a": "1"}, opts=options)

        return run

    assert stack.up(program(kubeconfig), parallel=32).summary == {"create": 102}
    unreachable = kubeconfig.parent / f"{kubectl.namespace}.unreachable"
    unreachable.write_text(kubeconfig.read_text().replace(":6443", ":1"))
    try:
        again = stack.up(program(unreachable), parallel=32)
    finally:
        unreachable.unlink()
    assert again.summary == {"same": 101, "update": 1}, "only the provider's own setting changed"
    stack.up(program(kubeconfig))
    assert stack.destroy().summary == {"delete": 102}
