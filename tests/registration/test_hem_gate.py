"""The wait until the hook execution manager works with a new configuration, and the exec that looks."""

from __future__ import annotations

import base64
import json
from typing import Any

import dill  # type: ignore[import-untyped]
import pytest
import websocket
from pulumi.dynamic.dynamic import serialize_provider

from components.registration import hem_gate
from components.registration.errors import AccessError
from components.registration.exec import output
from components.registration.hem_gate import HemConfigured, HemConfiguredProvider, NotTaken, wait_until_taken
from components.registration.kube import PodPort
from components.registration.transport import NotSent
from tests.registration.test_kube import Frames


class FakeClock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakePods:
    """The pod takes the new text `delay` seconds after the first touch that comes later than `ignored` others."""

    def __init__(self, clock: FakeClock, *, delay: float = 2, ignored: int = 0, away: float = 0) -> None:
        self.clock, self.delay, self.ignored, self.away = clock, delay, ignored, away
        self.touches: list[float] = []
        self.forbidden: set[str] = set()

    def pod_behind(self, service: str, port: int) -> PodPort:
        assert (service, port) == ("oned", 2633)
        if self.clock.now < self.away:
            raise NotSent("no pod behind Service oned is ready: it has no pods")
        return PodPort(pod="oned-0", port=2633)

    def touch_pod_behind(self, _service: str, _port: int) -> None:
        if "touch" in self.forbidden:
            raise AccessError("may not patch pod")
        self.touches.append(self.clock.now)

    def taken(self, pod: str) -> str:
        assert pod == "oned-0"
        if "exec" in self.forbidden:
            raise AccessError("may not run cat")
        if "touch" in self.forbidden:
            return "new" if self.clock.now > 60 else "old"  # the kubelet looks by itself
        seen = self.touches[self.ignored :]
        if not seen or self.clock.now < seen[0] + self.delay:
            return "old"
        return "new"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_it_is_brought_at_once_and_waited_for(clock: FakeClock) -> None:
    pods = FakePods(clock)
    wait_until_taken(pods, "new", clock=clock)
    assert (clock.now, pods.touches) == (2.0, [0.0])


def test_a_touch_that_came_before_the_kubelet_had_heard_is_repeated(clock: FakeClock) -> None:
    pods = FakePods(clock, ignored=2)
    wait_until_taken(pods, "new", clock=clock)
    assert (clock.now, len(pods.touches)) == (12.0, 3)


def test_what_is_taken_already_costs_nothing(clock: FakeClock) -> None:
    wait_until_taken(FakePods(clock, delay=0), "new", clock=clock)
    assert clock.now == 0


def test_a_pod_that_is_on_its_way_is_waited_for(clock: FakeClock) -> None:
    wait_until_taken(FakePods(clock, away=30, delay=0), "new", clock=clock)
    assert clock.now == 30


def test_without_the_right_to_touch_the_kubelets_own_round_is_waited_for(clock: FakeClock) -> None:
    pods = FakePods(clock)
    pods.forbidden = {"touch"}
    wait_until_taken(pods, "new", clock=clock)
    assert 60 < clock.now < 62


def test_without_the_right_to_look_the_caller_decides(clock: FakeClock) -> None:
    pods = FakePods(clock)
    pods.forbidden = {"exec"}
    with pytest.raises(AccessError):
        wait_until_taken(pods, "new", clock=clock)


def test_the_limit_says_what_to_look_at(clock: FakeClock) -> None:
    with pytest.raises(NotTaken, match=r"after 20 s: the manager that runs.*kubectl logs oned-0 -c hem"):
        wait_until_taken(FakePods(clock, delay=1000), "new", limit=20, clock=clock)
    with pytest.raises(NotTaken, match="it has no pods"):
        wait_until_taken(FakePods(clock, away=1000), "new", limit=20, clock=clock)
    assert clock.now < 42


def test_only_another_text_is_a_change() -> None:
    provider = HemConfiguredProvider()
    assert provider.diff("hem", {"text": "a"}, {"text": "a"}).changes is False
    assert provider.diff("hem", {"text": "a"}, {"text": "b"}).changes is True
    assert provider.read("hem", {"text": "a"}).id == "hem"


@pytest.mark.parametrize("operation", ["create", "update"])
def test_each_operation_waits_and_a_forbidden_look_is_no_failure(
    operation: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waited: list[str] = []

    def wait(_pods: Any, text: str) -> None:
        waited.append(text)
        if text == "forbidden":
            raise AccessError("may not run cat")

    class Runtime:
        cluster: Any = type("Cluster", (), {"pod_behind": None, "touch_pod_behind": None})()

    monkeypatch.setattr(hem_gate, "wait_until_taken", wait)
    monkeypatch.setattr(HemConfiguredProvider, "_runtime", lambda _self: Runtime)
    provider = HemConfiguredProvider()
    for text in ("b", "forbidden"):
        done: Any = (
            provider.create({"text": text})
            if operation == "create"
            else provider.update("hem", {"text": "a"}, {"text": text})
        )
        assert done.outs == {"text": text}
    assert waited == ["b", "forbidden"]
    assert "may not run cat" in caplog.text
    monkeypatch.setattr(Runtime, "cluster", None)
    provider.create({"text": "c"})
    assert waited == ["b", "forbidden"], "an oned by its URL alone has no pod to look into"


def test_the_path_is_a_contract() -> None:
    """It stands in the state: renaming it breaks refresh and destroy."""
    text = serialize_provider(HemConfiguredProvider())
    assert len(text) <= 120
    assert type(dill.loads(base64.b64decode(text))) is HemConfiguredProvider  # noqa: S301 - made above
    assert f"{HemConfiguredProvider.__module__}" == "components.registration.hem_gate"
    assert HemConfigured._resource_type_name == "dynamic/opennebula:HemConfigured"


def status(**fields: Any) -> bytes:
    return b"\3" + json.dumps(fields).encode()


def test_what_a_command_prints() -> None:
    frames = Frames(
        b"\1", b"\2", b"\3", b"\1:concurrency: 3\n", b"\1:x: 1\n", status(status="Success"), (8, b"\x03\xe8")
    )
    assert output(frames, "run cat") == ":concurrency: 3\n:x: 1\n"


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ((b"\2cat: /run/one/hem-taken: No such file", status(status="Failure", message="exit code 1")), "No such file"),
        ((status(status="Failure", message="container not found"),), "container not found"),
        ((b"\1half of it",), "broke off"),
        ((b"\3nonsense",), "broke off"),
        ((websocket.WebSocketTimeoutException("slow"),), "slow"),
    ],
)
def test_a_command_that_fails_is_tried_again_by_the_caller(frames: tuple[Any, ...], said: str) -> None:
    with pytest.raises(NotSent, match=said):
        output(Frames(*frames), "run cat")
