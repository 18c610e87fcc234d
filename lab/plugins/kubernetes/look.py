"""What readiness needs to see of a cluster besides the object itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from lab.plugins.kubernetes.api import Api, ApiError
from lab.plugins.kubernetes.discovery import Discovery
from lab.plugins.kubernetes.objects import Kind, Object, dig, metadata, name_of, namespace_of

POD = Kind("", "v1", "Pod")
EVENT = Kind("", "v1", "Event")
SERVICE = Kind("", "v1", "Service")
REPLICA_SET = Kind("apps", "v1", "ReplicaSet")
STORAGE_CLASS = Kind("storage.k8s.io", "v1", "StorageClass")
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice")

_LOG_LINES, _LOG_BYTES = 5, 2000


class Look(Protocol):
    """Questions to a cluster."""

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """An object, or None when there is none."""

    def all(self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "") -> list[Object]:
        """The objects of a kind in a namespace."""

    def last_words(self, pod: Object, container: str, *, previous: bool) -> str:
        """End of the log of a container, or of the one before its last restart; an empty text if there is none."""


class ClusterLook:
    """Look at a real cluster."""

    def __init__(self, api: Api, discovery: Discovery) -> None:
        self._api, self._discovery = api, discovery

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        try:
            return self._api.get(self._discovery.path(kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def all(self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "") -> list[Object]:
        query = {name: value for name, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}
        return list(self._api.get(self._discovery.path(kind, namespace), **query)["items"])

    def last_words(self, pod: Object, container: str, *, previous: bool) -> str:
        path = self._discovery.path(POD, namespace_of(pod), name_of(pod)) + "/log"
        query = {"container": container, "tailLines": str(_LOG_LINES), "limitBytes": str(_LOG_BYTES)}
        try:
            words = self._api.text(path, previous="true" if previous else "false", **query).strip()
        except ApiError:  # the kubelet keeps no log of a container that never ran, and says so in many ways
            return ""
        return "" if words.startswith("unable to retrieve container logs") else words


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector as the API's query parameter."""
    selector = selector or {}
    terms = [f"{name}={value}" for name, value in (selector.get("matchLabels") or {}).items()]
    for rule in selector.get("matchExpressions") or ():
        key, operator, values = rule["key"], rule["operator"], ",".join(rule.get("values") or ())
        terms.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[operator]
        )
    return ",".join(terms)


def pods_of(live: Object, look: Look) -> list[Object]:
    """The pods of a workload that are not being deleted; of a Deployment only those of its present revision."""
    kind, namespace = live["kind"], namespace_of(live)
    if kind == "Pod":
        return [live]
    selector = dig(live, "spec", "selector")
    labels = selector_text({"matchLabels": selector} if kind == "ReplicationController" else selector)
    if kind == "Deployment":
        revision = dig(live, "metadata", "annotations", "deployment.kubernetes.io/revision")
        sets = look.all(REPLICA_SET, namespace, labels=labels)
        hashes = [
            dig(found, "metadata", "labels", "pod-template-hash")
            for found in sets
            if dig(found, "metadata", "annotations", "deployment.kubernetes.io/revision") == revision
        ]
        labels += "".join(f",pod-template-hash={text}" for text in hashes[:1])
    return [pod for pod in look.all(POD, namespace, labels=labels) if not metadata(pod).get("deletionTimestamp")]


def events_of(obj: Object, look: Look) -> list[Object]:
    """Warnings about an object, the newest last."""
    fields = f"involvedObject.uid={metadata(obj).get('uid')},type=Warning"
    found = look.all(EVENT, namespace_of(obj) or "default", fields=fields)
    return sorted(found, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
