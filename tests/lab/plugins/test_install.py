"""Which plugins a machine gets."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from lab.paths import PROJECT
from lab.plugins import command, kubernetes
from lab.plugins.install import ensure_plugins, find_official

PYTHON = Path("/opt/with space/python")


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))


def executable(path: Path, text: str = "echo official") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def plugin(path: Path, version: str) -> Path:
    """One that answers as plugins do and says that it is of this version; by its name the official."""
    code = (
        f"import sys; sys.path.append({str(PROJECT)!r}); from lab.plugins import command; command.VERSION = {version!r}; "
        "from lab.plugins.command.__main__ import main; main()"
    )
    return executable(path, f'exec {shlex.join([sys.executable, "-c", code])} "$@"')


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


@pytest.mark.parametrize("version", [kubernetes.VERSION, "4.29.7", "v4.29.1"])
def test_official_on_path_is_used(version: str, tmp_path: Path) -> None:
    ensure_plugins(tmp_path / "bin", PYTHON)
    official = plugin(tmp_path / "path" / "pulumi-resource-kubernetes", version)
    assert find_official("kubernetes", kubernetes.VERSION) == official
    assert ensure_plugins(tmp_path / "bin", PYTHON) == ["command"]
    assert names(tmp_path / "bin") == ["pulumi-resource-command", "pulumi-resource-pulumi-python"]


@pytest.mark.parametrize("version", ["3.29.0", "4.28.9", "4.30.0", None])
def test_another_version_on_path_is_not_used(version: str | None, tmp_path: Path) -> None:
    """The engine would take it; so something stands before it, and it is said."""
    place = tmp_path / "path" / "pulumi-resource-kubernetes"
    plugin(place, version) if version else executable(place)
    told: list[str] = []
    assert find_official("kubernetes", kubernetes.VERSION) is None
    assert ensure_plugins(tmp_path / "bin", PYTHON, told.append) == ["kubernetes", "command"]
    assert "pulumi-resource-kubernetes" in names(tmp_path / "bin")
    (line,) = told
    assert line.startswith(f"{place} is {version or 'no plugin that answers'}")
    assert line.endswith(f"; this program is made for {kubernetes.VERSION}")


def test_the_cache_comes_before_another_version_on_path(tmp_path: Path) -> None:
    plugin(tmp_path / "path" / "pulumi-resource-command", "0.9.0")
    cached = tmp_path / "home" / "plugins" / f"resource-command-v{command.VERSION}" / "pulumi-resource-command"
    executable(cached, 'echo "cached $1"')
    assert ensure_plugins(tmp_path / "bin", PYTHON, lambda line: None) == ["kubernetes"]
    chosen = tmp_path / "bin" / "pulumi-resource-command"
    said = subprocess.run([chosen, "address"], capture_output=True, text=True, check=True, timeout=10).stdout
    assert said == "cached address\n"
    (tmp_path / "path" / "pulumi-resource-command").unlink()
    assert ensure_plugins(tmp_path / "bin", PYTHON) == ["kubernetes"]
    assert not chosen.exists()


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
    official = plugin(tmp_path / "bin" / "pulumi-resource-kubernetes", kubernetes.VERSION)
    before = official.read_text()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    ensure_plugins(tmp_path / "bin", PYTHON)
    assert official.read_text() == before


@pytest.mark.parametrize("standin", [kubernetes, command])
def test_versions_are_those_the_pinned_sdks_ask_for(standin: object) -> None:
    name = str(getattr(standin, "__name__", "")).rpartition(".")[2]
    asked = json.loads(files(f"pulumi_{name}").joinpath("pulumi-plugin.json").read_text())
    assert asked["version"] == getattr(standin, "VERSION", None)
