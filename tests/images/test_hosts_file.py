"""The /etc/hosts of containers that open consoles, its script run as it is but for the paths."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "images/service/hosts-file"
LIMIT = 30.0  # seconds


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "ADDRESSES": str(tmp_path / "addresses"),
        "HOSTS": str(tmp_path / "hosts"),
        "PERIOD_SECONDS": "0.05",
    }


@pytest.fixture
def follower(tmp_path: Path, environment: dict[str, str]) -> Iterator[Path]:
    """The script at work; where it writes errors."""
    (tmp_path / "addresses").write_text("10.0.0.1 one\n")
    (tmp_path / "hosts").touch()
    with (tmp_path / "errors").open("wb") as errors:
        process = subprocess.Popen(["sh", str(SCRIPT), "follow"], env=environment, stderr=errors)
    yield tmp_path / "errors"
    assert process.poll() is None, "it follows as long as the container runs"
    process.kill()
    process.wait(LIMIT)


def test_it_is_made_before_the_others_start(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "addresses").write_text("10.0.0.1 one\n")
    script = SCRIPT.read_text().replace("/mnt/hosts-file", str(tmp_path))
    subprocess.run(["sh", "-c", script, "hosts-file", "make"], env=environment, timeout=LIMIT, check=True)
    assert (tmp_path / "hosts").read_text() == "10.0.0.1 one\n"
    (tmp_path / "addresses").unlink()
    again = subprocess.run(["sh", "-c", script, "hosts-file", "make"], env=environment, timeout=LIMIT, check=False)
    assert again.returncode != 0


def test_it_follows_in_the_file_that_is_mounted(tmp_path: Path, follower: Path) -> None:
    mounted = (tmp_path / "hosts").stat().st_ino
    until(lambda: (tmp_path / "hosts").read_text() == "10.0.0.1 one\n")
    (tmp_path / "new").write_text("10.0.0.1 one\n10.0.0.2 two\n")
    (tmp_path / "new").rename(tmp_path / "addresses")
    until(lambda: (tmp_path / "hosts").read_text() == "10.0.0.1 one\n10.0.0.2 two\n")
    assert (tmp_path / "hosts").stat().st_ino == mounted
    assert follower.read_text() == ""


def test_what_it_cannot_read_is_said_and_tried_again(tmp_path: Path, follower: Path) -> None:
    (tmp_path / "addresses").unlink()
    until(lambda: "consoles of new hosts will not open" in follower.read_text())
    (tmp_path / "addresses").write_text("10.0.0.3 three\n")
    until(lambda: (tmp_path / "hosts").read_text() == "10.0.0.3 three\n")


def test_another_word_is_refused(environment: dict[str, str]) -> None:
    done = subprocess.run(["sh", str(SCRIPT), "watch"], env=environment, timeout=LIMIT, check=False)
    assert done.returncode == 2
    assert os.access(SCRIPT, os.X_OK)
