"""Waiting for real controllers, schedulers and kubelets, and failing with their words."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from lab.plugins.wire import decode
from tests.kubectl import Kubectl
from tests.lab.plugins.harness import Plugin, error_text, init_failed
from tests.lab.plugins.kubernetes.conftest import Objects, bare, pod_spec, workload

pytestmark = pytest.mark.engine


@pytest.fixture
def sets(objects: Objects) -> Plugin:
    return objects.plugin("apps/v1", "StatefulSet")


def failed(plugin: Plugin, inputs: dict[str, Any], **more: Any) -> tuple[str, float, dict[str, Any]]:
    """Text, seconds and kept state of a create that must leave an object that is not ready."""
    checked, began = plugin.checked(inputs), time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        plugin.create(checked, **more)
    kept = init_failed(caught.value)
    assert kept.id.endswith("/it")
    assert kept.reasons[0] == error_text(caught.value)
    return error_text(caught.value), time.monotonic() - began, decode(kept.properties)


def annotated(inputs: dict[str, Any], **annotations: str) -> dict[str, Any]:
    inputs["metadata"]["annotations"] = {f"pulumi.com/{name}": value for name, value in annotations.items()}
    return inputs


def test_stateful_set_is_ready_when_its_pods_are(sets: Plugin, kubectl: Kubectl, image: str) -> None:
    probe = {"exec": {"command": ["sh", "-c", "test -e /tmp/ready"]}, "periodSeconds": 1}
    inputs = workload(pod_spec(image, "sleep 3; touch /tmp/ready; sleep 600", readinessProbe=probe), serviceName="it")
    began = time.monotonic()
    id, state = sets.create(sets.checked(inputs))
    assert time.monotonic() - began > 3
    assert id == f"{kubectl.namespace}/it"
    assert state["status"]["readyReplicas"] == 1
    assert any("0 of 1 pods ready" in text for text in sets.engine.shown())
    assert sets.engine.shown()[-1] == "", "the status is cleared"


def test_update_waits_for_the_new_revision(sets: Plugin, kubectl: Kubectl, image: str) -> None:
    inputs = workload(pod_spec(image), serviceName="it")
    id, state = sets.create(checked := sets.checked(inputs))
    first = kubectl.get("pod", "it-0")["metadata"]["uid"]
    inputs["spec"]["template"]["metadata"]["annotations"] = {"revision": "2"}
    state = sets.update(id, state, sets.checked(inputs, checked))
    pod = kubectl.get("pod", "it-0")
    assert pod["metadata"]["uid"] != first
    assert all(status["ready"] for status in pod["status"]["containerStatuses"])
    assert state["status"]["currentRevision"] == state["status"]["updateRevision"]


def test_deployment_and_its_service(objects: Objects, image: str) -> None:
    deployments, services = objects.plugin("apps/v1", "Deployment"), objects.plugin("core/v1", "Service")
    probe = {"exec": {"command": ["sh", "-c", "test -e /tmp/ready"]}, "periodSeconds": 1}
    inputs = workload(pod_spec(image, "sleep 3; touch /tmp/ready; sleep 600", readinessProbe=probe))
    service = {"metadata": {"name": "it"}, "spec": {"selector": {"app": "it"}, "ports": [{"port": 80}]}}
    with ThreadPoolExecutor() as pool:
        made = pool.submit(deployments.create, deployments.checked(inputs))
        time.sleep(1.5)
        id, state = services.create(checked := services.checked(service))
        assert made.result(60)[1]["status"]["availableReplicas"] == 1
    assert state["spec"]["clusterIP"]
    assert decode(services.read(id, state, checked).inputs) == checked, "ready for a refresh as well"


def test_daemon_set(objects: Objects, image: str) -> None:
    plugin = objects.plugin("apps/v1", "DaemonSet")
    _, state = plugin.create(plugin.checked(workload(pod_spec(image))))
    assert state["status"]["numberReady"] == state["status"]["desiredNumberScheduled"] >= 1


def test_headless_service_needs_no_endpoints(objects: Objects) -> None:
    services = objects.plugin("core/v1", "Service")
    began = time.monotonic()
    services.create(
        services.checked({"metadata": {"name": "it"}, "spec": {"clusterIP": "None", "selector": {"a": "b"}}})
    )
    assert time.monotonic() - began < 5


def test_admission_refuses_the_pod(sets: Plugin, kubectl: Kubectl, image: str) -> None:
    pod = pod_spec(image)
    del pod["securityContext"]
    text, seconds, kept = failed(sets, workload(pod, serviceName="it"))
    assert 'violates PodSecurity "restricted' in text
    assert "runAsNonRoot" in text
    assert f"StatefulSet {kubectl.namespace}/it was created but did not become ready" in text
    assert f"kubectl -n {kubectl.namespace} describe statefulset it" in text
    assert seconds < 30
    assert bare(kept)["__inputs"]["metadata"]["name"] == "it"


def test_admission_refuses_the_pods_of_a_deployment(objects: Objects, image: str) -> None:
    pod = pod_spec(image)
    del pod["securityContext"]
    text, seconds, _ = failed(objects.plugin("apps/v1", "Deployment"), workload(pod))
    assert 'violates PodSecurity "restricted' in text
    assert seconds < 30


@pytest.mark.parametrize(
    ("name", "policy", "reason", "limit"),
    [
        ("localhost/onelab/none:1", "Never", "ErrImageNeverPull", 40),
        ("Not A Name", "IfNotPresent", "InvalidImageName", 20),
    ],
)
def test_image_that_will_never_be_there(sets: Plugin, name: str, policy: str, reason: str, limit: float) -> None:
    text, seconds, _ = failed(sets, workload(pod_spec(name, imagePullPolicy=policy), serviceName="it"))
    assert f"pod it-0, container main: {reason}" in text
    assert seconds < limit


def test_crashing_container_is_waited_for_and_quoted(sets: Plugin, image: str) -> None:
    pod = pod_spec(image, "echo cannot open the table; echo bye > /dev/termination-log; exit 3")
    pod["containers"][0]["command"] = [
        "sh",
        "-c",
        "echo cannot open the table; echo bye > /dev/termination-log; exit 3",
    ]
    # Without a probe a container counts as ready for the moment that it runs.
    pod["containers"][0]["readinessProbe"] = {"exec": {"command": ["false"]}}
    text, seconds, _ = failed(sets, workload(pod, serviceName="it"), timeout=15)
    assert "not ready after 15 s" in text
    assert re.search(r"container main: (CrashLoopBackOff|ended), restarted \d times, last exit code 3", text)
    assert "last exit code 3 (Error): bye" in text
    assert "| cannot open the table" in text
    assert seconds < 25
    told = sets.engine.shown()
    assert any("last exit code 3 (Error): bye" in text for text in told), told


def test_a_container_that_heals_is_ready_in_the_end(sets: Plugin, image: str) -> None:
    pod = pod_spec(image)
    pod["containers"][0]["command"] = ["sh", "-c", "test -e /tmp/again || { touch /tmp/again; exit 1; }; sleep 600"]
    pod["containers"][0]["volumeMounts"] = [{"name": "tmp", "mountPath": "/tmp"}]
    pod["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    _, state = sets.create(sets.checked(workload(pod, serviceName="it")))
    assert state["status"]["readyReplicas"] == 1


def test_pod_that_fits_nowhere(sets: Plugin, image: str) -> None:
    pod = pod_spec(image, resources={"requests": {"cpu": "900"}})
    text, _, _ = failed(sets, annotated(workload(pod, serviceName="it"), timeoutSeconds="5"))
    assert "not ready after 5 s" in text
    assert "pod it-0: Unschedulable: 0/1 nodes are available" in text


def test_missing_config_map_is_named_at_the_timeout(sets: Plugin, image: str) -> None:
    pod = pod_spec(image) | {"volumes": [{"name": "c", "configMap": {"name": "nowhere"}}]}
    pod["containers"][0]["volumeMounts"] = [{"name": "c", "mountPath": "/c"}]
    text, _, _ = failed(sets, workload(pod, serviceName="it"), timeout=8)
    assert 'configmap "nowhere" not found' in text


def test_skip_await(sets: Plugin) -> None:
    began = time.monotonic()
    id, state = sets.create(
        checked := sets.checked(annotated(workload(pod_spec("none"), serviceName="it"), skipAwait="true"))
    )
    assert sets.read(id, state, checked).id == id
    sets.delete(id, state)
    assert time.monotonic() - began < 5


def hopeless(seconds: int, **spec: Any) -> dict[str, Any]:
    """A StatefulSet without a usable image, waited for that long."""
    inputs = workload(pod_spec("none", imagePullPolicy="Never"), serviceName="it", **spec)
    return annotated(inputs, timeoutSeconds=str(seconds))


def test_refresh_keeps_an_object_that_is_not_ready_and_says_so(sets: Plugin, kubectl: Kubectl) -> None:
    _, _, kept = failed(sets, hopeless(1))
    with pytest.raises(grpc.RpcError) as caught:
        sets.read(f"{kubectl.namespace}/it", kept, bare(kept)["__inputs"])
    found = init_failed(caught.value)
    assert "is not ready: 0 of 1 pods ready" in found.reasons[0]
    assert decode(found.inputs)["spec"]["serviceName"] == "it"


def test_a_failed_object_is_repaired_by_the_next_update(sets: Plugin, kubectl: Kubectl, image: str) -> None:
    _, _, kept = failed(sets, hopeless(1, podManagementPolicy="Parallel"))
    inputs = workload(pod_spec(image), serviceName="it", podManagementPolicy="Parallel")
    state = sets.update(f"{kubectl.namespace}/it", kept, sets.checked(inputs, bare(kept)["__inputs"]))
    assert state["status"]["readyReplicas"] == 1


def test_an_ordered_set_with_a_broken_pod_says_what_blocks_it(sets: Plugin, kubectl: Kubectl, image: str) -> None:
    _, _, kept = failed(sets, hopeless(1))
    news = sets.checked(workload(pod_spec(image), serviceName="it"), bare(kept)["__inputs"])
    with pytest.raises(grpc.RpcError) as caught:
        sets.update(f"{kubectl.namespace}/it", kept, news, timeout=4)
    assert "pod it-0: of the previous revision and not ready" in error_text(caught.value)
    assert "kubectl delete pod it-0" in init_failed(caught.value).reasons[0]


def test_cancel_ends_the_wait_and_keeps_the_object(sets: Plugin) -> None:
    with ThreadPoolExecutor() as pool:
        result = pool.submit(failed, sets, workload(pod_spec("none", imagePullPolicy="IfNotPresent"), serviceName="it"))
        time.sleep(2)
        sets.stub.Cancel(Empty())
        text, _, _ = result.result(10)
    assert "cancelled while waiting" in text


def test_job(objects: Objects, image: str) -> None:
    jobs = objects.plugin("batch/v1", "Job")
    pod = pod_spec(image) | {"restartPolicy": "Never"}
    pod["containers"][0]["command"] = ["sh", "-c", "sleep 1"]
    _, state = jobs.create(jobs.checked({"metadata": {"name": "good"}, "spec": {"template": {"spec": pod}}}))
    assert state["status"]["succeeded"] == 1
    pod["containers"][0]["command"] = ["sh", "-c", "echo no; exit 4"]
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    text, _, _ = failed(jobs, {"metadata": {"name": "it"}, "spec": spec})
    assert "BackoffLimitExceeded" in text
    assert "exit code 4" in text


def test_pod(objects: Objects, image: str) -> None:
    pods = objects.plugin("core/v1", "Pod")
    id, state = pods.create(pods.checked({"metadata": {"name": "it"}, "spec": pod_spec(image)}))
    assert state["status"]["phase"] == "Running"
    pods.delete(id, state)


def test_claims(objects: Objects, kubectl: Kubectl) -> None:
    claims = objects.plugin("core/v1", "PersistentVolumeClaim")
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    _, state = claims.create(claims.checked({"metadata": {"name": "first-consumer"}, "spec": spec}))
    assert state["status"]["phase"] == "Pending", "the default class waits for a pod"
    missing = {"metadata": {"name": "it"}, "spec": spec | {"storageClassName": "none"}}
    text, _, _ = failed(claims, missing, timeout=2)
    assert "storage class none" in text
