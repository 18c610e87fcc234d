"""The parts of one process together."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from components.registration.errors import AccessError
from components.registration.runtime import Runtime


class Pod:
    """Counts how often the kubelet is asked to look at it."""

    def __init__(self, *, allowed: bool = True) -> None:
        self.looks, self._allowed = 0, allowed

    def touch_pod_behind(self, service: str, port: int) -> None:
        self.looks += 1
        if not self._allowed:
            raise AccessError("may not patch pods")


def runtime(cluster: Any) -> Runtime:
    needed = [field.name for field in fields(Runtime) if field.default is field.default_factory is MISSING]
    return Runtime(**dict.fromkeys(needed, None), cluster=cluster)  # type: ignore[arg-type]


def test_pins_are_brought_into_the_pod_once_a_process_however_many_hosts_are_registered() -> None:
    pod = Pod()
    parts, others = runtime(pod), runtime(pod)
    for _ in range(3):
        parts.before_registering()
    assert pod.looks == 1
    others.before_registering()
    assert pod.looks == 2


def test_without_the_right_or_a_cluster_they_come_by_themselves() -> None:
    refused = Pod(allowed=False)
    runtime(refused).before_registering()
    assert refused.looks == 1
    runtime(None).before_registering()
