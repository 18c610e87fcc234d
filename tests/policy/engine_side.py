"""The policy pack, driven as Pulumi's engine drives it: a process of its own, spoken to over gRPC.

The command, its folder and its environment are those of pulumi-language-python (`RunPlugin` in its main.go), the messages
those of the engine (sdk/go/common/resource/plugin/analyzer_plugin.go).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime import rpc
from pulumi.runtime.proto import analyzer_pb2 as messages
from pulumi.runtime.proto import analyzer_pb2_grpc

from lab.paths import PROJECT
from tests.graph import Record, Secret

PACK = PROJECT / "policy"
PYTHON = PACK / ".venv/bin/python"
UNKNOWN = rpc.UNKNOWN
"""A text that only the update brings."""
LIMIT = 60  # seconds for any answer


@dataclass(frozen=True, kw_only=True)
class Resource:
    """`properties` may hold Secret and UNKNOWN."""

    type: str
    name: str
    urn: str
    properties: Mapping[str, Any]

    @staticmethod
    def of(record: Record) -> Resource:
        return Resource(type=record.type, name=record.name, urn=record.urn, properties=record.inputs)


@dataclass(frozen=True, kw_only=True)
class Finding:
    policy: str
    level: str
    message: str


class Pack:
    """A pack that is running."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def info(self) -> messages.AnalyzerInfo:
        found: messages.AnalyzerInfo = self._stub.GetAnalyzerInfo(empty_pb2.Empty(), timeout=LIMIT)
        return found

    def configure(self, levels: Mapping[str, str]) -> None:
        """Levels by policy: advisory, mandatory, disabled."""
        config = {
            name: messages.PolicyConfig(enforcementLevel=messages.EnforcementLevel.Value(level.upper()))
            for name, level in levels.items()
        }
        self._stub.Configure(messages.ConfigureAnalyzerRequest(policyConfig=config), timeout=LIMIT)

    def analyze(self, resource: Resource) -> list[Finding]:
        """What it says before the resource is made."""
        request = messages.AnalyzeRequest(
            type=resource.type, name=resource.name, urn=resource.urn, properties=_struct(resource.properties)
        )
        return _findings(self._stub.Analyze(request, timeout=LIMIT))

    def analyze_stack(self, resources: Sequence[Resource]) -> list[Finding]:
        """What it says once all are made."""
        listed = [
            messages.AnalyzerResource(type=r.type, name=r.name, urn=r.urn, properties=_struct(r.properties))
            for r in resources
        ]
        return _findings(self._stub.AnalyzeStack(messages.AnalyzeStackRequest(resources=listed), timeout=LIMIT))


@contextmanager
def running(folder: str = str(PACK), stack: str = "prod") -> Iterator[Pack]:
    """Start it, and end it. `folder` is what the engine calls it: the whole path, or `.` by an analyzer plugin of its own."""
    assert PYTHON.exists(), f"{PYTHON} is missing: make {PYTHON.parents[1].relative_to(PROJECT)}/.installed"
    environment = {
        "PATH": os.environ["PATH"],
        "PULUMI_ORGANIZATION": "organization",
        "PULUMI_PROJECT": "opennebula",
        "PULUMI_STACK": stack,
        "PULUMI_DRY_RUN": "true",
        "PULUMI_CONFIG": "{}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [str(PYTHON), "-u", "-m", "pulumi.policy", "127.0.0.1:1", folder]
    child = subprocess.Popen(command, cwd=PACK, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        port = child.stdout.readline().strip()
        assert port.isdigit(), f"the pack did not start: exit {child.wait(LIMIT)}"
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Pack(analyzer_pb2_grpc.AnalyzerStub(channel))
    finally:
        child.kill()
        child.communicate()


def _findings(answer: messages.AnalyzeResponse) -> list[Finding]:
    return [
        Finding(
            policy=each.policyName,
            level=messages.EnforcementLevel.Name(each.enforcementLevel).lower(),
            message=each.message,
        )
        for each in answer.diagnostics
    ]


def _struct(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    # The engine leaves out what is its own.
    marked = {key: _wire(value) for key, value in properties.items() if not key.startswith("__")}
    return json_format.ParseDict(marked, struct_pb2.Struct())


def _wire(value: Any) -> Any:
    if isinstance(value, Secret):
        return {rpc._special_sig_key: rpc._special_secret_sig, "value": _wire(value.value)}
    if isinstance(value, Mapping):
        return {key: _wire(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_wire(item) for item in value]
    return value
