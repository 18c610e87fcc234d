"""What the environment of `make` may say, and a lab that stays with its release."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from components.domain import Version
from lab import packages, paths, rehearsal
from lab.engine.stack import Outcome
from lab.engine.trace import Trace
from lab.errors import LabError
from lab.paths import Instance
from lab.rehearsal import Options


def test_the_release_is_7_4_unless_the_environment_says_otherwise() -> None:
    assert Options.from_environment({}).version is Version.V7_4
    assert Options.from_environment({"VERSION": "6.10"}).version is Version.V6_10


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"VERSION": "5.12"}, "VERSION=5.12 is unknown"),
        ({"CLUSTER": "mine"}, "CLUSTER=mine is unknown"),
        ({"CLUSTER": "existing"}, "needs KUBECONFIG"),
        ({"STACK": "prod"}, "STACK goes with CLUSTER=existing"),
    ],
)
def test_what_means_nothing_is_refused(environment: dict[str, str], words: str) -> None:
    with pytest.raises(LabError, match=words):
        Options.from_environment(environment)


def test_a_lab_stays_with_its_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    instance = Instance(name="release", index=40)
    rehearsal.keep_release(instance, Version.V6_10)
    rehearsal.keep_release(instance, Version.V6_10)
    with pytest.raises(LabError, match=r"made with OpenNebula 6\.10, not 7\.4"):
        rehearsal.keep_release(instance, Version.V7_4)


def test_hosts_are_two_unless_the_environment_says_otherwise() -> None:
    assert dict(Options.from_environment({}).hosts) == {"kvm-1": "kvm", "lxc-1": "lxc"}
    twenty = Options.from_environment({"HOSTS": "20"}).hosts
    assert sorted(twenty.values()) == ["kvm"] * 10 + ["lxc"] * 10
    assert dict(Options.from_environment({"HOSTS": "1"}).hosts) == {"kvm-1": "kvm"}
    assert list(Options.from_environment({"HOSTS": "3"}).hosts) == ["kvm-1", "kvm-2", "lxc-1"]


@pytest.mark.parametrize("count", ["0", "-1", "101", "many", "1.5", "²"])
def test_a_number_of_hosts_that_means_nothing_is_refused(count: str) -> None:
    with pytest.raises(LabError, match="must be 1 to 100"):
        Options.from_environment({"HOSTS": count})


def test_a_smaller_fleet_is_part_of_a_larger_one() -> None:
    """So that fewer hosts than before means: some leave, none is new."""
    sizes = [set(Options.from_environment({"HOSTS": str(count)}).hosts) for count in range(1, 30)]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(sizes))


def test_times_that_cannot_be_written_do_not_hide_how_a_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """After a run of root's, somebody else may not write there, and must be told that the lab is started by root."""
    monkeypatch.setattr(rehearsal, "STATE", tmp_path)
    (tmp_path / "phases.json").mkdir()

    def refused(*_: object) -> Outcome:
        raise LabError("the lab must be started by root")

    monkeypatch.setattr(rehearsal, "_up", refused)
    with pytest.raises(LabError, match="must be started by root"):
        rehearsal.up(Options.from_environment({}))
    assert "phases.json cannot be written" in capfd.readouterr().err

    monkeypatch.setattr(rehearsal, "STATE", tmp_path / "phases.json" / "state")
    done = Outcome(changes={}, outputs={}, trace=Trace(lambda _line: None))
    monkeypatch.setattr(rehearsal, "_up", lambda *_: done)
    assert rehearsal.up(Options.from_environment({})) is done
    assert json.loads((tmp_path / "phases.json" / "state" / "phases.json").read_text()) == []


@contextmanager
def running(place: Path, name: str) -> Iterator[int]:
    """Pid of a process that is called so."""
    program = place / "bin" / name
    program.parent.mkdir(parents=True)
    shutil.copy("/usr/bin/sleep", program)
    process = subprocess.Popen([program, "60"])
    try:
        called = Path(f"/proc/{process.pid}/comm")
        while called.read_text() != f"{name}\n":  # the kernel lets the parent go on a moment before
            time.sleep(0.001)
        yield process.pid
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the engine keeps a lock of the stack `lab`."""
    monkeypatch.setattr(rehearsal, "STATE", tmp_path)
    found = tmp_path / "pulumi/backend/.pulumi/locks/organization/opennebula/lab/8b1f.json"
    found.parent.mkdir(parents=True)
    return found


def locked(pid: Any, timestamp: str) -> str:
    return json.dumps({"pid": pid, "username": "root", "hostname": "h", "timestamp": timestamp})


def now(zone: timezone = UTC, **ago: float) -> str:
    """As Go writes it: nanoseconds, Z or an offset."""
    text = (datetime.now(zone) - timedelta(**ago)).isoformat(timespec="microseconds")
    return f"{text[:26]}789{text[26:].replace('+00:00', 'Z')}"


def test_an_engine_that_is_older_than_its_lock_is_at_work(lock: Path, tmp_path: Path) -> None:
    with running(tmp_path, "pulumi") as pid:
        for zone in (UTC, timezone(timedelta(hours=5, minutes=30))):
            lock.write_text(locked(pid, now(zone)))
            assert rehearsal.running_operation("lab") == pid
        assert rehearsal.running_operation("other") is None
    assert rehearsal.running_operation("lab") is None, "it has ended"


def test_a_pid_that_went_to_another_process_is_no_engine_at_work(lock: Path, tmp_path: Path) -> None:
    with running(tmp_path / "other", "gpg-agent") as pid:
        lock.write_text(locked(pid, now()))
        assert rehearsal.running_operation("lab") is None, "it is called otherwise"
    with running(tmp_path, "pulumi") as pid:
        lock.write_text(locked(pid, now(hours=1)))
        assert rehearsal.running_operation("lab") is None, "it is another engine, younger than the lock"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"pid": PID',
        b"[]",
        b"\xff\xfe",
        b'{"pid": PID}',
        b'{"pid": PID, "timestamp": "yesterday"}',
        b'{"pid": PID, "timestamp": 7}',
        b'{"pid": PID, "timestamp": "2100-12-01T10:00:00"}',
        b'{"pid": null, "timestamp": "2100-12-01T10:00:00Z"}',
        b'{"pid": "one", "timestamp": "2100-12-01T10:00:00Z"}',
        b'{"pid": -1, "timestamp": "2100-12-01T10:00:00Z"}',
        b'{"timestamp": "2100-12-01T10:00:00Z"}',
    ],
)
def test_a_lock_that_cannot_be_read_is_one_that_a_kill_left(lock: Path, tmp_path: Path, content: bytes) -> None:
    with running(tmp_path, "pulumi") as pid:
        lock.write_bytes(content.replace(b"PID", str(pid).encode()))
        assert rehearsal.running_operation("lab") is None


def test_a_down_beside_an_engine_at_work_names_both_ways_on(
    lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "require_root", lambda: None)
    with running(tmp_path, "pulumi") as pid:
        lock.write_text(locked(pid, now()))
        with pytest.raises(LabError, match=rf"at work \(process {pid}\)") as told:
            rehearsal.stop_lab(Instance(name="release", index=40), "lab")
    assert "make unlock" in told.value.fix
