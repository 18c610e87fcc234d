"""A preparation taken back over real SSH: one connection, the key in an agent, nothing left here."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from components.preparing import undoing
from components.preparing.undoing import NotUndone, undo
from components.preparing.values import Endpoint
from tests.lab.plugins.conftest import Sshd, free_port
from tests.preparing.conftest import Bench, endpoint
from tests.preparing.test_preparation import another_key


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files of a run go; and in place of the real script, which would clean this machine, one that writes a note."""
    note = tmp_path / "note"
    monkeypatch.setattr(undoing, "_PLACE", tmp_path / "prepare")
    monkeypatch.setattr(
        undoing,
        "render_undo",
        lambda name, *, uninstall: (
            f"echo '{name} {uninstall}' >>{note}\n[ '{name}' != bad ] || {{ echo "
            "'one-bootstrap: bad: mounts: /data is busy; next: fuser -vm /data on the host' >&2; exit 1; }\n"
            f'echo \'{{"host": "{name}", "record": {"false" if name == "new" else "true"}, "changes": []}}\'\n'
        ),
    )
    return tmp_path


def test_it_runs_on_the_host_with_the_stacks_key_and_leaves_nothing_here(
    bench: Bench, host: Sshd, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    for uninstall in (False, True):
        assert undo("kvm-1", endpoint(host), bench.way(agent=""), host.private_key, uninstall=uninstall)
    assert (place / "note").read_text() == "kvm-1 False\nkvm-1 True\n"
    assert list((place / "prepare").iterdir()) == []
    assert len(undoing._agents) == 1
    assert host.log.read_text().count("Accepted publickey") == 2


def test_a_host_without_a_preparation_says_so(bench: Bench, host: Sshd, place: Path) -> None:
    assert not undo("new", endpoint(host), bench.way(), host.private_key, uninstall=False)


def test_without_a_key_the_agent_of_the_environment(
    bench: Bench, host: Sshd, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", bench.agent)
    undo("kvm-1", endpoint(host), bench.way(agent=""), None, uninstall=False)
    assert (place / "note").read_text() == "kvm-1 False\n"


def test_the_hosts_own_words_are_the_error(bench: Bench, host: Sshd, place: Path) -> None:
    with pytest.raises(NotUndone) as caught:
        undo("bad", endpoint(host), bench.way(), host.private_key, uninstall=False)
    assert str(caught.value) == "one-bootstrap: bad: mounts: /data is busy; next: fuser -vm /data on the host"
    assert list((place / "prepare").iterdir()) == []


def test_a_dead_host_and_a_changed_key_are_told(bench: Bench, host: Sshd, place: Path) -> None:
    nobody = Endpoint(getpass.getuser(), "127.0.0.1", free_port(), another_key())
    with pytest.raises(NotUndone, match=r"kvm-1: unreachable: .*connection refused.*; next: "):
        undo("kvm-1", nobody, bench.way(), host.private_key, uninstall=False)
    with pytest.raises(NotUndone, match="host key mismatch"):
        undo("kvm-1", endpoint(host, host_key=another_key()), bench.way(), host.private_key, uninstall=False)
    assert not (place / "note").exists()


def test_a_key_that_is_none_is_told_without_it(bench: Bench, host: Sshd, place: Path) -> None:
    with pytest.raises(NotUndone, match="ssh-add refuses") as caught:
        undo("kvm-1", endpoint(host), bench.way(), "no key at all", uninstall=False)
    assert "no key at all" not in str(caught.value)


def test_a_checkout_whose_path_has_a_blank(
    bench: Bench, host: Sshd, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = place / "my check out"
    checkout.mkdir()
    monkeypatch.chdir(checkout)
    monkeypatch.setattr(undoing, "_PLACE", checkout / ".state/prepare")
    undo("kvm-1", endpoint(host), bench.way(agent=""), host.private_key, uninstall=False)
    assert (place / "note").read_text() == "kvm-1 False\n"
    assert list((checkout / ".state/prepare").iterdir()) == []
    monkeypatch.chdir(place)  # no engine does so
    with pytest.raises(NotUndone, match=r"kvm-1: here: ssh cannot use the path .*; next: run pulumi in the project"):
        undo("kvm-1", endpoint(host), bench.way(agent=""), host.private_key, uninstall=False)
    assert list((checkout / ".state/prepare").iterdir()) == []


def test_what_fails_on_this_machine_is_told_too(
    bench: Bench, host: Sshd, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "file").write_text("")
    monkeypatch.setattr(undoing, "_PLACE", place / "file/prepare")
    with pytest.raises(
        NotUndone, match=r"kvm-1: here: this machine fails: .*/file/prepare: Not a directory; next: mend"
    ):
        undo("kvm-1", endpoint(host), bench.way(), host.private_key, uninstall=False)
