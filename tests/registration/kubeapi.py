"""As much of a Kubernetes API on loopback as the registration asks for: Secrets, Services, pods, and real Lease rules.

A Lease exists once by name, is deleted only under the right uid, and is aged by this server's clock. `shift` moves that
clock, so that expiry can be tested without waiting.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.registration.servers import SESSION, serving

NAMESPACE = "opennebula"


def pod(name: str, *, ready: bool = True, waiting: str | None = None) -> dict[str, Any]:
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "oned", "image": "x", "ports": [{"name": "xmlrpc", "containerPort": 2633}]}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [
                {"name": "oned", "ready": ready, "restartCount": 0, "image": "x", "imageID": "x", "state": state}
            ],
        },
    }


class KubeApi:
    def __init__(self) -> None:
        self.leases: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, dict[str, str]] = {"oned-oneadmin": {"one_auth": SESSION}}
        self.namespaces = {NAMESPACE}
        self.pods: list[dict[str, Any]] = [pod("oned-0")]
        self.target_port: int | str = "xmlrpc"
        self.requests: list[str] = []
        self.shift = 0.0
        self.refuse: Callable[[str, str], int] = lambda _verb, _path: 0
        """A status to answer a request with instead."""
        self.drop_answer_of: Callable[[str, str], bool] = lambda _verb, _path: False
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return datetime.fromtimestamp(int(time.time() + self.shift), UTC)

    def answer(self, verb: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        plain = path.split("?", maxsplit=1)[0]
        with self._lock:
            self.requests.append(f"{verb} {plain}")
            status = self.refuse(verb, plain)
            if status:
                return status, {"kind": "Status", "code": status}
            name = plain.rsplit("/", 1)[1]
            if "/leases" in plain:
                return self._lease(verb, name, body)
            if plain == f"/api/v1/namespaces/{name}" or "/secrets/" in plain:
                known = self.secrets if "/secrets/" in plain else {key: {} for key in self.namespaces}
                return self._found(known.get(name), lambda data: {"data": {k: _b64(v) for k, v in data.items()}})
            if "/services/" in plain:
                ports = [{"port": 2633, "targetPort": self.target_port}]
                return 200, {"metadata": {"name": name}, "spec": {"selector": {"app": "oned"}, "ports": ports}}
            if verb == "PATCH" and "/pods/" in plain:
                return self._found(
                    next((pod for pod in self.pods if pod["metadata"]["name"] == name), None), lambda pod: pod
                )
            assert plain.endswith("/pods"), path
            return 200, {"items": self.pods, "metadata": {}}

    def _lease(self, verb: str, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if verb == "POST":
            name = body["metadata"]["name"]
            if name in self.leases:
                return 409, {"reason": "AlreadyExists"}
            created = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
            body["metadata"] |= {"uid": str(uuid4()), "resourceVersion": "1", "creationTimestamp": created}
            self.leases[name] = body
            return 201, body
        if name not in self.leases:
            return 404, {"reason": "NotFound"}
        lease = self.leases[name]
        if verb == "DELETE":
            if body.get("preconditions", {}).get("uid") != lease["metadata"]["uid"]:
                return 409, {"reason": "Conflict"}
            del self.leases[name]
        return 200, lease

    @staticmethod
    def _found(data: Any, build: Callable[[Any], dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        return (404, {"reason": "NotFound"}) if data is None else (200, build(data))

    @contextmanager
    def running(self, directory: Path) -> Iterator[str]:
        """Serve; yields the path of a kubeconfig."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one segment: two would wait for each other (Nagle)

            def _serve(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, value = outer.answer(self.command, self.path, json.loads(raw) if raw else {})
                if outer.drop_answer_of(self.command, self.path):
                    self.connection.close()
                    self.close_connection = True
                    return
                body = json.dumps(value).encode()
                self.send_response_only(status)
                self.send_header("Date", format_datetime(outer.now(), usegmt=True))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_DELETE = _serve

            def log_message(self, *_args: object) -> None:
                pass

        with serving(Handler) as url:
            config = directory / "kubeconfig"
            config.write_text(_kubeconfig(url))
            yield str(config)


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _kubeconfig(server: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": server}}],
            "users": [{"name": "me", "user": {"token": "t"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        }
    )
