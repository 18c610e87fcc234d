"""`make images`: what it refuses before the first step, and what it asks the tool for."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from images import build
from images.build import HERE, Request
from lab.errors import LabError
from tests.openpgp_key import ARMORED, FINGERPRINT

CONTAINERFILE = (HERE / "Containerfile").read_text()
ALL = ("oned", "fireedge", "oneflow", "onegate")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """buildah and docker that write their words down and fail when told so; every entrypoint directory is there."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in build.TOOLS:
        script = place / name
        script.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >>"{tmp_path}/calls"\necho "$DOCKER_BUILDKIT" >"{tmp_path}/buildkit"\n'
            f'for last; do :; done\nif [ -d "$last" ]; then (cd "$last" && find . -type f | sort) >"{tmp_path}/context"; fi\n'
            f'if [ -e "{tmp_path}/fail" ]; then echo "step 3: no such package" >&2; exit 7; fi\n'
        )
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    here = tmp_path / "images"
    for directory in ("oned", "fireedge", "oneflow", "onegate", "service", "sunstone", "packaging", "secrets"):
        (here / directory).mkdir(parents=True)
        (here / directory / "start").write_text("#!/bin/sh\n")
    (here / "Containerfile").write_text(CONTAINERFILE)
    monkeypatch.setattr(build, "HERE", here)
    return tmp_path


def request(**changes: Any) -> Request:
    fields: dict[str, Any] = {
        "registry": "registry.example/one",
        "version": "7.4",
        "key": ARMORED,
        "fingerprint": FINGERPRINT,
        "targets": ("oned",),
        "tool": "buildah",
    }
    return Request(**(fields | changes))


def test_every_target_of_the_containerfile_is_known_and_the_other_way_round() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", CONTAINERFILE, re.MULTILINE)
    assert set(stages) - {"keyring", "common"} == set(build.targets("6.10"))
    assert build.targets("7.4") == build.targets("7.4.0") == ALL
    assert build.targets("6.10.5") == (*ALL, "sunstone")


def test_every_target_ends_as_a_user_without_rights_under_tini() -> None:
    for stage in re.split(r"^FROM ", CONTAINERFILE, flags=re.MULTILINE)[3:]:
        name = stage.split()[2]
        user = re.search(r"^USER (\d+):\1$", stage, re.MULTILINE)
        assert user is not None and int(user[1]) == (9869 if name == "oned" else 19869), name
        assert f'title="{name}"' in stage
        assert stage.index("COPY") < stage.index("USER")
    assert 'ENTRYPOINT ["/usr/bin/tini", "--"]' in CONTAINERFILE


def test_nothing_is_copied_but_entrypoints() -> None:
    copied = re.findall(r"^COPY (?:--from=\S+ )?(.+) \S+$", CONTAINERFILE, re.MULTILINE)
    assert {word.rstrip("/") for line in copied for word in line.split()} == {
        *(
            "packaging/keyring.sh",
            "packaging/install.sh",
            "packaging/source.sh",
            "repository.asc",
            "/build/opennebula.gpg",
        ),
        *("oned", "service", "fireedge", "oneflow", "onegate", "sunstone"),
    }
    assert "opennebula-migration" not in CONTAINERFILE
    assert "ADD " not in CONTAINERFILE and "curl -" not in CONTAINERFILE


def test_the_tool_gets_the_target_its_name_and_the_arguments(tools: Path) -> None:
    found = build.build(request(targets=ALL, base="debian:12.15-slim", repository="http://lab:8080"))
    assert found["oneflow"] == "registry.example/one/oneflow:7.4"
    calls = (tools / "calls").read_text().splitlines()
    assert [call.split("--target ")[1].split()[0] for call in calls] == list(ALL)
    for word in (
        "buildah build ",
        "--tag registry.example/one/oned:7.4",
        "--build-arg OPENNEBULA_VERSION=7.4",
        f"--build-arg KEY_FINGERPRINT={FINGERPRINT.replace(' ', '').upper()}",
        "--build-arg BASE=debian:12.15-slim",
        "--build-arg REPOSITORY=http://lab:8080",
    ):
        assert word in calls[0]
    assert "BASE" not in " ".join(build.command(request(), "oned", Path("/x")))


MARKER = "token-7f3a9c"
LOGIN = f"machine enterprise.opennebula.io\nlogin customer\npassword {MARKER}\n"


