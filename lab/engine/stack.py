"""`pulumi up`, `refresh`, `destroy` of the program, driven through the Automation API.

The program is `__main__.py`, unchanged: run inside this process, where the engine finds a language runtime without any
language plugin. Deliberately not here: what the stack's configuration says (`lab/stackfile.py`).
"""

from __future__ import annotations

import json
import os
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi import automation
from pulumi.automation import ConfigValue, LocalWorkspaceOptions, OutputValue
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS

from components.naming import PROJECT as PROJECT_NAME
from lab import console
from lab.engine.failures import Failure, explain
from lab.engine.logins import logins
from lab.engine.trace import Trace
from lab.engine.workspace import PARALLEL, Workspace
from lab.errors import Incomplete, LabError
from lab.paths import PROJECT

# gRPC shares connections by address within a process. A program that asks its engine for something when that has ended
# leaves one behind that dials the dead port for ever; an engine of a later operation that happens to get this port would be
# taken for dead ("Resource monitor has terminated"), since a failed connection is not tried anew for up to two minutes.
# The SDK (3.255) has no public place for the option.
_GRPC_CHANNEL_OPTIONS.append(("grpc.use_local_subchannel_pool", 1))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One engine operation: counts by operation (`create`, `same`, …), the outputs, the trace. A preview has no outputs,
    and as `text` what `pulumi preview --diff` prints."""

    changes: Mapping[str, int]
    outputs: Mapping[str, Any]
    trace: Trace
    text: str = ""

    @property
    def changed(self) -> int:
        """Resources that were not left as they were."""
        return sum(count for operation, count in self.changes.items() if operation != "same")


def _run_program() -> None:
    runpy.run_path(str(PROJECT / "__main__.py"), run_name="__main__")


class ProgramStack:
    """One stack of the program. Every method raises LabError with the engine's own error lines."""

    def __init__(
        self,
        name: str,
        workspace: Workspace,
        report: Callable[[str], None],
        *,
        program: Callable[[], None] = _run_program,
        folder: Path = PROJECT,
        project: automation.ProjectSettings | None = None,
    ) -> None:
        """The last three are for another program than `__main__.py`: its stack's file and project are in `folder`."""
        self.name = name
        self._file = folder / stack_file(name).name
        self._report = report
        # The Automation API looks for the engine on this process's own PATH. The rest goes to the engine alone, which
        # hands it to its plugins and the dynamic providers: another stack in this process has other settings.
        os.environ["PATH"] = workspace.environment["PATH"]
        self._traces = workspace.state / "traces"
        self._stack = automation.create_or_select_stack(
            name,
            project_name=PROJECT_NAME,
            program=program,
            # The project's own files: Pulumi.yaml and the stack's file are read and written in place.
            opts=LocalWorkspaceOptions(work_dir=str(folder), env_vars=workspace.environment, project_settings=project),
        )

    def set_secret(self, key: str, value: str, *, path: bool = False) -> None:
        """Encrypt one secret into the stack's file. With `path` a place inside a structured value, as `--path` has it."""
        self._stack.set_config(key, ConfigValue(value, secret=True), path=path)

    def outputs(self) -> Mapping[str, Any]:
        """The stack's outputs, secrets in clear: for use, not for print."""
        return _values(self._stack.outputs())

    def up(self, **options: Any) -> Outcome:
        """Bring the world to the program. Independent resources go on when one fails."""
        return self._operate(
            "up",
            lambda trace: self._stack.up(
                parallel=PARALLEL, continue_on_error=True, on_event=trace.on_event, show_secrets=False, **options
            ),
        )

    def preview(self) -> Outcome:
        """What an up would do."""
        trace = self._trace()
        try:
            result = self._stack.preview(parallel=PARALLEL, on_event=trace.on_event, diff=True, color="never")
        except automation.CommandError as error:
            raise self._failure("preview", trace, error) from None
        return Outcome(
            changes={str(getattr(key, "value", key)): count for key, count in result.change_summary.items()},
            outputs={},
            trace=trace,
            text=result.stdout,
        )

    def refresh(self) -> Outcome:
        """Read the world into the state."""
        return self._operate(
            "refresh",
            lambda trace: self._stack.refresh(parallel=PARALLEL, on_event=trace.on_event, show_secrets=False),
        )

    def destroy(self) -> Outcome:
        """Remove what the stack made, except what it retains."""
        return self._operate(
            "destroy",
            lambda trace: self._stack.destroy(
                parallel=PARALLEL, continue_on_error=True, on_event=trace.on_event, show_secrets=False
            ),
        )

    def unlock(self) -> None:
        """Take away the lock that a killed run left behind."""
        self._stack.cancel()

    def remove(self) -> None:
        """Forget an empty stack."""
        self._stack.workspace.remove_stack(self.name)

    def export(self) -> Mapping[str, Any]:
        """The state as the backend has it, secrets encrypted."""
        return self._stack.export_stack().deployment or {}

    def _operate(self, operation: str, run: Callable[[Trace], Any]) -> Outcome:
        trace = self._trace()
        try:
            result = run(trace)
        except automation.CommandError as error:
            raise self._failure(operation, trace, error) from None
        finally:
            trace.close()
            self._write(operation, trace)
        changes = {
            str(getattr(key, "value", key)): count for key, count in (result.summary.resource_changes or {}).items()
        }
        return Outcome(changes=changes, outputs=_values(getattr(result, "outputs", {})), trace=trace)

    def _trace(self) -> Trace:
        return Trace(self._report, hosts=len(logins(self._file)), pace=console.pace())

    def _where(self) -> str:
        return "" if self.name == "lab" else f" CLUSTER=existing KUBECONFIG=… STACK={self.name}"

    def _write(self, operation: str, trace: Trace) -> None:
        self._traces.mkdir(parents=True, exist_ok=True)
        (self._traces / f"{self.name}-{operation}.json").write_text(json.dumps(trace.as_json(), indent=1))

    def _failure(self, operation: str, trace: Trace, error: automation.CommandError) -> LabError:
        if isinstance(error, automation.ConcurrentUpdateError) or "the stack is currently locked" in str(error):
            return LabError(
                f"stack {self.name} is locked",
                cause="another run is at work on it, or one was killed",
                fix=f"wait for the other run, or, when there is none: make unlock{self._where()}",
            )
        failures = [found for found in trace.failures if not found.text.startswith("an unhandled error occurred")]
        failures = failures or trace.failures or [Failure(urn="", text=_last_error(str(error)))]
        commands = logins(self._file)
        cause, fix = explain(failures, operation, hosts=len(commands), commands=commands)
        kind = Incomplete if all(found.of_hosts for found in failures) else LabError
        return kind(f"{operation} of stack {self.name} failed", cause=cause, fix=fix)


def _last_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if "error" in line.lower()]
    return lines[-1] if lines else text.strip()[-400:]


def _values(outputs: Mapping[str, OutputValue]) -> dict[str, Any]:
    return {name: output.value for name, output in outputs.items()}


def stack_file(name: str) -> Path:
    """Where the engine looks for a stack's configuration."""
    return PROJECT / f"Pulumi.{name}.yaml"
