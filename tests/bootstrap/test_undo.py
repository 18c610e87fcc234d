"""Taking a preparation back, as text and as functions run by sh without root: what goes, and above all what stays."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.bootstrap.script import render
from components.bootstrap.undo import render_undo
from lab.paths import PROJECT
from tests.bootstrap.examples import plan

_CALL = "undo </dev/null\n"
BEGIN, END = (
    "# BEGIN opennebula control plane (kept by one-bootstrap)",
    "# END opennebula control plane",
)


def _run(command: str, *, uninstall: bool = False, check: bool = True) -> subprocess.CompletedProcess[str]:
    functions = render_undo("kvm-1", uninstall=uninstall).removesuffix(_CALL)
    script = f"{functions}STEP=here\n{command}\nprintf 'changes=%s\\n' \"$CHANGES\"\n"
    return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=30, check=check)


@given(name=st.one_of(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1), st.just("'; reboot; '")))
@settings(max_examples=50, deadline=None)
def test_a_name_is_a_value_and_a_text_cut_off_does_nothing(name: str) -> None:
    script = render_undo(name, uninstall=True)
    header = script[: script.index("set -eu\n")]
    done = subprocess.run(
        ["sh", "-s"], input=f'{header}printf %s "$PLAN_NAME"', capture_output=True, text=True, check=True
    )
    assert done.stdout == name
    assert script.count(_CALL) == 1 and script.endswith(_CALL)


def test_one_text_for_every_host_and_level() -> None:
    first, second = (render_undo(name, uninstall=False) for name in ("kvm-1", "lxc-9"))
    assert first.replace("kvm-1", "lxc-9") == second
    changed = [
        pair
        for pair in zip(first.splitlines(), render_undo("kvm-1", uninstall=True).splitlines(), strict=True)
        if len(set(pair)) > 1
    ]
    assert changed == [("PLAN_UNINSTALL=''", "PLAN_UNINSTALL=yes")]


def test_it_never_names_libvirt_or_a_datastore() -> None:
    """Beside AppArmor's file of that name, from which our own block goes; and guests are only looked for."""
    text = (PROJECT / "components/bootstrap/shell/undo.sh").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    named = [line.strip() for line in lines if "libvirt" in line or "virsh" in line or "datastore" in line]
    assert named == [
        "'look with virsh -c qemu:///system list and lxc-ls on the host; move or end them, then run it again'",
        "for file in libvirt-qemu.d/opennebula libvirt-qemu; do",
        "drop_block /etc/apparmor.d/local/abstractions/libvirt-qemu",
    ]


def test_our_block_goes_and_other_lines_stay(tmp_path: Path) -> None:
    file = tmp_path / "authorized_keys"
    file.write_text(f"ssh-ed25519 mine\n{BEGIN}\nssh-ed25519 theirs\n{END}\n# note\n")
    file.chmod(0o640)
    assert _run(f"drop_block {file}").stdout == "changes=here\n"
    assert file.read_text() == "ssh-ed25519 mine\n# note\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert _run(f"drop_block {file}").stdout == "changes=\n"


