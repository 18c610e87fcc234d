"""One world for all scenarios, a tally for each, and the table at the end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from components import hosts as component
from components.preparing.resource import Preparations
from components.registration.resource import FleetReady
from tests.faults import rounds
from tests.faults.rounds import TALLIES, Tally, count, table
from tests.faults.world import World, running

HOSTS = count(100, 6)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with running(HOSTS) as found:
        yield found


@pytest.fixture(autouse=True)
def own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what the stacks' program replaces."""
    monkeypatch.setattr(component, "script", component.script)
    monkeypatch.setattr(component, "FleetReady", FleetReady)
    monkeypatch.setattr(Preparations, "everyone", Preparations.everyone)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def tally() -> Iterator[Callable[..., Tally]]:
    """Begin the tally of a scenario; it must have no failure in the end."""
    begun: list[Tally] = []

    def begin(scenario: str, expected: int = 1) -> Tally:
        made = Tally(scenario, expected=expected)
        begun.append(made)
        TALLIES.append(made)
        print(f"{scenario}: {expected} rounds, SEED={rounds.SEED}")
        return made

    yield begin
    for made in begun:
        assert not made.failures, "\n".join(made.failures)


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    return rounds.dice(request.node.name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLIES:
        terminalreporter.write_sep("-", "faults")
        terminalreporter.write_line(table())
