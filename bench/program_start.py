"""`python -m bench.program_start STACKFILE`: the program's start in a process of its own, up to its first resource.

Prints the CPU-seconds of this process, from the interpreter's first instruction, until the program registers its first
component and until it registers the first resource that a provider makes. Run by `make bench`. There is no engine: a
monitor of Pulumi's own test kit takes the registrations, and the second figure ends the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks, set_mocks

from lab.paths import PROJECT


class _Echo(Mocks):
    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        return args.name, dict(args.inputs)

    def call(self, args: MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"unexpected invoke of {args.token}")


class _Stopwatch(MockMonitor):
    """Notes when the first registrations arrive."""

    def __init__(self) -> None:
        super().__init__(_Echo())
        self.component: float | None = None
        self._first = threading.Lock()

    def RegisterResource(self, request: Any) -> Any:
        now = time.process_time()
        if request.custom and not request.type.startswith("pulumi:providers:"):
            self._first.acquire()  # for good: registrations come from several threads, and the first one ends them all
            print(json.dumps({"component": self.component, "resource": now, "type": request.type}), flush=True)
            os._exit(0)
        if self.component is None and request.type != "pulumi:pulumi:Stack":
            self.component = now
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


def main(file: str) -> int:
    """Exit code 1 when the program ends without any resource."""
    values: dict[str, Any] = yaml.safe_load(Path(file).read_text())["config"]
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    set_mocks(_Echo(), project="opennebula", stack="bench", preview=False, monitor=_Stopwatch())
    pulumi.runtime.set_all_config(texts, [])

    async def run() -> None:
        await pulumi.runtime.stack.run_pulumi_func(_program)

    loop.run_until_complete(run())
    return 1


def _program() -> None:
    runpy.run_path(str(PROJECT / "__main__.py"), run_name="__main__")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
