"""A provider host whose engine was killed ends, and with it whatever it had begun."""

from __future__ import annotations

import subprocess
import sys

import grpc
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderStub

from components.registration import orphan
from tests.faults import processes
from tests.registration.engine import PROJECT, Engine

_PARENT = '"$0" -u -m pulumi.dynamic; :'


def test_it_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(["sh", "-c", _PARENT, sys.executable], cwd=PROJECT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        try:
            port = int(parent.stdout.readline())
            (host,) = processes.children(parent.pid)
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                engine = Engine(ResourceProviderStub(channel), host)
                engine.configure({})
                engine.check("host", {"name": "kvm-1", "im_mad": "kvm", "vm_mad": "kvm"})
                assert processes.alive(host)
        finally:
            parent.kill()
        left = processes.ended([host])
        for pid in left:
            processes.kill(pid)
        assert left == []


def test_nowhere_else_is_anything_watched() -> None:
    orphan.end_with_engine()
    assert orphan._once.acquire(blocking=False)
    orphan._once.release()
