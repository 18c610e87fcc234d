"""Hooks as objects of oned, and what came of their executions. Of the two types only `api` is there: hooks for states are
refused.

Source: OpenNebula 7.4.0 src/hm/{Hook,HookAPI,HookLog,HookPool}.cc.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree

from standin.database import Database
from standin.elements import number, text
from standin.pool import Pool, PoolError, check_name, owned
from standin.template import Template

_API: Final = 2


@dataclass
class Hook:
    """One row of hook_pool."""

    name: str
    template: Template
    oid: int = -1

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Hook:
        template = element.find("TEMPLATE")
        return cls(
            text(element, "NAME"),
            Template() if template is None else Template.from_element(template),
            number(element, "ID"),
        )

    def xml(self, log: str = "") -> str:
        return f"<HOOK><ID>{self.oid}</ID><NAME>{self.name}</NAME><TYPE>api</TYPE>{self.template.xml()}{log}</HOOK>"

    def columns(self) -> dict[str, Any]:
        return {**owned(), "type": _API}


class HookPool(Pool[Hook]):
    """hook_pool and hook_log."""

    table, root = "hook_pool", "HOOK_POOL"

    def __init__(self, database: Database, retention: int) -> None:
        """`retention`: records that are kept of each hook."""
        super().__init__(database)
        self._retention = retention

    def load(self, element: ElementTree.Element) -> Hook:
        return Hook.from_element(element)

    def allocate(self, template: Template) -> int:
        """:raises PoolError: with oned's text."""
        kind, name = template.get("TYPE"), template.get("NAME")
        if kind.upper() != "API":
            raise PoolError(f"Invalid Hook type: {kind}")
        try:
            check_name(name)
        except PoolError:
            raise PoolError("Invalid name.") from None
        taken = self.find(name)
        if taken != -1:
            raise PoolError(f"NAME is already taken by Hook {taken}.")
        if not template.get("COMMAND"):
            raise PoolError("No COMMAND in template for Hook.")
        call = template.get("CALL")
        if not call.startswith("one.") or call.endswith((".info", ".infoextended")):
            raise PoolError(f"API call does not exist or is not supported: {call}")
        template.erase("NAME", "TYPE")
        template.replace("REMOTE", "YES" if template.get("REMOTE").upper() == "YES" else "NO")
        return self.insert(Hook(name, template))

    def drop(self, item: Hook) -> None:
        super().drop(item)
        self.database.execute("DELETE FROM hook_log WHERE hkid = %s", (item.oid,))

    def record(self, oid: int, code: int, result: str) -> None:
        """Keep what an execution came to; a result that is no XML is dropped."""
        rows = self.database.query("SELECT COALESCE(MAX(exeid), -1) FROM hook_log WHERE hkid = %s", (oid,))
        number, now = int(rows[0][0]) + 1, int(time.time())
        body = (
            f"<HOOK_EXECUTION_RECORD><HOOK_ID>{oid}</HOOK_ID><EXECUTION_ID>{number}</EXECUTION_ID>"
            f"<TIMESTAMP>{now}</TIMESTAMP>{result}</HOOK_EXECUTION_RECORD>"
        )
        try:
            ElementTree.fromstring(body)
        except ElementTree.ParseError:
            return
        self.database.execute(
            "INSERT INTO hook_log (hkid, exeid, timestamp, rc, body) VALUES (%s, %s, %s, %s, %s)",
            (oid, number, now, code, body),
        )
        self.database.execute("DELETE FROM hook_log WHERE hkid = %s AND exeid <= %s", (oid, number - self._retention))

    def log(self, oid: int) -> str:
        """All records of one hook."""
        rows = self.database.query("SELECT body FROM hook_log WHERE hkid = %s ORDER BY exeid", (oid,))
        return f"<HOOKLOG>{''.join(row[0] for row in rows)}</HOOKLOG>"
