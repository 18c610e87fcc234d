"""How the program came to a resource is not kept."""

from __future__ import annotations

import sys
import traceback

import pytest

from components.source_position import short


def deep(levels: int) -> list[str]:
    if levels:
        return deep(levels - 1)
    with short():
        return [frame.name for frame in traceback.extract_stack()]


def test_the_innermost_frames_stay() -> None:
    assert deep(40) == ["deep"] * 6


@pytest.mark.parametrize("before", [None, 3])
def test_it_is_put_back(before: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if before is not None:
        monkeypatch.setattr(sys, "tracebacklimit", before, raising=False)
    with pytest.raises(KeyError), short():
        raise KeyError
    assert getattr(sys, "tracebacklimit", None) == before
