"""A stack's file that cannot be read: told by file and line, by every command, before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab import __main__ as command_line
from lab import configfile, pin, rehearsal
from lab.errors import LabError

TAB = "config:\n  opennebula:tier: small\n\topennebula:version: '7.4'\n"
LIST = "config:\n  - opennebula:tier: small\n"
TWICE = "config:\n  opennebula:tier: small\n  opennebula:version: '7.4'\n  opennebula:tier: large\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TAB, ["Pulumi.x.yaml, line 3 is not valid YAML", "cause: a tab", "next:  indent with blanks"]),
        ("config:\n  a: b: c\n", ["line 2 is not valid", "in quotes"]),
        ("config:\n  a: 'b\n", ["is not valid", "close the quote"]),
        ("config:\n    a: b\n  c: d\n", ["line 3 is not valid", "same column"]),
        ("config:\n  a: [1, 2\n", ["is not valid", "bracket"]),
        ("config: *none\n", ["line 1 is not valid", "undefined alias"]),
        ("config: {a: \x01}\n", ["Pulumi.x.yaml cannot be read"]),
        ("config: {a: 2026-13-45}\n", ["cannot be read", "month"]),
        (LIST, ["Pulumi.x.yaml: config is a list, not a mapping", "next:  write config:"]),
        ("config: text\n", ["config is plain text"]),
        ("- config\n", ["Pulumi.x.yaml holds a list"]),
        ("config: {1: a}\n", ["config has the key 1"]),
        (TWICE, ["line 4: opennebula:tier is written twice", "line 2 has it already", "next:  remove one"]),
        ("config:\n  opennebula:database:\n    a: 1\n    b: 2\n    a: 1\n", ["line 5: a is written twice"]),
        ("config: {}\nconfig: {}\n", ["line 2: config is written twice"]),
    ],
)
def test_what_cannot_be_read_is_told_by_its_place(text: str, words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(text)
    with pytest.raises(LabError) as caught:
        configfile.read(file)
    assert [word for word in words if word not in str(caught.value)] == []
    assert caught.value.fix


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.x.yaml").write_bytes(b"config: \xff\n")
    with pytest.raises(LabError, match="cannot be read"):
        configfile.read(tmp_path / "Pulumi.x.yaml")


@pytest.mark.parametrize("text", ["", "config:\n", "# nothing\n", "encryptionsalt: v1\n"])
def test_a_file_may_be_empty(text: str, tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    assert configfile.config(file) == {}
    file.write_text(text)
    assert configfile.config(file) == {}


def test_equal_keys_of_different_mappings_and_merged_ones_are_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text("base: &base {a: 1, b: 2}\nconfig:\n  x: {<<: *base, a: 3}\n  y: {<<: *base, a: 4}\n")
    assert configfile.config(file) == {"x": {"a": 3, "b": 2}, "y": {"a": 4, "b": 2}}


Call = Callable[..., str]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """A command on stack x of an empty checkout; what it says. It must fail before the engine is even looked for."""

    def engine(*_: Any, **__: Any) -> None:
        pytest.fail("the engine was asked")

    monkeypatch.setattr(rehearsal, "PROJECT", tmp_path)
    monkeypatch.setattr(rehearsal, "STATE", tmp_path / ".state")
    monkeypatch.setattr(pin, "PROJECT", tmp_path)
    monkeypatch.setattr(rehearsal, "open_stack", engine)
    monkeypatch.setattr(rehearsal, "start_lab", engine)
    (tmp_path / "kubeconfig").touch()

    def start(command: str, **environ: str) -> str:
        usual = {"CLUSTER": "existing", "KUBECONFIG": str(tmp_path / "kubeconfig"), "STACK": "x", "KEY": "monitorKey"}
        for name in ("HOST", "GROUP", "PORT", "WRITE", "IDENTITY", "HOSTS", "VERSION", "OPENNEBULA_ROOT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in (usual | environ).items():
            monkeypatch.setenv(name, value)
        before = sorted(path for path in tmp_path.glob("*.yaml"))
        assert (pin.main() if command == "pin" else command_line.main([command])) == 1
        assert sorted(path for path in tmp_path.glob("*.yaml")) == before
        return capsys.readouterr().err

    return start


COMMANDS = pytest.mark.parametrize("command", ["up", "refresh", "pin", "status", "down", "secret", "unlock"])


@COMMANDS
@pytest.mark.parametrize(("text", "line"), [(TAB, "line 3"), (TWICE, "line 4"), (LIST, "config is a list")])
def test_every_command_tells_it(command: str, text: str, line: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.x.yaml").write_text(text)
    said = call(command)
    assert said.count("error: ") == 1 and line in said and "next: " in said


@pytest.mark.parametrize("name", ["dev", "lab"])
def test_the_lab_tells_it_before_it_starts(name: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / f"Pulumi.{name}.yaml").write_text(TAB)
    assert f"Pulumi.{name}.yaml, line 3" in call("up", CLUSTER="", STACK="")


@COMMANDS
def test_a_stack_without_a_file_is_refused(command: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.prod.yaml").write_text("config:\n")
    said = call(command, STACK="prdo")
    assert "error: Pulumi.prdo.yaml does not exist" in said and "next: " in said


@COMMANDS
@pytest.mark.parametrize("name", ["../x", "x/y", ".x", "x y"])
def test_what_is_no_name_of_a_stack_is_refused(command: str, name: str, call: Call) -> None:
    assert f"error: STACK={name} is no name of a stack" in call(command, STACK=name)
