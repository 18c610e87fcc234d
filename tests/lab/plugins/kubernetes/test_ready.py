"""When an object is ready, from what the API server shows."""

from __future__ import annotations

from typing import Any

import pytest

from lab.plugins.kubernetes.look import selector_text
from lab.plugins.kubernetes.objects import Kind, Object, kind_of
from lab.plugins.kubernetes.ready import Verdict, rule_for


class FakeLook:
    """Answers from lists."""

    def __init__(self, *objects: Object, words: str = "") -> None:
        self.objects, self.words = list(objects), words

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return next((found for found in self._of(kind) if found["metadata"]["name"] == name), None)

    def all(self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "") -> list[Object]:
        return self._of(kind)

    def last_words(self, pod: Object, container: str, *, previous: bool) -> str:
        return self.words

    def _of(self, kind: Kind) -> list[Object]:
        return [found for found in self.objects if found["kind"] == kind.kind]


def obj(kind: str, api_version: str, spec: dict[str, Any] | None = None, **members: Any) -> Object:
    meta = {"name": "it", "namespace": "one", "uid": "u1", "generation": 2}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": spec or {}, **members}


def verdict(live: Object, *others: Object) -> Verdict:
    rule = rule_for(kind_of(live))
    assert rule is not None
    return rule.check(live, FakeLook(*others))


def deployment(**status: Any) -> Object:
    return obj("Deployment", "apps/v1", {"replicas": 2}, status={"observedGeneration": 2} | status)


FULL = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}


@pytest.mark.parametrize(
    ("status", "done"),
    [
        (FULL, True),
        (FULL | {"observedGeneration": 1}, False),
        (FULL | {"replicas": 3}, False),
        (FULL | {"updatedReplicas": 1}, False),
        (FULL | {"availableReplicas": 1}, False),
        ({}, False),
    ],
)
def test_deployment(status: dict[str, Any], done: bool) -> None:
    assert verdict(deployment(**status)).done is done


def test_deployment_past_its_deadline_is_final() -> None:
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "slow"}
    assert "slow" in verdict(deployment(conditions=[condition])).failure


STATEFUL = {
    "observedGeneration": 2,
    "replicas": 2,
    "readyReplicas": 2,
    "currentReplicas": 2,
    "currentRevision": "a",
    "updateRevision": "a",
}


@pytest.mark.parametrize(
    ("status", "done"),
    [
        (STATEFUL, True),
        (STATEFUL | {"observedGeneration": 1}, False),
        (STATEFUL | {"readyReplicas": 1}, False),
        (STATEFUL | {"updateRevision": "b", "updatedReplicas": 1}, False),
        (STATEFUL | {"replicas": 3}, False),
        (STATEFUL | {"currentReplicas": 1}, False),
        ({"observedGeneration": 2}, False),
    ],
)
def test_stateful_set(status: dict[str, Any], done: bool) -> None:
    assert verdict(obj("StatefulSet", "apps/v1", {"replicas": 2}, status=status)).done is done


def test_stateful_set_without_pods() -> None:
    status = {"observedGeneration": 2, "replicas": 0, "currentRevision": "a", "updateRevision": "a"}
    assert verdict(obj("StatefulSet", "apps/v1", {"replicas": 0}, status=status)).done


def test_stateful_set_updated_by_hand_waits_for_readiness_only() -> None:
    spec = {"replicas": 2, "updateStrategy": {"type": "OnDelete"}}
    assert verdict(obj("StatefulSet", "apps/v1", spec, status=STATEFUL | {"updateRevision": "b"})).done


@pytest.mark.parametrize(
    ("status", "done"),
    [
        ({"desiredNumberScheduled": 1, "numberReady": 1, "updatedNumberScheduled": 1}, True),
        ({"desiredNumberScheduled": 1, "numberReady": 1}, False),
        ({"desiredNumberScheduled": 1, "updatedNumberScheduled": 1}, False),
    ],
)
def test_daemon_set(status: dict[str, Any], done: bool) -> None:
    assert verdict(obj("DaemonSet", "apps/v1", status={"observedGeneration": 2} | status)).done is done


