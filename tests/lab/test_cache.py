"""An entry of the cache is complete or absent."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lab import cache
from lab.errors import LabError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.paths.CACHE", tmp_path)


def test_parts_do_not_run_together() -> None:
    assert cache.digest([b"ab", b"c"]) != cache.digest([b"a", b"bc"])
    assert cache.digest([b"a", b""]) != cache.digest([b"a"])
    assert cache.digest([b"a"]) == cache.digest([b"a"])


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    calls: list[Path] = []

    def make(into: Path) -> None:
        calls.append(into)
        (into / "file").write_text("made")

    first = cache.entry("kind", "name", make)
    assert cache.entry("kind", "name", make) == first == tmp_path / "kind" / "name"
    assert (first / "file").read_text() == "made"
    assert len(calls) == 1
    assert calls[0] != first


def test_a_failed_entry_leaves_nothing(tmp_path: Path) -> None:
    def make(into: Path) -> None:
        (into / "half").touch()
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        cache.entry("kind", "name", make)
    assert [path.name for path in (tmp_path / "kind").iterdir()] == [".name.lock"]


def test_what_a_killed_build_left_is_not_used(tmp_path: Path) -> None:
    draft = tmp_path / "kind" / ".name.draft"
    draft.mkdir(parents=True)
    (draft / "half").touch()
    made = cache.entry("kind", "name", lambda into: (into / "whole").touch())
    assert [path.name for path in made.iterdir()] == ["whole"]


def test_two_builders_at_once_make_one_entry(tmp_path: Path) -> None:
    made: list[int] = []
    together = threading.Barrier(2)

    def work() -> None:
        together.wait(5)
        cache.entry("kind", "name", lambda _into: made.append(1))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert made == [1]


def test_waiting_for_a_lock_has_a_limit(tmp_path: Path) -> None:
    with (
        cache.locked(tmp_path / "lock"),
        pytest.raises(LabError, match="another process has held"),
        cache.locked(tmp_path / "lock", limit=0.2),
    ):
        pass
    with cache.locked(tmp_path / "lock", limit=0.2):  # and the next one gets it
        pass
