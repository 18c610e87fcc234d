"""The one object of a name: found by a list that may be old, and told apart from several."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from components.registration.errors import DuplicateDatastores, NotFound
from components.registration.pool import Listing
from components.registration.unique import Unique


@dataclass(frozen=True)
class Row:
    id: int
    name: str


class Zone:
    """Rows that change behind a list that was read before."""

    def __init__(self, *rows: Row) -> None:
        self.rows = {row.id: row for row in rows}
        self.pool = Listing(lambda: tuple(self.rows.values()))
        self.unique = Unique(self.pool, self.read, DuplicateDatastores)
        self.pool.fresh()

    def read(self, row_id: int) -> Row:
        if row_id not in self.rows:
            raise NotFound("read", f"no row {row_id}")
        return self.rows[row_id]


def test_what_is_listed_is_read_anew() -> None:
    zone = Zone(Row(1, "a"), Row(2, "b"))
    assert zone.unique.existing("a") == Row(1, "a")
    assert zone.unique.existing("c") is None


def test_a_row_that_went_since_is_looked_for_in_a_new_list() -> None:
    zone = Zone(Row(1, "a"))
    zone.rows = {2: Row(2, "a")}
    assert zone.unique.existing("a") == Row(2, "a")


def test_a_row_that_was_renamed_since_does_not_count() -> None:
    zone = Zone(Row(1, "a"))
    zone.rows = {1: Row(1, "b")}
    assert zone.unique.existing("a") is None


def test_several_of_a_name_are_an_error_with_their_ids() -> None:
    zone = Zone(Row(1, "a"), Row(2, "a"))
    with pytest.raises(DuplicateDatastores) as caught:
        zone.unique.existing("a")
    assert caught.value.ids == (1, 2)
