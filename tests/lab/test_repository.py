"""The lab's package archive: its signature holds for a stranger, its sums are right, and sources decide its place."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest

from components.bootstrap import openpgp
from lab import debs, repository
from lab.repository import RepositoryInfo


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def archive(cache: Path) -> RepositoryInfo:
    return repository.ensure_repository(None, root=cache)


def _verify(archive: RepositoryInfo, place: Path, *files: str | Path) -> subprocess.CompletedProcess[str]:
    keyring = place / "key.gpg"
    keyring.write_bytes(openpgp.dearmor(archive.key_armored))
    command = ["gpgv", "--keyring", keyring, *files]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_signatures_hold_with_the_public_key_alone(archive: RepositoryInfo, tmp_path: Path) -> None:
    suite = archive.directory / "dists" / "stable"
    inline = _verify(archive, tmp_path, suite / "InRelease")
    assert inline.returncode == 0
    assert archive.fingerprint in inline.stderr
    assert _verify(archive, tmp_path, suite / "Release.gpg", suite / "Release").returncode == 0


def test_a_changed_byte_breaks_the_signature(archive: RepositoryInfo, tmp_path: Path) -> None:
    suite = archive.directory / "dists" / "stable"
    forged = tmp_path / "Release"
    forged.write_text((suite / "Release").read_text().replace("stable", "stabler", 1))
    assert _verify(archive, tmp_path, suite / "Release.gpg", forged).returncode != 0


def test_every_sum_is_right_from_the_signature_down_to_the_packages(archive: RepositoryInfo) -> None:
    suite = archive.directory / "dists" / "stable"
    sums = [line.split() for line in (suite / "Release").read_text().splitlines() if line.startswith(" ")]
    assert {name for _, _, name in sums} == {f"opennebula/binary-{arch}/Packages" for arch in ("amd64", "arm64")}
    for sha256, size, name in sums:
        assert debs.sha256(suite / name) == sha256
        assert (suite / name).stat().st_size == int(size)
    stanzas = (suite / "opennebula/binary-amd64/Packages").read_text().strip().split("\n\n")
    assert len(stanzas) == len(debs.packages())
    for stanza in stanzas:
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if not line.startswith(" "))
        assert debs.sha256(archive.directory / fields["Filename"]) == fields["SHA256"]


def test_the_secret_key_stays_out_of_what_is_served(archive: RepositoryInfo, cache: Path) -> None:
    secret = cache / "signing" / "repository" / "secret.asc"
    assert secret.stat().st_mode & 0o777 == 0o600
    body = "".join(secret.read_text().splitlines()[2:-2])
    assert len(base64.b64decode(body)) > 40
    for path in archive.directory.rglob("*"):
        assert not path.is_file() or b"PRIVATE" not in path.read_bytes()


def test_the_second_call_finds_what_the_first_made(archive: RepositoryInfo, cache: Path) -> None:
    before = archive.directory.stat().st_mtime_ns
    assert repository.ensure_repository(None, root=cache) == archive
    assert archive.directory.stat().st_mtime_ns == before


def test_other_sources_go_to_another_place(
    archive: RepositoryInfo, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "node"
    shutil.copytree(debs.SOURCES, sources, symlinks=True)
    monkeypatch.setattr(debs, "SOURCES", sources)
    assert repository.ensure_repository(None, root=cache) == archive
    postinst = sources / "opennebula-node-kvm" / "DEBIAN" / "postinst"
    postinst.write_text(postinst.read_text() + "# changed\n")
    assert repository.ensure_repository(None, root=cache).directory != archive.directory


def test_what_a_tree_lacks_is_said_once(cache: Path, tmp_path: Path) -> None:
    """`make up` asks twice: for the images' packages and for the hosts'."""
    place = tmp_path / "etc/sudoers.d/opennebula"
    place.parent.mkdir(parents=True)
    place.write_text("# the real one\n")
    lines: list[str] = []
    repository.ensure_repository(tmp_path, lines.append, root=cache)
    (line,) = lines
    assert line.startswith(
        f"hosts' packages: from the stand-in, because {tmp_path} lacks them: etc/cron.d/opennebula-node, "
    )
    assert "etc/sudoers.d/opennebula," not in line
    assert "\n" not in line

    repository.ensure_repository(None, lines.append, root=cache)
    server = repository.Server(tree=tmp_path, version="7.4.0-1")
    repository.ensure_repository(tmp_path, lines.append, root=cache, server=server)
    assert [found for found in lines if "because" in found] == [line]
