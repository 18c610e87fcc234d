"""Daemons start once, and again when they died or changed. They run here as plain processes, outside of any box."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from lab import process
from lab.box import Box
from lab.cluster.daemons import Daemon, Daemons
from lab.errors import LabError
from lab.paths import Instance


class Here:
    """A box that is no box: what it spawns are children of the test."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.logs = instance.state / "logs"
        self.logs.mkdir(parents=True)
        self.children: list[subprocess.Popen[bytes]] = []

    def spawn(self, argv: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None) -> process.Identity:
        with log.open("ab") as output:
            child = subprocess.Popen([str(word) for word in argv], stdout=output, stderr=output, env=env)
        self.children.append(child)
        found = process.identify(child.pid)
        assert found is not None
        return found


@pytest.fixture
def here(instance: Instance) -> Iterator[Here]:
    made = Here(instance)
    yield made
    for child in made.children:
        child.kill()
        child.wait()


@pytest.fixture
def daemons(here: Here) -> Daemons:
    return Daemons(cast("Box", here))


def sleeper(*extra: str, files: Mapping[Path, str] | None = None) -> Daemon:
    return Daemon(name="sleeper", argv=("sh", "-c", "sleep 60", *extra), files=files or {})


def test_a_running_daemon_is_left_alone(daemons: Daemons) -> None:
    assert daemons.ensure(sleeper())
    before = daemons.identity("sleeper")
    assert not daemons.ensure(sleeper())
    assert daemons.identity("sleeper") == before is not None


def test_a_changed_command_replaces_it(daemons: Daemons, here: Here) -> None:
    daemons.ensure(sleeper())
    assert daemons.ensure(sleeper("changed"))
    assert [child.poll() is None for child in here.children] == [False, True]


def test_a_changed_file_replaces_it_and_is_written_first(daemons: Daemons, instance: Instance) -> None:
    file = instance.state / "etc" / "config"
    daemons.ensure(sleeper(files={file: "one"}))
    assert daemons.ensure(sleeper(files={file: "two"}))
    assert file.read_text() == "two"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_dead_daemon_is_started_again(daemons: Daemons, here: Here) -> None:
    daemons.ensure(sleeper())
    here.children[0].kill()
    here.children[0].wait()
    assert daemons.ensure(sleeper())
    daemons.require("sleeper")


def test_an_ended_daemon_is_an_error_with_its_last_words(daemons: Daemons, here: Here) -> None:
    daemons.ensure(Daemon(name="broken", argv=("sh", "-c", "echo no such file: x.crt; sleep 0.2; exit 3")))
    here.children[0].wait()
    with pytest.raises(LabError, match="broken of the lab ended") as failed:
        daemons.wait("broken", lambda: False, limit=5, what="the broken thing")
    assert "no such file: x.crt" in failed.value.cause
    assert "make down" in failed.value.fix


def test_a_wait_has_a_limit(daemons: Daemons) -> None:
    daemons.ensure(sleeper())
    with pytest.raises(LabError, match="the sleeping thing was not ready after 0 s"):
        daemons.wait("sleeper", lambda: False, limit=0.2, what="the sleeping thing")


def test_the_environment_is_its_own(daemons: Daemons, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PULUMI_CONFIG_PASSPHRASE", "secret")
    daemons.ensure(Daemon(name="env", argv=("sh", "-c", "env; sleep 0.2"), environment={"GOGC": "50"}))
    here.children[0].wait()
    text = daemons.log("env").read_text()
    assert "GOGC=50" in text
    assert "secret" not in text
