"""HTTP and WebSocket as a browser or a virtual machine speaks them, without a library's kindness: redirects are not
followed and errors are answers."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

SECONDS: Final = 20.0
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Browser:
    """One client of one server, with its cookies."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        content: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: str | bytes = b"",
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        sent = dict(headers or {})
        body = raw.encode() if isinstance(raw, str) else raw
        if content is not None:
            body = json.dumps(content).encode()
            sent["Content-Type"] = "application/json"
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        got = {name.lower(): value for name, value in response.getheaders()}
        if "set-cookie" in got:
            name, _, value = got["set-cookie"].partition(";")[0].partition("=")
            self.cookies[name] = value
        return Answer(response.status, text, got)


def basic(credentials: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}


def until(look: Callable[[], T]) -> T:
    """What `look` gives as soon as it is true; an AssertionError after 20 s."""
    deadline = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"still {found!r}"
        time.sleep(0.02)
    return found


class WebSocket:
    """A client's end. `status` is the answer to the handshake, 0 when the server closed without one."""

    def __init__(self, port: int, path: str, headers: Mapping[str, str] | None = None, protocol: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            *([f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []),
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = self._socket.recv(1)
            if not chunk:
                break
            head += chunk
        self.status = int(head.split(b" ")[1]) if head else 0

    def read(self) -> bytes | None:
        """The content of the next frame; None for the end."""
        header = self._exactly(2)
        if header is None or header[0] & 15 == 8:
            return None
        size = header[1] & 127
        if size == 126:
            size = struct.unpack("!H", self._exactly(2) or b"")[0]
        elif size == 127:
            size = struct.unpack("!Q", self._exactly(8) or b"")[0]
        return self._exactly(size)

    def send(self, content: bytes, kind: int = 1) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))
        self._socket.sendall(bytes((0x80 | kind, 0x80 | len(content))) + mask + masked)

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, size: int) -> bytes | None:
        content = b""
        while len(content) < size:
            chunk = self._socket.recv(size - len(content))
            if not chunk:
                return None
            content += chunk
        return content


class Desk:
    """A VNC server as far as its greeting goes: says its version, or anything else, to everybody."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])

    def accept(self, greeting: str = "RFB 003.008\n") -> socket.socket:
        self._server.settimeout(SECONDS)
        connection, _ = self._server.accept()
        connection.settimeout(SECONDS)
        connection.sendall(greeting.encode())
        return connection

    def close(self) -> None:
        self._server.close()
