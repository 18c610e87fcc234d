"""The script as text: values stay values, the order of the steps, and what a shell makes of it."""

from __future__ import annotations

import base64
import json
import os
import platform
import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.bootstrap import openpgp
from components.bootstrap.script import remote_command, render, shell_text, steps
from lab.paths import PROJECT
from tests.bootstrap.examples import KEY, OTHER_KEY, plan, repository
from tests.openpgp_key import ARMORED

_HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60),
    st.sampled_from(["'; reboot; '", "$(reboot)", "`reboot`", '"; reboot #', "\\'", "-n", "*", "${IFS}", "'\\''"]),
)


def _sh(script: str) -> str:
    return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=20, check=True).stdout


def _header(script: str) -> str:
    return script[: script.index("set -eu\n")]


@given(name=_HOSTILE)
@settings(max_examples=150, deadline=None)
def test_whatever_a_host_is_called_the_shell_reads_the_same(name: str) -> None:
    script = _header(render(plan(name=name)))
    assert _sh(script + 'printf %s "$PLAN_NAME"') == name


@given(name=_HOSTILE)
@settings(max_examples=50, deadline=None)
def test_the_remote_command_carries_the_name_as_one_argument(name: str) -> None:
    words = shlex.split(remote_command(name, 60, "1800000000"))
    assert words[:3] == ["exec", "sh", "-c"]
    assert words[-4:] == ["one-bootstrap", name, "60", "1800000000"]


