"""NFS mounts follow the configuration, with a mount and an umount that keep state; run by sh, without root."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from components.bootstrap.script import Mount, render
from components.bootstrap.undo import render_undo
from tests.bootstrap.examples import plan

_USER, _GROUP = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
# a target may not lie in /tmp, where this test has to work: this stands for the root of the host
_SLASH = "/srv/slash"
_MOUNT = r"""
echo "mount $*" >>"$PLACE/calls"
if [ "$1" = -t ]; then
    case $4 in *vers=1*) echo 'mount.nfs: an incorrect mount option was specified'; exit 32 ;; esac
    line="$5 $6 nfs $4 0 0"
else
    line=$(awk -v target="$1" '$2 == target' "$PLACE/fstab")
    [ -n "$line" ] || { echo "mount: $1: can't find in /etc/fstab."; exit 32; }
fi
echo "$line" >>"$PLACE/mounts"
"""
_UMOUNT = r"""
echo "umount $*" >>"$PLACE/calls"
if grep -qx "$1" "$PLACE/busy" 2>/dev/null; then echo "umount: $1: target is busy."; exit 32; fi
awk -v target="$1" '$2 != target' "$PLACE/mounts" >"$PLACE/mounts.new"
mv "$PLACE/mounts.new" "$PLACE/mounts"
"""
_OTHERS = "UUID=1 / ext4 defaults 0 1\n192.0.2.9:/own /srv/own nfs defaults 0 0\n"


class _Host:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.fstab, self.mounts, self.made = (place / name for name in ("fstab", "mounts", "made"))
        self.fstab.write_text(_OTHERS)
        self.mounts.write_text("192.0.2.9:/own /srv/own nfs rw 0 0\n")
        (place / "tools").mkdir()
        for name, text in (("mount", _MOUNT), ("umount", _UMOUNT), ("getent", "exit 0")):
            tool = place / "tools" / name
            tool.write_text(f"#!/bin/sh\nPLACE={place}\n{text}")
            tool.chmod(0o755)

    def mount(self, name: str, source: str = "nfs:/", options: str = Mount.options) -> Mount:
        return Mount(source=f"{source}{name}", target=f"{_SLASH}/{name}", options=options)

    def prepare(self, *mounts: Mount, before: str = "", call: str = "storage_preflight; settle; storage") -> str:
        """Changes, or the complaint."""
        return self._run(render(plan(mounts=mounts)).removesuffix("main </dev/null\n"), before, call)

    def undo(self) -> str:
        return self._run(render_undo("kvm-1", uninstall=False).removesuffix("undo </dev/null\n"), "", "undo_mounts")

    def mounted(self) -> list[str]:
        return [line.split()[1].removeprefix(f"{self.place}/") for line in self.mounts.read_text().splitlines()][1:]

    def calls(self) -> Sequence[str]:
        file = self.place / "calls"
        found = file.read_text().splitlines() if file.exists() else []
        file.write_text("")
        return [line.replace(f"{self.place}/", "") for line in found]

    def _run(self, functions: str, before: str, call: str) -> str:
        script = (
            (
                f"{functions}STEP=here\nPATH={self.place}/tools:$PATH; WORK={self.place}/tools; LOG={self.place}/log; MADE={self.made}\n"
                f"FSTAB={self.fstab}; MOUNTS={self.mounts}; ONE_USER={_USER}; FAMILY=debian; trap 'exit 143' TERM\n"
                f"debian_installed() {{ echo 1; }}\n{before}\n{call}\nsettle\nprintf '%s' \"$CHANGES\"\n"
            )
            .replace("root:root", f"{_USER}:{_GROUP}")
            .replace(_SLASH, str(self.place))
        )
        done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode == 0) == (done.stderr == ""), done.stderr
        return done.stdout if done.returncode == 0 else done.stderr


@pytest.fixture
def host(tmp_path: Path) -> _Host:
    return _Host(tmp_path)


def test_the_last_mount_goes_with_its_line_its_directory_and_nothing_else(host: _Host) -> None:
    assert host.prepare(host.mount("a")) == "here"
    assert (host.mounted(), (host.place / "a").is_dir()) == (["a"], True)
    assert host.prepare(host.mount("a")) == ""
    assert host.prepare() == "here"
    assert (host.mounted(), host.fstab.read_text()) == ([], _OTHERS)
    assert not (host.place / "a").exists()
    assert not host.made.exists()
    host.calls()
    assert host.prepare() == ""
    assert host.calls() == []


def test_a_table_without_lines_of_ours_is_not_even_rewritten(host: _Host) -> None:
    host.fstab.write_text(f"{_OTHERS}\n\n")
    host.fstab.chmod(0o664)
    assert host.prepare() == ""
    assert (host.fstab.read_text(), host.fstab.stat().st_mode & 0o777) == (f"{_OTHERS}\n\n", 0o664)


def test_one_of_two_goes_and_what_lies_in_another_goes_before_it(host: _Host) -> None:
    inner = Mount(source="nfs:/in", target=f"{_SLASH}/a/in")
    host.prepare(host.mount("a"), inner, host.mount("b"))
    host.calls()
    assert host.prepare(host.mount("b")) == "here"
    assert host.calls() == ["umount a/in", "umount a"]
    assert host.mounted() == ["b"]
    assert [line.split()[0] for line in host.fstab.read_text().splitlines() if line.startswith("nfs:")] == ["nfs:/b"]


def test_a_mount_in_use_is_told_and_nothing_is_lost(host: _Host) -> None:
    host.prepare(host.mount("a"), host.mount("b"))
    before = host.fstab.read_text(), host.made.read_text()
    (host.place / "busy").write_text(f"{host.place}/a\n")
    told = host.prepare(host.mount("b"))
    assert f"here: {host.place}/a cannot be unmounted: umount: {host.place}/a: target is busy.; next: fuser -vm" in told
    assert (host.fstab.read_text(), host.made.read_text()) == before
    assert host.mounted() == ["a", "b"]
    (host.place / "busy").unlink()
    assert host.prepare(host.mount("b")) == "here"
    assert host.mounted() == ["b"]


def test_what_was_mounted_before_us_stays_mounted_and_ours_of_somebody_elses_source_too(host: _Host) -> None:
    with host.mounts.open("a") as file:
        file.write(f"nfs:/a {host.place}/a nfs rw 0 0\n")
    (host.place / "a").mkdir()
    assert host.prepare(host.mount("a")) == "here"
    assert f"{host.place}/a stays mounted from nfs:/a, as it was before" in host.prepare()
    assert (host.mounted(), host.fstab.read_text()) == (["a"], _OTHERS)
    assert not host.made.exists()
    host.mounts.write_text("")
    host.prepare(host.mount("b"))
    host.mounts.write_text(f"own /srv/own nfs rw 0 0\nelsewhere:/ {host.place}/b nfs rw 0 0\n")
    assert host.prepare() == "here"
    assert host.mounted() == ["b"]


def test_another_source_takes_the_place_of_ours_and_never_of_somebody_elses(host: _Host) -> None:
    host.prepare(host.mount("a"))
    host.calls()
    assert host.prepare(host.mount("a", source="new:/")) == "here"
    assert host.calls() == ["umount a", "mount a"]
    assert f"new:/a {host.place}/a" in host.mounts.read_text()
    host.mounts.write_text(host.mounts.read_text().replace("new:/a", "elsewhere:/"))
    assert f"{host.place}/a is mounted from elsewhere:/ already, not from nfs:/a" in host.prepare(host.mount("a"))


def test_a_source_is_written_as_the_kernel_shows_it(host: _Host) -> None:
    assert host.prepare(host.mount("a", source="nfs:/export/", options="hard")) == "here"
    trailing = Mount(source="nfs:/export/b//", target=f"{_SLASH}/b")
    assert trailing == Mount(source="nfs:/export/b", target=f"{_SLASH}/b")
    assert Mount(source="nfs:/", target=f"{_SLASH}/b").source == "nfs:/"
    host.prepare(trailing)
    host.mounts.write_text(host.mounts.read_text().replace("nfs:/export/b/", "nfs:/export/b"))  # nfs_path of the kernel
    assert host.prepare(trailing) == ""


def test_a_line_of_an_earlier_program_with_a_slash_more_is_still_ours(host: _Host) -> None:
    host.prepare(host.mount("export/a"))
    host.fstab.write_text(host.fstab.read_text().replace("nfs:/export/a ", "nfs:/export/a/ "))
    before = host.made.read_text()
    assert host.prepare(host.mount("export/a")) == "here"
    assert (f"nfs:/export/a {host.place}" in host.fstab.read_text(), host.made.read_text()) == (True, before)
    host.fstab.write_text(host.fstab.read_text().replace("nfs:/export/a ", "nfs:/export/a/ "))
    assert host.prepare() == "here"
    assert (host.mounted(), host.fstab.read_text()) == ([], _OTHERS)


def test_an_address_in_brackets_is_no_pattern(host: _Host) -> None:
    source = "[fd00::1]:/"
    host.prepare(host.mount("a", source=source))
    assert host.prepare(host.mount("a", source="nfs:/")) == "here"  # ours gives way
    host.mounts.write_text(host.mounts.read_text().replace("nfs:/a", "f:/a"))
    fstab = host.fstab.read_text()
    host.fstab.write_text(fstab.replace("nfs:/a", "[fd00::1]:/a"))
    assert "a is mounted from f:/a already" in host.prepare(host.mount("a", source="x:/"))


def test_a_target_behind_a_symbolic_link_is_refused_with_its_real_name(host: _Host) -> None:
    """The kernel lists what is mounted by that."""
    (host.place / "real").mkdir()
    (host.place / "link").symlink_to(host.place / "real")
    before = host.fstab.read_text()
    told = host.prepare(host.mount("link/a"))
    assert f"{host.place}/link/a lies behind a symbolic link; next: name {host.place}/real/a in the config" in told
    assert host.fstab.read_text() == before
    assert host.prepare(host.mount("real/a")) == "here"


def test_other_options_are_mounted_anew_or_told_with_the_former_ones_back(host: _Host) -> None:
    host.prepare(host.mount("a"))
    host.calls()
    assert host.prepare(host.mount("a", options="vers=4.2,soft")) == "here"
    assert host.calls() == ["umount a", "mount -t nfs -o vers=4.2,soft nfs:/a a"]
    assert f"nfs:/a {host.place}/a nfs vers=4.2,soft 0 0\n" in host.fstab.read_text()
    assert host.prepare(host.mount("a", options="vers=4.2,soft")) == ""
    before = host.fstab.read_text()
    told = host.prepare(host.mount("a", options="vers=1"))
    assert "cannot be mounted with the options vers=1: mount.nfs: an incorrect mount option was specified" in told
    assert (host.mounted(), host.fstab.read_text()) == (["a"], before)
    (host.place / "busy").write_text(f"{host.place}/a\n")
    assert "cannot be unmounted: " in host.prepare(host.mount("a", options="hard"))
    assert (host.mounted(), host.fstab.read_text()) == (["a"], before)


def test_a_run_that_was_cut_between_two_steps_is_completed_by_the_next(host: _Host) -> None:
    """Cut after the unmounting, before the line goes; and after the new options, before the line has them."""
    cut = "put_block() { exit 9; }; drop_block() { exit 9; }"
    host.prepare(host.mount("a"))
    ended = "storage_preflight; (storage) || true"
    host.prepare(before=cut, call=ended)
    assert (host.mounted(), f"{host.place}/a nfs" in host.fstab.read_text()) == ([], True)
    assert host.prepare() == "here"
    assert host.fstab.read_text() == _OTHERS
    host.prepare(host.mount("a"))
    host.prepare(host.mount("a", options="soft"), before=cut, call=ended)
    assert f"{host.place}/a nfs {Mount.options}" in host.fstab.read_text()
    assert host.prepare(host.mount("a", options="soft")) == "here"
    assert (host.mounted(), f"{host.place}/a nfs soft" in host.fstab.read_text()) == (["a"], True)


def test_a_mount_whose_server_is_gone_is_told_before_anything_is_touched(host: _Host) -> None:
    host.prepare(host.mount("a"))
    hung = 'timeout() { case $* in *stat\\ *) return 124 ;; *) command timeout "$@" ;; esac; }'
    told = host.prepare(host.mount("a"), before=hung)
    assert f"{host.place}/a, mounted from nfs:/a, does not answer; next: mend its server, or umount -f -l" in told
    assert host.mounted() == ["a"]


def test_undo_takes_back_what_is_left(host: _Host) -> None:
    host.prepare(host.mount("a"), host.mount("b"))
    assert host.undo() == "here"
    assert (host.mounted(), host.fstab.read_text()) == ([], _OTHERS)
    assert sorted(path.name for path in host.place.iterdir() if path.is_dir()) == ["tools"]
