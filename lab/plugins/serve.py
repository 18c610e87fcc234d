"""The process of a plugin: gRPC server on a loopback port, printed on stdout, until the engine is done with it.

`Provider` answers what is the same for every plugin and refuses what none of ours supports; a plugin overrides the rest
and raises PluginError or InitFailed.
"""

from __future__ import annotations

import functools
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from lab.plugins.errors import InitFailed, PluginError, Unsupported
from lab.plugins.host import Host
from lab.plugins.wire import encode

# The engine runs as many operations at a time as `--parallel` says, and most of them only wait.
_THREADS = 1024
_MAX_MESSAGE = 400 * 1024 * 1024  # bytes, the limit of the Pulumi SDKs
_ORPHAN_CHECK = 2  # seconds between looks whether the engine still lives


class _Status(grpc.Status):
    """A gRPC status with the details the engine looks for."""

    def __init__(self, message: str, details: tuple[AnyMessage, ...] = ()) -> None:
        self.code = grpc.StatusCode.UNKNOWN
        self.details = message
        packed = status_pb2.Status(code=2, message=message, details=list(details))
        self.trailing_metadata = (("grpc-status-details-bin", packed.SerializeToString()),) if details else ()


def rpc(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any, grpc.ServicerContext], Any]:
    """A method of a request as gRPC calls it, with what it raises turned into what the engine understands."""

    @functools.wraps(method)
    def answer(self: Provider, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request)
        except InitFailed as failed:
            detail = AnyMessage()
            detail.Pack(
                provider_pb2.ErrorResourceInitFailed(
                    id=failed.id,
                    properties=encode(failed.properties),
                    reasons=[str(failed), *failed.reasons],
                    inputs=None if failed.inputs is None else encode(failed.inputs),
                )
            )
            context.abort_with_status(_Status(str(failed), (detail,)))
        except PluginError as failed:
            context.abort_with_status(_Status(str(failed)))
        except Exception as bug:  # a defect of the stand-in: say so, and keep the other operations running
            self.host.debug("", traceback.format_exc())
            context.abort_with_status(_Status(f"defect in the {self.name} stand-in: {type(bug).__name__}: {bug}"))
        finally:
            self.host.flush()

    return answer


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Base of our plugins."""

    name: ClassVar[str]
    version: ClassVar[str]  # the official release it stands in for

    def __init__(self, host: Host) -> None:
        self.host = host
        self.cancelled = threading.Event()

    @rpc
    def Handshake(self, _request: Any) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    @rpc
    def GetPluginInfo(self, _request: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=f"{self.version}+rehearsal")

    @rpc
    def GetSchema(self, _request: Any) -> provider_pb2.GetSchemaResponse:
        text = f'{{"name":"{self.name}","version":"{self.version}","description":"rehearsal stand-in"}}'
        return provider_pb2.GetSchemaResponse(schema=text)

    @rpc
    def Attach(self, request: plugin_pb2.PluginAttach) -> Empty:
        self.host = Host(request.address)
        return Empty()

    @rpc
    def CheckConfig(self, request: provider_pb2.CheckRequest) -> provider_pb2.CheckResponse:
        return provider_pb2.CheckResponse(inputs=request.news)

    @rpc
    def DiffConfig(self, _request: provider_pb2.DiffRequest) -> provider_pb2.DiffResponse:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    @rpc
    def Configure(self, _request: provider_pb2.ConfigureRequest) -> provider_pb2.ConfigureResponse:
        self.host.debug("", f"rehearsal stand-in for pulumi-resource-{self.name} {self.version}")
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    @rpc
    def Cancel(self, _request: Any) -> Empty:
        self.cancelled.set()
        return Empty()

    @rpc
    def GetMapping(self, _request: Any) -> provider_pb2.GetMappingResponse:
        return provider_pb2.GetMappingResponse()

    @rpc
    def GetMappings(self, _request: Any) -> provider_pb2.GetMappingsResponse:
        return provider_pb2.GetMappingsResponse()

    @rpc
    def Invoke(self, request: provider_pb2.InvokeRequest) -> NoReturn:
        raise Unsupported(f"the function {request.tok}")

    @rpc
    def Call(self, request: provider_pb2.CallRequest) -> NoReturn:
        raise Unsupported(f"the method {request.tok}")

    @rpc
    def Construct(self, request: provider_pb2.ConstructRequest) -> NoReturn:
        raise Unsupported(f"the component {request.type}")

    @rpc
    def Parameterize(self, _request: Any) -> NoReturn:
        raise Unsupported("parameterization")

    @rpc
    def List(self, request: provider_pb2.ListRequest) -> NoReturn:
        raise Unsupported(f"listing {request.token}")


def _end_signals() -> socket.socket:
    """A socket that becomes readable when the engine ends the plugin: by SIGINT, and it waits 5 s for it.

    The signal may reach any of gRPC's threads, which would not wake a main thread that waits for a lock.
    """
    readable, writable = socket.socketpair()
    writable.setblocking(False)
    signal.set_wakeup_fd(writable.detach())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return readable


def serve(provider: Callable[[Host], Provider]) -> NoReturn:
    """Run the plugin until the engine interrupts it or dies."""
    parent = os.getppid()
    ended = _end_signals()
    server = grpc.server(
        ThreadPoolExecutor(max_workers=_THREADS),
        options=[("grpc.max_receive_message_length", _MAX_MESSAGE), ("grpc.max_send_message_length", _MAX_MESSAGE)],
    )
    plugin = provider(Host(sys.argv[1] if len(sys.argv) > 1 else None))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(plugin, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    while not select.select([ended], [], [], _ORPHAN_CHECK)[0] and os.getppid() == parent:
        pass
    plugin.cancelled.set()
    server.stop(grace=None)
    os._exit(0)  # operations that still wait are cancelled; joining their threads would keep the engine waiting
