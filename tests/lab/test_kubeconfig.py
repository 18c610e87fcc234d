"""A kubeconfig that is none, or lacks the context: told before the engine is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lab import __main__ as command_line
from lab import kubeconfig, rehearsal
from lab.errors import LabError

GOOD = {
    "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1"}}],
    "contexts": [{"name": name, "context": {"cluster": "c"}} for name in ("one", "two")],
    "current-context": "two",
}


@pytest.mark.parametrize("section", [{}, {"context": "one"}, {"context": None}])
def test_what_is_there_is_taken(section: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "k").write_text(yaml.safe_dump(GOOD))
    kubeconfig.check(section, {"KUBECONFIG": str(tmp_path / "k")})
    kubeconfig.check({**section, "kubeconfig": str(tmp_path / "k")}, {"KUBECONFIG": "/nonexistent"})
    kubeconfig.check(section, {})


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with a stack x for a cluster that is already there; its kubeconfig is `k`."""
    monkeypatch.setattr(rehearsal, "PROJECT", tmp_path)
    monkeypatch.setattr(rehearsal, "STATE", tmp_path / ".state")
    monkeypatch.setattr(rehearsal, "open_stack", lambda *_, **__: pytest.fail("the engine was asked"))
    (tmp_path / "Pulumi.x.yaml").write_text("config: {}\n")
    for name in ("HOSTS", "VERSION", "OPENNEBULA_ROOT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"CLUSTER": "existing", "KUBECONFIG": str(tmp_path / "k"), "STACK": "x"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("junk", "it lists no clusters"),
        ("", "it lists no clusters"),
        ("clusters: {}", "it lists no clusters"),
        ("a: [", "it is not valid YAML"),
        (yaml.safe_dump(GOOD | {"current-context": ""}), "has no current context"),
        (yaml.safe_dump(GOOD | {"current-context": "gone"}), "there are: one, two"),
    ],
)
@pytest.mark.parametrize("command", ["up", "status"])
def test_commands_refuse_it(
    text: str, words: str, command: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "k").write_text(text)
    assert command_line.main([command]) == 1
    said = capsys.readouterr().err
    assert said.count("error: ") == said.count("cause: ") == said.count("next: ") == 1 and words in said


def test_a_context_that_it_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "k").write_text(yaml.safe_dump(GOOD))
    with pytest.raises(LabError, match="has no context prod") as caught:
        kubeconfig.check({"context": "prod"}, {"KUBECONFIG": str(tmp_path / "k")})
    assert caught.value.cause == "opennebula:kubernetes.context asks for it; there are: one, two"
