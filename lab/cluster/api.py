"""A few calls to the Kubernetes API with nothing but the standard library.

The lab applies a dozen objects and waits for two Deployments; the official client takes longer to import than that.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lab.cluster.certificates import Pki
from lab.errors import LabError
from lab.paths import Instance

Object = Mapping[str, Any]
_LIMIT = 15.0  # seconds a request
_PLURALS = {"StorageClass": "storageclasses", "IngressClass": "ingressclasses", "NetworkPolicy": "networkpolicies"}


class Api:
    """The API server as the lab's administrator, from the root namespace."""

    def __init__(self, instance: Instance, pki: Pki) -> None:
        self._host = str(instance.box_ip)
        self._tls = ssl.create_default_context(cafile=str(pki.ca))
        self._tls.load_cert_chain(pki.certificate("admin"), pki.key("admin"))

    def _call(self, method: str, path: str, body: Object | None = None, kind: str = "") -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(self._host, 6443, timeout=_LIMIT, context=self._tls)
        try:
            headers = {"Content-Type": kind} if kind else {}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ready(self) -> bool:
        """Does the server answer, with all of its start-up hooks done?"""
        try:
            return self._call("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> dict[str, Any] | None:
        """The object at an API path; None if there is none. LabError for any other refusal."""
        status, body = self._call("GET", path)
        if status == 404:
            return None
        return _accepted(status, body, f"GET {path}")

    def apply(self, manifest: Object) -> None:
        """Server-side apply; the lab owns what it applies."""
        path = path_of(manifest)
        status, body = self._call(
            "PATCH", f"{path}?fieldManager=onelab&force=true", manifest, "application/apply-patch+yaml"
        )
        _accepted(status, body, f"apply {path}")


def _accepted(status: int, body: bytes, what: str) -> dict[str, Any]:
    if status >= 300:
        raise LabError(f"the lab's API server refused {what} ({status})", cause=body.decode(errors="replace")[:1000])
    answer: dict[str, Any] = json.loads(body)
    return answer


def path_of(manifest: Object) -> str:
    """The API path of an object, from its own apiVersion, kind and metadata."""
    version, kind, meta = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = f"/namespaces/{quote(meta['namespace'])}" if "namespace" in meta else ""
    plural = _PLURALS.get(kind, f"{kind.lower()}s")
    return f"{group}{namespace}/{plural}/{quote(meta['name'], safe=':')}"
