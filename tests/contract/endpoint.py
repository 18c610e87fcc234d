"""The API under test: raw calls whose answers are shown as they came, and a memory of what has to go afterwards."""

from __future__ import annotations

import os
import uuid
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

NO_DRIVER = "contract-none"

Answer = list[Any]


class Endpoint:
    """One API as oneadmin. `own` is whether this run started it and may spoil it."""

    def __init__(self, url: str, session: str, *, own: bool) -> None:
        self.url = url
        self.session = session
        self.own = own
        self._undo: list[Callable[[], object]] = []

    def call(self, method: str, *arguments: object, session: str | None = None) -> Answer:
        """The whole answer of `one.<method>`; a connection of its own each time, as most clients do."""
        with xmlrpc.client.ServerProxy(self.url) as proxy:
            answer = getattr(proxy, f"one.{method}")(self.session if session is None else session, *arguments)
        assert isinstance(answer, list)
        return answer

    def ok(self, method: str, *arguments: object) -> Any:
        """The value of a call that has to succeed."""
        answer = self.call(method, *arguments)
        assert answer[0] is True, answer
        assert answer[2:] == [0], answer
        return answer[1]

    def xml(self, method: str, *arguments: object) -> ElementTree.Element:
        return ElementTree.fromstring(self.ok(method, *arguments))  # noqa: S314  (the API under test)

    def host(self, name: str | None = None, *, cluster: int = -1) -> int:
        """A new host, gone after the test."""
        oid = int(self.ok("host.allocate", name or unique(), NO_DRIVER, NO_DRIVER, cluster))
        self.later(lambda: self.call("host.delete", oid))
        return oid

    def cluster(self, name: str | None = None) -> int:
        """A new cluster, gone after the test."""
        oid = int(self.ok("cluster.allocate", name or unique()))
        self.later(lambda: self.call("cluster.delete", oid))
        return oid

    def user(self, password: str) -> tuple[int, str]:
        """A new ordinary user, gone after the test; id and session."""
        name = unique()
        oid = int(self.ok("user.allocate", name, password, "core"))
        self.later(lambda: self.call("user.delete", oid))
        return oid, f"{name}:{password}"

    def later(self, undo: Callable[[], object]) -> None:
        self._undo.append(undo)

    def clean(self) -> None:
        while self._undo:
            self._undo.pop()()


def unique() -> str:
    """A name that nothing else has."""
    return f"contract-{uuid.uuid4().hex[:12]}"


def given() -> Endpoint | None:
    """The endpoint that the environment names."""
    url = os.environ.get("ONE_XMLRPC")
    if not url:
        return None
    auth = os.environ.get("ONE_AUTH")
    if not auth:
        raise RuntimeError("ONE_XMLRPC is set and ONE_AUTH is not: it must name a file with oneadmin's user:password")
    return Endpoint(url, Path(auth).read_text().splitlines()[0], own=False)
