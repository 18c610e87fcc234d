"""When the node's container runtime is said to answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from lab.box import Box
from lab.cluster import runtime


class Cri(grpc.GenericRpcHandler):
    """containerd's answer to the question for its version."""

    def __init__(self) -> None:
        self.initialized = False
        self.asked: list[str] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        self.asked.append(handler_call_details.method)
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        if not self.initialized:
            context.abort(grpc.StatusCode.UNKNOWN, "server is not initialized yet")
        return b""


@pytest.fixture
def cri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cri]:
    monkeypatch.setattr(runtime, "SOCKET", str(tmp_path / "c.sock"))
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    handler = Cri()
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{tmp_path / 'c.sock'}")
    server.start()
    yield handler
    server.stop(None).wait(10)


def here() -> Box:
    """A box whose first process is this one: its files are the machine's."""
    return cast("Box", SimpleNamespace(init=lambda: SimpleNamespace(pid=os.getpid())))


def test_loaded_is_not_enough(cri: Cri) -> None:
    assert not runtime.answers(here())
    cri.initialized = True
    assert runtime.answers(here())
    assert set(cri.asked) == {"/runtime.v1.RuntimeService/Version"}


def test_neither_is_a_socket_that_nobody_listens_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "SOCKET", str(tmp_path / "c.sock"))
    assert not runtime.answers(here())


def test_nor_a_box_that_does_not_run() -> None:
    assert not runtime.answers(cast("Box", SimpleNamespace(init=lambda: None)))
