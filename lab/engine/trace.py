"""What the engine did, resource by resource, with times: the progress that people see and the phase trace on disk.

Fed by the Automation API's events. Pure but for the clock, which is injected.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from pulumi.automation import EngineEvent, OpType

from lab.engine.failures import Failure
from lab.engine.fleet import FleetProgress, host_step

_WARNINGS = 20  # told of one operation
_VERBS = {
    OpType.CREATE: "created",
    OpType.UPDATE: "updated",
    OpType.DELETE: "deleted",
    OpType.REPLACE: "replaced",
    OpType.CREATE_REPLACEMENT: "created anew",
    OpType.DELETE_REPLACED: "deleted the old",
}


@dataclass
class Step:
    """One resource operation; times in seconds since the run began."""

    urn: str
    operation: str
    began: float
    ended: float | None = None
    failed: bool = False

    @property
    def type(self) -> str:
        return self.urn.split("::")[2].split("$")[-1]

    @property
    def name(self) -> str:
        return self.urn.split("::")[-1]


@dataclass
class Trace:
    """Collects events of one operation. `hosts`: how many the stack declares; `pace`: seconds between lines that count them."""

    report: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    hosts: int = 0
    pace: float = 3.0
    steps: dict[str, Step] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    first_resource: float | None = None
    warnings: int = 0
    _start: float = 0.0

    def __post_init__(self) -> None:
        self._start = self.clock()
        self._fleet = FleetProgress(total=self.hosts, report=self._say, clock=self.clock, pace=self.pace)

    @property
    def errors(self) -> list[str]:
        """One text an error, with the resource's name before it."""
        return [failure.line for failure in self.failures]

    @property
    def elapsed(self) -> float:
        return self.clock() - self._start

    def on_event(self, event: EngineEvent) -> None:
        """One event of the engine."""
        if event.resource_pre_event is not None:
            metadata = event.resource_pre_event.metadata
            if self.first_resource is None and not metadata.urn.endswith("::pulumi:pulumi:Stack"):
                self.first_resource = self.elapsed
            key = f"{metadata.urn} {metadata.op}"
            self.steps[key] = Step(urn=metadata.urn, operation=str(OpType(metadata.op).value), began=self.elapsed)
        elif event.res_outputs_event is not None:
            self._finish(event.res_outputs_event.metadata, failed=False)
        elif event.res_op_failed_event is not None:
            self._finish(event.res_op_failed_event.metadata, failed=True)
        elif event.diagnostic_event is not None and event.diagnostic_event.severity == "error":
            self._error(event.diagnostic_event)
        elif event.diagnostic_event is not None and event.diagnostic_event.severity == "info#err":
            self._warning(event.diagnostic_event.message)
        elif event.diagnostic_event is not None:
            self._fleet.message(event.diagnostic_event.message)

    def close(self) -> None:
        """The operation is over: say the last counts."""
        self._fleet.close()

    def _say(self, line: str) -> None:
        self.report(f"  {self.elapsed:6.1f} s  {line}")

    def _finish(self, metadata: Any, *, failed: bool) -> None:
        step = self.steps.get(f"{metadata.urn} {metadata.op}")
        if step is None:
            return
        step.ended, step.failed = self.elapsed, failed
        operation = OpType(metadata.op)
        host = host_step(step.urn, step.operation)
        if host is not None:
            self._fleet.finished(*host, failed=failed, worked=operation in _VERBS)
        if failed:
            self._say(f"FAILED        {step.type}  {step.name}")
        elif host_step(step.urn) is not None and self._fleet.counts:
            return
        elif operation in _VERBS and not _is_inner(step.type):
            took = step.ended - step.began
            self._say(f"{_VERBS[operation]:<13} {step.type}  {step.name}  ({took:.1f} s)")

    def _warning(self, message: str) -> None:
        """Of what providers write to standard error, that which concerns a host; each of a thousand may have something."""
        for line in _plain(message).splitlines():
            if line.startswith("host ") and self.warnings < _WARNINGS:
                self.warnings += 1
                self._say(line)

    def _error(self, event: Any) -> None:
        text = _plain(event.message).strip().removeprefix("1 error occurred:").strip().removeprefix("* ")
        # The engine repeats, for the stack, that some resource failed, and the program's own traceback says it once more.
        if not text or text == "update failed" or "failed to register" in text.splitlines()[-1]:
            return
        if text.startswith("resource registration failed"):
            return
        failure = Failure(urn=event.urn or "", text=text)
        if failure not in self.failures:
            self.failures.append(failure)

    def as_json(self) -> dict[str, Any]:
        """The trace as data: one record a step, in the order of their beginnings."""
        steps = sorted(self.steps.values(), key=lambda step: step.began)
        return {
            "elapsed": self.elapsed,
            "first_resource": self.first_resource,
            "errors": self.errors,
            "steps": [{**asdict(step), "type": step.type, "name": step.name} for step in steps],
        }


def _is_inner(type_token: str) -> bool:
    return type_token.startswith(("opennebula:index:", "pulumi:providers:")) or type_token == "pulumi:pulumi:Stack"


def _plain(message: str) -> str:
    """Without the engine's colour marks, `<{%reset%}>` and the like."""
    out, rest = "", message
    while "<{%" in rest:
        before, _, rest = rest.partition("<{%")
        out += before
        rest = rest.partition("%}>")[2]
    return out + rest
