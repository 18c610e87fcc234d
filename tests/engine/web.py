"""A client of the deployed web daemons, by their names and with TLS that is checked, as a person's browser has it."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import xmlrpc.client
from dataclasses import dataclass, field
from typing import Any

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
        import socket

        plain = socket.create_connection((self._address, 443), timeout=_LIMIT)
        self.sock = self._context_of_name.wrap_socket(plain, server_hostname=self.host)


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

    def _send(self, method: str, path: str, body: str | None, kind: str) -> Answer:
        context = ssl.create_default_context(cafile=str(ca.ensure(self.instance).authority_file))
        headers = {"Content-Type": kind} if body is not None else {}
        if self.login is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = _Connection(str(self.instance.node_ip), self.name, context)
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
