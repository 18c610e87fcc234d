"""The table of keys is that of the models."""

from __future__ import annotations

import re

import pytest

from stacks.reference import PAGE, insert, table
from stacks.secrets import SECRETS
from stacks.settings import StackSettings


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == insert(PAGE.read_text()), "run: python -m stacks.reference"


def test_every_key_is_explained() -> None:
    rows = re.findall(r"^\| `([^`]+)`(?: \(secret\))? \| [^|]+ \| (.*) \|$", table().replace("\\|", "/"), re.MULTILINE)
    assert len(rows) == len(table().splitlines()) - 2
    assert {path for path, text in rows if not text.strip()} == set()


def test_every_section_and_secret_is_in_the_table() -> None:
    text = table()
    for field in StackSettings.model_fields.values():
        assert f"`{field.alias}" in text
    for key in SECRETS:
        assert f"`{key}` (secret)" in text


def test_a_page_without_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="lost its marks"):
        insert("# nothing")


def test_a_default_list_is_written_as_in_yaml() -> None:
    assert "| `datastores[].safeDirs` | `[/var/tmp]` |" in table()
    assert "`(" not in table()
