"""Why pods do not become ready, in the kubelet's, the scheduler's and admission's own words.

Some causes end by themselves (a crash while a database starts, a volume being attached); they are told while waiting
and at the timeout. Others do not: `hopeless_after` says how long one of those may last before waiting makes no sense.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lab.plugins.kubernetes.look import Look, events_of, pods_of
from lab.plugins.kubernetes.objects import Object, dig, metadata, name_of
from lab.plugins.kubernetes.ready import condition

# Seconds. Image names never heal; a registry may be away for a moment.
_HOPELESS: Final[Mapping[str, float]] = {
    "InvalidImageName": 0,
    "ErrImageNeverPull": 10,
    "ErrImagePull": 30,
    "ImagePullBackOff": 30,
}
_FINAL_AFTER = 5.0  # seconds, so that a refusal is told together with what else is wrong
_MAX_CRASHES = 5  # with the kubelet's back-off: more than two and a half minutes of trying
_NOISE = frozenset({"ContainerCreating", "PodInitializing"})
_WORKLOADS = frozenset({"DaemonSet", "Deployment", "Job", "Pod", "ReplicationController", "StatefulSet"})


@dataclass(frozen=True)
class Problem:
    """One cause. `key` is the same as long as the cause is; `instance` tells an old report of it from a new one."""

    key: str
    text: str
    hopeless_after: float | None = None
    pod: Object | None = None
    container: str = ""
    previous: bool = False  # whether the container that said the last words has a successor already
    instance: str = ""

    def with_last_words(self, look: Look) -> str:
        """The text, with the end of the container's log."""
        words = look.last_words(self.pod, self.container, previous=self.previous) if self.pod else ""
        return self.text + "".join(f"\n    | {line}" for line in words.splitlines())


def of_workload(live: Object, look: Look, crashes_before: Mapping[str, int]) -> list[Problem]:
    """Everything that keeps a workload's pods from being ready; nothing for kinds without pods.

    `crashes_before` counts restarts (by pod uid and container) from before the wait.
    """
    if live.get("kind") not in _WORKLOADS:
        return []
    found = [*_refused_creation(live), *_refusing_events(events_of(live, look))]
    for pod in pods_of(live, look):
        found += [*_left_behind(live, pod), *of_pod(pod, crashes_before)]
    return found


def of_pod(pod: Object, crashes_before: Mapping[str, int]) -> list[Problem]:
    """What one pod says about itself."""
    where, uid = f"pod {name_of(pod)}", metadata(pod).get("uid")
    found = []
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        found.append(Problem(f"{uid}:scheduled", f"{where}: {scheduled.get('reason')}: {scheduled.get('message')}"))
    for status in container_statuses(pod):
        name, waiting = status["name"], dig(status, "state", "waiting") or {}
        reason, crashes = waiting.get("reason", ""), int(status.get("restartCount", 0))
        key, at = f"{uid}:{name}:{reason}", f"{where}, container {name}"
        if reason == "CrashLoopBackOff":
            new = crashes - crashes_before.get(f"{uid}:{name}", 0)
            text = f"{at}: CrashLoopBackOff, restarted {crashes} times, {_ended(status)}"
            found.append(Problem(key, text, 0 if new >= _MAX_CRASHES else None, pod, name, previous=True))
        elif reason and reason not in _NOISE:
            text = f"{at}: {reason}: {waiting.get('message', 'no message')}"
            # The kubelet goes to and fro between pulling and waiting before it pulls again: one cause.
            key = f"{uid}:{name}:image" if reason in ("ErrImagePull", "ImagePullBackOff") else key
            found.append(Problem(key, text, _HOPELESS.get(reason)))
        elif code := dig(status, "state", "terminated", "exitCode"):
            text = f"{at}: ended, restarted {crashes} times, {_ended(status, 'state')}"
            found.append(Problem(f"{uid}:{name}:ended{code}", text, None, pod, name))
    return found


def unready_pods(live: Object, look: Look) -> list[str]:
    """For the end of a wait: pods that run and say nothing, with the newest warnings about them."""
    if live.get("kind") not in _WORKLOADS:
        return [f"{event.get('reason')}: {event.get('message')}" for event in events_of(live, look)[-2:]]
    lines = []
    for pod in pods_of(live, look):
        if condition(pod, "Ready").get("status") != "True" and dig(pod, "status", "phase") != "Succeeded":
            lines.append(f"pod {name_of(pod)}: {dig(pod, 'status', 'phase')}, not ready")
            lines += [f"  {event.get('reason')}: {event.get('message')}" for event in events_of(pod, look)[-2:]]
    return lines


def crash_counts(live: Object, look: Look) -> dict[str, int]:
    """Restarts so far, by pod uid and container."""
    if live.get("kind") not in _WORKLOADS:
        return {}
    return {
        f"{metadata(pod).get('uid')}:{status['name']}": int(status.get("restartCount", 0))
        for pod in pods_of(live, look)
        for status in container_statuses(pod)
    }


def container_statuses(pod: Object) -> list[dict[str, Any]]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _ended(status: Mapping[str, Any], state: str = "lastState") -> str:
    last = dig(status, state, "terminated") or {}
    text = f"last exit code {last.get('exitCode', 'unknown')} ({last.get('reason', 'no reason')})"
    return text + (f": {last['message'].strip()}" if last.get("message") else "")


def _left_behind(live: Object, pod: Object) -> list[Problem]:
    """A pod that blocks a rolling update: kubernetes/kubernetes#67250, by design of ordered pods."""
    revision = dig(live, "status", "updateRevision")
    ordered = dig(live, "spec", "podManagementPolicy") != "Parallel"
    old = revision and dig(pod, "metadata", "labels", "controller-revision-hash") not in (None, revision)
    if live.get("kind") != "StatefulSet" or not (ordered and old) or condition(pod, "Ready").get("status") == "True":
        return []
    name = name_of(pod)
    text = f"pod {name}: of the previous revision and not ready; only then is it replaced: kubectl delete pod {name}"
    return [Problem(f"{metadata(pod).get('uid')}:left-behind", text)]


def _refused_creation(live: Object) -> list[Problem]:
    refused = condition(live, "ReplicaFailure")
    if refused.get("status") != "True":
        return []
    return [_refusal("", str(refused.get("reason")), str(refused.get("message")))]


def _refusing_events(events: Iterable[Object]) -> list[Problem]:
    newest = {str(event.get("reason")): event for event in events if str(event.get("reason")).startswith("Failed")}
    return [
        _refusal(f"{metadata(event).get('uid')}:{metadata(event).get('resourceVersion')}", reason, event["message"])
        for reason, event in newest.items()
    ]


def _refusal(instance: str, reason: str, message: str) -> Problem:
    # Admission judges the same pod the same way for ever; quotas and webhooks may change their mind.
    final = "violates PodSecurity" in message or "Invalid value" in message
    return Problem(
        f"refused:{reason}:{final}", f"{reason}: {message}", _FINAL_AFTER if final else None, instance=instance
    )
