"""How the script writes files: by rename, only when needed, with other people's lines kept. Run by sh, without root."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.bootstrap.script import render
from tests.bootstrap.examples import plan

_OWNER = f"{pwd.getpwuid(os.getuid()).pw_name}:{grp.getgrgid(os.getgid()).gr_name}"
_FUNCTIONS = render(plan()).removesuffix("main </dev/null\n")
_LINES = st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20), max_size=8)


def _run(command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    script = f"{_FUNCTIONS}STEP=here\n{command}\nprintf 'changes=%s\\n' \"$CHANGES\"\n"
    return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=20, check=check)


def _block(file: Path, text: str, where: str = "bottom") -> str:
    words = ["put_block", str(file), _OWNER, "0600", where, text]
    return _run(" ".join(shlex.quote(word) for word in words)).stdout


def test_a_new_file_has_the_wanted_text_and_mode(tmp_path: Path) -> None:
    file = tmp_path / "f"
    assert _run(f"put_text {file} {_OWNER} 0640 'some text'").stdout == "changes=here\n"
    assert file.read_text() == "some text\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_right_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "f"
    _run(f"put_text {file} {_OWNER} 0600 text")
    before = file.stat()
    assert _run(f"put_text {file} {_OWNER} 0600 text").stdout == "changes=\n"
    assert file.stat().st_ino == before.st_ino
    assert file.stat().st_mtime_ns == before.st_mtime_ns


def _order(place: Path, command: str) -> list[str]:
    """In which order these programs ran, and for what."""
    told = 'for each in sync mv touch; do eval "$each() { told $each \\"\\$@\\"; command $each \\"\\$@\\"; }"; done'
    words = (
        f'told() {{ for word in "$@"; do printf "%s " "${{word##*/}}"; done >>{place}/order; echo >>{place}/order; }}'
    )
    work = place / "work"
    work.mkdir()
    _run(f"{words}\n{told}\nMADE={work}/made UNFINISHED={work}/mark\n{command.replace('WORK', str(work))}")
    return [line.strip() for line in (place / "order").read_text().splitlines()]


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_another(tmp_path: Path) -> None:
    """After a power cut the name of an empty file could be there, with other people's lines lost."""
    assert _order(tmp_path, f"put_text WORK/f {_OWNER} 0600 text") == [
        "sync .f.one-bootstrap",
        "mv -f .f.one-bootstrap f",
    ]


def test_so_is_the_repositorys_key(tmp_path: Path) -> None:
    order = _order(tmp_path, "DEBIAN_KEY=WORK/key DEBIAN_LIST=WORK/list DIRECTORY=x; chown() { :; }; debian_repository")
    assert order.index("sync key.one-bootstrap") + 1 == order.index("mv -f key.one-bootstrap key")


def test_the_record_and_the_mark_are_there_before_what_they_stand_for(tmp_path: Path) -> None:
    install = "EXTRA=x FAMILY=none; none_install() { made file /a; told install; }; package"
    record = ["sync .made.one-bootstrap", "mv -f .made.one-bootstrap made", "sync work"]
    assert _order(tmp_path, install) == ["touch mark", "sync mark work", *record, "install"]


def test_a_disk_that_is_found_full_only_then_is_told_and_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("before\n")
    full = "sync() { echo 'sync: error syncing: No space left on device' >&2; return 1; }"
    done = _run(f"{full}\nput_text {tmp_path}/f {_OWNER} 0600 text", check=False)
    assert f"{tmp_path}/f cannot be written: sync: error syncing: No space left on device; next: " in done.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("f", "before\n")]


def test_a_wrong_mode_alone_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("text\n")
    file.chmod(0o666)
    assert _run(f"put_text {file} {_OWNER} 0600 text").stdout == "changes=here\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_told_with_the_reason_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("before\n")
    done = _run(f"trap '' XFSZ; ulimit -f 0; put_text {file} {_OWNER} 0600 text", check=False)
    assert done.returncode == 1
    assert f"{file} cannot be written: cat: write error: File too large; next: see 'df" in done.stderr
    assert [(path, path.read_text()) for path in tmp_path.iterdir()] == [(file, "before\n")]


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious\n")
    (tmp_path / "link").symlink_to(target)
    for words in ("put_text {} {} 0600 text", "put_block {} {} 0600 top text"):
        done = _run(words.format(tmp_path / "link", _OWNER), check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(f"one-bootstrap: kvm-1: here: {tmp_path}/link is a symbolic link; next: ")
    assert target.read_text() == "precious\n"


@given(lines=_LINES, where=st.sampled_from(["top", "bottom"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_other_lines_stay_and_the_second_time_changes_nothing(tmp_path: Path, lines: list[str], where: str) -> None:
    file = tmp_path / "f"
    file.write_text("".join(f"{line}\n" for line in lines))
    assert _block(file, "ours", where) == "changes=here\n"
    assert _block(file, "ours", where) == "changes=\n"
    kept = file.read_text().splitlines()
    at = kept.index("ours")
    assert kept[at - 1].startswith("# BEGIN opennebula control plane")
    assert kept[at + 1] == "# END opennebula control plane"
    others = kept[: at - 1] + kept[at + 2 :]
    while lines and not lines[-1]:
        lines.pop()  # empty lines at the end of a file are not worth keeping
    assert others == lines


def test_an_old_block_gives_way_to_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("before\n")
    _block(file, "old key")
    file.write_text(file.read_text() + "after\n")
    _block(file, "new key")
    text = file.read_text()
    assert "old key" not in text
    assert text.splitlines()[:2] == ["before", "after"]


def test_an_empty_block_goes_away(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("mine\n")
    _block(file, "ours", "top")
    assert _block(file, "", "top") == "changes=here\n"
    assert file.read_text() == "mine\n"
    assert _block(tmp_path / "absent", "") == "changes=\n"
    assert not (tmp_path / "absent").exists()


def test_a_block_without_its_end_stops_the_run_and_keeps_the_file(tmp_path: Path) -> None:
    file = tmp_path / "f"
    _block(file, "ours")
    broken = file.read_text().replace("# END opennebula control plane", "operator's key")
    file.write_text(broken)
    done = _run(f"put_block {file} {_OWNER} 0600 bottom new", check=False)
    assert done.returncode == 1
    assert "has our first marker line but not the last; next: mend" in done.stderr
    assert file.read_text() == broken


def test_problems_are_told_together_in_one_line() -> None:
    done = _run("problem 'no disk' 'buy one'; problem 'no clock' 'set it'; settle", check=False)
    assert done.returncode == 1
    assert done.stderr == "one-bootstrap: kvm-1: here: no disk | no clock; next: buy one | set it\n"


@pytest.mark.parametrize("noise", ["a\nb", "  a \t b\r\n\n", "a\x1b[31m b"])
def test_foreign_output_becomes_one_line(noise: str) -> None:
    assert "\n" not in _run(f"printf %s {shlex.quote(noise)} | one_line").stdout.removesuffix("changes=\n").rstrip("\n")
