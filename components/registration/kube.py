"""The few things this package asks of a Kubernetes cluster: a Secret, the pod behind a Service, a Lease.

The client library is imported with the first call, because its import costs 0.3 s and 50 MB that `pulumi preview` need
not pay. Nothing is written but Leases and one annotation of a pod. Errors become two kinds: `AccessError` (kubeconfig,
permission, missing object: waiting does not help) and `NotSent` (the API server or the pod does not answer now: worth
another try).
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from components.registration.errors import AccessError
from components.registration.transport import NotSent

_TIMEOUTS: Final = (5.0, 15.0)
"""Seconds to connect and to read, of every call to the API server."""


class Missing(Exception):
    """404: no such object."""


class Conflict(Exception):
    """409: it exists already, or has changed meanwhile."""


@dataclass(frozen=True, kw_only=True)
class PodPort:
    pod: str
    port: int


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A lock object. Ages are by the API server's clock, so that clocks of different machines do not matter."""

    uid: str
    version: str
    holder: str
    seconds: int
    age: float


class Cluster:
    """One cluster and namespace, as a kubeconfig names it. Thread-safe; connects with the first call."""

    def __init__(self, *, kubeconfig: str | None, context: str | None, namespace: str) -> None:
        self._kubeconfig, self._context, self.namespace = kubeconfig, context, namespace
        self._lock = threading.Lock()
        self._loaded: Any = None

    @property
    def kubectl(self) -> str:
        """How an operator would address the same namespace."""
        config = f" --kubeconfig {self._kubeconfig}" if self._kubeconfig else ""
        context = f" --context {self._context}" if self._context else ""
        return f"kubectl{config}{context} -n {self.namespace}"

    def api(self) -> Any:
        """The library's ApiClient. Raises AccessError when the kubeconfig cannot be used."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> Any:
        config = importlib.import_module("kubernetes.config")
        client = importlib.import_module("kubernetes.client")
        settings = client.Configuration()
        settings.retries = False  # repeating is decided in one place, by the caller's patience
        try:
            config.load_kube_config(
                config_file=self._kubeconfig,
                context=self._context,
                client_configuration=settings,
                persist_config=False,
            )
        except (config.ConfigException, OSError, ValueError) as error:
            raise AccessError(
                "the kubeconfig cannot be used",
                " ".join(str(error).split())[:300],
                then="set KUBECONFIG or `opennebula:kubernetes` kubeconfig and context, then `kubectl get namespaces`",
            ) from None
        return client.ApiClient(configuration=settings)

    def _core(self) -> Any:
        return importlib.import_module("kubernetes.client").CoreV1Api(self.api())

    def _coordination(self) -> Any:
        return importlib.import_module("kubernetes.client").CoordinationV1Api(self.api())

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        exceptions = importlib.import_module("kubernetes.client.exceptions")
        urllib3 = importlib.import_module("urllib3.exceptions")
        try:
            yield
        except exceptions.ApiException as error:
            match error.status:
                case 0:  # how the library reports a certificate that it does not trust
                    text = " ".join(str(error.reason).split())[:300]
                    raise AccessError("the Kubernetes API's certificate is refused", text) from None
                case 401 | 403:
                    text = f"the Kubernetes API answers {error.status} {error.reason}"
                    raise AccessError(f"may not {what}", text, then=f"`{self.kubectl} auth can-i --list`") from None
                case 404:
                    raise Missing(what) from None
                case 409:
                    raise Conflict(what) from None
            raise NotSent(f"the Kubernetes API answers {error.status} {error.reason} to: {what}") from None
        except (urllib3.HTTPError, OSError) as error:
            raise NotSent(f"the Kubernetes API does not answer ({type(error).__name__}) to: {what}") from None

    def secret(self, name: str, key: str) -> str:
        """Text of one key of a Secret. Raises AccessError when Secret or key is missing."""
        with self._asking(f"read Secret {self.namespace}/{name}"):
            try:
                data = self._core().read_namespaced_secret(name, self.namespace, _request_timeout=_TIMEOUTS).data or {}
            except Exception as error:
                if getattr(error, "status", None) != 404:
                    raise
                data = {}
        if key not in data:
            raise AccessError(
                f"no key {key!r} in Secret {self.namespace}/{name}",
                "oneadmin's credential is read from there",
                then=f"`{self.kubectl} get secret {name}`, or `pulumi up` if it is gone",
            )
        return str(importlib.import_module("base64").b64decode(data[key]).decode().strip())

    def secret_texts(self, name: str) -> dict[str, str]:
        """All of a Secret. Raises Missing."""
        with self._asking(f"read Secret {self.namespace}/{name}"):
            data = self._core().read_namespaced_secret(name, self.namespace, _request_timeout=_TIMEOUTS).data or {}
        decode = importlib.import_module("base64").b64decode
        return {key: decode(value).decode(errors="replace") for key, value in data.items()}

    def has_namespace(self) -> bool:
        """Whether the namespace is there."""
        try:
            with self._asking(f"read namespace {self.namespace}"):
                self._core().read_namespace(self.namespace, _request_timeout=_TIMEOUTS)
        except Missing:
            return False
        return True

    def pod_behind(self, service: str, port: int) -> PodPort:
        """A ready pod of a Service and the port in it. Raises NotSent with the reason when none is ready."""
        try:
            with self._asking(f"read Service {self.namespace}/{service}"):
                spec = self._core().read_namespaced_service(service, self.namespace, _request_timeout=_TIMEOUTS).spec
        except Missing:
            raise NotSent(f"there is no Service {service} in namespace {self.namespace}") from None
        selector = ",".join(f"{key}={value}" for key, value in sorted((spec.selector or {}).items()))
        with self._asking(f"list the pods of Service {self.namespace}/{service}"):
            pods = (
                self._core()
                .list_namespaced_pod(self.namespace, label_selector=selector, _request_timeout=_TIMEOUTS)
                .items
            )
        for pod in sorted(pods, key=lambda pod: str(pod.metadata.name)):
            if _ready(pod):
                return PodPort(pod=pod.metadata.name, port=_target_port(spec, pod, port))
        reasons = "; ".join(_reason(pod) for pod in pods) or "it has no pods"
        raise NotSent(f"no pod behind Service {service} is ready: {reasons}")

    def touch_pod_behind(self, service: str, port: int) -> None:
        """Have the kubelet look at a Service's pod now: it then also brings changed ConfigMaps into it.

        Otherwise it does so once a minute. Changing an annotation is how a pod is looked at without a restart.
        Raises AccessError where pods may not be patched, NotSent when no pod is ready.
        """
        pod = self.pod_behind(service, port).pod
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        body = {"metadata": {"annotations": {"opennebula.io/files-refreshed": stamp}}}
        with self._asking(f"patch pod {self.namespace}/{pod}"):
            self._core().patch_namespaced_pod(pod, self.namespace, body, _request_timeout=_TIMEOUTS)

    def create_lease(self, name: str, holder: str, seconds: int, subject: str) -> str:
        """Make a Lease and return its uid. Raises Conflict when it exists."""
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "annotations": {"opennebula/host": subject}},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds},
        }
        with self._asking(f"create Leases in namespace {self.namespace}"):
            lease = self._coordination().create_namespaced_lease(self.namespace, body, _request_timeout=_TIMEOUTS)
            return str(lease.metadata.uid)

    def read_lease(self, name: str) -> Lease:
        """Raises Missing."""
        with self._asking(f"read Lease {self.namespace}/{name}"):
            lease, _status, headers = self._coordination().read_namespaced_lease_with_http_info(
                name, self.namespace, _request_timeout=_TIMEOUTS
            )
        now = parsedate_to_datetime(headers["Date"])
        return Lease(
            uid=lease.metadata.uid,
            version=lease.metadata.resource_version,
            holder=lease.spec.holder_identity or "",
            seconds=lease.spec.lease_duration_seconds or 0,
            age=(now - lease.metadata.creation_timestamp).total_seconds(),
        )

    def delete_lease(self, name: str, uid: str) -> None:
        """Delete exactly that Lease. Raises Missing, Conflict when another one bears the name."""
        with self._asking(f"delete Lease {self.namespace}/{name}"):
            self._coordination().delete_namespaced_lease(
                name, self.namespace, body={"preconditions": {"uid": uid}}, _request_timeout=_TIMEOUTS
            )


def _ready(pod: Any) -> bool:
    conditions = (pod.status.conditions if pod.status else None) or []
    return not pod.metadata.deletion_timestamp and any(
        condition.type == "Ready" and condition.status == "True" for condition in conditions
    )


def _reason(pod: Any) -> str:
    if pod.metadata.deletion_timestamp:
        return f"{pod.metadata.name} is terminating"
    waiting = [
        f"container {status.name}: {status.state.waiting.reason}"
        for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]
        if status.state and status.state.waiting and status.state.waiting.reason
    ]
    return f"{pod.metadata.name} is {pod.status.phase} and not ready" + (f" ({', '.join(waiting)})" if waiting else "")


def _target_port(spec: Any, pod: Any, port: int) -> int:
    """The Service's targetPort for `port`, a number or the name of a container port."""
    target = next((entry.target_port for entry in spec.ports or [] if entry.port == port), None) or port
    if isinstance(target, int):
        return target
    for container in pod.spec.containers:
        for declared in container.ports or []:
            if declared.name == target:
                return int(declared.container_port)
    raise AccessError(f"Service port {port} points to {target!r}", f"pod {pod.metadata.name} has no port of that name")
