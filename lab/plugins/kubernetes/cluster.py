"""Operations on objects of one cluster: what the official plugin does on the wire.

Create is a POST that fails on an object that is there already; update is a server-side apply under one field manager a
resource; delete propagates in the foreground. Nothing here knows about the engine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from lab.plugins.errors import PluginError
from lab.plugins.kubernetes import kubeconfig, ownership
from lab.plugins.kubernetes.api import Api, ApiError
from lab.plugins.kubernetes.discovery import Discovery, NoSuchKind
from lab.plugins.kubernetes.drift import without_nulls
from lab.plugins.kubernetes.look import ClusterLook
from lab.plugins.kubernetes.objects import (
    DELETION_PROPAGATION,
    PATCH_FORCE,
    SKIP_AWAIT,
    Kind,
    Object,
    annotation,
    kind_of,
    label,
    metadata,
    name_of,
    namespace_of,
)
from lab.plugins.kubernetes.ready import rule_for
from lab.plugins.kubernetes.settings import Settings
from lab.plugins.kubernetes.wait import Waiter, seconds_for

_RETRIES, _FIRST_PAUSE = 5, 0.5  # seconds, doubling: a namespace or a definition made in the same run
_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_DELETE_TIMEOUT = 600  # seconds
_PROPAGATION = {"orphan": "Orphan", "background": "Background"}
# Where the official plugin lets skipAwait skip the wait for a deletion as well.
_SKIPS_DELETION_WAIT = frozenset(
    {"DaemonSet", "Deployment", "Job", "Namespace", "Pod", "ReplicationController", "StatefulSet"}
)

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What goes with one write: where to tell what happens, seconds to wait (0: default), whether it is a rehearsal."""

    manager: str
    tell: Tell
    warn: Tell
    timeout: float = 0.0
    preview: bool = False
    ignore: Sequence[str] = field(default=())


