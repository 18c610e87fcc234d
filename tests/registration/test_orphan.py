"""A provider host whose engine was killed ends, and with it whatever it had begun."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderStub

from components.registration import orphan
from tests.faults import processes
from tests.registration.engine import PROJECT, Engine

_PARENT = '"$0" -u -m pulumi.dynamic "$@"; :'


@contextmanager
def host(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int, Engine]]:
    """A provider host, below a parent that can be killed: the parent, the host's pid, and who asks it."""
    command = ["sh", "-c", _PARENT, sys.executable, *arguments]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        pids: list[int] = []
        try:
            port = int(parent.stdout.readline())
            pids = processes.children(parent.pid)
            (pid,) = pids
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield parent, pid, Engine(ResourceProviderStub(channel), pid)
        finally:
            parent.kill()
            for left in pids:
                processes.kill(left)


def check(engine: Engine) -> None:
    """Its first operation, with which our providers are loaded."""
    engine.configure({})
    engine.check("host", {"name": "kvm-1", "im_mad": "kvm", "vm_mad": "kvm"})


def test_it_ends_when_its_parent_is_killed() -> None:
    with host() as (parent, pid, engine):
        check(engine)
        assert processes.alive(pid)
        parent.kill()
        assert processes.ended([pid]) == []


def test_it_ends_with_a_first_operation_that_came_after_the_engine_was_killed() -> None:
    """The parent is another one by then, and there is no change to see."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    with host(address) as (parent, pid, engine):
        parent.kill()
        parent.wait(10)
        with pytest.raises(grpc.RpcError):
            check(engine)
        assert processes.ended([pid]) == []


def test_it_serves_an_engine_that_listens() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        host(f"127.0.0.1:{listener.getsockname()[1]}") as (_parent, pid, engine),
    ):
        check(engine)
        assert processes.alive(pid)


def test_nowhere_else_is_anything_watched() -> None:
    orphan.end_with_engine()
    assert orphan._once.acquire(blocking=False)
    orphan._once.release()
