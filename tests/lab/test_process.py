"""A pid file means one process and never a later one with the same pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import process
from lab.process import Identity


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(["sleep", "60"])
    yield started
    started.kill()
    started.wait()


def identity_of(child: subprocess.Popen[bytes]) -> Identity:
    found = process.identify(child.pid)
    assert found is not None
    return found


def test_a_running_process_is_found_again(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    identity = identity_of(child)
    process.save(identity, tmp_path / "pid")
    assert process.load(tmp_path / "pid") == identity
    assert identity.alive


def test_the_same_pid_with_another_start_time_is_another_process(
    child: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    stale = replace(identity_of(child), started=identity_of(child).started - 1)
    process.save(stale, tmp_path / "pid")
    assert not stale.alive
    assert process.load(tmp_path / "pid") is None


def test_a_pid_file_from_before_a_reboot_is_stale(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    process.save(replace(identity_of(child), boot="another boot"), tmp_path / "pid")
    assert process.load(tmp_path / "pid") is None


def test_a_process_that_only_left_its_exit_status_is_gone(child: subprocess.Popen[bytes]) -> None:
    identity = identity_of(child)
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
    assert process.identify(child.pid) is None
    assert not identity.alive


@pytest.mark.parametrize(
    "text", ["", "12", "{}", '{"pid": 1}', "not json", json.dumps({"pid": 1, "started": 2, "x": 3})]
)
def test_a_damaged_pid_file_means_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(text)
    assert process.load(tmp_path / "pid") is None


def test_no_pid_file_means_nothing(tmp_path: Path) -> None:
    assert process.load(tmp_path / "pid") is None


def test_kill_waits_until_the_process_is_gone(child: subprocess.Popen[bytes]) -> None:
    identity = identity_of(child)
    process.kill(identity)
    assert not identity.alive


def test_kill_leaves_a_later_process_with_the_same_pid_alone(child: subprocess.Popen[bytes]) -> None:
    process.kill(replace(identity_of(child), started=1))
    assert identity_of(child).alive


def test_a_polite_end_comes_before_the_hard_one() -> None:
    polite = subprocess.Popen(["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"])
    try:
        process.kill(identity_of(polite), first=signal.SIGTERM)
    finally:
        polite.kill()
    # The signal may arrive before the shell has set its trap; then the shell dies of it, but never of SIGKILL.
    assert polite.wait() in {7, -signal.SIGTERM}


def test_a_tied_command_ends_with_the_one_who_started_it() -> None:
    program = (
        "import subprocess, time; from lab.process import tied;"
        "print(subprocess.Popen(tied(['sleep', '60'])).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        tied = process.identify(int(starter.stdout.readline()))
        assert tied is not None
        # setpriv asks for the signal first and becomes `sleep` then
        await_true(lambda: b"sleep" in Path(f"/proc/{tied.pid}/comm").read_bytes())
        starter.kill()
    await_true(lambda: not tied.alive)


def await_true(condition: Callable[[], bool], limit: float = 10.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
