"""The engine's calls translated into operations on a cluster, and their results into state.

Check and Diff talk to no cluster: an `up` that changes nothing costs a few milliseconds a resource.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2

from lab.plugins.errors import InitFailed, PluginError
from lab.plugins.kubernetes import VERSION, diff, kubeconfig, names, objects, provider_diff, settings, state
from lab.plugins.kubernetes.api import ApiError, Unreachable
from lab.plugins.kubernetes.cluster import Cluster, Request
from lab.plugins.kubernetes.discovery import NoSuchKind, builtin_namespaced
from lab.plugins.kubernetes.drift import reduce
from lab.plugins.kubernetes.immutable import replacing_paths
from lab.plugins.kubernetes.objects import Object, dig, id_of, label
from lab.plugins.kubernetes.ready import rule_for
from lab.plugins.kubernetes.wait import NotReady
from lab.plugins.serve import Provider, rpc
from lab.plugins.wire import UNKNOWN, decode, encode, has_unknown, plain

_GONE_HINT = "if the cluster is gone for good, set deleteUnreachable or PULUMI_K8S_DELETE_UNREACHABLE=true"


class KubernetesProvider(Provider):
    """One provider instance; the engine starts a process for each."""

    name = "kubernetes"
    version = VERSION

    def __init__(self, host: Any) -> None:
        super().__init__(host)
        self._settings = settings.Settings()
        self._cluster: Cluster | Unreachable | None = None
        self._namespace = ""
        self._lock = threading.Lock()

    @rpc
    def CheckConfig(self, request: provider_pb2.CheckRequest) -> provider_pb2.CheckResponse:
        return provider_pb2.CheckResponse(inputs=request.news)

    @rpc
    def DiffConfig(self, request: provider_pb2.DiffRequest) -> provider_pb2.DiffResponse:
        return provider_diff.respond(plain(decode(request.olds)), plain(decode(request.news)))

    @rpc
    def Configure(self, request: provider_pb2.ConfigureRequest) -> provider_pb2.ConfigureResponse:
        self._settings = settings.load(request.variables)
        self.host.debug("", f"rehearsal stand-in for pulumi-resource-kubernetes {self.version}")
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    @rpc
    def Check(self, request: provider_pb2.CheckRequest) -> provider_pb2.CheckResponse:
        if self._settings.skip_update_unreachable and isinstance(self._reached(), Unreachable):
            self.host.warn(request.urn, "cluster is unreachable and skipUpdateUnreachable is set: left as it is")
            return provider_pb2.CheckResponse(inputs=request.olds)
        kind = objects.kind_of_token(objects.urn_type(request.urn))
        marked = decode(request.news)
        marked.setdefault("apiVersion", kind.api_version)
        marked.setdefault("kind", kind.kind)
        inputs = state.without_read_only(plain(marked))
        if not isinstance(inputs.get("metadata", {}), dict):
            return provider_pb2.CheckResponse(inputs=encode(state.mark_secrets(inputs, marked)))
        objects.refuse_annotations(inputs)
        autonaming = request.autonaming if request.HasField("autonaming") else None
        resource = objects.urn_name(request.urn)
        names.assign(inputs, plain(decode(request.olds)), resource, request.randomSeed, autonaming)
        meta = inputs["metadata"]
        if not meta.get("namespace") and self._namespaced(kind):
            meta["namespace"] = self._default_namespace()
        failures = []
        if (name := objects.name_of(inputs)) and (why := names.problem(objects.kind_of(inputs), name)):
            failures.append(provider_pb2.CheckFailure(property="metadata.name", reason=f"{name!r} {why}"))
        return provider_pb2.CheckResponse(inputs=encode(state.mark_secrets(inputs, marked)), failures=failures)

    @rpc
    def Diff(self, request: provider_pb2.DiffRequest) -> provider_pb2.DiffResponse:
        recorded = request.old_inputs if request.HasField("old_inputs") else None
        old = plain(decode(recorded) if recorded is not None else state.recorded_inputs(decode(request.olds)))
        new = plain(decode(request.news))
        old, new = state.without_read_only(old), state.without_read_only(new)
        if dig(new, "metadata", "name") not in ("", None, UNKNOWN) and dig(old, "metadata", "generateName"):
            # An object that the server named may be given that very name without being replaced.
            old["metadata"]["name"] = dig(plain(decode(request.olds)), "metadata", "name")
        rules = replacing_paths(
            objects.kind_of(new),
            new,
            configmap_mutable=self._settings.configmap_mutable,
            secret_mutable=self._settings.secret_mutable,
        )
        return diff.respond(old, new, rules, request.ignoreChanges)

    @rpc
    def Create(self, request: provider_pb2.CreateRequest) -> provider_pb2.CreateResponse:
        marked = decode(request.properties)
        if request.preview and (has_unknown(marked) or isinstance(self._reached(), Unreachable)):
            return provider_pb2.CreateResponse(properties=request.properties)
        inputs = state.to_api(marked)
        manager = state.manager_of({}, inputs) or names.unique("pulumi-kubernetes-", b"")
        details = self._request(request, manager)
        try:
            live = self._need().create(inputs, details)
        except NotReady as failed:
            raise self._init_failed(failed, marked, manager, "was created but did not become ready") from failed
        except (ApiError, NoSuchKind) as error:
            if request.preview and _cannot_preview(error):
                return provider_pb2.CreateResponse(properties=request.properties)
            raise _refused("create", inputs, error) from error
        if request.preview:
            live.pop("status", None)
        properties = state.checkpoint(marked, live, inputs["apiVersion"], manager)
        return provider_pb2.CreateResponse(id="" if request.preview else id_of(live), properties=encode(properties))

    @rpc
    def Update(self, request: provider_pb2.UpdateRequest) -> provider_pb2.UpdateResponse:
        marked = state.without_read_only(decode(request.news))
        if request.preview and (has_unknown(marked) or isinstance(self._reached(), Unreachable)):
            return provider_pb2.UpdateResponse(properties=request.news)
        inputs, before = state.to_api(marked), decode(request.olds)
        old_manager = state.manager_of(before, plain(state.recorded_inputs(before)))
        manager = state.manager_of(before, inputs) or names.unique("pulumi-kubernetes-", b"")
        details = self._request(request, manager, ignore=tuple(request.ignoreChanges))
        try:
            live = self._need().update(inputs, old_manager, details)
        except NotReady as failed:
            raise self._init_failed(failed, marked, manager, "was updated but did not become ready") from failed
        except (ApiError, NoSuchKind) as error:
            if request.preview and _cannot_preview(error):
                return provider_pb2.UpdateResponse(properties=request.news)
            raise _refused("update", inputs, error) from error
        version = state.initial_api_version(before, inputs)
        return provider_pb2.UpdateResponse(properties=encode(state.checkpoint(marked, live, version, manager)))

    @rpc
    def Read(self, request: provider_pb2.ReadRequest) -> provider_pb2.ReadResponse:
        reached = self._reached()
        if isinstance(reached, Unreachable):
            return self._read_unreachable(request, reached)
        before, marked = decode(request.properties), decode(request.inputs)
        written, inputs = state.to_api(before), state.to_api(marked)
        token = objects.kind_of_token(objects.urn_type(request.urn))
        kind = objects.kind_of(inputs) if inputs.get("kind") else token
        namespace, name = objects.split_id(request.id)
        live = reached.read(kind, namespace, name)
        if live is None:
            return provider_pb2.ReadResponse()
        known = bool(inputs.get("kind"))
        now = reduce(live, inputs, written) if known else state.inputs_from_live(live)
        seen = state.mark_secrets(now, marked)
        manager = state.manager_of(before, inputs) or names.unique("pulumi-kubernetes-", b"")
        properties = state.checkpoint(seen, live, state.initial_api_version(before, now), manager)
        if known and (why := self._unready(reached, live, inputs)):
            text = f"{label(live)} is not ready: {why}"
            raise InitFailed(text, id=request.id, properties=properties, inputs=seen)
        return provider_pb2.ReadResponse(id=request.id, properties=encode(properties), inputs=encode(seen))

    @rpc
    def Delete(self, request: provider_pb2.DeleteRequest) -> Empty:
        reached = self._reached()
        if isinstance(reached, Unreachable):
            if not self._settings.delete_unreachable:
                raise PluginError(f"{reached}; {_GONE_HINT}")
            self.host.warn(request.urn, f"{reached}; taken out of the state, because deleteUnreachable is set")
            return Empty()
        before = decode(request.properties)
        inputs, live = plain(state.recorded_inputs(before)), state.to_api(before)
        manager = state.manager_of(before, inputs)
        try:
            reached.delete(live, inputs, self._request(request, manager))
        except NotReady as stays:
            version = state.initial_api_version(before, inputs)
            properties = state.checkpoint(state.recorded_inputs(before), stays.live, version, manager)
            raise InitFailed(str(stays), id=request.id, properties=properties) from stays
        return Empty()

    def _reached(self) -> Cluster | Unreachable:
        """The cluster, looked for once; Unreachable when there is no way to it."""
        with self._lock:
            if self._cluster is None:
                try:
                    self._cluster = Cluster(self._settings, self.cancelled)
                except Unreachable as error:
                    self._cluster = error
                except PluginError as error:
                    self._cluster = Unreachable(str(error))
            return self._cluster

    def _need(self) -> Cluster:
        reached = self._reached()
        if isinstance(reached, Unreachable):
            raise reached
        return reached

    def _namespaced(self, kind: objects.Kind) -> bool:
        known = builtin_namespaced(kind)
        if known is not None:
            return known
        reached = self._reached()
        try:
            # A kind whose definition does not exist yet is taken for namespaced, as most are.
            return True if isinstance(reached, Unreachable) else reached.discovery.namespaced(kind)
        except NoSuchKind:
            return True

    def _default_namespace(self) -> str:
        if not self._namespace:
            self._namespace = self._settings.namespace or "default"
            with contextlib.suppress(
                PluginError
            ):  # a preview needs no cluster; a real operation will say what is wrong
                config = kubeconfig.parse(self._settings.kubeconfig or kubeconfig.ambient())
                found = kubeconfig.namespace(config, self._settings.context)
                self._namespace = self._settings.namespace or found or "default"
        return self._namespace

    def _unready(self, cluster: Cluster, live: Object, inputs: Object) -> str:
        rule = rule_for(objects.kind_of(live))
        if rule is None or not rule.on_read or objects.annotation(inputs, objects.SKIP_AWAIT) == "true":
            return ""
        verdict = rule.check(live, cluster.look)
        return "" if verdict.done else verdict.failure or verdict.progress

    def _init_failed(self, failed: NotReady, marked: dict[str, Any], manager: str, what: str) -> InitFailed:
        version = failed.live["apiVersion"]
        properties = state.checkpoint(marked, failed.live, version, manager)
        return InitFailed(f"{label(failed.live)} {what}: {failed}", id=id_of(failed.live), properties=properties)

    def _read_unreachable(self, request: provider_pb2.ReadRequest, why: Unreachable) -> provider_pb2.ReadResponse:
        if self._settings.delete_unreachable:
            self.host.warn(request.urn, f"{why}; taken out of the state, because deleteUnreachable is set")
            return provider_pb2.ReadResponse()
        if self._settings.skip_update_unreachable:
            self.host.warn(request.urn, f"{why}; left as it was, because skipUpdateUnreachable is set")
            return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)
        raise PluginError(f"{why}; {_GONE_HINT}")

    def _request(self, request: Any, manager: str, ignore: tuple[str, ...] = ()) -> Request:
        def warn(text: str) -> None:
            if not (self._settings.suppress_deprecation_warnings and "deprecated" in text):
                self.host.warn(request.urn, text)

        return Request(
            manager=manager,
            tell=lambda text: self.host.status(request.urn, text),
            warn=warn,
            timeout=request.timeout,
            preview=getattr(request, "preview", False),
            ignore=ignore,
        )


def _cannot_preview(error: ApiError | NoSuchKind) -> bool:
    """Whether a rehearsed write failed only because an earlier one is a rehearsal too, or may not be rehearsed."""
    if isinstance(error, NoSuchKind):
        return True
    forbidden = error.reason == "Forbidden"
    return forbidden or error.reason == "AlreadyExists" or error.namespace_missing() or "dry run" in str(error)


def _refused(verb: str, obj: Object, error: ApiError | NoSuchKind) -> PluginError:
    hint = ""
    if isinstance(error, ApiError) and error.reason == "AlreadyExists":
        hint = (
            "\n  it exists and is not in this stack's state: import or delete it; if the resource was renamed in the "
            "program, give it an alias; upsertExistingObjects on the provider takes over whatever exists"
        )
    elif isinstance(error, ApiError) and error.status == 404 and verb == "update":
        hint = "\n  it was deleted by somebody else: run `pulumi refresh`, then `pulumi up`"
    return PluginError(f"the API server refused to {verb} {label(obj)}: {error}{hint}")
