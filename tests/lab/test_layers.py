"""Layers depend on content alone."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from lab import layers


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.paths.CACHE", tmp_path / "cache")


def test_a_program_is_the_same_layer_whatever_its_time_and_mode(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("code")
    found = layers.program_layer(program, "coredns")
    with tarfile.open(found.path) as tar:
        members = {member.name: member for member in tar}
    assert set(members) == {"coredns", "tmp"}
    assert (members["coredns"].mode, members["tmp"].mode) == (0o755, 0o1777)
    assert found.digest == f"sha256:{hashlib.sha256(found.path.read_bytes()).hexdigest()}"
    assert found.size == found.path.stat().st_size
    os.utime(program, (1, 1))
    program.chmod(0o700)
    assert layers.program_layer(program, "coredns") == found
    program.write_text("codE")
    assert layers.program_layer(program, "coredns").digest != found.digest
    assert layers.program_layer(program, "pause").digest != found.digest


def tar(path: Path, content: dict[str, str | None], links: dict[str, str] | None = None, mtime: int = 5) -> Path:
    with tarfile.open(path, "w") as out:
        for name, text in content.items():
            member = tarfile.TarInfo(name)
            member.mtime = mtime
            if text is None:
                member.type = tarfile.DIRTYPE
                out.addfile(member)
            else:
                member.size = len(text)
                out.addfile(member, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.mtime, member.type, member.linkname = mtime, tarfile.LNKTYPE, target
            out.addfile(member)
    return path


def test_a_difference_holds_what_is_new_changed_or_gone(tmp_path: Path) -> None:
    base = tar(tmp_path / "base", {"d": None, "d/same": "1", "d/changed": "1", "d/gone": "1", "top": "1"})
    full = tar(tmp_path / "full", {"d": None, "d/same": "1", "d/changed": "2", "d/new": "1"})
    layers.difference(full, base, tmp_path / "out")
    with tarfile.open(tmp_path / "out") as out:
        found = {member.name: (out.extractfile(member) or io.BytesIO()).read() for member in out}
    assert found == {"d/changed": b"2", "d/new": b"1", "d/.wh.gone": b"", ".wh.top": b""}


def test_a_hard_link_comes_along_when_its_content_changes(tmp_path: Path) -> None:
    base = tar(tmp_path / "base", {"a": "1"}, {"b": "a"})
    full = tar(tmp_path / "full", {"a": "2"}, {"b": "a"})
    layers.difference(full, base, tmp_path / "out")
    with tarfile.open(tmp_path / "out") as out:
        assert out.getnames() == ["a", "b"]


def test_equal_trees_differ_by_nothing(tmp_path: Path) -> None:
    base = tar(tmp_path / "base", {"a": "1"}, {"b": "a"})
    layers.difference(base, base, tmp_path / "out")
    with tarfile.open(tmp_path / "out") as out:
        assert out.getnames() == []