def test_a_login_is_a_file_that_the_tool_mounts_and_nothing_else(
    tools: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tools / "auth.conf").write_text(LOGIN)
    monkeypatch.chdir(tools)
    monkeypatch.setenv("AUTH", "auth.conf")
    monkeypatch.setenv("REPOSITORY", "https://enterprise.opennebula.io/repo/7.4/Debian/12")
    (tools / "key.asc").write_text(ARMORED)
    words = ["registry.example/one", "7.4", "--key", str(tools / "key.asc"), "--fingerprint", FINGERPRINT]
    for tool in build.TOOLS:
        assert build.main([*words, "--tool", tool]) == 0
        assert (tools / "buildkit").read_text() == "1\n", "docker 20.10 of Debian 12 mounts no secret without"
    calls = (tools / "calls").read_text().splitlines()
    assert len(calls) == 2 * len(ALL)
    assert all(f"--secret id=apt-auth,src={tools}/auth.conf " in call for call in calls)
    (tools / "fail").touch()
    assert build.main(words) == 1
    said = capfd.readouterr()
    assert MARKER not in said.out + said.err + (tools / "calls").read_text()
    with build.prepared(ARMORED) as context:
        assert not any(MARKER in path.read_text() for path in context.rglob("*") if path.is_file())


def test_no_login_no_mount() -> None:
    assert "--secret" not in build.command(request(), "oned", Path("/x"))


def test_every_step_that_uses_apt_may_have_the_login_and_none_needs_it() -> None:
    steps = re.findall(r"^RUN ((?:.*\\\n)*.*)$", CONTAINERFILE, re.MULTILINE)
    mount = f"--mount=type=secret,id={build.SECRET},target=/etc/apt/auth.conf.d/build.conf,required=false "
    with_apt = [step for step in steps if "install.sh" in step or "keyring.sh" in step]
    assert len(with_apt) == 9
    for step in steps:
        assert step.startswith(mount) is (step in with_apt), step


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (f"https://{MARKER}@enterprise.opennebula.io/repo/7.4/Debian/12", "enterprise.opennebula.io"),
        (f"https://customer:{MARKER}@mirror.example:8443/one", "mirror.example:8443"),
        (f"https://customer:half/{MARKER}@mirror.example/one", "HOST"),
        (f"https://mirror.example/one@{MARKER}", "HOST"),
        (f"customer@{MARKER}", "HOST"),
    ],
)
def test_a_repository_with_a_login_is_refused_without_repeating_it(tools: Path, url: str, host: str) -> None:
    with pytest.raises(LabError) as caught:
        build.build(request(repository=url))
    said = str(caught.value)
    assert "REPOSITORY has a login in it" in said and f"AUTH=FILE with a FILE that says: machine {host} login" in said
    assert MARKER not in said
    assert not (tools / "calls").exists()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (MARKER, None, "AUTH is no file that can be read: No such file"),
        ("auth.conf", f"deb https://{MARKER}@enterprise.opennebula.io", "has no machine and no login and no password"),
        ("auth.conf", f"machine enterprise.opennebula.io login {MARKER}", "has no password"),
        ("a,b.conf", LOGIN, "with a comma or a quote"),
        ('a"b.conf', LOGIN, "with a comma or a quote"),
    ],
)
def test_a_login_that_apt_could_not_use_is_refused(tools: Path, name: str, text: str | None, words: str) -> None:
    if text is not None:
        (tools / name).write_text(text)
    with pytest.raises(LabError) as caught:
        build.build(request(auth=str(tools / name)))
    assert words in str(caught.value) and MARKER not in str(caught.value)
    assert not (tools / "calls").exists()


def source(tmp_path: Path, repository: str) -> subprocess.CompletedProcess[str]:
    """The step that writes apt's list, run as it is but for the path."""
    script = (HERE / "packaging/source.sh").read_text().replace("/etc/apt/sources.list.d", str(tmp_path))
    words = ["sh", "-c", script, "source.sh", repository, "stable", "opennebula"]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_the_containerfile_alone_refuses_a_login_too(tmp_path: Path) -> None:
    """Somebody may call buildah without the module."""
    done = source(tmp_path, f"https://{MARKER}@enterprise.opennebula.io/repo/7.4/Debian/12")
    assert done.returncode == 1 and "--secret id=apt-auth,src=FILE" in done.stderr
    assert MARKER not in done.stdout + done.stderr and list(tmp_path.iterdir()) == []
    assert source(tmp_path, "https://enterprise.opennebula.io/repo/7.4/Debian/12").returncode == 0
    assert (tmp_path / "opennebula.list").read_text() == (
        "deb [signed-by=/etc/apt/keyrings/opennebula.gpg] https://enterprise.opennebula.io/repo/7.4/Debian/12 stable opennebula\n"
    )


