"""A fake oned for every test, events by the real ZeroMQ library, and daemons that end with the test."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.standins.opennebula.services import Service
from tests.lab.standins.services.events import Events
from tests.lab.standins.services.fake_oned import FakeOned
from tests.lab.standins.services.web import Desk

Start = Callable[..., Service]


@pytest.fixture(scope="session")
def _programs() -> None:
    missing = [program for program in ("node", "ruby") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (apt-get install nodejs ruby)")


@pytest.fixture(scope="session")
def _zeromq() -> None:
    probe = subprocess.run(["/usr/bin/python3", "-c", "import zmq"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("Debian's python3-zmq is not installed (apt-get install python3-zmq)")
    assert importlib.util.find_spec("cryptography")


@pytest.fixture
def events(_zeromq: None) -> Iterator[Events]:
    with Events() as events:
        yield events


@pytest.fixture
def oned() -> Iterator[FakeOned]:
    with FakeOned() as oned:
        yield oned


@pytest.fixture
def eventful(events: Events) -> Iterator[FakeOned]:
    """An oned that publishes what happens."""
    with FakeOned(events.publish) as oned:
        yield oned


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()


@pytest.fixture
def install(tmp_path: Path, _programs: None) -> Iterator[Start]:
    """`install(name, settings)` gives a daemon that was not started yet; all share one directory."""
    services: list[Service] = []

    def make(name: str, settings: dict[str, Any] | None = None) -> Service:
        services.append(Service(name, tmp_path / "one", settings))
        return services[-1]

    yield make
    for service in services:
        service.kill()
