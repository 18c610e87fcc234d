"""Plain HTTP to one API server: JSON in, JSON out, errors with the server's own words.

Connections are pooled for all threads of the plugin. Reads and deletes are repeated once when the connection broke;
writes are not, because nobody knows whether they arrived.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import urllib3

from lab.plugins.errors import PluginError
from lab.plugins.kubernetes.kubeconfig import Target

_TIMEOUT = urllib3.Timeout(connect=10, read=60)  # seconds; the server itself gives up after 60
_POOL = 64
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
# 429 says that nothing was done and when to come back; 503 is safe to repeat only where repeating changes nothing.
_RETRY = urllib3.Retry(
    total=6,
    connect=1,
    read=1,
    other=0,
    status_forcelist=(429, 503),
    allowed_methods=None,
    backoff_factor=0.2,
    raise_on_status=False,
)
_RETRY_WRITE = urllib3.Retry(
    total=6, connect=1, read=0, other=0, status_forcelist=(429,), allowed_methods=None, raise_on_status=False
)


class Unreachable(PluginError):
    """No answer from the API server."""


class ApiError(PluginError):
    """The API server refused. `reason` is Kubernetes' own (`NotFound`, `Conflict`, …)."""

    def __init__(self, status: int, reason: str, message: str, body: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.status, self.reason, self.body = status, reason, body

    def namespace_missing(self) -> bool:
        """Whether the object could not be created because its namespace is not there."""
        return self.reason == "NotFound" and (self.body.get("details") or {}).get("kind") == "namespaces"


class Api:
    """Requests to one cluster as one user."""

    def __init__(self, target: Target) -> None:
        self._target = target
        options: dict[str, Any] = {"maxsize": _POOL, "block": False, "timeout": _TIMEOUT}
        if target.tls:
            options |= {"ssl_context": target.tls, "server_hostname": target.tls_server_name}
            if target.tls_server_name:
                options["assert_hostname"] = target.tls_server_name
        self._pool = urllib3.ProxyManager(target.proxy, **options) if target.proxy else urllib3.PoolManager(**options)

    @property
    def server(self) -> str:
        return self._target.server

    def get(self, path: str, **query: str) -> dict[str, Any]:
        return self.request("GET", path, query)

    def text(self, path: str, **query: str) -> str:
        """A response that is no JSON: container logs."""
        return self._send("GET", path, query, None, None).data.decode(errors="replace")

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object | None = None,
        *,
        content_type: str = "application/json",
        warn: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """One request. `warn` gets each warning the server attaches. Raises ApiError or Unreachable."""
        payload = None if body is None else json.dumps(body).encode()
        response = self._send(method, path, query or {}, payload, content_type)
        if warn:
            for text in _WARNING.findall(", ".join(response.headers.getlist("Warning"))):
                warn(text.replace('\\"', '"'))
        return dict(json.loads(response.data))

    def _send(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None, content_type: str | None
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json", "User-Agent": "pulumi-kubernetes (rehearsal stand-in)"}
        if body is not None and content_type:
            headers["Content-Type"] = content_type
        if authorization := self._target.authorization():
            headers["Authorization"] = authorization
        address = f"{self._target.server}{path}" + (f"?{urlencode(query)}" if query else "")
        retries = _RETRY if method in ("GET", "DELETE") else _RETRY_WRITE
        try:
            response = self._pool.request(method, address, body=body, headers=headers, retries=retries, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason else error
            raise Unreachable(f"Kubernetes API server {self._target.server} does not answer: {cause}") from error
        if response.status >= 400:
            raise _error(response.status, response.data)
        return response


def segment(name: str) -> str:
    """A name as part of a path."""
    return quote(name, safe=":")


def _error(status: int, data: bytes) -> ApiError:
    try:
        body = json.loads(data)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return ApiError(status, "", f"HTTP {status}: {data[:300].decode(errors='replace').strip()}", {})
    message = str(body.get("message") or f"HTTP {status}")
    return ApiError(status, str(body.get("reason") or ""), message, body)
