"""The dynamic provider host as the engine runs it: `python -m pulumi.dynamic` in the project, spoken to over gRPC.

Property bags really travel through protobuf here: numbers become floats, None disappears, unknowns become marks.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import struct_pb2
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime import proto, rpc
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderStub

from components.registration.datastore_provider import DatastoreProvider
from components.registration.provider import FleetReadyProvider, HostProvider

PROJECT = Path(__file__).resolve().parents[2]
REFERENCES = {
    "host": serialize_provider(HostProvider()),
    "fleet": serialize_provider(FleetReadyProvider()),
    "datastore": serialize_provider(DatastoreProvider()),
}


class Engine:
    def __init__(self, stub: Any, pid: int) -> None:
        self._stub, self.pid = stub, pid

    def configure(self, config: Mapping[str, Any]) -> None:
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
        self._stub.Configure(proto.ConfigureRequest(args=_struct(texts)))

    def check(self, kind: str, news: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        answer = self._stub.Check(proto.CheckRequest(news=_bag(kind, news), olds=_bag(kind, {})))
        return _plain(answer.inputs), {failure.property: failure.reason for failure in answer.failures}

    def diff(
        self, kind: str, olds: Mapping[str, Any], news: Mapping[str, Any], id_: str = "0"
    ) -> tuple[bool, list[str], bool]:
        answer = self._stub.Diff(proto.DiffRequest(id=id_, olds=_bag(kind, olds), news=_bag(kind, news)))
        return answer.changes == proto.DiffResponse.DIFF_SOME, list(answer.replaces), answer.deleteBeforeReplace

    def create(self, kind: str, news: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        answer = self._stub.Create(proto.CreateRequest(properties=_bag(kind, news)), timeout=60)
        return answer.id, _plain(answer.properties)

    def read(self, kind: str, id_: str, props: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
        answer = self._stub.Read(proto.ReadRequest(id=id_, properties=_bag(kind, props)), timeout=60)
        return answer.id, _plain(answer.properties), _plain(answer.inputs)

    def update(self, kind: str, id_: str, olds: Mapping[str, Any], news: Mapping[str, Any]) -> dict[str, Any]:
        request = proto.UpdateRequest(id=id_, olds=_bag(kind, olds), news=_bag(kind, news))
        return _plain(self._stub.Update(request, timeout=60).properties)

    def delete(self, kind: str, id_: str, props: Mapping[str, Any]) -> None:
        self._stub.Delete(proto.DeleteRequest(id=id_, properties=_bag(kind, props)), timeout=60)

    def memory(self) -> int:
        """Resident KiB of the provider host."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])


@contextmanager
def engine(log: Path | None = None) -> Iterator[Engine]:
    """A provider host of its own; what it writes to stderr, which the engine would show, goes to `log`."""
    environment = {**os.environ, "PULUMI_PROJECT": "opennebula"}
    with (log or Path(os.devnull)).open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "pulumi.dynamic"],
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        try:
            assert process.stdout
            port = int(process.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Engine(ResourceProviderStub(channel), process.pid)
        finally:
            process.kill()
            process.wait(10)
            if process.stdout:
                process.stdout.close()


def _bag(kind: str, props: Mapping[str, Any]) -> struct_pb2.Struct:
    return _struct({**props, "__provider": REFERENCES[kind]})


def _struct(props: Mapping[str, Any]) -> struct_pb2.Struct:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(rpc.serialize_properties(dict(props), {}))
    finally:
        loop.close()


def _plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    found = rpc.deserialize_properties(struct, keep_unknowns=True)
    return {key: value for key, value in found.items() if key != "__provider"}
