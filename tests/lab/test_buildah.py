"""The lab's own store of buildah: who may use it, what a killed build leaves, what is given to it and taken out.

In front, a program in buildah's place; at the end the real one, whose build is killed while a step runs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lab import buildah, packages, rootfs
from lab.errors import LabError
from lab.layers import layer
from lab.oci import Config, Image

FAKE = """#!/bin/sh
printf '%s\\n' "$*" >>"{place}/calls"
env >"{place}/environment"
[ ! -e "{place}/do" ] || . "{place}/do"
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A buildah that writes its words down, then does what the file `do` says."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "buildah").write_text(FAKE.format(place=tmp_path))
    # Namespaces need root; what matters here is what is run in them.
    (programs / "unshare").write_text('#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr("lab.paths.CACHE", tmp_path / "cache")
    monkeypatch.setattr(packages, "ensure_system_packages", lambda needed, report: None)
    return tmp_path


def quiet(line: str) -> None:
    """No progress."""


def mark(place: Path) -> Path:
    path: Path = place / "cache/buildah/store/layer"
    path.touch()
    return path


def test_a_store_is_kept_from_one_build_to_the_next(place: Path) -> None:
    with buildah.opened(quiet) as tool:
        kept = mark(place)
        tool.run([*tool.options, "build", "x"], "a build")
    with buildah.opened(quiet):
        assert kept.exists()
    assert not (place / "cache/buildah/work").exists()


def test_the_tool_is_installed_when_it_is_missing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(needed: Mapping[str, str], report: object) -> None:
        assert needed["buildah"] == "buildah"
        raise LabError("`apt-get install buildah` failed", cause="no mirror")

    monkeypatch.setattr(packages, "ensure_system_packages", missing)
    with pytest.raises(LabError, match="apt-get install buildah"), buildah.opened(quiet):
        pass
    assert not (place / "cache").exists()


def test_a_build_that_fails_by_itself_costs_nothing_else(place: Path) -> None:
    with buildah.opened(quiet) as tool:
        kept = mark(place)
        (place / "do").write_text("echo step 3; echo no such package >&2; exit 100")
        with pytest.raises(LabError, match="the image of x: buildah failed") as failed:
            tool.run(["build"], "the image of x")
    assert "step 3" in failed.value.cause and "no such package" in failed.value.cause
    (place / "do").unlink()
    with buildah.opened(quiet):
        assert kept.exists()


@pytest.mark.parametrize("how", ["kill -9 $$", "exit 137", "sleep 6"])
def test_what_a_killed_build_left_is_thrown_away(how: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with buildah.opened(quiet) as tool:
        lost = mark(place)
        (place / "do").write_text(how)
        if how.startswith("sleep"):
            monkeypatch.setattr(buildah, "_LIMIT", 0.5)
        with pytest.raises(LabError):
            tool.run(["build"], "a build")
        (place / "do").unlink()
    with buildah.opened(quiet) as tool:
        assert not lost.exists()
        kept = mark(place)
        tool.run(["build"], "the next")
    with buildah.opened(quiet):
        assert kept.exists()


def test_an_interrupted_run_counts_as_killed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*words: object, **more: object) -> None:
        raise KeyboardInterrupt

    with buildah.opened(quiet) as tool:
        lost = mark(place)
        monkeypatch.setattr(subprocess, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tool.run(["build"], "a build")
        monkeypatch.undo()
    monkeypatch.setattr("lab.paths.CACHE", place / "cache")
    monkeypatch.setattr(packages, "ensure_system_packages", lambda needed, report: None)
    monkeypatch.setenv("PATH", f"{place}/bin:{os.environ['PATH']}")
    with buildah.opened(quiet):
        assert not lost.exists()


def test_a_store_that_has_grown_is_begun_anew(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with buildah.opened(quiet):
        mark(place).write_bytes(b"x" * 100_000)
    monkeypatch.setattr(buildah, "_STORE_LIMIT", 10_000)
    with buildah.opened(quiet):
        assert list((place / "cache/buildah/store").iterdir()) == []


def test_the_machines_own_settings_stay_out_of_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE_AUTH", "oneadmin:secret")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/root/auth.json")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    with buildah.opened(quiet) as tool:
        tool.run(["build"], "a build")
    found = dict(line.split("=", 1) for line in (place / "environment").read_text().splitlines() if "=" in line)
    assert found["https_proxy"] == "http://proxy:3128"
    assert found["HOME"] == found["TMPDIR"] == str(place / "cache/buildah/work")
    assert found["CONTAINERS_CONF"] == "/dev/null"
    assert not {"ONE_AUTH", "REGISTRY_AUTH_FILE"} & set(found)


def test_where_overlays_do_not_work_layers_are_copied(place: Path) -> None:
    with buildah.opened(quiet) as tool:
        assert tool.driver == "overlay"
    (place / "do").write_text('case "$*" in *overlay*) echo no overlay over overlay >&2; exit 125 ;; esac')
    with buildah.opened(quiet) as tool:
        assert tool.driver == "vfs"


def test_apt_has_this_machines_way_to_the_mirrors(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootfs, "apt_settings", lambda: ['Acquire::http::Proxy "http://user:word@proxy:3128";'])
    with buildah.opened(quiet) as tool:
        text = (tool.place / "apt.conf").read_text()
        words = " ".join(tool.build_options(Path("/archive")))
    assert "http://user:word@proxy:3128" in text
    # Over a file that is there and in directories that are there: nothing of it is left in a layer.
    assert f"--volume {tool.place}/apt.conf:/etc/apt/apt.conf.d/01autoremove:ro" in words
    assert "--volume /archive:/media:ro" in words
    assert "proxy" not in words


def exported(place: Path, diff_ids: list[str], digest: str = "sha256:aa") -> None:
    target = place / "cache/buildah/work/export"
    config = json.dumps({"rootfs": {"diff_ids": diff_ids}})
    manifest = {"config": {"digest": "sha256:cc"}, "layers": [{"digest": digest}]}
    (place / "do").write_text(
        f"mkdir -p {target}\nprintf %s '{json.dumps(manifest)}' >{target}/manifest.json\n"
        f"printf %s '{config}' >{target}/cc\nprintf hello >{target}/{digest.removeprefix('sha256:')}\n"
    )


def hello_file(path: Path) -> None:
    path.write_text("hello")


def test_layers_come_out_under_their_own_digest(place: Path) -> None:
    hello = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    with buildah.opened(quiet) as tool:
        exported(place, [hello], hello)
        config, (found,) = tool.export("localhost/x:1", ())
        assert json.loads(config)["rootfs"]["diff_ids"] == [found.digest] == [hello]
        assert found.path.read_text() == "hello"
        known = layer("known", hello_file)
        assert tool.export("localhost/x:1", (known,))[1] == (known,)


def test_compressed_or_broken_layers_are_refused(place: Path) -> None:
    with buildah.opened(quiet) as tool:
        exported(place, ["sha256:bb"])
        with pytest.raises(LabError, match="compressed"):
            tool.export("localhost/x:1", ())
        exported(place, ["sha256:aa"])
        with pytest.raises(LabError, match="layer sha256:aa has the content of"):
            tool.export("localhost/x:1", ())


# ---- the real one


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own, with a base image that has a shell and nothing else."""
    packages.ensure_system_packages(buildah.NEEDED)
    monkeypatch.setattr("lab.paths.CACHE", tmp_path / "cache")
    yield tmp_path / "cache"
    assert [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(tmp_path) in line] == []


def shell_image() -> Image:
    """This machine's sh with its libraries."""

    def write(out: Path) -> None:
        ldd = subprocess.run(["ldd", "/bin/sh", "/bin/sleep"], capture_output=True, text=True, check=True).stdout
        libraries = {word for word in ldd.split() if word.startswith("/") and not word.endswith(":")}
        words = ["tar", "--dereference", "--absolute-names", "--transform", "s,^/,,", "-cf", str(out)]
        subprocess.run([*words, "/bin/sh", "/bin/sleep", *sorted(libraries)], check=True)

    config = Config(entrypoint=(), command=("/bin/sh",))
    return Image("localhost/onelab/base", "0", (layer("shell", write),), config)


BUILD = """
import sys
from pathlib import Path
from lab import buildah, paths
paths.CACHE = Path(sys.argv[1])
with buildah.opened(print) as tool:
    words = ["--isolation", "chroot", "--pull-never", "--layers", "--file", sys.argv[2], "--tag", "localhost/x:1"]
    tool.run([*tool.options, "build", *words, sys.argv[3]], "x")
"""


@pytest.mark.engine
def test_a_killed_build_ends_whole_and_the_next_one_is_right(cache: Path, tmp_path: Path) -> None:
    base = shell_image()
    with buildah.opened(quiet) as tool:
        tool.bring(base)
        assert tool.has(base.reference)
    context = tmp_path / "context"
    context.mkdir()
    file = context / "Containerfile"
    token = f"600.{os.getpid()}"
    file.write_text(f"FROM {base.reference}\nRUN echo half >/file; sleep {token}\nRUN echo never >/never\n")
    words = [sys.executable, "-c", BUILD, str(cache), str(file), str(context)]
    with subprocess.Popen(words, cwd=Path(__file__).parents[2]) as building:
        assert until(lambda: running(token)), "the step never began"
        building.kill()
    file.write_text(f"FROM {base.reference}\nRUN echo whole >/file\n")
    late: list[int] = []
    rescue = threading.Timer(60, lambda: late.extend(end(token)))
    rescue.start()  # a step that goes on would hold the lock for good
    with buildah.opened(quiet) as tool:
        rescue.cancel()
        assert not late and not running(token), "the step outlives its build, or the lock"
        assert not tool.has(base.reference), "a store of unknown state is used again"
        tool.bring(base)
        options = ["--isolation", "chroot", "--pull-never", "--layers", "--tag", "localhost/x:1"]
        tool.run([*tool.options, "build", *options, "--file", str(file), str(context)], "x")
        config, layers = tool.export("localhost/x:1", base.layers)
    assert layers[0].digest == base.layers[0].digest, "the base is not the same bytes"
    assert len(json.loads(config)["rootfs"]["diff_ids"]) == len(layers) == 2
    text = subprocess.run(["tar", "-xOf", layers[1].path, "file"], capture_output=True, text=True, check=True).stdout
    assert text == "whole\n"


def end(token: str) -> list[int]:
    found = running(token)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return found


def running(token: str) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", token.encode()]:
            found.append(int(place.name))
    return found


def until(condition: object, limit: float = 60) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False
