"""The oned that all contenders register at, and the independent look at what is in it. Raw XML-RPC, nothing of ours."""

from __future__ import annotations

import xmlrpc.client
from collections import Counter
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

DRIVER = "bench"  # one that oned does not know: it registers and starts no probe, which would load this machine


class Oned:
    """One connection to it, for one thread."""

    def __init__(self, url: str, session: str) -> None:
        self._one = xmlrpc.client.ServerProxy(url).one
        self._session = session

    def call(self, method: str, *arguments: object) -> Any:
        """An answer, or RuntimeError with oned's words."""
        target: Any = self._one
        for part in method.split("."):
            target = getattr(target, part)
        answer = target(self._session, *arguments)
        if not answer[0]:
            raise RuntimeError(str(answer[1]))
        return answer[1]

    def hosts(self) -> dict[int, str]:
        """Name by id."""
        pool = ElementTree.fromstring(str(self.call("hostpool.info")))  # noqa: S314 -- our own server
        return {int(host.findtext("ID", "")): host.findtext("NAME", "") for host in pool.findall("HOST")}

    def wrong(self, declared: Iterable[str]) -> list[str]:
        """What is not exactly once there, and what is there and should not be."""
        found, wanted = Counter(self.hosts().values()), set(declared)
        return sorted({name for name in wanted if found[name] != 1} | {name for name in found if name not in wanted})

    def clear(self) -> None:
        """No host at all."""
        for host_id in self.hosts():
            self.call("host.delete", host_id)
