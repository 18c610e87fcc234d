"""The stand-in's own package on the path, one MariaDB for the run, an installation of oned for every test that asks."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.standins.opennebula.database import MariaDb
from lab.standins.opennebula.local import LocalOned
from lab.standins.opennebula.loopback import ROOT

sys.path.insert(0, str(ROOT / "usr" / "lib" / "one"))


@pytest.fixture(scope="session")
def _server() -> Iterator[MariaDb]:
    # Not under pytest's own directory, which is closed to other users: the server is one.
    with tempfile.TemporaryDirectory(prefix="standin-") as directory:
        Path(directory).chmod(0o755)
        with MariaDb(Path(directory) / "server") as server:
            yield server


@pytest.fixture
def database(_server: MariaDb) -> MariaDb:
    """A server on which oned has never been."""
    _server.forget()
    return _server


@pytest.fixture
def oned(tmp_path: Path, database: MariaDb) -> Iterator[LocalOned]:
    """An installation that was never started; what runs of it at the end is killed."""
    installed = LocalOned(tmp_path / "one", database)
    yield installed
    installed.kill()
