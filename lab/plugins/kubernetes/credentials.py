"""Credentials of a kubeconfig that are not written in it: a file's, and those an exec plugin issues."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lab.plugins.errors import PluginError

_EXEC_LIMIT = 60  # seconds an exec plugin may take
_TOKEN_REREAD = 60  # seconds; bound service account tokens rotate on disk
_EARLY = 30  # seconds before its end that a credential is asked again


class TokenFile:
    """The header of a token that is kept in a file and may change there."""

    def __init__(self, path: Path) -> None:
        self._path, self._read_at, self._header = path, 0.0, ""

    def __call__(self) -> str:
        if time.monotonic() - self._read_at > _TOKEN_REREAD or not self._header:
            try:
                self._header = f"Bearer {self._path.read_text().strip()}"
            except OSError as error:
                raise PluginError(f"kubeconfig: tokenFile {self._path}: {error.strerror}") from error
            self._read_at = time.monotonic()
        return self._header


class ExecCredential:
    """Credential of an exec plugin (client.authentication.k8s.io), asked again when it expires."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._spec, self._lock = spec, threading.Lock()
        self._status: dict[str, Any] = {}
        self._expires = 0.0

    def token(self) -> str | None:
        return self._current().get("token")

    def certificate(self) -> tuple[bytes, bytes] | tuple[None, None]:
        status = self._current()
        if status.get("clientCertificateData") and status.get("clientKeyData"):
            return status["clientCertificateData"].encode(), status["clientKeyData"].encode()
        return None, None

    def _current(self) -> dict[str, Any]:
        with self._lock:
            if time.time() >= self._expires - _EARLY:
                self._status = self._ask()
                stamp = self._status.get("expirationTimestamp")
                self._expires = datetime.fromisoformat(stamp).timestamp() if stamp else float("inf")
            return self._status

    def _ask(self) -> dict[str, Any]:
        command = [self._spec["command"], *(self._spec.get("args") or ())]
        request = {"apiVersion": self._spec.get("apiVersion"), "kind": "ExecCredential", "spec": {"interactive": False}}
        extra = {entry["name"]: entry["value"] for entry in self._spec.get("env") or ()}
        try:
            done = subprocess.run(
                command,
                env=os.environ | extra | {"KUBERNETES_EXEC_INFO": json.dumps(request)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_EXEC_LIMIT,
                check=True,
            )
            return dict(json.loads(done.stdout)["status"])
        except subprocess.CalledProcessError as error:
            last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise PluginError(f"kubeconfig: exec plugin {command[0]} failed: {''.join(last)}") from error
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
            raise PluginError(f"kubeconfig: exec plugin {command[0]}: {error}") from error
