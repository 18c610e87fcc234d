"""When an object is what its author asked for, kind by kind: pure rules on what the API server shows.

The rules are the official plugin's. A kind without a rule is ready as soon as it exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lab.plugins.kubernetes.look import ENDPOINT_SLICE, SERVICE, STORAGE_CLASS, Look
from lab.plugins.kubernetes.objects import Kind, Object, dig, name_of, namespace_of

_SETTLE = 10.0  # seconds the official plugin gives endpoints to appear


@dataclass(frozen=True)
class Verdict:
    """`failure` is final. With `settle`, done counts only after so many seconds without another `progress`."""

    done: bool
    progress: str = ""
    failure: str = ""
    settle: float = 0.0


@dataclass(frozen=True)
class Rule:
    """How one kind is waited for: seconds by default, and whether a refresh looks at it too."""

    check: Callable[[Object, Look], Verdict]
    timeout: float = 600
    on_read: bool = True


def rule_for(kind: Kind) -> Rule | None:
    """The rule of a kind, if any."""
    return _RULES.get((kind.group, kind.kind))


def condition(live: Object, type_: str) -> Mapping[str, Any]:
    """A condition of an object's status, or an empty mapping."""
    for found in dig(live, "status", "conditions") or ():
        if found.get("type") == type_:
            return dict(found)
    return {}


def _number(live: Object, *path: str, default: int = 0) -> int:
    value = dig(live, *path)
    return default if value is None else int(value)


def _observed(live: Object) -> bool:
    return _number(live, "status", "observedGeneration") >= _number(live, "metadata", "generation")


