"""One table of objects: ids from pool_control, bodies as XML, a lock for every object that is being changed.

Ids never come back. Names are looked up and inserted in two steps with nothing held between them, as in the real one,
so two callers can both find a name free; where the table has no UNIQUE(name) both get it (hosts). Source: OpenNebula
7.4.0 src/pool/PoolSQL.cc.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, Protocol, TypeVar
from xml.etree import ElementTree

from standin.database import Database, SqlError

_FORBIDDEN_IN_NAMES: Final = "&|:\\\";/'#{}$<>\t\n\v\f\r"
_NAME_LIMIT: Final = 128


class PoolError(Exception):
    """An object that cannot be made, changed or dropped; `str()` is oned's text for the caller."""


class Stored(Protocol):
    """What a pool needs of its objects."""

    oid: int
    name: str

    def xml(self) -> str: ...

    def columns(self) -> dict[str, Any]:
        """Columns of the table besides oid, name and body."""
        ...


T = TypeVar("T", bound=Stored)


def check_name(name: str, extra: str = "") -> None:
    """The rule for object names in general (hosts have a stricter one of their own).

    :raises PoolError: with oned's text.
    """
    if not name:
        raise PoolError("Invalid NAME, it cannot be empty")
    for char in name:
        if char in _FORBIDDEN_IN_NAMES + extra:
            raise PoolError(f"Invalid NAME, char '{char}' is not allowed")
    if len(name.encode()) > _NAME_LIMIT:
        raise PoolError("Invalid NAME, max length is 128 chars")


class Pool(ABC, Generic[T]):
    """Base of every pool; subclasses say the table, the XML root of the pool and how a body is read."""

    table: str
    root: str

    def __init__(self, database: Database) -> None:
        self.database = database
        self._allocation = threading.Lock()
        self._locks: dict[int, threading.RLock] = {}

    @abstractmethod
    def load(self, element: ElementTree.Element) -> T:
        """The object whose body this is."""

    def last_oid(self) -> int:
        """The last id given, -1 for a pool that never had an object."""
        rows = self.database.query("SELECT last_oid FROM pool_control WHERE tablename = %s", (self.table,))
        return int(rows[0][0]) if rows else -1

    def set_last_oid(self, oid: int) -> None:
        self.database.execute("REPLACE INTO pool_control (tablename, last_oid) VALUES (%s, %s)", (self.table, oid))

    def find(self, name: str) -> int:
        """The id that has this name as the database compares names (case-insensitively by default), or -1."""
        rows = self.database.query(f"SELECT oid FROM {self.table} WHERE name = %s ORDER BY oid LIMIT 1", (name,))
        return int(rows[0][0]) if rows else -1

    def get(self, oid: int) -> T | None:
        rows = self.database.query(f"SELECT body FROM {self.table} WHERE oid = %s", (oid,))
        return self.load(ElementTree.fromstring(rows[0][0])) if rows else None

    @contextmanager
    def locked(self, oid: int) -> Iterator[T | None]:
        """The object, nobody else changing it meanwhile."""
        with self._locks.setdefault(oid, threading.RLock()):
            yield self.get(oid)

    def insert(self, item: T) -> int:
        """Store a new object under the next id.

        :raises PoolError: when the body is no XML (a name that starts with a digit) or the database refuses the row.
        """
        if not _is_xml(item.xml()):
            raise PoolError(f"Error transforming the {type(item).__name__} to XML.")
        with self._allocation:
            item.oid = self.last_oid() + 1
            self.set_last_oid(item.oid)
            values: dict[str, object] = {"oid": item.oid, "name": item.name, "body": item.xml(), **item.columns()}
            names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
            try:
                self.database.execute(f"INSERT INTO {self.table} ({names}) VALUES ({marks})", tuple(values.values()))
            except SqlError:
                self.set_last_oid(max(item.oid - 1, 0))
                raise PoolError("") from None
        return item.oid

    def update(self, item: T) -> None:
        """Store a changed object; a body that is no XML is not stored, and nobody is told, as in the real one."""
        if not _is_xml(item.xml()):
            return
        values: dict[str, object] = {"name": item.name, "body": item.xml(), **item.columns()}
        sets = ", ".join(f"{name} = %s" for name in values)
        self.database.execute(f"UPDATE {self.table} SET {sets} WHERE oid = %s", (*values.values(), item.oid))

    def drop(self, item: T) -> None:
        """:raises PoolError: when the object must stay."""
        self.database.execute(f"DELETE FROM {self.table} WHERE oid = %s", (item.oid,))

    def ids(self) -> list[int]:
        return [int(row[0]) for row in self.database.query(f"SELECT oid FROM {self.table} ORDER BY oid")]

    def dump(self, where: str = "", *, descending: bool = False, limit: str = "", column: str = "body") -> str:
        """All bodies in one XML document."""
        order = "ORDER BY oid DESC" if descending else "ORDER BY oid"
        condition = f"WHERE {where}" if where else ""
        rows = self.database.query(f"SELECT {column} FROM {self.table} {condition} {order} {limit}")
        return f"<{self.root}>{''.join(row[0] for row in rows)}</{self.root}>"


def _is_xml(body: str) -> bool:
    try:
        ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return False
    return True


def owned(*, uid: int = 0, gid: int = 0, owner_u: int = 1, group_u: int = 0, other_u: int = 0) -> dict[str, Any]:
    """The ownership columns that every pool has."""
    return {"uid": uid, "gid": gid, "owner_u": owner_u, "group_u": group_u, "other_u": other_u}
