"""The server packages of the rehearsal: every file of the tree in exactly one of them, as the real archive has them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.domain import Version
from lab import debs, repository, server_debs
from lab.images import STANDIN
from lab.server_debs import OPENNEBULA, PACKAGES, ServerPackage
from tests import real_layout

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


@pytest.mark.parametrize("version", list(Version))
def test_a_tree_in_the_real_layout_is_cut_as_opennebulas_own_archive(version: Version, tmp_path: Path) -> None:
    tree = real_layout.lay_out(tmp_path / "tree", version)
    found = {package.name: set(server_debs.contents(package, tree)) for package in PACKAGES}
    for name, deb in packed_by_the_node_side(tree, tmp_path).items():
        found[name] = {place for place in deb if (tree / place).exists()}
    wanted = real_layout.owners(version)
    wanted["opennebula-rubygems"].add("usr/share/one/gems")
    assert {name: places for name, places in found.items() if places} == wanted
    assert server_debs.unclaimed(tree) == []


def packed_by_the_node_side(tree: Path, into: Path) -> dict[str, set[str]]:
    """Package → the files and links in it."""
    found = {}
    for name in debs.packages():
        deb = debs.build(name, tree, into)
        lines = subprocess.run(["dpkg-deb", "--contents", deb], capture_output=True, text=True, check=True).stdout
        places = [line.split()[5].removeprefix("./") for line in lines.splitlines()]
        found[name] = {place for place in places if place and not place.endswith("/")}
    return found


def test_nothing_of_a_real_tree_is_in_two_packages_or_in_none(tmp_path: Path) -> None:
    """With what debhelper puts beside: documents of every package, and what nobody has heard of."""
    tree = real_layout.lay_out(tmp_path / "tree", Version.V7_4)
    strange = "usr/lib/one/oneai/oneai-server.rb"
    documents = [f"usr/share/doc/{name}/copyright" for name in (*debs.packages(), *(found.name for found in PACKAGES))]
    for place in (strange, *documents):
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        (tree / place).write_text(f"# the tree's {place}\n")
    hosts = packed_by_the_node_side(tree, tmp_path)
    # the two kinds of host refuse each other and have files in common
    packed = [place for name in hosts if name != "opennebula-node-lxc" for place in hosts[name]]
    for found in PACKAGES:
        server_debs.build(found, tree, VERSION, tmp_path)
        packed += server_debs.contents(found, tree)
    assert len(packed) == len(set(packed))
    files = {path for path in tree.rglob("*") if (path.is_symlink() or path.is_file()) and path.parent != tree}
    assert {str(path.relative_to(tree)) for path in files} <= {*packed, *hosts["opennebula-node-lxc"]}
    assert server_debs.unclaimed(tree) == [strange]
    assert strange in server_debs.contents(OPENNEBULA, tree)
    told: list[str] = []
    server = repository.Server(tree=tree, version=VERSION)
    repository.ensure_repository(tree, told.append, root=tmp_path / "cache", server=server)
    assert [line for line in told if strange in line and "package opennebula" in line]


def test_the_stand_in_has_no_file_that_nobody_owns() -> None:
    assert server_debs.unclaimed(STANDIN) == []


@pytest.mark.parametrize("daemon", ["flow", "gate", "sunstone"])
def test_a_ruby_daemon_gets_the_bindings_and_gems_with_it(daemon: str) -> None:
    assert {"opennebula-libs", "opennebula-rubygems"} <= needed(f"opennebula-{daemon}")


def needed(name: str) -> set[str]:
    """Packages that installing this one brings, as far as they are OpenNebula's."""
    found = {name}
    for depends in package(name).depends if name in {known.name for known in PACKAGES} else ():
        found |= needed(depends)
    return found


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
