"""`python -m lab`: what people see when some hosts failed, and when everything did."""

from __future__ import annotations

import errno
import re
import subprocess
from typing import Any

import pytest

from lab import __main__ as command_line
from lab import rehearsal, status
from lab.errors import Incomplete, LabError
from lab.paths import PROJECT


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "collect", lambda _options: {})
    monkeypatch.setattr(status, "table", lambda _found: "THE TABLE")


def failing(monkeypatch: pytest.MonkeyPatch, error: LabError) -> None:
    def up(_options: Any) -> None:
        raise error

    monkeypatch.setattr(rehearsal, "up", up)


@pytest.mark.usefixtures("table")
def test_when_some_hosts_failed_the_others_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, Incomplete("3 of 20 hosts failed"))
    assert command_line.main(["up"]) == 1
    captured = capsys.readouterr()
    assert "THE TABLE" in captured.out and "3 of 20 hosts failed" in captured.err


@pytest.mark.usefixtures("table")
def test_any_other_failure_is_shown_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing(monkeypatch, LabError("no cluster"))
    assert command_line.main(["up"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "no cluster" in captured.err


@pytest.mark.parametrize("command", ["refresh", "unlock"])
def test_a_file_of_another_users_run_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Root made the lab's state, and somebody else goes on."""
    closed = PermissionError(errno.EACCES, "Permission denied", "/checkout/.state/bin")

    def refused(_options: Any) -> None:
        raise closed

    monkeypatch.setattr(rehearsal, command, refused)
    assert command_line.main([command]) == 1
    assert "/checkout/.state/bin" in (told := capsys.readouterr().err) and "sudo" in told and "Traceback" not in told
    closed.filename = None
    with pytest.raises(PermissionError):
        command_line.main([command])


def test_make_help_names_the_commands_that_there_are() -> None:
    text = (PROJECT / "Makefile").read_text()
    found = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, timeout=30, check=True).stdout
    named = re.findall(r"^make (\S+)", found, re.MULTILINE)
    assert {"up", "refresh", "status", "down", "unlock", "secret", "pin", "images", "test", "bench"} == set(named)
    assert all(re.search(rf"^{name}:", text, re.MULTILINE) for name in named)