def test_make_hands_every_word_of_the_images_on() -> None:
    makefile = (HERE.parent / "Makefile").read_text()
    (exported,) = re.findall(r"^export (FINGERPRINT .*)$", makefile, re.MULTILINE)
    asked = re.findall(r'environ\.get\("([A-Z_]+)"\)', (HERE / "build.py").read_text())
    assert set(exported.split()) == set(asked)
    head = makefile.partition("\n\n")[0]
    assert all(word in head for word in asked)


def test_the_context_has_nothing_else_of_the_checkout(tools: Path) -> None:
    build.build(request())
    context = (tools / "context").read_text().split()
    assert "./repository.asc" in context and "./oned/start" in context
    assert not [name for name in context if "secrets" in name or name.endswith(".py")]


def test_modes_in_the_context_are_fixed(tools: Path) -> None:
    script = build.HERE / "oned" / "start"
    script.chmod(0o700)
    (build.HERE / "service" / "start").chmod(0o600)
    with build.prepared(ARMORED) as context:
        assert stat.S_IMODE((context / "oned" / "start").stat().st_mode) == 0o755
        assert stat.S_IMODE((context / "service" / "start").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "7.2"}, "VERSION=7.2 is none that this program deploys"),
        ({"version": "latest"}, "VERSION=7.4"),
        ({"registry": "https://registry.example"}, "no registry with a path"),
        ({"targets": ("sunstone",)}, "OpenNebula 7.4 has no sunstone"),
        ({"base": "debian"}, "is not pinned"),
        ({"base": "debian:latest"}, "is not pinned"),
        ({"fingerprint": "1234"}, "40 hex digits"),
        ({"fingerprint": "0" * 40}, "compare with a second source; nothing was built"),
        ({"key": "nonsense"}, "cannot be read"),
        ({"tool": "no-such-tool"}, "apt-get install buildah"),
    ],
)
def test_what_is_refused_before_the_first_step(tools: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LabError) as caught:
        build.build(request(**changes))
    assert words in str(caught.value)
    assert not (tools / "calls").exists()


def test_a_missing_entrypoint_is_named(tools: Path) -> None:
    (build.HERE / "oned" / "start").unlink()
    (build.HERE / "oned").rmdir()
    with pytest.raises(LabError, match="images/oned is missing"):
        build.build(request())


def test_a_failed_build_shows_the_tools_last_words(tools: Path) -> None:
    (tools / "fail").touch()
    with pytest.raises(LabError, match="no such package") as caught:
        build.build(request())
    assert "registry.example/one/oned:7.4" in str(caught.value)


def test_the_command_line(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tools / "key.asc"
    key.write_text(ARMORED)
    words = ["registry.example/one", "6.10", "--key", str(key), "--fingerprint", FINGERPRINT, "--tool", "docker"]
    assert build.main([*words, "--target", "sunstone", "--push"]) == 0
    calls = (tools / "calls").read_text().splitlines()
    assert calls[0].startswith("docker build ") and calls[1] == "docker push registry.example/one/sunstone:6.10"
    assert "sunstone: registry.example/one/sunstone:6.10" in capsys.readouterr().out


def test_without_a_fingerprint_no_key_is_even_fetched(
    tools: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FINGERPRINT", raising=False)
    assert build.main(["registry.example/one", "7.4"]) == 1
    assert "FINGERPRINT is missing" in capsys.readouterr().err


def test_a_key_file_that_is_not_there(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["registry.example/one", "7.4", "--key", "/nowhere", "--fingerprint", FINGERPRINT]) == 1
    assert "cannot be read from /nowhere" in capsys.readouterr().err


def test_all_arguments_are_looked_at_before_the_key_is_fetched(
    tools: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "key_text", lambda _file: pytest.fail("the key was fetched"))
    words = ["https://registry.example", "7.2", "--fingerprint", "12"]
    for name, value in {"TOOL": "podman", "BASE": "debian"}.items():
        monkeypatch.setenv(name, value)
    assert build.main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith("\nerror: 5 arguments are wrong; nothing was fetched or built\n")
    for name in (
        "TOOL=podman is unknown",
        "VERSION=7.2",
        "REGISTRY=https",
        "BASE=debian is not pinned",
        "40 hex digits",
    ):
        assert said.count(name) == 1, name
    assert not (tools / "calls").exists()


def test_no_argument_at_all_is_told_like_a_wrong_one(
    tools: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FINGERPRINT", "TOOL", "BASE"):
        monkeypatch.delenv(name, raising=False)
    assert build.main(["", ""]) == 1
    said = capsys.readouterr().err
    assert "3 arguments are wrong" in said and "next:  make images REGISTRY=" in said
