"""Prepared image stores: layers are linked, databases are not, and old ones go."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab.cluster import store


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    root = tmp_path / "prepared"
    (root / "snapshots/1/fs").mkdir(parents=True)
    (root / "snapshots/1/fs/file").write_text("layer")
    (root / "metadata").mkdir()
    (root / "metadata/meta.db").write_text("database")
    return root


def test_layers_are_shared_and_databases_copied(prepared: Path, tmp_path: Path) -> None:
    store.clone(prepared, tmp_path / "copy")
    assert (tmp_path / "copy/snapshots/1/fs/file").samefile(prepared / "snapshots/1/fs/file")
    database = tmp_path / "copy/metadata/meta.db"
    assert database.read_text() == "database"
    assert not database.samefile(prepared / "metadata/meta.db")


def test_a_file_system_without_links_is_copied(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = subprocess.run
    monkeypatch.setattr(
        "subprocess.run", lambda command, **rest: real(["false"] if "-al" in command else command, **rest)
    )
    store.clone(prepared, tmp_path / "copy")
    copy = tmp_path / "copy/snapshots/1/fs/file"
    assert copy.read_text() == "layer"
    assert not copy.samefile(prepared / "snapshots/1/fs/file")


def test_the_newest_stores_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.paths.CACHE", tmp_path)
    for age in range(5):
        (tmp_path / "stores" / f"s{age}" / "root").mkdir(parents=True)
        os.utime(tmp_path / "stores" / f"s{age}", (1000 - age, 1000 - age))
    assert store._newest() == tmp_path / "stores" / "s0"
    store._drop_old()
    assert sorted(path.name for path in (tmp_path / "stores").iterdir()) == ["s0", "s1", "s2"]


def test_no_store_is_no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.paths.CACHE", tmp_path)
    assert store._newest() is None
