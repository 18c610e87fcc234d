"""A command in a container of a pod, for what it prints: kubectl exec without input.

Channel 1 is what it prints, channel 3 a Status once it has ended.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from typing import Any, Final

from components.registration.kube import Cluster
from components.registration.pod_websocket import CLOSE, open_websocket, reason
from components.registration.transport import NotSent

_STDOUT, _STDERR, _STATUS = 1, 2, 3
_SECONDS: Final = 15.0


def in_pod(cluster: Cluster, pod: str, container: str, command: Sequence[str]) -> str:
    """What the command prints. Raises NotSent when it cannot be run now or fails, AccessError when it may not be."""
    words = [("container", container), ("stdout", "true"), ("stderr", "true"), *(("command", each) for each in command)]
    what = f"run {command[0]} in container {container} of pod {cluster.namespace}/{pod}"
    opened = open_websocket(cluster, pod, "exec", words, what=what, seconds=_SECONDS)
    try:
        opened.settimeout(_SECONDS)
        return output(opened, what)
    finally:
        opened.shutdown()


def output(opened: Any, what: str) -> str:
    """All that an open exec prints. Raises NotSent with what it said instead."""
    websocket = importlib.import_module("websocket")
    said: dict[int, bytes] = {_STDOUT: b"", _STDERR: b"", _STATUS: b""}
    try:
        while True:
            opcode, payload = opened.recv_data()
            if opcode == CLOSE:
                break
            if payload and payload[0] in said:
                said[payload[0]] += payload[1:]
    except websocket.WebSocketConnectionClosedException:
        pass  # the end, as a closing frame is
    except (websocket.WebSocketException, OSError) as error:
        raise NotSent(f"{what}: {reason(error)}") from None
    try:
        status = json.loads(said[_STATUS] or b"{}")
    except ValueError:
        status = {}
    if status.get("status") != "Success":
        text = said[_STDERR].decode(errors="replace").strip() or status.get("message") or "it broke off"
        raise NotSent(f"{what}: {text[:200]}")
    return said[_STDOUT].decode(errors="replace")