class Cluster:
    """One cluster as one provider instance uses it."""

    def __init__(self, settings: Settings, cancelled: threading.Event) -> None:
        """Raises PluginError when the kubeconfig does not lead to a cluster, Unreachable when nothing answers."""
        config = kubeconfig.parse(settings.kubeconfig or kubeconfig.ambient())
        target = kubeconfig.target(config, settings.context, settings.cluster, settings.namespace)
        self.namespace = target.namespace
        self._settings, self._cancelled = settings, cancelled
        self._api = Api(target)
        self._api.get("/version")
        self.discovery = Discovery(self._api)
        self.look = ClusterLook(self._api, self.discovery)
        self._waiter = Waiter(self.look, cancelled)

    def create(self, inputs: Object, request: Request) -> Object:
        """Make the object and wait until it is ready. Raises ApiError, NoSuchKind, NotReady (then it exists)."""
        live = self._retrying(inputs, request)
        if kind_of(inputs).kind == "CustomResourceDefinition" and not request.preview:
            self.discovery.forget()
        return self._wait(inputs, live, request, new=True)

    def update(self, inputs: Object, old_manager: str, request: Request) -> Object:
        """Change the object and wait until it is ready. Raises like `create`."""
        if kind_of(inputs).kind == "CustomResourceDefinition":
            replaced = self._replaced(inputs, request)
            self.discovery.forget()
            return replaced
        live, taken = self._taken_over(inputs, request)
        # A rehearsed update must not trip over fields that the real one takes over first.
        force = taken and request.preview
        wanted = ownership.respecting(inputs, live, request.manager, request.ignore)
        done = self._apply(wanted, request, force=force)
        if old_manager and old_manager != request.manager and not request.preview:
            self._relinquish(inputs, old_manager)
        return self._wait(inputs, done, request, new=False)

    def read(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The object as it is, or None."""
        try:
            found = self.look.find(kind, namespace, name)
        except NoSuchKind:
            return None
        return None if found is None else without_nulls(found)

    def delete(self, live: Object, inputs: Object, request: Request) -> None:
        """Delete the object and wait until it is gone; no object is success. Raises NotReady when it stays."""
        policy = _PROPAGATION.get(annotation(inputs, DELETION_PROPAGATION).lower(), "Foreground")
        try:
            path = self._path(live)
            self._api.request("DELETE", path, body={"propagationPolicy": policy})
        except NoSuchKind:
            return
        except ApiError as error:
            if error.status == 404:
                return
            raise
        if annotation(inputs, SKIP_AWAIT) == "true" and live["kind"] in _SKIPS_DELETION_WAIT:
            return
        self._waiter.gone(live, seconds_for(inputs, request.timeout, _DELETE_TIMEOUT), request.tell)
        if live["kind"] == "CustomResourceDefinition":
            self.discovery.forget()

    def _replaced(self, inputs: Object, request: Request) -> Object:
        """A definition as a whole: the official does not merge those."""

        def attempt() -> Object:
            version = self._api.get(self._path(inputs))["metadata"]["resourceVersion"]
            body = {**inputs, "metadata": {**inputs["metadata"], "resourceVersion": version}}
            return self._api.request("PUT", self._path(inputs), self._query(request), body, warn=request.warn)

        return without_nulls(_again_on_conflict(attempt))  # type: ignore[no-any-return]

    def _taken_over(self, inputs: Object, request: Request) -> tuple[Object, bool]:
        """The live object, its creator's fields given to our manager; and whether there were any."""

        def attempt() -> tuple[Object, bool]:
            live = self._api.get(self._path(inputs))
            owners = ownership.handed_over(live, request.manager)
            if owners is None or request.preview:
                return live, owners is not None
            meta = {"managedFields": owners, "resourceVersion": live["metadata"]["resourceVersion"]}
            content_type = "application/merge-patch+json"
            body = {"metadata": meta}
            return self._api.request("PATCH", self._path(inputs), body=body, content_type=content_type), True

        return _again_on_conflict(attempt)

    def _path(self, obj: Object, name: str | None = None) -> str:
        return self.discovery.path(kind_of(obj), namespace_of(obj), name_of(obj) if name is None else name)

    def _query(self, request: Request, manager: str | None = None) -> dict[str, str]:
        query = {"fieldManager": manager or request.manager, "fieldValidation": "Warn"}
        return query | {"dryRun": "All"} if request.preview else query

    def _retrying(self, inputs: Object, request: Request) -> Object:
        pause = _FIRST_PAUSE
        for attempt in range(_RETRIES + 1):
            try:
                if self._settings.upsert:
                    return self._apply(inputs, request, force=request.preview)
                return self._post(inputs, request)
            except (NoSuchKind, ApiError) as error:
                missing = isinstance(error, NoSuchKind) or error.namespace_missing()
                if not missing or request.preview or attempt == _RETRIES:
                    raise
                self.discovery.forget()
                request.tell(f"{error}; trying again")
            if self._cancelled.wait(pause):
                raise PluginError(f"{label(inputs)}: cancelled before it was created")
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _post(self, inputs: Object, request: Request) -> Object:
        query = self._query(request, ownership.CREATOR)
        path = self._path(inputs, name="")
        return without_nulls(self._api.request("POST", path, query, inputs, warn=request.warn))  # type: ignore[no-any-return]

    def _apply(self, inputs: Object, request: Request, *, force: bool) -> Object:
        force = force or self._settings.patch_force or annotation(inputs, PATCH_FORCE) == "true"
        query = self._query(request) | {"force": "true" if force else "false"}
        try:
            found = self._api.request(
                "PATCH", self._path(inputs), query, inputs, content_type=_APPLY, warn=request.warn
            )
        except ApiError as error:
            if error.reason != "Conflict":
                raise
            raise ApiError(
                error.status,
                error.reason,
                f"{label(inputs)}: server-side apply of field manager {request.manager}: {error}\n"
                "  somebody else owns the field: leave it out of the program (or ignore its changes), or take it over "
                f'with the annotation {PATCH_FORCE}: "true"',
                error.body,
            ) from error
        return without_nulls(found)  # type: ignore[no-any-return]

    def _relinquish(self, inputs: Object, manager: str) -> None:
        meta = {name: metadata(inputs)[name] for name in ("name", "namespace") if name in metadata(inputs)}
        body = {"apiVersion": inputs["apiVersion"], "kind": inputs["kind"], "metadata": meta}
        query = {"fieldManager": manager, "force": "false"}
        self._api.request("PATCH", self._path(inputs), query, body, content_type=_APPLY)

    def _wait(self, inputs: Object, live: Object, request: Request, *, new: bool) -> Object:
        rule = rule_for(kind_of(live))
        if rule is None or request.preview or annotation(inputs, SKIP_AWAIT) == "true":
            return live
        timeout = seconds_for(inputs, request.timeout, rule.timeout)
        return without_nulls(self._waiter.ready(live, rule, timeout, request.tell, new=new))  # type: ignore[no-any-return]


_T = TypeVar("_T")


def _again_on_conflict(attempt: Callable[[], _T]) -> _T:
    """Read and write again when somebody else, mostly a controller with its status, wrote in between."""
    for _ in range(_RETRIES):
        try:
            return attempt()
        except ApiError as error:
            if error.reason != "Conflict":
                raise
    return attempt()
