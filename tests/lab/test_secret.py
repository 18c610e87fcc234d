"""`make secret`: which keys it takes for which stack, and that nothing is written for any other."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import yaml

from components.generated.keys import new_key_pair, new_monitor_key_pair
from lab import __main__ as command_line
from lab import configfile, rehearsal, stackfile
from lab.errors import LabError
from lab.rehearsal import Options
from stacks.secrets import SECRETS

LAB: dict[str, str] = {}


class Engine:
    """Encrypts into a stack's file as the engine does: the value is gone, and a mark stands in its place."""

    def __init__(self, name: str) -> None:
        self.name = name

    def set_secret(self, key: str, value: str) -> None:
        file = rehearsal.stack_file(self.name)
        document = configfile.read(file)
        config = {**(document.get("config") or {}), key: {"secure": f"v1:{len(value)}"}}
        file.write_text(yaml.safe_dump({**document, "config": config}))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(rehearsal, "PROJECT", tmp_path)
    monkeypatch.setattr(rehearsal, "STATE", tmp_path / ".state")
    monkeypatch.setattr(rehearsal, "open_stack", lambda name, throw_away: Engine(name))
    return tmp_path


@pytest.fixture
def existing(project: Path) -> dict[str, str]:
    (project / "kubeconfig").touch()
    return {"CLUSTER": "existing", "KUBECONFIG": str(project / "kubeconfig"), "STACK": "prod"}


def secret(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], key: str, value: str) -> None:
    monkeypatch.setenv("KEY", key)
    monkeypatch.setattr(sys, "stdin", io.StringIO(value))
    rehearsal.secret(Options.from_environment(environ))


def test_a_secret_of_the_lab_stays_at_the_next_up(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = project / "Pulumi.lab.yaml"
    stackfile.write(file, {"opennebula:tier": "small"})
    secret(monkeypatch, LAB, "monitorKey", new_monitor_key_pair().private_key)
    encrypted = configfile.config(file)["opennebula:monitorKey"]
    stackfile.write(file, {"opennebula:tier": "large"})
    assert configfile.config(file) == {"opennebula:monitorKey": encrypted, "opennebula:tier": "large"}
    assert "`make secret`" in file.read_text()


@pytest.mark.parametrize("key", ["sshPrivateKey", "ingressKey"])
def test_what_the_lab_sets_itself_is_refused(key: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = project / "Pulumi.lab.yaml"
    file.write_text("config: {}\n")
    with pytest.raises(LabError, match=f"{key} of the lab") as caught:
        secret(monkeypatch, LAB, key, new_key_pair().private_key)
    assert "the lab makes it itself" in caught.value.cause
    assert f"make secret KEY={key} CLUSTER=existing KUBECONFIG=PATH STACK=NAME < FILE" in caught.value.fix
    assert file.read_text() == "config: {}\n"


def test_without_a_lab_nothing_is_made(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LabError, match="no stack file yet") as caught:
        secret(monkeypatch, LAB, "oneadminPassword", "abcdefgh1")
    assert caught.value.fix.startswith("make up, then this again")
    assert "CLUSTER=existing KUBECONFIG=PATH STACK=NAME" in caught.value.fix
    assert list(project.iterdir()) == []


def test_a_stack_of_the_operators_own_takes_every_key(
    project: Path, existing: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "Pulumi.prod.yaml").write_text("config: {}\n")
    secret(monkeypatch, existing, "sshPrivateKey", new_key_pair().private_key)
    assert "secure" in configfile.config(project / "Pulumi.prod.yaml")["opennebula:sshPrivateKey"]


@pytest.mark.parametrize("lab", [True, False])
def test_the_hint_can_be_followed(
    lab: bool, project: Path, existing: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = LAB if lab else existing
    (project / ("Pulumi.lab.yaml" if lab else "Pulumi.prod.yaml")).write_text("config: {}\n")
    with pytest.raises(LabError, match="KEY=password is no secret key") as caught:
        secret(monkeypatch, environ, "password", "abcdefgh1")
    names, _, command = caught.value.fix.removeprefix("one of ").partition(": make secret ")
    assert set(names.split(", ")) == SECRETS.keys() - ({"sshPrivateKey", "ingressKey"} if lab else set())
    words = dict(word.split("=") for word in command.split(" <")[0].split())
    assert words.pop("KEY") == "…"
    secret(
        monkeypatch,
        {**words, **({} if lab else {"KUBECONFIG": existing["KUBECONFIG"]})},
        "oneadminPassword",
        "abcdefgh1",
    )


def test_a_value_that_is_wrong(
    project: Path, existing: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "Pulumi.prod.yaml").write_text("config: {}\n")
    for name, value in {**existing, "KEY": "oneadminPassword"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    assert command_line.main(["secret"]) == 1
    assert "next:  make secret KEY=oneadminPassword CLUSTER=existing" in capsys.readouterr().err
    assert (project / "Pulumi.prod.yaml").read_text() == "config: {}\n"
