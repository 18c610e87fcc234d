"""A client of the deployed web daemons, by their names and with TLS that is checked, as a person's browser has it."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import socket
import ssl
import xmlrpc.client
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import websocket

from lab import ca
from lab.ca import DOMAIN
from lab.paths import Instance

_LIMIT = 30  # seconds an answer may take


@dataclass(frozen=True)
class Answer:
    """What came back; `json` is None where the body is none."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.text)
        except ValueError:
            return None


class Refused(Exception):
    """oned's answer to a call that it does not carry out."""


class _Connection(http.client.HTTPSConnection):
    """HTTPS to a name whose address the test knows and no resolver does."""

    def __init__(self, address: str, name: str, context: ssl.SSLContext) -> None:
        super().__init__(name, 443, timeout=_LIMIT, context=context)
        self._address, self._context_of_name = address, context

    def connect(self) -> None:
        plain = socket.create_connection((self._address, 443), timeout=_LIMIT)
        self.sock = self._context_of_name.wrap_socket(plain, server_hostname=self.host)


class Console:
    """A console as its page has it: instructions of the Guacamole protocol both ways."""

    def __init__(self, tunnel: Any) -> None:
        self._tunnel, self._text = tunnel, ""

    def next(self) -> list[str]:
        """Opcode and values of the next instruction; none once the other end has closed."""
        while (found := _instruction(self._text)) is None:
            data = self._tunnel.recv()
            if not data:
                return []
            self._text += data
        words, self._text = found
        return words

    def until(self, opcode: str) -> list[list[str]]:
        """Instructions up to this one; what came instead when the end did."""
        found: list[list[str]] = []
        while not found or found[-1][0] != opcode:
            words = self.next()
            assert words, f"the console ended after {found}"
            found.append(words)
        return found

    def say(self, *words: str) -> None:
        self._tunnel.send(",".join(f"{len(word)}.{word}" for word in words) + ";")


def _instruction(text: str) -> tuple[list[str], str] | None:
    """The words of the first instruction and what follows it; None while it is not whole."""
    words: list[str] = []
    at = 0
    while (dot := text.find(".", at)) >= 0:
        end = dot + 1 + int(text[at:dot])
        if end >= len(text):
            return None
        words.append(text[dot + 1 : end])
        at = end + 1
        if text[end] == ";":
            return words, text[at:]
    return None


@dataclass
class Site:
    """One daemon behind the lab's ingress. Keeps cookies; `login` is NAME:PASSWORD for HTTP basic authentication."""

    instance: Instance
    daemon: str
    login: str | None = None
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.daemon}.{DOMAIN}"

    def ask(self, method: str, path: str, content: object = None) -> Answer:
        """One request; the certificate must be the lab's own and for this name."""
        return self._send(method, path, json.dumps(content) if content is not None else None, "application/json")

    def call(self, name: str, *parameters: Any) -> Any:
        """One XML-RPC call of oned with the login as session. Raises Refused with oned's own words."""
        body = xmlrpc.client.dumps((self.login, *parameters), f"one.{name}")
        answer = self._send("POST", "/RPC2", body, "text/xml")
        assert answer.status == 200, answer.text
        outcome: Any = xmlrpc.client.loads(answer.text)[0][0]
        if not outcome[0]:
            raise Refused(outcome[1])
        return outcome[1]

    def upload(self, content: bytes) -> Answer:
        """A file as FireEdge's form sends it."""
        boundary = secrets.token_hex(16)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="disk.img"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        return self._send("POST", "/fireedge/api/image/upload", body, f"multipart/form-data; boundary={boundary}")

    @contextmanager
    def console(self, token: str) -> Iterator[Console]:
        """The WebSocket that a console's page opens, through TLS and the ingress."""
        with self._tunnel(f"/fireedge/guacamole?token={quote(token, safe='')}", subprotocols=["guacamole"]) as tunnel:
            yield Console(tunnel)

    def events(self, resource: str, number: int) -> AbstractContextManager[websocket.WebSocket]:
        """The WebSocket by which a page follows one host or machine that it has asked for before."""
        return self._tunnel(f"/fireedge/websockets/hooks?resource={resource}&id={number}")

    @contextmanager
    def _tunnel(self, path: str, **options: Any) -> Iterator[websocket.WebSocket]:
        plain = socket.create_connection((str(self.instance.node_ip), 443), timeout=_LIMIT)
        secured = self._context().wrap_socket(plain, server_hostname=self.name)
        url = f"wss://{self.name}{path}"
        tunnel = websocket.create_connection(url, socket=secured, cookie=self._cookie(), timeout=_LIMIT, **options)
        try:
            yield tunnel
        finally:
            tunnel.close()

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(ca.ensure(self.instance).authority_file))

    def _cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def _send(self, method: str, path: str, body: str | bytes | None, kind: str) -> Answer:
        headers = {"Content-Type": kind} if body is not None else {}
        if self.login is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        if self.cookies:
            headers["Cookie"] = self._cookie()
        connection = _Connection(str(self.instance.node_ip), self.name, self._context())
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            for key, value in response.getheaders():
                if key.lower() == "set-cookie":
                    name, _, rest = value.partition("=")
                    self.cookies[name] = rest.partition(";")[0]
            return Answer(response.status, dict(response.getheaders()), response.read().decode())
        finally:
            connection.close()
