"""Secrets that the program makes: never in a run whose state is written only at its end."""

from __future__ import annotations

from typing import Any

import pytest

from components.generated.provider import KeyPairProvider, MonitorKeyPairProvider, NotKept, PasswordProvider

PROVIDERS: list[tuple[Any, dict[str, Any]]] = [
    (PasswordProvider, {"length": 32}),
    (KeyPairProvider, {"comment": "c"}),
    (MonitorKeyPairProvider, {}),
]


@pytest.mark.parametrize(("provider", "props"), PROVIDERS)
@pytest.mark.parametrize("value", ["true", "1", "TRUE"])
def test_none_is_made_that_a_kill_could_lose(
    provider: Any, props: dict[str, Any], value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_SKIP_CHECKPOINTS", value)
    with pytest.raises(NotKept, match="next: run once without PULUMI_SKIP_CHECKPOINTS"):
        provider().create(props)


@pytest.mark.parametrize(("provider", "props"), PROVIDERS)
@pytest.mark.parametrize("value", ["", "false", "0"])
def test_else_they_are(provider: Any, props: dict[str, Any], value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_SKIP_CHECKPOINTS", value)
    assert provider().create(props).outs


@pytest.mark.parametrize(("provider", "props"), PROVIDERS)
def test_those_that_are_kept_are_never_asked_for_again(
    provider: Any, props: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a large fleet's next runs may go without checkpoints."""
    monkeypatch.setenv("PULUMI_SKIP_CHECKPOINTS", "true")
    assert provider().diff("id", {**props, "length": 1}, props).changes is False
