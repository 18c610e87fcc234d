"""Rows of host_monitoring and vm_monitoring: written straight to the database by onemonitord, and deleted when they expire."""

from __future__ import annotations

import time
from typing import Final

from standin.database import Database, SqlError
from standin.template import Template, cdata

_CAPACITY: Final = {
    "FREECPU": "FREE_CPU",
    "USEDCPU": "USED_CPU",
    "FREEMEMORY": "FREE_MEMORY",
    "USEDMEMORY": "USED_MEMORY",
}
_SYSTEM: Final = {"CPUSPEED": "CPU_SPEED", "NETTX": "NETTX", "NETRX": "NETRX"}


class History:
    """`keep_seconds` 0 or less keeps nothing; machines have a term of their own."""

    def __init__(self, database: Database, keep_seconds: int, keep_machines_seconds: int) -> None:
        self._database = database
        self._keep = keep_seconds
        self._keep_machines = keep_machines_seconds
        if keep_seconds <= 0:
            database.attempt("DELETE FROM host_monitoring")
        if keep_machines_seconds <= 0:
            database.attempt("DELETE FROM vm_monitoring")

    def add(self, oid: int, stamp: int, probes: Template) -> bool:
        """Store one row; whether it could be stored (a lost database is logged there)."""
        if self._keep <= 0:
            return True
        body = (
            f"<MONITORING><TIMESTAMP>{stamp}</TIMESTAMP><ID>{oid}</ID>"
            f"{_part('CAPACITY', _CAPACITY, probes)}{_part('SYSTEM', _SYSTEM, probes)}</MONITORING>"
        )
        try:
            self._database.execute(
                "REPLACE INTO host_monitoring (hid, last_mon_time, body) VALUES (%s, %s, %s)", (oid, stamp, body)
            )
        except SqlError:
            return False
        return True

    def add_machine(self, oid: int, stamp: int, probes: Template) -> bool:
        """Store one row of a machine; whether it could be stored."""
        if self._keep_machines <= 0:
            return True
        values = "".join(f"<{name}>{cdata(value)}</{name}>" for name, value in probes if isinstance(value, str))
        body = f"<MONITORING><ID>{oid}</ID><TIMESTAMP>{stamp}</TIMESTAMP>{values}</MONITORING>"
        try:
            self._database.execute(
                "REPLACE INTO vm_monitoring (vmid, last_poll, body) VALUES (%s, %s, %s)", (oid, stamp, body)
            )
        except SqlError:
            return False
        return True

    def expire(self) -> None:
        if self._keep_machines > 0:
            self._database.attempt(
                "DELETE FROM vm_monitoring WHERE last_poll < %s", (int(time.time()) - self._keep_machines,)
            )
        if self._keep > 0:
            self._database.attempt(
                "DELETE FROM host_monitoring WHERE last_mon_time < %s", (int(time.time()) - self._keep,)
            )


def _part(name: str, keys: dict[str, str], probes: Template) -> str:
    values = "".join(f"<{to}>{cdata(probes.get(key))}</{to}>" for key, to in keys.items() if probes.get(key))
    return f"<{name}>{values}</{name}>"
