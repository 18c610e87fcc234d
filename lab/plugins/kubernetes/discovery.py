"""Where objects of a kind live on the API server, and whether they have a namespace.

Scope of the built-in kinds is known without asking, so that nothing but a real operation talks to the cluster.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from lab.plugins.errors import PluginError
from lab.plugins.kubernetes.api import Api, ApiError, segment
from lab.plugins.kubernetes.objects import Kind

_CLUSTER_SCOPED = frozenset(
    {
        "APIService",
        "CSIDriver",
        "CSINode",
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "ClusterTrustBundle",
        "ComponentStatus",
        "CustomResourceDefinition",
        "DeviceClass",
        "FlowSchema",
        "IPAddress",
        "IngressClass",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "ResourceSlice",
        "RuntimeClass",
        "SelfSubjectReview",
        "ServiceCIDR",
        "StorageClass",
        "StorageVersion",
        "TokenReview",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
        "VolumeAttributesClass",
    }
)


class NoSuchKind(PluginError):
    """The API server does not serve this kind."""


@dataclass(frozen=True)
class _Resource:
    plural: str
    namespaced: bool


class Discovery:
    """Answers of one API server, one request a group and version."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._served: dict[str, dict[str, _Resource]] = {}

    def path(self, kind: Kind, namespace: str, name: str = "") -> str:
        """Path of an object, or of all objects of its kind in a namespace. Raises NoSuchKind."""
        resource = self._find(kind)
        parts = [_group_path(kind)]
        if resource.namespaced:
            parts += ["namespaces", segment(namespace or "default")]
        parts.append(resource.plural)
        if name:
            parts.append(segment(name))
        return "/".join(parts)

    def namespaced(self, kind: Kind) -> bool:
        """Whether objects of the kind have a namespace. Raises NoSuchKind, Unreachable for kinds not built in."""
        known = builtin_namespaced(kind)
        return self._find(kind).namespaced if known is None else known

    def forget(self) -> None:
        """A custom resource definition came or went."""
        with self._lock:
            self._served.clear()

    def _find(self, kind: Kind) -> _Resource:
        with self._lock:
            served = self._served.get(kind.api_version)
        if served is None:
            served = self._ask(kind)
            with self._lock:
                self._served[kind.api_version] = served
        if kind.kind not in served:
            raise NoSuchKind(f"{self._api.server} serves no {kind}; is its CustomResourceDefinition created?")
        return served[kind.kind]

    def _ask(self, kind: Kind) -> dict[str, _Resource]:
        try:
            found = self._api.get(_group_path(kind))
        except ApiError as error:
            if error.status == 404:
                raise NoSuchKind(
                    f"{self._api.server} serves no {kind.api_version}; is its CustomResourceDefinition created?"
                ) from error
            raise
        return {
            entry["kind"]: _Resource(entry["name"], entry["namespaced"])
            for entry in found["resources"]
            if "/" not in entry["name"]  # subresources such as pods/log
        }


def builtin_namespaced(kind: Kind) -> bool | None:
    """Scope of a kind that Kubernetes itself brings; None when only the server can tell."""
    if "." in kind.group and not kind.group.endswith(".k8s.io"):
        return None
    if kind.group in ("snapshot.storage.k8s.io", "metrics.k8s.io", "gateway.networking.k8s.io"):
        return None
    return kind.kind not in _CLUSTER_SCOPED


def _group_path(kind: Kind) -> str:
    return f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
