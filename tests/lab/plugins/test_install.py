"""Which plugins a machine gets."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path

import pytest

from lab.plugins import command, kubernetes
from lab.plugins.install import ensure_plugins, find_official

PYTHON = Path("/opt/with space/python")


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\necho official\n")
    path.chmod(0o755)
    return path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_stand_ins_where_nothing_is_installed(tmp_path: Path) -> None:
    ensure_plugins(tmp_path / "bin", PYTHON)
    assert names(tmp_path / "bin") == [
        "pulumi-resource-command",
        "pulumi-resource-kubernetes",
        "pulumi-resource-pulumi-python",
    ]
    for path in (tmp_path / "bin").iterdir():
        first, second = path.read_text().splitlines()
        assert first == "#!/bin/sh"
        assert second.startswith("exec '/opt/with space/python' ")
        assert os.access(path, os.X_OK)


def test_again_changes_nothing(tmp_path: Path) -> None:
    ensure_plugins(tmp_path / "bin", PYTHON)
    before = {path: path.stat().st_ino for path in (tmp_path / "bin").iterdir()}
    ensure_plugins(tmp_path / "bin", PYTHON)
    assert {path: path.stat().st_ino for path in (tmp_path / "bin").iterdir()} == before


def test_official_on_path_is_used(tmp_path: Path) -> None:
    ensure_plugins(tmp_path / "bin", PYTHON)
    official = executable(tmp_path / "path" / "pulumi-resource-kubernetes")
    assert find_official("kubernetes", kubernetes.VERSION) == official
    ensure_plugins(tmp_path / "bin", PYTHON)
    assert names(tmp_path / "bin") == ["pulumi-resource-command", "pulumi-resource-pulumi-python"]


def test_official_in_the_cache_is_used_in_its_version_only(tmp_path: Path) -> None:
    cache = tmp_path / "home" / "plugins"
    executable(cache / "resource-command-v1.0.0" / "pulumi-resource-command")
    assert find_official("command", command.VERSION) is None
    right = executable(cache / f"resource-command-v{command.VERSION}" / "pulumi-resource-command")
    assert find_official("command", command.VERSION) == right


def test_a_stand_in_on_path_is_not_the_official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_plugins(tmp_path / "bin", PYTHON)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_official("kubernetes", kubernetes.VERSION) is None
    ensure_plugins(tmp_path / "bin", PYTHON)
    assert len(names(tmp_path / "bin")) == 3


def test_an_official_in_the_directory_itself_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official = executable(tmp_path / "bin" / "pulumi-resource-kubernetes")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    ensure_plugins(tmp_path / "bin", PYTHON)
    assert official.read_text() == "#!/bin/sh\necho official\n"


@pytest.mark.parametrize("plugin", [kubernetes, command])
def test_versions_are_those_the_pinned_sdks_ask_for(plugin: object) -> None:
    name = str(getattr(plugin, "__name__", "")).rpartition(".")[2]
    asked = json.loads(files(f"pulumi_{name}").joinpath("pulumi-plugin.json").read_text())
    assert asked["version"] == getattr(plugin, "VERSION", None)
