"""A stack of its own on the real engine, and what an operation on it did."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulumi import automation

Program = Callable[[], None]


@dataclass
class Run:
    """What one operation of the engine did."""

    summary: dict[str, int]
    text: str
    steps: list[tuple[str, str]] = field(default_factory=list)  # operation, resource name; in order of their end

    def done(self, name: str) -> list[str]:
        return [operation for operation, resource in self.steps if resource == name]


class Stack:
    """A stack in a directory of its own, on the file backend."""

    def __init__(self, directory: Path) -> None:
        self._program: Program = lambda: None
        (directory / "state").mkdir()
        self._file = directory / "state" / ".pulumi" / "stacks" / "plugins" / "test.json"
        settings = automation.LocalWorkspaceOptions(
            work_dir=str(directory),
            pulumi_home=str(directory / "home"),
            project_settings=automation.ProjectSettings(
                name="plugins",
                runtime="python",
                backend=automation.ProjectBackend(f"file://{directory / 'state'}"),
            ),
            env_vars={
                "PULUMI_BACKEND_URL": f"file://{directory / 'state'}",  # comes before the project's, if it is set
                "PULUMI_CONFIG_PASSPHRASE": "rehearsal",
                "PULUMI_SKIP_UPDATE_CHECK": "true",
                "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            },
        )
        self._stack = automation.create_stack("test", "plugins", self._run_program, opts=settings)

    def _run_program(self) -> None:
        self._program()

    def up(self, program: Program, **more: Any) -> Run:
        self._program = program
        return self._run(self._stack.up, **more)

    def refresh(self) -> Run:
        return self._run(self._stack.refresh)

    def destroy(self) -> Run:
        return self._run(self._stack.destroy)

    def preview(self, program: Program) -> Run:
        self._program = program
        return self._run(self._stack.preview)

    def state(self) -> str:
        """The state file, as it lies on disk."""
        return self._file.read_text()

    def names(self) -> list[str]:
        """Names of the resources in the state."""
        deployment = json.loads(self.state())["checkpoint"]["latest"]
        return [found["urn"].rpartition("::")[2] for found in deployment.get("resources", ())]

    def _run(self, operation: Callable[..., Any], **more: Any) -> Run:
        run = Run({}, "")
        lines: list[str] = []

        def event(found: automation.EngineEvent) -> None:
            if found.res_outputs_event:
                meta = found.res_outputs_event.metadata
                run.steps.append((_text(meta.op), meta.urn.rpartition("::")[2]))
            if found.summary_event:
                run.summary = {_text(op): count for op, count in found.summary_event.resource_changes.items()}

        try:
            operation(on_event=event, on_output=lines.append, color="never", **more)
        finally:
            run.text = "\n".join(lines)
        return run


def _text(operation: Any) -> str:
    """Name of an operation; the events carry some as enum and some as text."""
    return str(getattr(operation, "value", operation))
