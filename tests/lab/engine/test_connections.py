"""Many operations in one process: what one engine leaves behind does not concern the next."""

from __future__ import annotations

import contextvars
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from pulumi.runtime.proto import resource_pb2, resource_pb2_grpc
from pulumi.runtime.settings import SETTINGS, reset_options

from lab.engine import stack

assert stack  # the import is what is tested: it sets the SDK's channels up


class _Monitor(resource_pb2_grpc.ResourceMonitorServicer):
    def SupportsFeature(
        self, request: resource_pb2.SupportsFeatureRequest, context: grpc.ServicerContext
    ) -> resource_pb2.SupportsFeatureResponse:
        return resource_pb2.SupportsFeatureResponse(hasSupport=True)


@contextmanager
def _engine_at(port: int) -> Iterator[None]:
    server = grpc.server(ThreadPoolExecutor(1))
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(_Monitor(), server)
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    server.start()
    try:
        yield
    finally:
        server.stop(0).wait()


def _program(port: int) -> resource_pb2_grpc.ResourceMonitorStub:
    """A program's connection to its engine, as the SDK makes it; the stub keeps it."""
    reset_options(project="p", stack="s", monitor_address=f"127.0.0.1:{port}")
    monitor: resource_pb2_grpc.ResourceMonitorStub | None = SETTINGS.monitor
    assert monitor is not None
    return monitor


def test_an_engine_on_a_port_that_was_dead_before_is_reached() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ask = resource_pb2.SupportsFeatureRequest(id="secrets")
    orphan = contextvars.copy_context().run(_program, port)
    with pytest.raises(grpc.RpcError) as refused:
        orphan.SupportsFeature(ask, timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    with _engine_at(port):
        assert contextvars.copy_context().run(_program, port).SupportsFeature(ask, timeout=10).hasSupport