def test_job() -> None:
    complete = {"type": "Complete", "status": "True"}
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}
    assert verdict(obj("Job", "batch/v1", status={"conditions": [complete]})).done
    assert not verdict(obj("Job", "batch/v1")).done
    assert "too often" in verdict(obj("Job", "batch/v1", status={"conditions": [failed]})).failure


def test_pod() -> None:
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert verdict(obj("Pod", "v1", status=ready)).done
    assert verdict(obj("Pod", "v1", status={"phase": "Succeeded"})).done
    assert not verdict(obj("Pod", "v1", status={"phase": "Running"})).done
    assert "Evicted" in verdict(obj("Pod", "v1", status={"phase": "Failed", "reason": "Evicted"})).failure


def storage_class(mode: str) -> Object:
    found = obj("StorageClass", "storage.k8s.io/v1", volumeBindingMode=mode)
    found["metadata"]["name"] = "sc"
    return found


@pytest.mark.parametrize(
    ("phase", "mode", "done"),
    [
        ("Bound", "Immediate", True),
        ("Pending", "Immediate", False),
        ("Pending", "WaitForFirstConsumer", True),
        ("Bound", "WaitForFirstConsumer", True),
    ],
)
def test_claim(phase: str, mode: str, done: bool) -> None:
    claim = obj("PersistentVolumeClaim", "v1", {"storageClassName": "sc"}, status={"phase": phase})
    assert verdict(claim, storage_class(mode)).done is done


def test_claim_without_a_class_says_so() -> None:
    assert "no default" in verdict(obj("PersistentVolumeClaim", "v1")).progress


def endpoints(*ready: bool | None) -> Object:
    found = [{"conditions": {} if state is None else {"ready": state}} for state in ready]
    return obj("EndpointSlice", "discovery.k8s.io/v1", endpoints=found)


@pytest.mark.parametrize(
    "spec", [{"clusterIP": "None", "selector": {"a": "b"}}, {"type": "ExternalName"}, {"clusterIP": "10.0.0.1"}]
)
def test_services_that_need_no_endpoints(spec: dict[str, Any]) -> None:
    assert verdict(obj("Service", "v1", spec)).done


def test_service_waits_for_its_endpoints() -> None:
    service = obj("Service", "v1", {"selector": {"a": "b"}, "clusterIP": "10.0.0.1"})
    assert not verdict(service).done
    assert not verdict(service, endpoints(True, False)).done
    assert verdict(service, endpoints(True)) == Verdict(True)
    assert verdict(service, endpoints(None)) == Verdict(True), "no condition means ready"
    assert verdict(service, endpoints()).settle == 10, "no pod at all passes, but not at once"


def test_load_balancer_waits_for_an_address() -> None:
    spec = {"type": "LoadBalancer", "selector": {"a": "b"}}
    assert not verdict(obj("Service", "v1", spec), endpoints(True)).done
    addressed = obj("Service", "v1", spec, status={"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}})
    assert verdict(addressed, endpoints(True)).done


def test_ingress_waits_for_an_address() -> None:
    rules = [{"http": {"paths": [{"backend": {"service": {"name": "it"}}}]}}]
    status = {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}
    assert "ingress controller" in verdict(obj("Ingress", "networking.k8s.io/v1", {"rules": rules})).progress
    served = obj("Ingress", "networking.k8s.io/v1", {"rules": rules}, status=status)
    assert verdict(served, obj("Service", "v1")) == Verdict(True)
    assert verdict(served).settle == 10


def test_other_kinds_are_ready_when_they_exist() -> None:
    assert rule_for(Kind("", "v1", "ConfigMap")) is None
    assert rule_for(Kind("example.org", "v1", "Deployment")) is None


def test_selectors_as_text() -> None:
    selector = {
        "matchLabels": {"a": "b"},
        "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["d", "e"]},
            {"key": "f", "operator": "DoesNotExist"},
        ],
    }
    assert selector_text(selector) == "a=b,c in (d,e),!f"
    assert selector_text(None) == ""
