"""Whose a host is, as the host knows it: another stack's is refused before the first change. Run by sh, without root."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.bootstrap.script import render
from components.bootstrap.undo import render_undo
from tests.bootstrap.examples import plan


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "made"


def _preflight(record: Path, *owners: str, **changes: Any) -> str:
    """The complaint, nothing if there is none; then the host is this stack's."""
    functions = render(plan(owners=owners, **changes)).removesuffix("main </dev/null\n")
    script = f'{functions}STEP=preflight\nMADE={record}\nowner_preflight\nsettle\nown\n[ -z "$CHANGES" ]\n'
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode == 0) == (done.stderr == ""), done.stderr
    return done.stderr


def test_another_stacks_host_is_refused_and_its_note_stays(record: Path) -> None:
    assert _preflight(record, "one/prod") == ""
    note = record.read_text()
    assert note == "owner one/prod\n"
    told = _preflight(record, "one/dev")
    assert told.startswith(
        "one-bootstrap: kvm-1: preflight: the host belongs to one/prod, and this stack is one/dev; next: "
    )
    assert "'adopt: always'" in told
    assert record.read_text() == note
    assert _preflight(record, "one/prod") == ""


def test_taken_over_on_purpose_it_is_no_longer_the_formers(record: Path) -> None:
    _preflight(record, "one/prod")
    assert _preflight(record, "one/dev", take_over=True) == ""
    assert record.read_text() == "owner one/dev\n"
    assert "the host belongs to one/dev" in _preflight(record, "one/prod")


def test_one_without_a_note_is_taken_and_what_was_made_stays_noted(record: Path) -> None:
    record.write_text("file /a\npackage p\n")
    for _ in range(2):
        assert _preflight(record, "team a", "one/prod") == ""
        assert record.read_text() == "owner team a\nowner one/prod\nfile /a\npackage p\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("team-a", "one/prod"), ("team-b", "one/prod")),  # another fleet.owner
        (("one/prod",), ("one/prod", "one/new")),  # another stack, with the former one's name
        (("team-a", "one/prod"), ("team-a", "one/new")),  # the same after a lost state
    ],
)
def test_a_stack_does_not_lock_itself_out(record: Path, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    assert _preflight(record, *before) == ""
    assert _preflight(record, *after) == ""
    assert record.read_text() == "".join(f"owner {name}\n" for name in after)


def test_an_owner_is_its_whole_name_and_no_pattern(record: Path) -> None:
    _preflight(record, "one/prod")
    for other in ("one/pro", "one/prod2", "one/.*"):
        assert "the host belongs to one/prod" in _preflight(record, other)
    with pytest.raises(ValueError, match="owner"):
        plan(owners=("one\ntwo",))


@pytest.mark.parametrize(("uninstall", "left"), [("", "package p\n"), ("yes", "")])
def test_with_the_preparation_the_note_goes(record: Path, uninstall: str, left: str) -> None:
    record.write_text("owner one/prod\nfile /a\npackage p\n")
    functions = render_undo("kvm-1", uninstall=bool(uninstall)).removesuffix("undo </dev/null\n")
    script = f"{functions}STEP=record\nMADE={record}\nchown() {{ :; }}\nundo_record\n"
    subprocess.run(
        ["sh", "-s"], input=script.replace("/var/lib/one-bootstrap.unf", f"{record}.unf"), text=True, check=True
    )
    assert (record.read_text() if record.exists() else "") == left
