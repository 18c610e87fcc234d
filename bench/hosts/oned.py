"""The oned that all contenders register at, and the independent look at what is in it. Raw XML-RPC, nothing of ours."""

from __future__ import annotations

import xmlrpc.client
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree

DRIVER = "bench"  # one that oned does not know: it registers and starts no probe, which would load this machine


DISABLED = 4
"""A host's STATE, and what `status` calls it."""
_TO_DISABLE = 1
_MERGE = 1


class Row(NamedTuple):
    """One host as oned has it."""

    name: str
    state: int
    labels: Mapping[str, str]


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
        return {host_id: row.name for host_id, row in self.rows().items()}

    def rows(self) -> dict[int, Row]:
        """All there is, by id."""
        pool = ElementTree.fromstring(str(self.call("hostpool.info")))  # noqa: S314 -- our own server
        return {int(host.findtext("ID", "")): _row(host) for host in pool.findall("HOST")}

    def wrong(self, declared: Iterable[str]) -> list[str]:
        """What is not exactly once there, and what is there and should not be."""
        found, wanted = Counter(self.hosts().values()), set(declared)
        return sorted({name for name in wanted if found[name] != 1} | {name for name in found if name not in wanted})

    def unlike(self, labels: Mapping[str, Mapping[str, str]]) -> list[str]:
        """Names of hosts that are disabled, or do not have the labels that are declared of them."""
        return sorted(
            row.name
            for row in self.rows().values()
            if row.state == DISABLED or not labels.get(row.name, {}).items() <= row.labels.items()
        )

    def delete(self, host_id: int) -> None:
        self.call("host.delete", host_id)

    def disable(self, host_id: int) -> None:
        self.call("host.status", host_id, _TO_DISABLE)

    def label(self, host_id: int, name: str, value: str) -> None:
        self.call("host.update", host_id, f'{name}="{value}"', _MERGE)

    def clear(self) -> None:
        """No host at all."""
        for host_id in self.hosts():
            self.delete(host_id)


def _row(host: ElementTree.Element) -> Row:
    template = host.find("TEMPLATE")
    labels = {each.tag: each.text or "" for each in template} if template is not None else {}
    return Row(host.findtext("NAME", ""), int(host.findtext("STATE", "-1")), labels)
