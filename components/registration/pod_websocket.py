"""A WebSocket to something in a pod, as kubectl opens it for an exec or a port-forward.

The API server speaks a small protocol over it (`v4.channel.k8s.io`): the first byte of each frame is the number of a channel, and
what these carry is the business of who asked. The Kubernetes library opens it (kubeconfig, certificates, tokens, proxies).
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

from components.registration.errors import AccessError
from components.registration.kube import Cluster
from components.registration.transport import NotSent

CLOSE: Final = 8
"""Opcode of a WebSocket's closing frame (RFC 6455)."""


def open_websocket(
    cluster: Cluster, pod: str, action: str, words: Sequence[tuple[str, str]], *, what: str, seconds: float
) -> Any:
    """`action` is the pod's subresource and `words` are its query; `what` is for messages. Raises NotSent when it is not open
    within `seconds`, AccessError when it may not be."""
    api = cluster.api()
    headers = {"sec-websocket-protocol": "v4.channel.k8s.io"}
    api.update_params_for_auth(headers, [], ["BearerToken"])
    url = f"{api.configuration.host}/api/v1/namespaces/{quote(cluster.namespace)}/pods/{quote(pod)}/{action}"
    library = importlib.import_module("kubernetes.stream.ws_client")
    websocket = importlib.import_module("websocket")
    endpoint = library.get_websocket_url(url, words)
    try:
        return _bounded(lambda: library.create_websocket(api.configuration, endpoint, headers), seconds)
    except websocket.WebSocketBadStatusException as error:
        text = f"the Kubernetes API answers {error.status_code}"
        if error.status_code in (401, 403):
            then = f"`{cluster.kubectl} auth can-i create pods/{action}`"
            raise AccessError(f"may not {what}", text, then=then) from None
        raise NotSent(f"{what}: {text}") from None
    except (websocket.WebSocketException, OSError) as error:
        raise NotSent(f"{what}: {reason(error)}") from None


def reason(error: Exception) -> str:
    """What a WebSocket's or socket's error says, short."""
    return str(error)[:200] or type(error).__name__


def _bounded(connect: Callable[[], Any], seconds: float) -> Any:
    """Run a connect that takes no time limit of its own. A connection that comes too late is closed by its thread."""
    lock = threading.Lock()
    outcome: list[Any] = []
    failure: list[BaseException] = []
    abandoned = False
    done = threading.Event()

    def run() -> None:
        try:
            connection = connect()
        except BaseException as error:  # handed over to the waiting thread
            failure.append(error)
        else:
            with lock:
                if abandoned:
                    connection.shutdown()
                else:
                    outcome.append(connection)
        done.set()

    threading.Thread(target=run, daemon=True, name="pod-websocket").start()
    if not done.wait(seconds):
        with lock:
            if not outcome:
                abandoned = True
                raise TimeoutError(f"not open within {seconds:g} s")
    if failure:
        raise failure[0]
    return outcome[0]
