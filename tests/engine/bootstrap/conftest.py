"""Hosts for the tests of the bootstrap: a fresh one for each test, or one that was prepared before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import repository
from lab.repository import RepositoryInfo
from tests.engine.bootstrap.bench import INSTANCE, Bench, forget, laboratory, start


@pytest.fixture(scope="module")
def packages() -> Iterator[RepositoryInfo]:
    """The box with the package repository."""
    with laboratory() as found:
        yield found


@pytest.fixture
def bench(packages: RepositoryInfo) -> Iterator[Bench]:
    """A host as it comes from the installer."""
    repository.serve(INSTANCE, packages)  # a test may have served others
    started = start("kvm-1", "kvm", packages)
    yield started
    forget(started)


@pytest.fixture(scope="module")
def prepared(packages: RepositoryInfo) -> Iterator[Bench]:
    """A host that was prepared, for tests that only look."""
    started = start("kvm-2", "kvm", packages)
    started.prepare()
    yield started
    forget(started)
