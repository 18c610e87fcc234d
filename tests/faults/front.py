"""The proxy in front of oned: whole XML-RPC requests go through, or meet a fault that the test asks for.

A fault comes before oned sees the request, or after oned has done it; only the second kind leaves something behind.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Callable
from enum import Enum
from urllib.parse import urlsplit

from tests.faults.relay import Listener, abort
from tests.registration.servers import http as http_answer
from tests.registration.servers import request_of

_METHOD = re.compile(rb"<methodName>one\.([\w.]+)</methodName>")
_DELAY = 0.5  # seconds
_NEVER = 30.0


class Fault(Enum):
    """Values are words for a table."""

    DELAYED = "delayed"
    UNSENT = "cut before oned saw it"
    CUT = "cut after the commit"
    HALF = "half an answer"
    ERROR = "500 after the commit"
    GARBAGE = "garbage after the commit"
    NEVER = "never answered"


LOST = (Fault.CUT, Fault.HALF, Fault.ERROR, Fault.GARBAGE, Fault.NEVER)
"""oned has done it, and the client does not know."""


class Front(Listener):
    """`fault` decides by the method's name (`host.allocate`)."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._host, self._port = parts.hostname or "", parts.port or 0
        self.fault: Callable[[str], Fault | None] = lambda _method: None
        self.met: list[tuple[str, Fault]] = []
        self._counting = threading.Lock()
        super().__init__(self._answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/RPC2"

    def well(self) -> None:
        """No more faults."""
        self.fault = lambda _method: None
        self.met.clear()
        self.listen()

    def _answer(self, client: socket.socket) -> None:
        body = request_of(client)
        found = _METHOD.search(body)
        method = found[1].decode() if found else ""
        with self._counting:
            fault = self.fault(method)
            if fault is not None:
                self.met.append((method, fault))
        if fault is Fault.UNSENT:
            abort(client)
            return
        if fault is Fault.DELAYED:
            self._ended.wait(_DELAY)
        answer = self._from_oned(body)
        match fault:
            case None | Fault.DELAYED:
                client.sendall(answer)
            case Fault.CUT:
                abort(client)
            case Fault.HALF:
                client.sendall(answer[: len(answer) * 2 // 3])
            case Fault.ERROR:
                client.sendall(
                    http_answer(b"<html>bad gateway</html>", "500 Internal Server Error", "Connection: close")
                )
            case Fault.GARBAGE:
                client.sendall(b"\x00\xff\x13garbage\r\n\r\n")
            case Fault.NEVER:
                self._ended.wait(_NEVER)

    def _from_oned(self, body: bytes) -> bytes:
        upstream = http.client.HTTPConnection(self._host, self._port, timeout=60)
        try:
            upstream.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
            response = upstream.getresponse()
            return http_answer(response.read(), f"{response.status} {response.reason}", "Connection: close")
        finally:
            upstream.close()