def _deployment(live: Object, _look: Look) -> Verdict:
    wanted = _number(live, "spec", "replicas", default=1)
    updated = _number(live, "status", "updatedReplicas")
    available = _number(live, "status", "availableReplicas")
    progress = f"{min(updated, available)} of {wanted} pods available"
    if not _observed(live):
        return Verdict(False, "waiting for the deployment controller")
    progressing = condition(live, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Verdict(False, progress, f"{progress}: {progressing.get('message')}")
    return Verdict(updated == available == wanted == _number(live, "status", "replicas"), progress)


def _stateful_set(live: Object, _look: Look) -> Verdict:
    if not _observed(live):
        return Verdict(False, "waiting for the stateful set controller")
    wanted, status = _number(live, "spec", "replicas", default=1), live.get("status") or {}
    ready, present = status.get("readyReplicas", 0), status.get("replicas", 0)
    updated, current = status.get("updatedReplicas", 0), status.get("currentReplicas", 0)
    strategy = dig(live, "spec", "updateStrategy") or {}
    partition = _number(strategy, "rollingUpdate", "partition")
    settled = bool(status.get("currentRevision")) and status.get("currentRevision") == status.get("updateRevision")
    complete = ready == present == wanted
    progress = f"{ready if settled else min(ready, updated)} of {wanted} pods ready"
    if strategy.get("type") == "OnDelete" and _number(live, "metadata", "generation") > 1:
        return Verdict(complete, progress)
    if partition and not settled:
        return Verdict(complete and updated >= wanted - partition, progress)
    return Verdict(complete and settled and current == wanted, progress)


def _daemon_set(live: Object, _look: Look) -> Verdict:
    if not _observed(live):
        return Verdict(False, "waiting for the daemon set controller")
    status = live.get("status") or {}
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    updated = status.get("updatedNumberScheduled", 0)
    if dig(live, "spec", "updateStrategy", "type") == "OnDelete":
        updated = wanted
    return Verdict(updated == ready == wanted, f"{min(updated, ready)} of {wanted} pods ready")


def _job(live: Object, _look: Look) -> Verdict:
    failed = condition(live, "Failed")
    progress = f"{_number(live, 'status', 'succeeded')} of {_number(live, 'spec', 'completions', default=1)} completed"
    if failed.get("status") == "True":
        return Verdict(False, progress, f"failed: {failed.get('reason')}: {failed.get('message')}")
    return Verdict(condition(live, "Complete").get("status") == "True", progress)


def _pod(live: Object, _look: Look) -> Verdict:
    phase = dig(live, "status", "phase") or "Pending"
    if phase == "Failed":
        reason = dig(live, "status", "reason") or "its containers ended with errors"
        return Verdict(False, phase, f"the pod failed: {reason} {dig(live, 'status', 'message') or ''}".strip())
    return Verdict(phase == "Succeeded" or condition(live, "Ready").get("status") == "True", f"pod is {phase}")


def _replication_controller(live: Object, _look: Look) -> Verdict:
    wanted, available = _number(live, "spec", "replicas", default=1), _number(live, "status", "availableReplicas")
    return Verdict(wanted == available, f"{available} of {wanted} pods available")


def _claim(live: Object, look: Look) -> Verdict:
    phase, storage_class = dig(live, "status", "phase") or "Pending", dig(live, "spec", "storageClassName")
    if phase == "Bound":
        return Verdict(True)
    if phase == "Lost":
        return Verdict(False, phase, "the volume it was bound to is gone")
    found = look.find(STORAGE_CLASS, "", storage_class) if storage_class else None
    if found and found.get("volumeBindingMode") == "WaitForFirstConsumer":
        return Verdict(phase == "Pending")
    return Verdict(False, f"claim is {phase}, storage class {storage_class or 'none and no default'}")


def _volume(live: Object, _look: Look) -> Verdict:
    phase = dig(live, "status", "phase")
    return Verdict(phase in ("Available", "Bound"), f"volume is {phase}")


def _quota(live: Object, _look: Look) -> Verdict:
    return Verdict(dig(live, "spec", "hard") == dig(live, "status", "hard"), "quota is not in force yet")


def _secret(live: Object, _look: Look) -> Verdict:
    waits = live.get("type") == "kubernetes.io/service-account-token"
    return Verdict(not waits or bool(live.get("data")), "no token yet; does the service account exist?")


def _service(live: Object, look: Look) -> Verdict:
    spec = live.get("spec") or {}
    if spec.get("type") == "LoadBalancer" and not dig(live, "status", "loadBalancer", "ingress"):
        return Verdict(False, "no load balancer address yet")
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") == "None" or not spec.get("selector"):
        return Verdict(True)
    slices = look.all(ENDPOINT_SLICE, namespace_of(live), labels=f"kubernetes.io/service-name={name_of(live)}")
    states = [endpoint.get("conditions") or {} for found in slices for endpoint in found.get("endpoints") or ()]
    ready = sum(state.get("ready") is not False for state in states)
    pending = sum(state.get("ready") is False and not state.get("terminating") for state in states)
    if pending:
        return Verdict(False, f"{ready} of {ready + pending} endpoints ready")
    if ready:
        return Verdict(True)
    # No pod matches. The official plugin lets that pass once the endpoints controller has answered and 10 s went by.
    return Verdict(bool(slices), "no pod matches the selector", settle=_SETTLE)


def _ingress(live: Object, look: Look) -> Verdict:
    if not dig(live, "status", "loadBalancer", "ingress"):
        return Verdict(False, "no address yet; does an ingress controller serve this class and publish its address?")
    paths = [path for rule in dig(live, "spec", "rules") or () for path in dig(rule, "http", "paths") or ()]
    names = {dig(path, "backend", "service", "name") for path in paths} - {None}
    missing = sorted(str(name) for name in names if look.find(SERVICE, namespace_of(live), str(name)) is None)
    if missing:
        return Verdict(True, f"no service {', '.join(missing)}", settle=_SETTLE)
    return Verdict(True)


_RULES: Final[Mapping[tuple[str, str], Rule]] = {
    ("apps", "DaemonSet"): Rule(_daemon_set),
    ("apps", "Deployment"): Rule(_deployment),
    ("apps", "StatefulSet"): Rule(_stateful_set),
    ("batch", "Job"): Rule(_job),
    ("networking.k8s.io", "Ingress"): Rule(_ingress),
    ("", "PersistentVolume"): Rule(_volume, timeout=300, on_read=False),
    ("", "PersistentVolumeClaim"): Rule(_claim, timeout=300, on_read=False),
    ("", "Pod"): Rule(_pod),
    ("", "ReplicationController"): Rule(_replication_controller, on_read=False),
    ("", "ResourceQuota"): Rule(_quota, timeout=60, on_read=False),
    ("", "Secret"): Rule(_secret, timeout=5, on_read=False),
    ("", "Service"): Rule(_service),
}