def test_a_file_that_we_made_goes_with_its_block(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(f"{BEGIN}\nHost x\n{END}\n")
    assert _run(f"drop_block {file}; drop_block {tmp_path}/none").stdout == "changes=here\n"
    assert list(tmp_path.iterdir()) == []


def test_a_broken_block_is_told_and_left(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(f"{BEGIN}\nHost x\n")
    done = _run(f"drop_block {file}", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"one-bootstrap: kvm-1: here: {file} has our first marker line but not the last; next: "
    )
    assert file.read_text() == f"{BEGIN}\nHost x\n"


def test_what_is_behind_a_symbolic_link_is_nobodys_of_ours(tmp_path: Path) -> None:
    (tmp_path / "target").write_text(f"{BEGIN}\nHost x\n{END}\n")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert _run(f"drop_block {tmp_path}/link").stdout == "changes=\n"


def test_the_record_has_each_thing_once_and_by_kind(tmp_path: Path) -> None:
    record = tmp_path / "made"
    rule = 'rule family="ipv4" source address="10.0.0.0/8" port port="5900-32767" protocol="tcp" accept'
    out = _run(
        f"MADE={record}; recorded file; made file /a; made file /b; made file /a; made firewalld '{rule}'\n"
        "recorded file; recorded firewalld; recorded directory"
    ).stdout
    assert out == f"/a\n/b\n{rule}\nchanges=\n"
    assert record.read_text() == f"file /a\nfile /b\nfirewalld {rule}\n"


def test_a_file_that_was_there_before_us_is_not_in_the_record(tmp_path: Path) -> None:
    record, theirs, ours, link = (tmp_path / name for name in ("made", "theirs", "ours", "link"))
    theirs.write_text("deb an operator's own\n")
    link.symlink_to(tmp_path / "nowhere")
    _run(
        f"MADE={record}; for file in {theirs} {ours} {link}; do made_file $file; done; echo text >{ours}; made_file {ours}"
    )
    assert record.read_text() == f"file {ours}\n"


@pytest.mark.parametrize(
    ("kind", "call", "files"),
    [
        ("debian:12", "debian_repository", ("DEBIAN_LIST", "DEBIAN_KEY")),
        ("almalinux:9", 'rpm_repository "$SOURCE"', ("SOURCE", "RPM_KEY")),
    ],
)
@pytest.mark.parametrize("before", [(), (0,), (0, 1)])
def test_the_repositorys_files_are_recorded_unless_they_were_there(
    tmp_path: Path, kind: str, call: str, files: tuple[str, str], before: tuple[int, ...]
) -> None:
    """The preparation's own functions, with places of this test; a record, and whatever files there were."""
    places = [tmp_path / name for name in files]
    for number in before:
        places[number].write_text("an operator's own\n")
    functions = render(plan()).removesuffix("main </dev/null\n")
    given = "".join(f"{name}={place}\n" for name, place in zip(files, places, strict=True))
    script = (
        f"{functions}STEP=here\nMADE={tmp_path}/made\n{given}"
        "source_url() { printf https://example.org; }\nkey_binary() { printf key; }\nrpm_trusts_key() { :; }\nPLAN_KEY=key\n"
        f"chown() {{ :; }}\n{call}\n"
    )
    subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=30, check=True)
    assert all(place.exists() for place in places)
    record = tmp_path / "made"
    found = set(record.read_text().splitlines()) if record.exists() else set()
    assert found == {f"file {place}" for number, place in enumerate(places) if number not in before}, kind


@pytest.mark.parametrize(("uninstall", "left"), [(False, "package opennebula-node-kvm\n"), (True, None)])
def test_a_package_that_stays_stays_in_the_record(tmp_path: Path, uninstall: bool, left: str | None) -> None:
    if os.getuid() != 0:
        pytest.skip("the record is root's")
    record = tmp_path / "made"
    record.write_text("file /a\npackage opennebula-node-kvm\n")
    _run(f"MADE={record}; undo_record", uninstall=uninstall)
    assert (record.read_text() if record.exists() else None) == left


def test_of_a_users_processes_only_those_meant_are_ended_and_never_our_own(tmp_path: Path) -> None:
    """As this user, in place of oneadmin, with words that no other process of the machine has."""
    word = f"{tmp_path.name}-{uuid.uuid4()}"
    meant = subprocess.Popen(["sh", "-c", f"sleep 60; : /im/{word}"])
    other = subprocess.Popen(["sh", "-c", "sleep 60; : guest"])
    try:
        # The shell that reads the script is itself started with words that fit, and so is the one above it.
        functions = (
            render_undo("kvm-1", uninstall=False).removesuffix(_CALL).replace("ONE_ID=9869", f"ONE_ID={os.getuid()}")
        )
        file = tmp_path / "script"
        file.write_text(f"{functions}STEP=here\nundo_end '*/im/{word}*'\nprintf '%s\\n' \"$CHANGES\"\n")
        command = ["sh", "-c", f"sh {file} /im/{word}; : /im/{word}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout == "here\n"
        assert meant.wait(5) == -15
        assert other.poll() is None
    finally:
        for process in (meant, other):
            process.kill()
            process.wait()


def _with_programs(tmp_path: Path, call: str, record: str = "", **programs: str) -> subprocess.CompletedProcess[str]:
    """A part of the script, in a directory of its own, where these programs and no others of their kind are found."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in programs.items():
        (tools / name.replace("_", "-")).write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/calls\n{text}\n')
        (tools / name.replace("_", "-")).chmod(0o755)
    (tmp_path / "made").write_text(record)
    missing = {"ufw", "nft", "firewall_cmd", "firewall_offline_cmd"} - set(programs)
    hidden = "|".join(name.replace("_", "-") for name in missing) or "none"
    return _run(
        f"PATH={tools}:$PATH; WORK={tmp_path}; LOG={tmp_path}/log; MADE={tmp_path}/made; drop_block() {{ :; }}\n"
        f'command() {{ case $2 in {hidden}) return 1 ;; esac; [ -x "$(which "$2")" ]; }}\n{call}',
        uninstall=True,
        check=False,
    )


def _calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


RULE = 'rule family="ipv4" source address="10.0.0.0/8" port port="80" protocol="tcp" accept'
NO_RULES = "case $* in *--state) echo running ;; *--query*) exit 1 ;; *) exit 99 ;; esac"


@pytest.mark.parametrize(
    ("programs", "cause"),
    [
        (
            {"ufw": "echo 'ERROR: problem running' >&2; exit 1"},
            "ufw show added does not tell its rules: ERROR: problem",
        ),
        (
            {"nft": "echo 'Operation not permitted' >&2; exit 1"},
            "nft -a list ruleset does not tell its rules: Operation",
        ),
        (
            {"firewall_cmd": "case $* in *--state) echo running ;; *) echo 'no D-Bus'; exit 254 ;; esac"},
            "firewalld does not tell whether it has a rule of ours: no D-Bus",
        ),
        (
            {"firewall_offline_cmd": "echo broken; exit 3"},
            "firewalld does not tell whether it has a rule of ours: broken",
        ),
    ],
)
def test_rules_that_cannot_be_listed_are_told_and_not_taken_for_none(
    tmp_path: Path, programs: dict[str, str], cause: str
) -> None:
    done = _with_programs(tmp_path, "undo_firewall", f"firewalld {RULE}\n", **programs)
    assert done.returncode == 1
    assert f"one-bootstrap: kvm-1: here: {cause}" in done.stderr
    assert "; next: " in done.stderr
    assert (tmp_path / "made").read_text() == f"firewalld {RULE}\n"


def test_a_rule_that_is_not_there_is_no_failure_and_one_that_is_goes(tmp_path: Path) -> None:
    done = _with_programs(
        tmp_path,
        "undo_firewall",
        f"firewalld {RULE}\n",
        firewall_cmd="case $* in *--state) echo running ;; --permanent\\ --query*) ;; *--query*) exit 1 ;; esac",
        ufw='[ "$1" = --force ] || echo "ufw allow from 10.0.0.0/8 to any port 80 proto tcp comment \'opennebula\'"',
        nft='[ "$1" != -a ] || printf \'table inet f {\\n chain in {\\n accept comment "opennebula" # handle 7\\n}\\n}\\n\'',
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "changes=here\n", "")
    assert _calls(tmp_path) == [
        "firewall_cmd --state",
        f"firewall_cmd --permanent --query-rich-rule={RULE}",
        f"firewall_cmd --permanent --remove-rich-rule={RULE}",
        f"firewall_cmd --query-rich-rule={RULE}",
        "ufw show added",
        "ufw --force delete allow from 10.0.0.0/8 to any port 80 proto tcp",
        "nft -a list ruleset",
        "nft delete rule inet f in handle 7",
    ]


def test_a_resting_firewalld_is_asked_offline_and_for_our_rules_alone(tmp_path: Path) -> None:
    done = _with_programs(
        tmp_path,
        "undo_firewall",
        f"firewalld {RULE}\nfirewalld {RULE.replace('80', '81')}\n",
        firewall_cmd="echo 'not running'; exit 252",
        firewall_offline_cmd='case $* in --query*port=\\"80\\"*) exit 0 ;; --query*) exit 1 ;; esac',
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "changes=here\n", "")
    assert [call for call in _calls(tmp_path) if "offline" in call] == [
        f"firewall_offline_cmd --query-rich-rule={RULE}",
        f"firewall_offline_cmd --remove-rich-rule={RULE}",
        f"firewall_offline_cmd --query-rich-rule={RULE.replace('80', '81')}",
    ]


UFW_LISTS = "echo \"ufw allow from 10.0.0.0/8 to any port 80 proto tcp comment 'opennebula'\"; exit 0"


@pytest.mark.parametrize(
    ("programs", "cause", "then"),
    [
        (
            {"ufw": f'[ "$1" = --force ] || {{ {UFW_LISTS}; }}; echo "ERROR: no lock" >&2; exit 1'},
            "ufw does not delete a rule of ours: ERROR: no lock",
            "ufw delete allow from 10.0.0.0/8 to any port 80 proto tcp on the host",
        ),
        (
            {"firewall_offline_cmd": "case $* in --query*) exit 0 ;; *) echo 'read-only file system'; exit 1 ;; esac"},
            "firewalld keeps a rule of ours: read-only file system",
            f"firewall-offline-cmd --remove-rich-rule='{RULE}' on the host",
        ),
    ],
)
def test_a_rule_that_cannot_be_deleted_is_told_with_the_command(
    tmp_path: Path, programs: dict[str, str], cause: str, then: str
) -> None:
    done = _with_programs(tmp_path, "undo_firewall", f"firewalld {RULE}\n", **programs)
    assert done.returncode == 1
    assert done.stderr == f"one-bootstrap: kvm-1: here: {cause}; next: {then}\n"


def test_of_ufws_rules_those_of_others_stay(tmp_path: Path) -> None:
    others = (
        "echo 'Added user rules (see ufw status for running firewall):'; echo 'ufw allow 22/tcp'; "
        "echo \"ufw allow from 10.0.0.0/8 to any port 80 proto tcp comment 'opennebula too'\""
    )
    done = _with_programs(tmp_path, "undo_firewall", ufw=f'[ "$1" = --force ] || {{ {others}; }}')
    assert (done.returncode, done.stdout, done.stderr) == (0, "changes=\n", "")
    assert _calls(tmp_path) == ["ufw show added"]


def test_dpkg_is_asked_without_a_terminal_and_without_our_list(tmp_path: Path) -> None:
    done = _with_programs(
        tmp_path,
        "undo_package",
        "package opennebula-node-kvm\npackage other\n",
        dpkg=f'[ "$1" = -s ] || {{ echo "$DEBIAN_FRONTEND $(cat)" >>{tmp_path}/calls; }}',
    )
    assert done.returncode == 0, done.stderr
    asked = [call for call in _calls(tmp_path) if " -s" not in call]
    assert asked == ["dpkg --remove opennebula-node-kvm", "noninteractive ", "dpkg --remove other", "noninteractive "]


def test_of_the_probes_files_only_oneadmins_own_plain_files_go(tmp_path: Path) -> None:
    """Anybody may make such a name in /tmp."""
    if os.getuid() != 0:
        pytest.skip("owners are set")
    mine, theirs, folder, link = (tmp_path / f"one-monitord-{name}" for name in ("3.pid", "4", "x", "l"))
    for file in (mine, theirs):
        file.write_text("1\n")
    folder.mkdir()
    link.symlink_to(theirs)
    for path in (mine, folder, link):
        os.chown(path, 9869, 9869, follow_symlinks=False)
    functions = render_undo("kvm-1", uninstall=False).removesuffix(_CALL)
    assert functions.count("/tmp/one-monitord-") == 1
    script = functions.replace("/tmp/one-monitord-", f"{tmp_path}/one-monitord-")
    subprocess.run(["sh", "-s"], input=f"{script}undo_end() {{ :; }}\nundo_probes\n", text=True, timeout=30, check=True)
    assert set(tmp_path.iterdir()) == {theirs, folder, link}