def test_the_senders_clock_reaches_the_script_beside_it() -> None:
    for now, seen in (("1800000000", "1800000000"), ("", "")):
        done = subprocess.run(
            ["sh", "-c", remote_command("kvm-1", 20, now)],
            input='printf %s "${PLAN_NOW-none}"',
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.stdout == seen or os.getuid() != 0  # without root it asks sudo


def test_every_value_arrives() -> None:
    pins = (f"[oned]:30022 {KEY}",)
    script = _header(render(plan(kind="lxc", frontend_known_hosts=pins, frontend_address="10.0.0.1", lock_wait=7)))
    lines = _sh(script + 'printf "%s\\n" "$PLAN_KIND" "$PLAN_URL" "$PLAN_LOCK_WAIT" "$PLAN_KNOWN_HOSTS"')
    assert lines.splitlines() == ["lxc", "https://repo.example/7.4/{os}", "7", f"oned {KEY}"]
    assert _sh(script + 'printf %s "$PLAN_SSH_CONFIG"') == (
        "Include config_hypervisors\nHost oned\n  HostName 10.0.0.1\n  Port 30022\n  HostKeyAlias oned\n"
        "  UserKnownHostsFile /var/lib/one/.ssh/known_hosts_control_plane\n  StrictHostKeyChecking yes\nHost *"
    )


def test_keys_may_not_forward_ports_and_come_once_each() -> None:
    script = _header(render(plan(also_accepted_keys=(OTHER_KEY, KEY))))
    options = "no-port-forwarding,no-X11-forwarding"
    assert _sh(script + 'printf %s "$PLAN_AUTHORIZED_KEYS"') == f"{options} {KEY}\n{options} {OTHER_KEY}"


def test_the_key_arrives_as_apt_stores_it_and_as_rpm_does() -> None:
    script = render(plan()).removesuffix("main </dev/null\n")
    assert base64.b64decode(_sh(script + "key_binary | base64")) == openpgp.dearmor(ARMORED)
    assert openpgp.dearmor(_sh(script + 'printf %s "$PLAN_KEY"')) == openpgp.dearmor(ARMORED)


def test_the_order_of_the_steps() -> None:
    assert steps(plan()) == (
        "preflight",
        "repository",
        "package",
        "account",
        "authorized-keys",
        "known-hosts",
        "directories",
        "storage",
        "kvm",
        "confinement",
        "firewall",
        "checks",
    )
    # also where there is nothing to mount or to open any more
    assert steps(plan(firewall=None)) == steps(plan(ceph=True))


@pytest.mark.parametrize("kind", ["kvm", "lxc"])
def test_every_step_is_a_function_of_the_script(kind: str) -> None:
    wanted = plan(kind=kind, ceph=True)
    script = render(wanted).removesuffix("main </dev/null\n")
    for name in steps(wanted):
        assert _sh(f"{script}command -v {name.replace('-', '_')}") == f"{name.replace('-', '_')}\n"


def test_a_script_cut_off_anywhere_does_nothing() -> None:
    script = render(plan())
    assert script.endswith("}\nmain </dev/null\n")
    body = script[: script.index("main </dev/null")]
    for end in (len(body), len(body) // 2, len(body) // 3):
        # a syntax error for the half function is fine; a step or a changed file is not
        done = subprocess.run(["sh", "-s"], input=body[:end], capture_output=True, text=True, timeout=20, check=False)
        assert "one-bootstrap" not in done.stdout + done.stderr


def test_the_same_plan_gives_the_same_text() -> None:
    assert render(plan()) == render(plan())


def test_a_declared_system_halves_what_travels() -> None:
    everything, debian, alma = (render(plan(os=key)) for key in (None, "debian:12", "almalinux:9"))
    assert len(everything) < 54_000
    assert max(len(debian), len(alma)) < 47_000
    assert "dnf" not in debian
    assert "zypper" not in debian
    assert "apt-get" not in alma


def test_what_does_not_travel_are_comments_and_nothing_else() -> None:
    """As a reader of shell words sees it, who knows what is quoted."""
    remarks = 0
    for path in sorted((PROJECT / "components/bootstrap/shell").glob("*.sh")):
        lines = [line.strip() for line in path.read_text().splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        travelling = shell_text((path.stem,)).splitlines()
        for line, left in zip(lines, travelling, strict=True):
            if line != left:
                remarks += 1
                assert shlex.split(line, comments=True) == shlex.split(left), line
    assert remarks > 5
    assert '" # handle [0-9]+$/ {' in shell_text(("withdraw",))  # inside of quotes that begin lines before


def test_the_whole_script_is_clean_for_shellcheck() -> None:
    # SC2046, SC2086: words on purpose; their directives are in the files, which tests/shell_lint reads
    for kind in ("kvm", "lxc"):
        done = subprocess.run(
            ["shellcheck", "--shell=sh", "--severity=style", "--exclude=SC1091,SC2016,SC2034,SC2046,SC2086", "-"],
            input=render(plan(kind=kind, ceph=True, frontend_known_hosts=(f"oned {KEY}",))),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout == ""


@pytest.mark.parametrize(
    ("have", "want", "fits"),
    [
        ("7.4.0-1", "7.4", True),
        ("7.4.0-1", "7.4.0", True),
        ("7.4.0-1", "7.4.0-1", True),
        ("7.4.0~rc1-1", "7.4.0", True),
        ("7.4.0+ee-1", "7.4.0", True),
        ("7.40.0-1", "7.4", False),
        ("7.4.10-1", "7.4.1", False),
        ("7.2.0-1", "7.4", False),
        ("", "7.4", False),
    ],
)
def test_which_versions_fit(have: str, want: str, fits: bool) -> None:
    script = render(plan(version=want)).removesuffix("main </dev/null\n")
    answer = _sh(script + f"if version_fits {shlex.quote(have)}; then echo yes; else echo no; fi")
    assert answer == ("yes\n" if fits else "no\n")


def test_the_systems_directory_in_the_url() -> None:
    script = render(plan(repository=repository())).removesuffix("main </dev/null\n")
    assert _sh(script + "DIRECTORY=Debian/12; debian_source_line K") == (
        "deb [signed-by=K] https://repo.example/7.4/Debian/12 stable opennebula"
    )
    machine = platform.machine()
    assert f"/7.4/AlmaLinux/9/{machine}\n" in _sh(script + "DIRECTORY='AlmaLinux/9/{arch}'; rpm_source K")


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
@settings(max_examples=100, deadline=None)
def test_facts_are_json_whatever_they_hold(text: str) -> None:
    script = render(plan()).removesuffix("main </dev/null\n")
    answer = json.loads(_sh(f"{script}LC_ALL=C.UTF-8\njson_string {shlex.quote(text)}"))
    assert answer == "".join(letter for letter in text if ord(letter) >= 32 and ord(letter) != 127).rstrip("\n")
