"""Missing features are named, each by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import kernel
from lab.errors import LabError

PLENTY = "nodev\ttmpfs\nnodev\toverlay\n\text4\n"


def test_nothing_is_missing() -> None:
    assert kernel.missing(PLENTY, bridge_filter=True) == []


def test_each_feature_is_named() -> None:
    (overlay,) = kernel.missing("\text4\n", bridge_filter=True)
    (bridge,) = kernel.missing(PLENTY, bridge_filter=False)
    assert "overlay" in overlay
    assert "br_netfilter" in bridge


def test_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_missing_here", lambda: ["the overlay file system (module overlay)"])
    monkeypatch.setattr(kernel, "_MODULES", ())
    with pytest.raises(LabError, match="overlay file system") as failed:
        kernel.require()
    assert "modprobe" in failed.value.fix


def test_a_machine_without_modprobe_is_told_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(kernel, "_missing_here", lambda: ["the overlay file system (module overlay)"])
    with pytest.raises(LabError, match="overlay file system"):
        kernel.require()
