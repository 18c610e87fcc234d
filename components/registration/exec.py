"""A command in a container of a pod, for what it prints: kubectl exec without input.

Over a WebSocket (`v4.channel.k8s.io`): channel 1 is what it prints, channel 3 a Status once it has ended.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from components.registration.errors import AccessError
from components.registration.forward import bounded
from components.registration.kube import Cluster
from components.registration.transport import NotSent

_STDOUT, _STDERR, _STATUS = 1, 2, 3
_CLOSE: Final = 8
_SECONDS: Final = 15.0


def in_pod(cluster: Cluster, pod: str, container: str, command: Sequence[str]) -> str:
    """What the command prints. Raises NotSent when it cannot be run now or fails, AccessError when it may not be."""
    api = cluster.api()
    headers = {"sec-websocket-protocol": "v4.channel.k8s.io"}
    api.update_params_for_auth(headers, [], ["BearerToken"])
    url = f"{api.configuration.host}/api/v1/namespaces/{quote(cluster.namespace)}/pods/{quote(pod)}/exec"
    library = importlib.import_module("kubernetes.stream.ws_client")
    websocket = importlib.import_module("websocket")
    words = [("container", container), ("stdout", "true"), ("stderr", "true"), *(("command", each) for each in command)]
    endpoint = library.get_websocket_url(url, words)
    what = f"run {command[0]} in container {container} of pod {cluster.namespace}/{pod}"
    try:
        opened = bounded(lambda: library.create_websocket(api.configuration, endpoint, headers), _SECONDS)
    except websocket.WebSocketBadStatusException as error:
        if error.status_code in (401, 403):
            text = f"the Kubernetes API answers {error.status_code}"
            raise AccessError(
                f"may not {what}", text, then=f"`{cluster.kubectl} auth can-i create pods/exec`"
            ) from None
        raise NotSent(f"{what}: the Kubernetes API answers {error.status_code}") from None
    except (websocket.WebSocketException, OSError) as error:
        raise NotSent(f"{what}: {str(error)[:200] or type(error).__name__}") from None
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
            if opcode == _CLOSE:
                break
            if payload and payload[0] in said:
                said[payload[0]] += payload[1:]
    except websocket.WebSocketConnectionClosedException:
        pass  # the end, as a closing frame is
    except (websocket.WebSocketException, OSError) as error:
        raise NotSent(f"{what}: {str(error)[:200] or type(error).__name__}") from None
    try:
        status = json.loads(said[_STATUS] or b"{}")
    except ValueError:
        status = {}
    if status.get("status") != "Success":
        text = said[_STDERR].decode(errors="replace").strip() or status.get("message") or "it broke off"
        raise NotSent(f"{what}: {text[:200]}")
    return said[_STDOUT].decode(errors="replace")
