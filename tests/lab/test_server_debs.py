"""The server packages of the rehearsal: every file of the tree in exactly one of them, as the real archive has them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab import debs, repository, server_debs
from lab.images import STANDIN
from lab.server_debs import OPENNEBULA, PACKAGES, ServerPackage

VERSION = "7.4.0-1"


def package(name: str) -> ServerPackage:
    return next(found for found in PACKAGES if found.name == name)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree with every daemon."""
    root = tmp_path / "tree"
    for place in (
        "etc/one/oned.conf",
        "etc/one/oneflow-server.conf",
        "etc/one/fireedge/sunstone/sunstone-server.conf",
        "usr/bin/oned",
        "usr/lib/one/oneflow/oneflow-server.rb",
        "usr/lib/one/oneflower",
        "usr/lib/one/sunstone/sunstone-server.rb",
        "usr/share/one/guacd/sbin/guacd",
    ):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(place)
    (root / "usr/bin/oned").chmod(0o700)
    (root / "usr/bin/link").symlink_to("oned")
    (root / "packages.txt").write_text("python3 # why\nruby\n")
    (root / "packages-oneflow.txt").write_text("ruby-webrick\n")
    return root


def test_every_file_of_the_stand_in_is_in_exactly_one_package() -> None:
    files = [
        str(path.relative_to(STANDIN))
        for path in STANDIN.rglob("*")
        if (path.is_symlink() or path.is_file()) and "__pycache__" not in path.parts and path.parent != STANDIN
    ]
    packed = [place for found in PACKAGES for place in server_debs.contents(found, STANDIN)]
    assert sorted(packed) == sorted(files)


def test_what_belongs_to_whom(tree: Path) -> None:
    assert set(server_debs.contents(package("opennebula-flow"), tree)) == {
        "etc/one/oneflow-server.conf",
        "usr/lib/one/oneflow/oneflow-server.rb",
    }
    assert set(server_debs.contents(OPENNEBULA, tree)) == {
        "etc/one/oned.conf",
        "usr/bin/oned",
        "usr/bin/link",
        "usr/lib/one/oneflower",
    }
    assert set(server_debs.contents(package("opennebula-guacd"), tree)) == {"usr/share/one/guacd/sbin/guacd"}


def test_files_of_the_node_packages_are_in_those_alone(tree: Path, tmp_path: Path) -> None:
    """A tree of an installed OpenNebula has them too, and dpkg refuses a file that two packages bring."""
    for place in ("etc/sudoers.d/opennebula", "usr/share/one/ssh/config", "usr/share/one/gems/x.gem"):
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        (tree / place).write_text("the tree's own")
    packed = [place for found in PACKAGES for place in server_debs.contents(found, tree)]
    assert len(packed) == len(set(packed)) > 0
    assert not {place for place in packed if "sudoers" in place or "gems" in place or "one/ssh" in place}
    common = debs.build("opennebula-common", tree, tmp_path)
    subprocess.run(["dpkg-deb", "--extract", common, tmp_path / "out"], check=True)
    assert (tmp_path / "out/etc/sudoers.d/opennebula").read_text() == "the tree's own"


def test_empty_directories_come_along(tree: Path, tmp_path: Path) -> None:
    before = dict(server_debs.sources(tree))
    (tree / "var/lib/one/vms").mkdir(parents=True)
    (tree / "etc/sudoers.d").mkdir()
    (tree / "etc/sudoers.d/site").write_text("x")
    assert set(dict(server_debs.sources(tree))) - set(before) == {"var/lib/one/vms", "etc/sudoers.d/site:440"}
    deb = server_debs.build(OPENNEBULA, tree, VERSION, tmp_path)
    lines = subprocess.run(["dpkg-deb", "--contents", deb], capture_output=True, text=True, check=True).stdout
    assert "drwxr-xr-x root/root" in next(line for line in lines.splitlines() if line.endswith("./var/lib/one/vms/"))
    assert "-r--r-----" in next(line for line in lines.splitlines() if line.endswith("sudoers.d/site"))


def test_a_package_has_its_files_modes_and_dependencies(tree: Path, tmp_path: Path) -> None:
    deb = server_debs.build(OPENNEBULA, tree, VERSION, tmp_path)
    assert deb.name == "opennebula_7.4.0-1_all.deb"
    fields = dict(line.split(": ", 1) for line in debs.fields(deb).splitlines() if not line.startswith(" "))
    assert fields["Depends"] == "opennebula-common, opennebula-libs, opennebula-tools, python3, ruby"
    assert fields["Description"].startswith("rehearsal stand-in: ")
    lines = subprocess.run(["dpkg-deb", "--contents", deb], capture_output=True, text=True, check=True).stdout
    listing = {line.split()[5]: line.split()[:2] for line in lines.splitlines()}
    assert listing["./usr/bin/oned"] == ["-rwxr-xr-x", "root/root"]
    assert listing["./etc/one/oned.conf"] == ["-rw-r--r--", "root/root"]
    assert listing["./usr/bin/link"][0].startswith("l")


def test_the_same_tree_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    flow = package("opennebula-flow")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, two = (server_debs.build(flow, tree, VERSION, tmp_path / name) for name in ("a", "b"))
    assert one.read_bytes() == two.read_bytes()


def test_the_archive_has_them_only_when_asked(tree: Path, tmp_path: Path) -> None:
    plain = repository.ensure_repository(None, root=tmp_path / "cache")
    server = repository.Server(tree=tree, version=VERSION)
    full = repository.ensure_repository(None, root=tmp_path / "cache", server=server)
    names = {path.name.partition("_")[0] for path in (full.directory / "pool").iterdir()}
    assert names == {*debs.packages(), *(found.name for found in PACKAGES)}
    assert {path.name.partition("_")[0] for path in (plain.directory / "pool").iterdir()} == set(debs.packages())
    older = repository.ensure_repository(
        None, root=tmp_path / "cache", server=repository.Server(tree=tree, version="6.10.5-1")
    )
    assert {path.name.split("_")[1] for path in (older.directory / "pool").iterdir()} == {"6.10.5-1"}
    (tree / "etc/one/oned.conf").write_text("changed")
    assert repository.ensure_repository(None, root=tmp_path / "cache", server=server).directory != full.directory
