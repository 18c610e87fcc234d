"""The lab's kubectl with one kubeconfig, as tests call it: the oracle, and whoever else changes things."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from lab.toolchain import tool


class Kubectl:
    """Called with kubectl's arguments. `namespace` becomes an option; kubectl then refuses objects of any other."""

    def __init__(self, kubeconfig: Path, namespace: str | None = None) -> None:
        self.namespace = namespace or "default"
        self._options = [f"--kubeconfig={kubeconfig}", *([f"--namespace={namespace}"] if namespace else [])]

    def command(self, *arguments: str) -> list[str]:
        """The whole command line, for who runs it in another way."""
        return [str(tool("kubectl")), *self._options, *arguments]

    def __call__(self, *arguments: str, manifest: Any = None, limit: float = 60, check: bool = True) -> str:
        """What it printed, without blanks around. `manifest` goes to its input as JSON, `limit` is in seconds.

        Raises AssertionError with what it complained about when it fails, unless `check` is off.
        """
        done = subprocess.run(
            self.command(*arguments),
            input=json.dumps(manifest) if manifest else None,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The object as JSON. Fails when there is none."""
        found: dict[str, Any] = json.loads(self("get", kind, name, "-o", "json", "--show-managed-fields"))
        return found

    def exists(self, kind: str, name: str) -> bool:
        return bool(self("get", kind, name, "--ignore-not-found", "-o", "name"))
