"""How a wait ends, and what it says."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from lab.plugins.errors import PluginError
from lab.plugins.kubernetes import wait
from lab.plugins.kubernetes.api import ApiError, Unreachable
from lab.plugins.kubernetes.look import Look
from lab.plugins.kubernetes.objects import Kind, Object, kind_of
from lab.plugins.kubernetes.problems import of_pod, of_workload
from lab.plugins.kubernetes.ready import Rule, Verdict, rule_for
from lab.plugins.kubernetes.wait import NotReady, Waiter, seconds_for
from tests.lab.plugins.kubernetes.test_ready import FakeLook


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "_FIRST_POLL", 0.01)
    monkeypatch.setattr(wait, "_POLL", 0.01)
    monkeypatch.setattr(wait, "_LOOK_EVERY", 0.02)


def stateful_set(**status: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "one", "uid": "s1", "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "db"}}},
        "status": {"observedGeneration": 1} | status,
    }


READY = {"replicas": 1, "readyReplicas": 1, "currentReplicas": 1, "currentRevision": "a", "updateRevision": "a"}


def pod(waiting: dict[str, Any] | None = None, restarts: int = 0, **status: Any) -> Object:
    state = {"waiting": waiting} if waiting else {"running": {}}
    last = {"terminated": {"exitCode": 1, "reason": "Error", "message": "no such table\n"}}
    container = {"name": "mariadb", "state": state, "lastState": last if restarts else {}, "restartCount": restarts}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "db-0", "namespace": "one", "uid": "p1"},
        "status": {"phase": "Pending", "containerStatuses": [container]} | status,
    }


def event(reason: str, message: str, version: str = "1") -> Object:
    meta = {"name": "e", "namespace": "one", "uid": "e1", "resourceVersion": version}
    return {"apiVersion": "v1", "kind": "Event", "metadata": meta, "reason": reason, "message": message}


def ready(look: FakeLook, timeout: float = 0.3, *, new: bool = True, told: list[str] | None = None) -> Object:
    live = look.objects[0]
    rule = rule_for(kind_of(live))
    assert rule is not None
    waiter = Waiter(look, threading.Event())
    return waiter.ready(live, rule, timeout, (told if told is not None else []).append, new=new)


def failed(look: FakeLook, timeout: float = 0.3, *, new: bool = True) -> str:
    with pytest.raises(NotReady) as caught:
        ready(look, timeout, new=new)
    return str(caught.value)


def test_ready_at_once() -> None:
    told: list[str] = []
    assert ready(FakeLook(stateful_set(**READY)), told=told)["metadata"]["name"] == "db"
    assert told == []


def test_ready_later_tells_and_clears() -> None:
    look, told = FakeLook(stateful_set()), list[str]()
    timer = threading.Timer(0.1, lambda: look.objects.__setitem__(0, stateful_set(**READY)))
    timer.start()
    assert ready(look, 5, told=told)["status"]["readyReplicas"] == 1
    assert told == ["0 of 1 pods ready", ""]


def test_timeout_names_object_time_and_next_step() -> None:
    text = failed(FakeLook(stateful_set(), pod()))
    assert text.startswith("StatefulSet one/db: not ready after 0 s: 0 of 1 pods ready")
    assert "pod db-0: Pending, not ready" in text
    assert text.endswith("see: kubectl -n one describe statefulset db")


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_cannot_be_had_ends_the_wait(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.plugins.kubernetes.problems._HOPELESS", {reason: 0.05})
    start = time.monotonic()
    text = failed(FakeLook(stateful_set(), pod({"reason": reason, "message": "no such image x"})), 60)
    assert time.monotonic() - start < 5
    assert f"pod db-0, container mariadb: {reason}: no such image x" in text


def test_pulling_and_backing_off_is_one_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.plugins.kubernetes.problems._HOPELESS", {"ErrImagePull": 0.2, "ImagePullBackOff": 0.2})
    look = FakeLook(stateful_set(), pod({"reason": "ErrImagePull", "message": "x"}))
    timer = threading.Timer(
        0.1, lambda: look.objects.__setitem__(1, pod({"reason": "ImagePullBackOff", "message": "x"}))
    )
    start = time.monotonic()
    timer.start()
    assert "will not become ready by waiting" in failed(look, 60)
    assert 0.15 < time.monotonic() - start < 5


def test_a_crash_is_told_and_waited_for() -> None:
    look = FakeLook(stateful_set(), pod({"reason": "CrashLoopBackOff"}, restarts=2), words="ERROR 1045\nbye")
    text = failed(look)
    assert "CrashLoopBackOff, restarted 2 times, last exit code 1 (Error): no such table" in text
    assert "    | ERROR 1045\n    | bye" in text
    assert "not ready after" in text, "it may still heal, so the timeout must have ended it"


def test_five_crashes_in_one_wait_are_enough() -> None:
    look = FakeLook(stateful_set(), pod({"reason": "CrashLoopBackOff"}, restarts=5))
    assert "will not become ready by waiting" in failed(look, 60)


def test_crashes_from_before_the_wait_do_not_count() -> None:
    look = FakeLook(stateful_set(), pod({"reason": "CrashLoopBackOff"}, restarts=9))
    assert "not ready after" in failed(look, new=False)


FORBIDDEN = 'create Pod db-0 failed error: pods "db-0" is forbidden: violates PodSecurity "restricted:latest": x'


def test_admission_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    look = FakeLook(stateful_set(), event("FailedCreate", FORBIDDEN))
    since = of_workload(look.objects[0], look, {})[0]
    assert since.hopeless_after == 5
    monkeypatch.setattr("lab.plugins.kubernetes.problems._FINAL_AFTER", 0.05)
    assert "FailedCreate: create Pod db-0" in failed(look, 60)


def test_an_old_refusal_does_not_end_a_new_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.plugins.kubernetes.problems._FINAL_AFTER", 0.0)
    look = FakeLook(stateful_set(), event("FailedCreate", FORBIDDEN))
    assert "not ready after" in failed(look, new=False)
    timer = threading.Timer(0.1, lambda: look.objects.__setitem__(1, event("FailedCreate", FORBIDDEN, "2")))
    timer.start()
    assert "will not become ready by waiting" in failed(look, 60, new=False), "it happened again"


def test_deployments_tell_refusals_by_condition() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": FORBIDDEN}
    live = {**stateful_set(conditions=[condition]), "kind": "Deployment"}
    assert [found.text for found in of_workload(live, FakeLook(live), {})] == [f"FailedCreate: {FORBIDDEN}"]


def test_not_scheduled() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    (found,) = of_pod(pod(conditions=[condition]), {})
    assert found.text == "pod db-0: Unschedulable: 0/1 nodes"
    assert found.hopeless_after is None


def test_starting_is_no_problem() -> None:
    assert of_pod(pod({"reason": "ContainerCreating"}), {}) == []


def test_a_final_verdict_ends_the_wait() -> None:
    failing = Rule(lambda live, look: Verdict(False, "0 of 1", "failed: BackoffLimitExceeded"))
    look = FakeLook(stateful_set())
    with pytest.raises(NotReady, match="BackoffLimitExceeded"):
        Waiter(look, threading.Event()).ready(look.objects[0], failing, 60, print, new=True)


def test_settling_needs_quiet() -> None:
    started = time.monotonic()
    settling = Rule(lambda live, look: Verdict(True, "nothing", settle=0.2))
    look = FakeLook(stateful_set())
    Waiter(look, threading.Event()).ready(look.objects[0], settling, 60, lambda _: None, new=True)
    assert 0.2 <= time.monotonic() - started < 2


def test_cancel_ends_the_wait() -> None:
    look, cancelled = FakeLook(stateful_set()), threading.Event()
    threading.Timer(0.1, cancelled.set).start()
    rule = rule_for(kind_of(look.objects[0]))
    assert rule is not None
    with pytest.raises(NotReady, match="cancelled while waiting"):
        Waiter(look, cancelled).ready(look.objects[0], rule, 60, lambda _: None, new=True)


class FlakyLook(FakeLook):
    """Fails every question for a while, or for ever."""

    def __init__(self, error: PluginError, answers_after: int, *objects: Object) -> None:
        super().__init__(*objects)
        self._error, self._failures = error, answers_after

    def _of(self, kind: Kind) -> list[Object]:
        self._failures -= 1
        if self._failures >= 0:
            raise self._error
        return super()._of(kind)


AWAY, BUSY = Unreachable("does not answer"), ApiError(503, "", "starting", {})
FORBIDDEN_TO_LOOK = ApiError(403, "Forbidden", "statefulsets is forbidden", {})


@pytest.mark.parametrize("error", [AWAY, BUSY])
@pytest.mark.parametrize("new", [True, False])
def test_a_server_that_is_away_for_a_moment_does_not_end_the_wait(error: PluginError, new: bool) -> None:
    look = FlakyLook(error, 20, stateful_set(**READY))
    waiter, rule = Waiter(look, threading.Event()), rule_for(kind_of(stateful_set()))
    assert rule is not None
    live = waiter.ready(stateful_set(), rule, 5, lambda _: None, new=new)
    assert live["status"]["readyReplicas"] == 1


def test_a_server_that_stays_away_leaves_the_object_to_the_engine() -> None:
    look = FlakyLook(AWAY, 10**6, stateful_set())
    with pytest.raises(NotReady, match=r"not ready after 0 s(.|\n)*cannot look for causes: does not answer"):
        ready(look, 0.2)


@pytest.mark.parametrize("going", [False, True])
def test_a_server_that_is_away_for_long_ends_the_wait(monkeypatch: pytest.MonkeyPatch, going: bool) -> None:
    monkeypatch.setattr(wait, "_AWAY_LIMIT", 0.1)
    look = FlakyLook(AWAY, 10**6, stateful_set())
    with pytest.raises(NotReady, match="cannot be waited for: does not answer"):
        if going:
            Waiter(look, threading.Event()).gone(stateful_set(), 60, lambda _: None)
        else:
            ready(look, 60)


def test_a_user_who_may_not_look_leaves_the_object_to_the_engine() -> None:
    with pytest.raises(NotReady, match="cannot be waited for: statefulsets is forbidden"):
        ready(FlakyLook(FORBIDDEN_TO_LOOK, 10**6, stateful_set()), 60)


def test_gone_while_the_server_was_away() -> None:
    Waiter(FlakyLook(AWAY, 5), threading.Event()).gone(stateful_set(), 5, lambda _: None)


def test_settling_starts_again_after_a_change() -> None:
    began = time.monotonic()

    def check(live: Object, look: Look) -> Verdict:
        pending = 0.15 < time.monotonic() - began < 0.2
        return Verdict(not pending, "nothing", settle=0.2)

    look = FakeLook(stateful_set())
    Waiter(look, threading.Event()).ready(look.objects[0], Rule(check), 60, lambda _: None, new=True)
    assert time.monotonic() - began >= 0.4


def test_somebody_deletes_it_meanwhile() -> None:
    look = FakeLook(stateful_set())
    threading.Timer(0.1, look.objects.clear).start()
    with pytest.raises(PluginError, match="deleted by somebody else"):
        ready(look, 60)


def test_gone_when_gone_or_another() -> None:
    look = FakeLook(stateful_set())
    old = stateful_set()
    threading.Timer(0.1, lambda: look.objects[0]["metadata"].update(uid="another")).start()
    Waiter(look, threading.Event()).gone(old, 60, lambda _: None)
    Waiter(FakeLook(), threading.Event()).gone(old, 60, lambda _: None)


def test_not_gone_tells_what_holds_it() -> None:
    held = stateful_set()
    held["metadata"]["finalizers"] = ["example.org/keep"]
    with pytest.raises(NotReady, match=r"not gone after 0 s; held by finalizers example\.org/keep"):
        Waiter(FakeLook(held), threading.Event()).gone(held, 0.05, lambda _: None)


@pytest.mark.parametrize(
    ("custom", "annotated", "seconds"), [(5, "7", 5.0), (0, "7", 7.0), (0, "", 600.0), (0, "soon", 600.0)]
)
def test_timeouts(custom: float, annotated: str, seconds: float) -> None:
    inputs = {"metadata": {"annotations": {"pulumi.com/timeoutSeconds": annotated}}}
    assert seconds_for(inputs, custom, 600) == seconds
