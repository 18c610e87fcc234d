"""A port-forward into a pod as a socket: kubectl's way to a port that no one exposes, without a listener or a thread.

Channel 0 carries the data, channel 1 an error text, each beginning with a frame that holds the port number. The Kubernetes
library's own PortForward class is not used, because it runs a thread that dies with a traceback when the pod does, and
leaves the socket hanging.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any, Final

from components.registration.kube import Cluster, PodPort
from components.registration.pod_websocket import CLOSE, open_websocket

_DATA, _ERROR = 0, 1
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
            if frame is None or frame[0] == CLOSE:
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
    what = f"port-forward to pod {cluster.namespace}/{target.pod}"
    words = [("ports", str(target.port))]
    return ForwardChannel(open_websocket(cluster, target.pod, "portforward", words, what=what, seconds=seconds))
