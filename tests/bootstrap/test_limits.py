"""Nothing waits without a limit of its own, what does not answer is named, and a disk that is full is told as one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from components.bootstrap.script import render
from lab.paths import PROJECT
from tests.bootstrap.examples import plan

_FUNCTIONS = render(plan()).removesuffix("main </dev/null\n")
_SHELL = PROJECT / "components/bootstrap/shell"
# Programs that wait for a lock, a daemon, a name service or a file server.
_WAITING = (
    "apt-cache|apt-get|df|dnf|dpkg|dpkg-query|firewall-cmd|firewall-offline-cmd|getenforce|getent|getsebool|gpg|iptables|lxc-ls|modinfo"
    "|modprobe|mount|nft|restorecon|rpm|ruby|semanage|setpriv|setsebool|sudo|systemctl|udevadm|ufw|umount|unshare|usermod|virsh|visudo|zypper"
)
_COMMAND = re.compile(rf"(?:^|[;|&(!{{]|\b(?:if|then|else|elif|while|until|do))\s*({_WAITING})\s")


@pytest.mark.parametrize("file", sorted(path.name for path in _SHELL.glob("*.sh")))
def test_every_program_that_may_wait_has_a_limit(file: str) -> None:
    text = (_SHELL / file).read_text().replace("\\\n", " ")
    lines = [re.sub(r"'[^']*'", "''", line) for line in text.splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in lines if _COMMAND.search(line)] == []


def test_that_test_finds_what_it_should() -> None:
    for line in (
        'if [ -n "$(dpkg --audit)" ]; then',
        "report=$(visudo -c 2>&1) || problem x",
        "! rpm -q x",
        "df -Pk /usr |",
    ):
        assert _COMMAND.search(line), line
    for line in (
        "report=$(bounded 60 visudo -c 2>&1)",
        "limited 60 rpm -q x",
        "command -v nft >/dev/null",
        '"dnf repolist"',
    ):
        assert not _COMMAND.search(line), line


def _run(place: Path, command: str) -> subprocess.CompletedProcess[str]:
    script = (
        f"{_FUNCTIONS}WORK={place}/work LOCK={place}/lock LOG={place}/work/log MADE={place}/made PLAN_LOCK_WAIT=1\n"
        f"begin\nSTEP=here\n{command}\necho went on\n"
    )
    return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    "question",
    [
        "bounded 1 sleep 300",
        'answer=$(bounded 1 sleep 300 2>&1) || problem "it is broken: $answer" "mend it"',
        'if [ -n "$(bounded 1 sleep 300 | cut -c 1)" ]; then echo yes; fi',
        "case $(bounded 1 sleep 300) in *) ;; esac",
    ],
)
def test_an_answer_that_is_overdue_is_told_and_ends_the_run_from_wherever_it_is_asked(
    tmp_path: Path, question: str
) -> None:
    done = _run(tmp_path, question)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "one-bootstrap: kvm-1: here: sleep was not done within 1 s; next: 'sleep 300' on the host, and see what it waits for\n"
    )
    assert not (tmp_path / "work").exists()


def test_an_answer_in_time_is_the_programs_own(tmp_path: Path) -> None:
    done = _run(tmp_path, 'echo "$(bounded 5 echo fine)"; bounded 5 sh -c "exit 3" || echo "code $?"')
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\ncode 3\nwent on\n", "")


def test_a_command_that_is_cut_off_says_so_at_its_end(tmp_path: Path) -> None:
    done = _run(tmp_path, 'limited 1 sh -c "echo begun; sleep 300" || die "no: $(last_words)" "again"')
    assert "here: no: begun it was not done within 1 s; next: again" in done.stderr


def test_waiting_for_another_run_is_no_wrong_clock(tmp_path: Path) -> None:
    """The sender's clock is that of the moment when it was sent."""
    (tmp_path / "lock").touch()
    script = (
        f"{_FUNCTIONS}WORK={tmp_path}/work LOCK={tmp_path}/lock LOG={tmp_path}/work/log PLAN_LOCK_WAIT=20 PLAN_CLOCK_SKEW=1\n"
        "id() { echo 0; }; facts() { echo fine; }; preflight() { clock_preflight; settle; }\n"
        "PLAN_STEPS=preflight; PLAN_NOW=$(date +%s)\nmain\n"
    )
    with subprocess.Popen(
        ["flock", f"{tmp_path}/lock", "sh", "-c", "echo held; sleep 3"], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout and other.stdout.readline() == b"held\n"
        done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("fine", "")


_FULL = "trap '' XFSZ; ulimit -f 0"  # writing fails as on a full disk, with another word


def test_a_record_that_cannot_be_written_is_told_with_the_cause_and_stays_whole(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("file /a\n")
    done = _run(tmp_path, f"{_FULL}\nmade file /b")
    assert done.returncode == 1
    assert (
        f"{tmp_path}/made cannot be written: cat: write error: File too large; next: see 'df {tmp_path}'" in done.stderr
    )
    assert "stopped with exit code" not in done.stderr
    assert (tmp_path / "made").read_text() == "file /a\n"


def test_a_line_without_an_end_is_not_joined_with_the_next(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("file /a")
    _run(tmp_path, "made file /b; made file /b; unmade file /a; unmade file /none")
    assert (tmp_path / "made").read_text() == "file /b\n"
    _run(tmp_path, "unmade file /b")
    assert not (tmp_path / "made").exists()


def test_a_directory_that_cannot_be_made_is_told_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = _run(tmp_path, f"place {tmp_path}/file/x mkdir -p {tmp_path}/file/x")
    assert "/file/x cannot be written: mkdir: cannot create directory" in done.stderr
    assert "; next: see 'df " in done.stderr


# Written after the sources (dpkg's archives.c, apt's acquire code, librpm's rpmps.c, summaries of libdnf and zypp); no full disk
# was captured.
_WORDS = {
    "debian": (
        "Unpacking opennebula-node-kvm (7.4.0-1) ...\n"
        "dpkg: error processing archive /var/cache/apt/archives/a.deb (--unpack):\n"
        " cannot copy extracted data for './usr/lib/a' to '/usr/lib/a.dpkg-new': failed to write (No space left on device)\n"
        "dpkg-deb: error: paste subprocess was killed by signal (Broken pipe)\n"
        "dpkg: error processing package b (--configure):\ndpkg: error processing package c (--configure):\n"
        "E: Sub-process /usr/bin/dpkg returned an error code (1)\n",
        "E: You don't have enough free space in /var/cache/apt/archives/.\n",
    ),
    "redhat": (
        "Error: Transaction test error:\n  installing package a-1-1.x86_64 needs 12MB more space on the / filesystem\n\n"
        "Error Summary\n-------------\nDisk Requirements:\n   At least 12MB more space needed on the / filesystem.\n",
        "[Errno 28] No space left on device: '/var/cache/dnf/a'\nError: a\nError: b\nError: c\n",
    ),
    "suse": (
        "error: unpacking of archive failed on file /usr/lib/a;1: cpio: write failed - No space left on device\n"
        "error: a\nerror: b\nerror: c\n",
        "Installation of a failed:\nError: Subprocess failed. Error: RPM failed: installing package a needs 10MB on the / filesystem\n",
    ),
}


@pytest.mark.parametrize(("family", "words"), [(family, each) for family, found in _WORDS.items() for each in found])
def test_a_package_manager_on_a_full_disk_is_told_with_that_cause(tmp_path: Path, family: str, words: str) -> None:
    (tmp_path / "words").write_text(words)
    done = _run(tmp_path, f'cp {tmp_path}/words "$LOG"; FAMILY={family}; complaint')
    said = done.stdout.splitlines()[0]
    assert re.search(r"No space left on device|enough free space|needs? 1\dMB|12MB more space", said), said
    assert said.count("No space left on device") <= 1


def test_other_complaints_are_as_before(tmp_path: Path) -> None:
    done = _run(tmp_path, 'printf "E: one\\nW: two\\n" >"$LOG"; FAMILY=debian; complaint')
    assert done.stdout == "E: one W: two\nwent on\n"
