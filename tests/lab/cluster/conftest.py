"""A lab instance whose state is in the test's own directory, with certificates made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import paths
from lab.cluster import certificates
from lab.cluster.certificates import Pki
from lab.paths import Instance


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    return Instance(name="sample", index=5)


@pytest.fixture
def pki(instance: Instance) -> Pki:
    return certificates.ensure(instance)
