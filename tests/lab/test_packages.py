"""Debian packages: only missing ones, never a removal, and errors that say what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab import packages
from lab.errors import LabError


class Apt:
    """Stands in for subprocess.run and remembers the commands."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        bad = bool(self.failing) and self.failing in command
        return subprocess.CompletedProcess(command, int(bad), "", "E: Unable to locate package" if bad else "")


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


def have(monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    monkeypatch.setattr(packages, "_find", lambda name: Path("/usr/bin") / name if name in programs else None)


def silent(_line: str) -> None:
    return


EVERYTHING = (*packages.INSTALLED, "apt-get")


def test_nothing_runs_when_nothing_is_missing(as_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, *EVERYTHING)
    apt = Apt()
    monkeypatch.setattr("subprocess.run", apt)
    packages.ensure_system_packages(report=silent)
    assert apt.commands == []


def test_only_missing_packages_are_installed_and_none_removed(as_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, *(name for name in EVERYTHING if name not in {"runc", "ip"}))
    apt = Apt()
    monkeypatch.setattr("subprocess.run", apt)
    packages.ensure_system_packages({"/usr/sbin/sshd": "openssh-server"}, report=silent)
    (command,) = apt.commands
    assert command[-3:] == ["iproute2", "openssh-server", "runc"]
    assert {"--no-remove", "--no-install-recommends", "--yes"} <= set(command)


def test_stale_package_lists_are_refreshed_once(as_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, *(name for name in EVERYTHING if name != "runc"))
    apt = Apt(failing="runc")
    monkeypatch.setattr("subprocess.run", apt)
    with pytest.raises(LabError, match="failed") as failed:
        packages.ensure_system_packages(report=silent)
    assert [command[-1] for command in apt.commands] == ["runc", "update", "runc"]
    assert "Unable to locate package" in failed.value.cause


def test_someone_else_than_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabError, match="root") as failed:
        packages.ensure_system_packages(report=silent)
    assert "CLUSTER=existing" in failed.value.fix


def test_a_system_without_apt_is_told_what_is_missing(as_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, *(name for name in packages.INSTALLED if name != "mmdebstrap"))
    with pytest.raises(LabError, match="mmdebstrap") as failed:
        packages.ensure_system_packages(report=silent)
    assert "no apt-get" in failed.value.cause


def test_packages_that_start_services_are_not_installed() -> None:
    assert not set(packages.INSTALLED.values()) & set(packages.UNPACKED.values())
    assert {"etcd-server", "containerd"} == set(packages.UNPACKED.values())


def test_a_program_of_the_machine_is_taken_first(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, "etcd")
    assert packages.system_program("etcd") == Path("/usr/bin/etcd")


def test_a_missing_one_is_taken_out_of_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, "apt-get")
    monkeypatch.setattr(packages, "_unpacked", lambda package, _report: Path("/cache") / package)
    assert packages.system_program("containerd") == Path("/cache/containerd/usr/bin/containerd")
