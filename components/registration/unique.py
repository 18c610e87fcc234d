"""The one object of a name. oned does not guard names against simultaneous allocates, so there may be several."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from components.registration.clock import Clock
from components.registration.errors import Inconsistent, NotFound, OnedError
from components.registration.pool import Listing, Row
from components.registration.settle import LOOK_AGAIN, SETTLE
from components.registration.spec import AdoptPolicy

log = logging.getLogger("opennebula.registration")


class Named(Row, Protocol):
    """An object of oned with a name."""

    @property
    def name(self) -> str: ...


_R = TypeVar("_R", bound=Named)


class Unique(Generic[_R]):
    """`read` asks for one object and raises NotFound; `duplicates` makes the error of a name and the ids that bear it."""

    def __init__(
        self,
        pool: Listing[_R],
        read: Callable[[int], _R],
        duplicates: Callable[[str, Sequence[int]], OnedError],
    ) -> None:
        self._pool, self._read, self._duplicates = pool, read, duplicates

    def read(self, row_id: int) -> _R | None:
        """The object as it is now, None when it is gone."""
        try:
            return self._read(row_id)
        except NotFound:
            return None

    def still(self, row_id: int, name: str) -> _R | None:
        """The object of a number that the state has as `name`, None when it is gone. May be some seconds old.

        A number proves nothing after another database: one of another name has been renamed, unless somebody else bears the
        name now; then the number is another object's.
        """
        record = self._pool.row(row_id) or self.read(row_id)
        if record is None or record.name == name:
            return record
        others = [row.id for row in self._pool.recent() if row.name == name and row.id != row_id]
        if others:
            log.warning("%s: its number %d is %s's now, so it counts as gone", name, row_id, record.name)
        return None if others else record

    def fresh(self, name: str) -> _R | None:
        """The object of this name, by a list that is asked for now. Raises the error of duplicates."""
        rows = [record for record in self._pool.fresh() if record.name == name]
        if len(rows) > 1:
            raise self._duplicates(name, [record.id for record in rows])
        return rows[0] if rows else None

    def existing(self, name: str) -> _R | None:
        """The object of this name as it is now, found by a list that may be some seconds old. Raises likewise."""
        rows = [record for record in self._pool.recent() if record.name == name]
        if not rows:
            return None
        record = self.read(rows[0].id) if len(rows) == 1 else None
        if record is None or record.name != name:
            return self.fresh(name)
        return record

    def before_making(self, name: str, adopt: AdoptPolicy) -> _R | None:
        """The object that has the name already. Raises likewise.

        Who takes over nothing has to know who was there before: of a lost answer to the allocate nothing else could tell.
        """
        return self.fresh(name) if adopt is AdoptPolicy.REFUSE else self.existing(name)

    def confirmed(self, kind: str, name: str, new_id: int, clock: Clock) -> _R:
        """The new row of a `kind` (as in `onecluster`), once it is seen to be the only one of its name.

        A follower may lag behind its leader. Raises the error of duplicates, and Inconsistent when it is never listed.
        """
        limit = clock.monotonic() + SETTLE
        while True:
            rows = {record.id: record for record in self._pool.fresh() if record.name == name}
            if rows.keys() == {new_id}:
                return rows[new_id]
            if rows.keys() - {new_id} and self.read(new_id) is not None:
                raise self._duplicates(name, sorted({new_id, *rows}))
            if clock.monotonic() >= limit:
                raise Inconsistent(
                    f"{kind} {name!r} was made with id {new_id} and is not listed {SETTLE:g} s later",
                    "somebody deleted it, or this server of the zone lags far behind",
                    then=f"`one{kind} list`, then `pulumi up`",
                )
            clock.sleep(LOOK_AGAIN)
