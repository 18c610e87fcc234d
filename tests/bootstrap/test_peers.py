"""How hosts know each other: as text, and as OpenSSH's client understands it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.bootstrap.peers import Peer, render_peers
from components.bootstrap.script import render
from tests.bootstrap.examples import KEY, OTHER_KEY, plan
from tests.bootstrap.test_script import _header, _sh

PEERS = (Peer("kvm-1", "192.0.2.11", 22, f"{KEY} comment"), Peer("kvm-2.example", "2001:db8::2", 2222, OTHER_KEY))

NUMBERS = {"kvm-1": 7, "kvm-2.example": 0}


def value(name: str) -> str:
    return _sh(_header(render_peers(PEERS, NUMBERS)) + f'printf %s "$PLAN_{name}"')


def test_every_host_is_pinned_under_the_name_that_the_drivers_use() -> None:
    assert value("KNOWN_HOSTS") == f"kvm-1 {KEY}\nkvm-2.example {OTHER_KEY}"


def test_every_host_learns_the_numbers_of_all() -> None:
    assert value("NUMBERS") == "7 kvm-1\n0 kvm-2.example"


def test_the_text_is_the_same_for_all_of_them_and_cut_off_does_nothing() -> None:
    script = render_peers(PEERS, NUMBERS)
    assert "PLAN_NAME=" not in script
    assert script.endswith("peers </dev/null\n") and script.count("peers </dev/null\n") == 1
    assert script == render_peers(list(PEERS), dict(reversed(NUMBERS.items())))


def test_a_key_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="SSH public key"):
        render_peers([Peer("kvm-1", "192.0.2.11", 22, "ssh-ed25519 \nHost *")], {})


def test_ssh_reaches_a_peer_by_name_and_nobody_else_differently(tmp_path: Path) -> None:
    """The included file stands where `Include` looks for it: here by its full path, on hosts beside the configuration."""
    included = tmp_path / "config_hypervisors"
    included.write_text(value("SSH_CONFIG") + "\n")
    script = _header(render(plan(frontend_known_hosts=(f"oned {KEY}",))))
    own = _sh(script + 'printf %s "$PLAN_SSH_CONFIG"')
    assert own.startswith("Include config_hypervisors\nHost oned\n")
    config = tmp_path / "config"
    config.write_text(
        own.replace("config_hypervisors", str(included)) + "\nHost *\n  StrictHostKeyChecking accept-new\n"
    )

    def of(name: str) -> dict[str, str]:
        out = subprocess.run(
            ["ssh", "-F", str(config), "-G", name], capture_output=True, text=True, timeout=20, check=True
        )
        return dict(line.split(" ", 1) for line in out.stdout.splitlines() if " " in line)

    peer = of("kvm-2.example")
    assert (peer["hostname"], peer["port"], peer["hostkeyalias"]) == ("2001:db8::2", "2222", "kvm-2.example")
    assert (peer["stricthostkeychecking"], peer["userknownhostsfile"]) == (
        "true",
        "/var/lib/one/.ssh/known_hosts_hypervisors",
    )
    assert of("oned")["userknownhostsfile"] == "/var/lib/one/.ssh/known_hosts_control_plane"
    stranger = of("elsewhere")
    assert (stranger["hostname"], stranger["stricthostkeychecking"]) == ("elsewhere", "accept-new")
