"""The engine's calls translated into runs of commands, with the official plugin's life cycle.

Any changed input runs `update`, or `create` where there is none; changed triggers make a new resource, then delete the
old one; `delete` runs with the connection in the state. A failed create is not kept; a failed update keeps the old
state.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import secrets
import threading
from collections.abc import Coroutine, Mapping
from typing import Any

from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2

from lab.plugins.command import VERSION, local
from lab.plugins.command import inputs as schema
from lab.plugins.command.output import Output
from lab.plugins.diffs import changes, respond
from lab.plugins.errors import PluginError, Unsupported
from lab.plugins.serve import Provider, rpc
from lab.plugins.wire import UNKNOWN, decode, encode, plain

_REMOTE, _LOCAL = "command:remote:Command", "command:local:Command"
_PREVIOUS = {"PULUMI_COMMAND_STDOUT": "stdout", "PULUMI_COMMAND_STDERR": "stderr"}


class CommandProvider(Provider):
    """Runs of all hosts share one event loop; each of the engine's calls waits on a thread of its own."""

    name = "command"
    version = VERSION

    def __init__(self, host: Any) -> None:
        super().__init__(host)
        self._loop = asyncio.new_event_loop()
        self._runs: set[asyncio.Task[Output]] = set()
        threading.Thread(target=self._loop.run_forever, name="ssh", daemon=True).start()

    @rpc
    def Check(self, request: provider_pb2.CheckRequest) -> provider_pb2.CheckResponse:
        given = {name: value for name, value in decode(request.news).items() if not name.startswith("__")}
        if _kind(request.urn) == _REMOTE:
            failures = schema.check_fields(given, schema.REMOTE)
            given, more = schema.with_connection(given)
            failures += more
        else:
            failures = schema.check_fields(given, schema.LOCAL)
        return provider_pb2.CheckResponse(
            inputs=encode(given),
            failures=[provider_pb2.CheckFailure(property=path, reason=reason) for path, reason in failures],
        )

    @rpc
    def Diff(self, request: provider_pb2.DiffRequest) -> provider_pb2.DiffResponse:
        old, new = plain(decode(request.old_inputs)), plain(decode(request.news))
        for name in request.ignoreChanges:
            if name in old:
                new[name] = old[name]
        return respond((change, change.path[0] == "triggers") for change in changes(old, new))

    @rpc
    def Create(self, request: provider_pb2.CreateRequest) -> provider_pb2.CreateResponse:
        given = decode(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=encode({**given, "stdout": UNKNOWN, "stderr": UNKNOWN}))
        outputs = self._run(request.urn, "create", given, {"stdout": "", "stderr": ""})
        id = request.urn.rpartition("::")[2] + secrets.token_hex(4)
        return provider_pb2.CreateResponse(id=id, properties=encode({**given, **outputs}))

    @rpc
    def Update(self, request: provider_pb2.UpdateRequest) -> provider_pb2.UpdateResponse:
        given, before = decode(request.news), decode(request.olds)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=encode({**given, "stdout": UNKNOWN, "stderr": UNKNOWN}))
        previous = {name: before.get(name, "") for name in ("stdout", "stderr")}
        step = "update" if given.get("update") is not None else "create"
        return provider_pb2.UpdateResponse(
            properties=encode({**given, **self._run(request.urn, step, given, previous)})
        )

    @rpc
    def Read(self, request: provider_pb2.ReadRequest) -> provider_pb2.ReadResponse:
        if not request.properties.fields:
            raise Unsupported(f"importing a {_kind(request.urn)}")
        return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    @rpc
    def Delete(self, request: provider_pb2.DeleteRequest) -> Empty:
        state = decode(request.properties)
        self._run(request.urn, "delete", state, {name: state.get(name, "") for name in ("stdout", "stderr")})
        return Empty()

    @rpc
    def Cancel(self, _request: Any) -> Empty:
        self.cancelled.set()
        self._loop.call_soon_threadsafe(lambda: [run.cancel() for run in self._runs])
        return Empty()

    def _run(self, urn: str, step: str, given: Mapping[str, Any], previous: Mapping[str, Any]) -> dict[str, Any]:
        """Run the command of a step, if the inputs have one, and return its outputs (else the previous ones)."""
        values, before = plain(dict(given)), plain(dict(previous))
        command = values.get(step)
        if command is None:
            return dict(previous)
        optional = {}
        if values.get("addPreviousOutputInEnv", True):
            optional = {variable: before[name] for variable, name in _PREVIOUS.items() if before[name]}
        required = values.get("environment") or {}

        def show(line: str) -> None:
            self.host.status(urn, line)

        if _kind(urn) == _LOCAL:
            environment = {**required, **optional}
            output = local.run(command, values, environment, show=show, cancelled=self.cancelled)
        else:
            # The SSH library is a third of this process's start, for which the engine lets every other resource wait.
            from lab.plugins.command import remote

            variables = remote.Variables(required, optional)
            run = remote.run(command, values, variables, show=show, warn=lambda line: self.host.warn(urn, line))
            output = self._on_loop(run, f"cancelled on {values['connection']['host']}")
        return {"stdout": output.stdout, "stderr": output.stderr}

    def _on_loop(self, run: Coroutine[Any, Any, Output], cancelled: str) -> Output:
        async def registered() -> Output:
            task = asyncio.ensure_future(run)
            self._runs.add(task)
            try:
                return await task
            finally:
                self._runs.discard(task)

        try:
            return asyncio.run_coroutine_threadsafe(registered(), self._loop).result()
        except concurrent.futures.CancelledError as error:
            raise PluginError(cancelled) from error


def _kind(urn: str) -> str:
    kind = urn.split("::")[2].rpartition("$")[2]
    if kind not in (_REMOTE, _LOCAL):
        raise Unsupported(f"the resource type {kind}", "send the file as the stdin of a remote command")
    return kind
