"""Finding the engine, its workspace, and the trace of what it did."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import EngineEvent, OpType
from pulumi.automation.events import DiagnosticEvent, ResOpFailedEvent, ResourcePreEvent, ResOutputsEvent

from lab.engine import install, workspace
from lab.engine.failures import next_steps
from lab.engine.trace import Trace
from lab.errors import LabError
from lab.paths import PROJECT


def test_engine_and_sdk_are_pinned_to_the_same_version() -> None:
    assert f"pulumi=={install.VERSION.removeprefix('v')} " in (PROJECT / "requirements.txt").read_text()


@pytest.mark.parametrize(
    ("version", "good"),
    [
        (install.VERSION, True),
        ("v3.255.9", True),
        ("v3.254.0", False),
        ("v4.255.0", False),
        ("dev", False),
        (None, False),
    ],
)
def test_only_the_pinned_minor_version_fits(version: str | None, good: bool) -> None:
    assert install.fits(version) == good


@pytest.mark.parametrize("relative", [False, True])
def test_an_engine_behind_a_dispatcher_is_found_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    """mise, asdf and snap have a link `pulumi` to one program that goes by the name under which it is called."""
    (tmp_path / "shims").mkdir()
    dispatcher = tmp_path / "dispatcher"
    dispatcher.write_text(f"#!/bin/sh\ncase ${{0##*/}} in pulumi) echo {install.VERSION} ;; *) exit 1 ;; esac\n")
    dispatcher.chmod(0o755)
    (tmp_path / "shims" / "pulumi").symlink_to(dispatcher)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{'shims' if relative else tmp_path / 'shims'}:/usr/bin:/bin")
    engine = install.ensure_engine()
    assert engine == tmp_path / "shims"
    assert install._version(engine / "pulumi") == install.VERSION


def test_an_engine_that_cannot_be_started_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "STATE", tmp_path / "state")
    monkeypatch.setattr("lab.plugins.install.find_official", lambda *_: None)
    with pytest.raises(LabError, match=f"{tmp_path}/pulumi cannot be started"):
        install.ensure_official_plugins(tmp_path, lambda _line: None)
    assert not (tmp_path / "state" / "plugins-tried").exists(), "nothing was tried"


def test_a_release_with_another_checksum_is_not_unpacked(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="not the pinned one"):
        install.unpack_release(b"something else", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_official_plugins_are_pinned_to_the_sdks() -> None:
    pins = (PROJECT / "requirements.txt").read_text()
    for name, (version, _) in install.OFFICIAL_PLUGINS.items():
        assert f"pulumi-{name}=={version}\n" in pins


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(workspace, "STATE", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "pulumi"


def environment(**found: str) -> dict[str, str]:
    return workspace.prepare(Path("/engine"), Path("/plugins"), throw_away=True, environ=found).environment


def test_the_passphrase_is_made_once_and_is_private(state: Path) -> None:
    first = environment()["PULUMI_CONFIG_PASSPHRASE_FILE"]
    text = Path(first).read_text()
    assert len(text.strip()) > 30
    assert stat.S_IMODE(Path(first).stat().st_mode) == 0o600
    assert Path(environment()["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text() == text


def test_an_empty_passphrase_is_refused(state: Path) -> None:
    with pytest.raises(LabError, match="empty"):
        environment(PULUMI_CONFIG_PASSPHRASE="")
    empty = state.parent / "empty"
    empty.write_text("\n")
    with pytest.raises(LabError, match="empty"):
        environment(PULUMI_CONFIG_PASSPHRASE_FILE=str(empty))


def test_a_passphrase_that_the_engine_takes_first_is_looked_at_first(state: Path) -> None:
    """The engine asks for the file only where PULUMI_CONFIG_PASSPHRASE is not set at all."""
    file = state.parent / "passphrase"
    file.write_text("a good one\n")
    with pytest.raises(LabError, match="PULUMI_CONFIG_PASSPHRASE is empty") as told:
        environment(PULUMI_CONFIG_PASSPHRASE=" ", PULUMI_CONFIG_PASSPHRASE_FILE=str(file))
    assert "PULUMI_CONFIG_PASSPHRASE_FILE counts" in told.value.fix
    file.write_text("\n")
    taken = environment(PULUMI_CONFIG_PASSPHRASE="x", PULUMI_CONFIG_PASSPHRASE_FILE=str(file))
    assert taken["PULUMI_CONFIG_PASSPHRASE"] == "x" and "PULUMI_CONFIG_PASSPHRASE_FILE" not in taken


def test_its_own_backend_writes_nothing_that_a_killed_engine_leaves_half(state: Path) -> None:
    assert environment()["PULUMI_BACKEND_URL"] == f"file://{state / 'backend'}?metadata=skip"


def test_a_lab_never_uses_an_operators_backend(state: Path) -> None:
    assert environment(PULUMI_BACKEND_URL="s3://prod")["PULUMI_BACKEND_URL"].startswith("file://")
    beyond = workspace.prepare(
        Path("/e"), Path("/p"), throw_away=False, environ={"PULUMI_BACKEND_URL": "s3://prod", "HOME": str(state.parent)}
    )
    assert beyond.environment["PULUMI_BACKEND_URL"] == "s3://prod"


URN = "urn:pulumi:s::p::opennebula:index:Oned$kubernetes:core/v1:Secret::oned-ssh"


def metadata(op: OpType, urn: str = URN) -> Any:
    return {
        "op": op.value,
        "urn": urn,
        "type": "t",
        "provider": "",
        "new": None,
        "old": None,
        "keys": None,
        "logical": True,
    }


def test_the_trace_times_each_step_and_says_it() -> None:
    lines: list[str] = []
    times = iter([0.0, 1.0, 1.0, 3.0, 3.0, 3.0])
    trace = Trace(lines.append, clock=lambda: next(times))
    trace.on_event(
        EngineEvent(sequence=1, timestamp=0, resource_pre_event=ResourcePreEvent(metadata=step(OpType.CREATE)))
    )
    trace.on_event(
        EngineEvent(sequence=2, timestamp=0, res_outputs_event=ResOutputsEvent(metadata=step(OpType.CREATE)))
    )
    (found,) = trace.steps.values()
    assert (found.began, found.ended, found.failed) == (1.0, 3.0, False)
    assert "created" in lines[0] and "oned-ssh" in lines[0] and "(2.0 s)" in lines[0]


def step(op: OpType) -> Any:
    from pulumi.automation.events import StepEventMetadata

    return StepEventMetadata(**metadata(op))


def test_a_failure_is_named_once_with_its_cause() -> None:
    lines: list[str] = []
    trace = Trace(lines.append)
    trace.on_event(
        EngineEvent(sequence=1, timestamp=0, resource_pre_event=ResourcePreEvent(metadata=step(OpType.CREATE)))
    )
    trace.on_event(
        EngineEvent(
            sequence=2,
            timestamp=0,
            res_op_failed_event=ResOpFailedEvent(metadata=step(OpType.CREATE), status=1, steps=1),
        )
    )
    for _ in range(2):
        message = "<{%reset%}>1 error occurred:\n\t* host key mismatch<{%reset%}>\n"
        trace.on_event(
            EngineEvent(
                sequence=3,
                timestamp=0,
                diagnostic_event=DiagnosticEvent(message=message, color="", severity="error", urn=URN),
            )
        )
    again = "Traceback\nResourceRegistrationFailed: resource x failed to register"
    trace.on_event(
        EngineEvent(
            sequence=4, timestamp=0, diagnostic_event=DiagnosticEvent(message=again, color="", severity="error")
        )
    )
    assert trace.errors == ["oned-ssh: host key mismatch"]
    assert any("FAILED" in line for line in lines)


def test_hints_say_what_to_do_and_never_twice() -> None:
    text = next_steps(["a: ErrImagePull: …", "b: ErrImagePull: …", "c: not ready; see: kubectl logs c"], "up")
    assert text.count("opennebula:images") == 1 and "after `see:`" in text and text.endswith("goes on from there")
    assert next_steps(["something odd"], "up").startswith("mend what is named above; then run it again")
    assert "stays done" not in next_steps(["3 problems in the stack's configuration; nothing was touched:"], "up")
    assert "images" not in next_steps(["one-bootstrap: kvm-1: ErrImage in a name; next: wait"], "up")
