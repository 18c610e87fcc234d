"""A recorded resource graph: run a piece of the program under Pulumi's mocks, then look at plain values.

Secrets arrive wrapped in the engine's signature dictionaries; here they become `Secret(value)`. Assertions on a Graph
are ordinary Python, never inside an apply, so a wrong one always fails.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pulumi
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks, set_mocks
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.stack import ResourceRegistrationFailed


@dataclass(frozen=True)
class Secret:
    """A value that the engine will encrypt."""

    value: Any

    def __repr__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One registered resource; `inputs` in the provider's spelling, secrets unwrapped into Secret."""

    type: str
    name: str
    custom: bool
    inputs: Mapping[str, Any]
    provider: str
    parent: str
    depends_on: tuple[str, ...]
    secret_outputs: tuple[str, ...]
    retained: bool
    urn: str
    hooks: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    replaced_on: tuple[str, ...] = ()
    deleted_first: bool = False

    @property
    def kind(self) -> str:
        return self.type.split(":")[-1]


class Graph:
    """All resources of one run."""

    def __init__(self, records: list[Record]) -> None:
        self.records = tuple(records)

    def all(self, kind: str) -> list[Record]:
        """Resources of one kind (`StatefulSet`) or full type token."""
        return [record for record in self.records if kind in (record.kind, record.type)]

    def one(self, kind: str, name: str | None = None) -> Record:
        """The only resource of a kind, or of that kind and logical name."""
        found = [record for record in self.all(kind) if name is None or record.name == name]
        assert len(found) == 1, (
            f"{len(found)} of {kind} {name or ''} in {sorted((r.kind, r.name) for r in self.records)}"
        )
        return found[0]


class _Monitor(MockMonitor):
    """Also remembers what mocks are not told: parents, dependencies, options. URNs are shortened to logical names."""

    def __init__(self, failing: Collection[str] = ()) -> None:
        super().__init__(_Answers())
        self.records: list[Record] = []
        self._failing = failing
        self._lock = threading.Lock()

    def RegisterResource(self, request: Any) -> Any:
        if request.type != "pulumi:pulumi:Stack":
            record = Record(
                type=request.type,
                name=request.name,
                custom=bool(request.custom),
                inputs={key: unwrap(value) for key, value in rpc.deserialize_properties(request.object).items()},
                provider=request.provider,
                parent=_name(request.parent),
                depends_on=tuple(sorted(_name(urn) for urn in request.dependencies)),
                secret_outputs=tuple(request.additionalSecretOutputs),
                retained=bool(request.retainOnDelete),
                urn=self.make_urn(request.parent, request.type, request.name),
                hooks=tuple(sorted({*request.hooks.before_create, *request.hooks.before_update})),
                ignored=tuple(request.ignoreChanges),
                replaced_on=tuple(request.replaceOnChanges),
                deleted_first=bool(request.deleteBeforeReplace),
            )
            with self._lock:
                self.records.append(record)
            if request.name in self._failing:
                # As an engine that goes on answers for a resource that failed.
                return resource_pb2.RegisterResourceResponse(urn=record.urn, result=resource_pb2.Result.FAIL)
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


def _name(urn: str) -> str:
    return urn.rsplit("::", maxsplit=1)[-1]


class _Answers(Mocks):
    """Outputs as the providers would add them."""

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        outputs = dict(args.inputs)
        # What providers would add and the program reads.
        if args.typ.endswith("GeneratedPassword"):
            outputs["value"] = f"generated-{args.name}"
        if args.typ.endswith("GeneratedKeyPair"):
            outputs["private_key"] = f"PRIVATE {args.name}"
            outputs["public_key"] = f"ssh-ed25519 {_BLOB}"
        if args.typ.endswith("GeneratedMonitorKeyPair"):
            outputs["private_key"] = f"PRIVATE {args.name}"
            outputs["public_key"] = "RSA PUBLIC"
        if args.typ.endswith("opennebula:Host"):
            outputs["host_id"] = 7
        if args.typ.endswith("opennebula:Datastore"):
            outputs["datastore_id"] = 104
        if args.typ.endswith("opennebula:Cluster"):
            outputs["cluster_id"] = 100
        if args.typ.startswith("kubernetes:"):
            metadata = dict(outputs.get("metadata") or {})
            metadata.setdefault("name", f"{args.name}-a1b2c3d4")
            outputs["metadata"] = metadata
        return f"{args.name}-id", outputs

    def call(self, args: MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"unexpected invoke of {args.token}")


# base64 of an Ed25519 public key made of zero bytes
_BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43


def unwrap(value: Any) -> Any:
    """Plain values, with Secret where the engine was told of one."""
    if isinstance(value, dict):
        if value.get(rpc._special_sig_key) == rpc._special_secret_sig:
            return Secret(unwrap(value["value"]))
        return {key: unwrap(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unwrap(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)  # protobuf knows no integers
    return value


def reveal(value: Any) -> Any:
    """The same without the Secret marks, for looking inside."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    return value


def deploy(
    program: Callable[[], Any],
    *,
    config: Mapping[str, str] | None = None,
    secret_keys: Sequence[str] = (),
    failing: Collection[str] = (),
) -> Graph:
    """Run a program under mocks and wait for every registration. Exceptions of the program come out as they are.

    `failing`: names of resources that cannot be made, in an up that goes on all the same.
    """
    monitor = _Monitor(failing)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        set_mocks(_Answers(), project="opennebula", stack="test", preview=False, monitor=monitor)
        if config is not None:
            pulumi.runtime.set_all_config(dict(config), list(secret_keys))

        async def run() -> None:
            await pulumi.runtime.stack.run_pulumi_func(lambda: _call(program))

        # Mocks know no hooks; what they would do is tested by itself.
        with mock.patch("pulumi.resource_hooks.register_resource_hook", lambda _hook: _registered(loop)):
            try:
                loop.run_until_complete(run())
            except ResourceRegistrationFailed:
                # What depends on it by name alone ends the program, once all others are through.
                if not failing:
                    raise
    finally:
        # A failed program leaves outputs that nobody will ever resolve.
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
    return Graph(monitor.records)


def _registered(loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    done = loop.create_future()
    done.set_result(None)
    return done


def _call(program: Callable[[], Any]) -> None:
    program()
