"""The kubeconfig is looked at before the first resource, where an engine runs the program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from stacks import settings
from stacks.settings import ConfigError, kubeconfig_problems, parse
from tests.components.test_kubeconfig_check import GOOD, home
from tests.examples import config
from tests.stacks.test_ldap_asked import loaded

__all__ = ["home"]


def values(**section: Any) -> dict[str, str]:
    return config() | {"kubernetes": json.dumps(section)}


@pytest.fixture(autouse=True)
def _no_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is an Output, which the next program that is run here would wait for."""
    monkeypatch.setattr(pulumi.Config, "get_secret", lambda *_: None)


@pytest.fixture
def engine(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if an engine ran the program, on a machine without a kubeconfig."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(settings, "get_monitor", object)
    return home


def test_a_missing_kubeconfig_is_a_problem_of_the_configuration(engine: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(values())
    (problem,) = caught.value.problems
    assert problem.path == "kubernetes.kubeconfig" and "there is no kubeconfig" in problem.text


def test_a_missing_context_is_one_too(engine: Path) -> None:
    file = engine / "k"
    file.write_text(yaml.safe_dump(GOOD))
    with pytest.raises(ConfigError) as caught:
        loaded(values(kubeconfig=str(file), context="prod"))
    (problem,) = caught.value.problems
    assert problem.path == "kubernetes.context" and "there are: one, two" in problem.text
    assert loaded(values(kubeconfig=str(file), context="one")).kubernetes.context == "one"


def test_a_preview_goes_on_as_the_providers_does_and_says_so(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    monkeypatch.setattr(pulumi.log, "warn", told.append)
    loaded(values() | {"hosts": "[]"})
    (line,) = told
    assert line.startswith("opennebula:kubernetes.kubeconfig: there is no kubeconfig") and "refused" in line


def test_without_an_engine_nobody_needs_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert kubeconfig_problems(parse(values()), {}) != []
    loaded(values())
