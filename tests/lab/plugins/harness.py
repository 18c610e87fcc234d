"""A plugin process as the engine drives it, and an engine that remembers what it is told.

The process is started as the engine starts it: by the executable that `ensure_plugins` writes.
"""

from __future__ import annotations

import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, provider_pb2_grpc, status_pb2

from lab.plugins.wire import decode, encode

START_LIMIT = 20  # seconds


class RecordingEngine(engine_pb2_grpc.EngineServicer):
    """Keeps every log line as (severity, ephemeral, text)."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, bool, str]] = []

    def Log(self, request: engine_pb2.LogRequest, context: Any) -> Empty:
        self.lines.append((request.severity, request.ephemeral, request.message))
        return Empty()

    def shown(self) -> list[str]:
        """Status lines, in order."""
        return [text for _, ephemeral, text in self.lines if ephemeral]

    def warnings(self) -> list[str]:
        return [text for severity, _, text in self.lines if severity == engine_pb2.WARNING]


class Plugin:
    """One running plugin."""

    def __init__(self, executable: Path, type_: str, environment: dict[str, str] | None = None) -> None:
        self.engine = RecordingEngine()
        self._server = grpc.server(ThreadPoolExecutor(4))
        engine_pb2_grpc.add_EngineServicer_to_server(self.engine, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self.process = subprocess.Popen(
            [executable, f"127.0.0.1:{port}"], stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        assert self.process.stdout is not None
        self._channel = grpc.insecure_channel(f"127.0.0.1:{int(self.process.stdout.readline())}")
        self.stub = provider_pb2_grpc.ResourceProviderStub(self._channel)
        self._type = type_

    def urn(self, name: str = "it") -> str:
        return f"urn:pulumi:test::project::{self._type}::{name}"

    def configure(self, **variables: str) -> provider_pb2.ConfigureResponse:
        prefixed = {f"{self._type.partition(':')[0]}:config:{name}": value for name, value in variables.items()}
        response: provider_pb2.ConfigureResponse = self.stub.Configure(
            provider_pb2.ConfigureRequest(variables=prefixed, acceptSecrets=True)
        )
        return response

    def check(
        self, news: dict[str, Any], olds: dict[str, Any] | None = None, **more: Any
    ) -> provider_pb2.CheckResponse:
        request = provider_pb2.CheckRequest(urn=self.urn(), news=encode(news), olds=encode(olds or {}), **more)
        response: provider_pb2.CheckResponse = self.stub.Check(request)
        return response

    def checked(self, news: dict[str, Any], olds: dict[str, Any] | None = None) -> dict[str, Any]:
        """Inputs as Check returns them; no failure allowed."""
        response = self.check(news, olds)
        assert not response.failures, response.failures
        return decode(response.inputs)

    def create(self, inputs: dict[str, Any], **more: Any) -> tuple[str, dict[str, Any]]:
        request = provider_pb2.CreateRequest(urn=self.urn(), properties=encode(inputs), **more)
        response = self.stub.Create(request)
        return response.id, decode(response.properties)

    def diff(self, state: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> provider_pb2.DiffResponse:
        request = provider_pb2.DiffRequest(
            urn=self.urn(), olds=encode(state), old_inputs=encode(old), news=encode(new), id="id"
        )
        response: provider_pb2.DiffResponse = self.stub.Diff(request)
        return response

    def update(self, id: str, state: dict[str, Any], news: dict[str, Any], **more: Any) -> dict[str, Any]:
        request = provider_pb2.UpdateRequest(urn=self.urn(), id=id, olds=encode(state), news=encode(news), **more)
        return decode(self.stub.Update(request).properties)

    def read(self, id: str, state: dict[str, Any], inputs: dict[str, Any]) -> provider_pb2.ReadResponse:
        request = provider_pb2.ReadRequest(urn=self.urn(), id=id, properties=encode(state), inputs=encode(inputs))
        response: provider_pb2.ReadResponse = self.stub.Read(request)
        return response

    def delete(self, id: str, state: dict[str, Any], **more: Any) -> None:
        self.stub.Delete(provider_pb2.DeleteRequest(urn=self.urn(), id=id, properties=encode(state), **more))

    def stop(self) -> float:
        """End it as the engine does. Returns the seconds it took."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(START_LIMIT)
        self._server.stop(None)
        return time.monotonic() - start


def error_text(error: grpc.RpcError) -> str:
    """What the engine would show."""
    assert isinstance(error, grpc.Call)
    return error.details() or ""


def init_failed(error: grpc.RpcError) -> provider_pb2.ErrorResourceInitFailed:
    """The part of an error that makes the engine keep the object. Fails when there is none."""
    assert isinstance(error, grpc.Call)
    packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    assert packed, f"no details in: {error.details()}"
    status = status_pb2.Status.FromString(packed if isinstance(packed, bytes) else packed.encode())
    found = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(found)
    return found


def refused(plugin: Plugin, inputs: dict[str, Any]) -> str:
    """Text of a create that must fail."""
    try:
        plugin.create(plugin.checked(inputs))
    except grpc.RpcError as error:
        return error_text(error)
    raise AssertionError("the create succeeded")
