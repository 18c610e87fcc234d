"""A port-forward into a pod as a socket: kubectl's way to a port that no one exposes, without a listener or a thread.

The API server speaks a small protocol over a WebSocket (`v4.channel.k8s.io`): channel 0 carries the data, channel 1 an
error text, each beginning with a frame that holds the port number. The Kubernetes library opens the WebSocket
(kubeconfig, certificates, tokens, proxies); its own PortForward class is not used, because it runs a thread that dies
with a traceback when the pod does, and leaves the socket hanging.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from components.registration.errors import AccessError
from components.registration.kube import Cluster, PodPort
from components.registration.transport import NotSent

_DATA, _ERROR = 0, 1
_CLOSE: Final = 8
"""Opcode of a WebSocket's closing frame (RFC 6455)."""
_NEVER_CONNECTED: Final = re.compile(r"connection refused|failed to connect|not found|not running", re.I)


class ForwardedSocket:
    """The three socket methods that an exchange uses. WebSocket errors come out as OSError."""

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket
        self._buffer = b""
        self._announced: set[int] = set()
        self.error = ""

    def settimeout(self, seconds: float) -> None:
        self._websocket.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        if self._guarded(lambda: self._websocket.send_binary(bytes([_DATA]) + data)) is None:
            raise ConnectionError("the port-forward ended")

    def recv_into(self, target: Any) -> int:
        while not self._buffer:
            frame = self._guarded(self._websocket.recv_data)
            if frame is None or frame[0] == _CLOSE:
                return 0
            self._take(frame[1])
        count = min(len(target), len(self._buffer))
        target[:count] = self._buffer[:count]
        self._buffer = self._buffer[count:]
        return count

    def _take(self, payload: bytes) -> None:
        if not payload:
            return
        channel, data = payload[0], payload[1:]
        if channel not in self._announced:
            self._announced.add(channel)
        elif channel == _DATA:
            self._buffer += data
        elif channel == _ERROR:
            self.error += data.decode("utf-8", "replace")

    def _guarded(self, operation: Callable[[], Any]) -> Any:
        """The operation's result; None once the far end has closed."""
        websocket = importlib.import_module("websocket")
        try:
            return operation()
        except websocket.WebSocketTimeoutException:
            raise TimeoutError("timed out") from None
        except websocket.WebSocketConnectionClosedException:
            return None
        except websocket.WebSocketException as error:
            raise ConnectionError(str(error)[:200]) from None

    def close(self) -> None:
        self._websocket.shutdown()


class ForwardChannel:
    """A Channel over a port-forward."""

    def __init__(self, websocket: Any) -> None:
        self._socket = ForwardedSocket(websocket)

    @property
    def socket(self) -> Any:
        return self._socket

    def refusal(self) -> str:
        """The kubelet's text when it could not connect inside the pod; '' for an error after that."""
        return f"in the pod: {self._socket.error[:300]}" if _NEVER_CONNECTED.search(self._socket.error) else ""

    def close(self) -> None:
        self._socket.close()


def forward(cluster: Cluster, target: PodPort, seconds: float) -> ForwardChannel:
    """Open a port-forward within `seconds`. Raises NotSent, AccessError."""
    api = cluster.api()
    headers = {"sec-websocket-protocol": "v4.channel.k8s.io"}
    api.update_params_for_auth(headers, [], ["BearerToken"])
    url = f"{api.configuration.host}/api/v1/namespaces/{quote(cluster.namespace)}/pods/{quote(target.pod)}/portforward"
    library = importlib.import_module("kubernetes.stream.ws_client")
    websocket = importlib.import_module("websocket")
    endpoint = library.get_websocket_url(url, [("ports", str(target.port))])
    what = f"port-forward to pod {cluster.namespace}/{target.pod}"
    try:
        opened = bounded(lambda: library.create_websocket(api.configuration, endpoint, headers), seconds)
    except websocket.WebSocketBadStatusException as error:
        if error.status_code in (401, 403):
            text = f"the Kubernetes API answers {error.status_code}"
            then = f"`{cluster.kubectl} auth can-i create pods/portforward`"
            raise AccessError(f"may not {what}", text, then=then) from None
        raise NotSent(f"{what}: the Kubernetes API answers {error.status_code}") from None
    except (websocket.WebSocketException, OSError) as error:
        raise NotSent(f"{what}: {str(error)[:200] or type(error).__name__}") from None
    return ForwardChannel(opened)


def bounded(connect: Callable[[], Any], seconds: float) -> Any:
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

    threading.Thread(target=run, daemon=True, name="port-forward").start()
    if not done.wait(seconds):
        with lock:
            if not outcome:
                abandoned = True
                raise TimeoutError(f"not open within {seconds:g} s")
    if failure:
        raise failure[0]
    return outcome[0]
