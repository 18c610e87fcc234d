"""Which process names a network namespace in the reachability tests."""

from __future__ import annotations

import pytest

from lab import process
from lab.process import Identity
from tests.engine.reachability import oldest_first


def test_a_sandbox_comes_before_a_probe_with_a_lower_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers start again from below once they are used up."""
    running = {27000: 100, 27010: 100, 6207: 500}
    monkeypatch.setattr(
        process,
        "identify",
        lambda pid: Identity(pid=pid, started=running[pid], boot="this") if pid in running else None,
    )
    assert oldest_first({6207, 27010, 27000, 31000}) == [27000, 27010, 6207]
