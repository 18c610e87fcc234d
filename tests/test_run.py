"""The runner of `make test`: a half that dies is a failure, whatever an earlier run has left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import run


@pytest.mark.parametrize(
    ("text", "code"),
    [("", 0), ("raise SystemExit(3)", 3), ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", 137)],
)
def test_exit_codes(tmp_path: Path, text: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half.py").write_text(text)
    monkeypatch.setattr(run, "PROJECT", tmp_path)
    assert run.Run(["half"], limit=60).wait() == code


def test_a_half_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half.py").write_text("import time\ntime.sleep(600)")
    monkeypatch.setattr(run, "PROJECT", tmp_path)
    assert run.Run(["half"], limit=1).wait() == 124


def test_a_report_of_before_does_not_speak_for_a_half_that_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pytest.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(run, "PROJECT", tmp_path)
    monkeypatch.setattr(run, "REPORTS", tmp_path)
    (tmp_path / "fast.xml").write_text("<testsuites/>")
    assert run.pytest("", "fast.xml").wait() == 137
    assert not (tmp_path / "fast.xml").exists()
