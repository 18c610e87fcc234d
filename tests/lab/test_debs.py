"""The node packages of the rehearsal: what is in them, with which modes, and what a tree of an OpenNebula changes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab import debs, host_root

_BASE_SYSTEM = {"passwd", "openssh-client"}  # there in every Debian with an SSH server


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("debs")
    return {package: debs.build(package, None, place) for package in debs.packages()}


def _listing(deb: Path) -> dict[str, tuple[str, str]]:
    """Path -> mode and owner."""
    lines = subprocess.run(["dpkg-deb", "--contents", deb], capture_output=True, text=True, check=True).stdout
    fields = [line.split() for line in lines.splitlines()]
    return {field[5].removeprefix("."): (field[0], field[1]) for field in fields}


def _text(deb: Path, path: str) -> str:
    archive = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], capture_output=True, check=True).stdout
    done = subprocess.run(["tar", "-xO", f".{path}"], input=archive, capture_output=True, check=True)
    return done.stdout.decode()


def _fields(deb: Path) -> dict[str, str]:
    lines = [line for line in debs.fields(deb).splitlines() if not line.startswith(" ")]
    return dict(line.split(": ", 1) for line in lines)


def test_the_packages_are_those_that_a_host_needs(built: dict[str, Path]) -> None:
    assert set(built) == {"opennebula-common", "opennebula-rubygems", "opennebula-node-kvm", "opennebula-node-lxc"}
    assert {deb.name for deb in built.values()} == {f"{name}_7.4.0-1_all.deb" for name in built}


def test_each_says_that_it_is_a_stand_in(built: dict[str, Path]) -> None:
    for name, deb in built.items():
        assert _fields(deb)["Description"].startswith("rehearsal stand-in: ")
        assert "Rehearsal stand-in." in _text(deb, f"/usr/share/doc/{name}/copyright")


def test_hosts_of_the_lab_have_every_debian_package_they_depend_on(built: dict[str, Path]) -> None:
    there = {*host_root.PACKAGES, *_BASE_SYSTEM, *built}
    for deb in built.values():
        wanted = {item.split()[0] for item in _fields(deb)["Depends"].split(", ")}
        assert wanted <= there


def test_everything_belongs_to_root_whoever_built_it(built: dict[str, Path]) -> None:
    for deb in built.values():
        assert {owner for _, owner in _listing(deb).values()} == {"root/root"}


@pytest.mark.parametrize(
    ("package", "file"),
    [
        ("opennebula-common", "/etc/sudoers.d/opennebula"),
        ("opennebula-node-kvm", "/etc/sudoers.d/opennebula-node-kvm"),
        ("opennebula-node-lxc", "/etc/sudoers.d/opennebula-node-lxc"),
    ],
)
def test_sudoers_have_the_only_mode_that_sudo_likes(built: dict[str, Path], package: str, file: str) -> None:
    assert _listing(built[package])[file][0] == "-r--r-----"


def test_oneadmin_gets_aliases_and_never_everything(built: dict[str, Path]) -> None:
    for kind in ("kvm", "lxc"):
        text = _text(built[f"opennebula-node-{kind}"], f"/etc/sudoers.d/opennebula-node-{kind}")
        rules = [line for line in text.splitlines() if line.startswith("oneadmin ")]
        assert len(rules) == 2
        commands = [word.strip() for rule in rules for word in rule.split(":")[-1].split(",")]
        assert all(word.startswith("ONE_") for word in commands)
        common = _text(built["opennebula-common"], "/etc/sudoers.d/opennebula")
        assert all(f"Cmnd_Alias {word} =" in common for word in commands)


def test_the_ruby_file_is_where_a_plain_require_finds_it(built: dict[str, Path]) -> None:
    listing = _listing(built["opennebula-common"])
    assert "/usr/lib/one/ruby/load_opennebula_paths.rb" in listing
    assert listing["/usr/lib/ruby/vendor_ruby/load_opennebula_paths.rb"][0].startswith("l")


def test_the_same_sources_give_the_same_bytes(built: dict[str, Path], tmp_path: Path) -> None:
    for package, first in built.items():
        assert debs.build(package, None, tmp_path).read_bytes() == first.read_bytes()


def test_files_of_an_installed_opennebula_take_the_place_of_ours(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    ours, gem, other = "etc/sudoers.d/opennebula", "usr/share/one/gems/x/lib/x.rb", "usr/bin/oned"
    for name in (ours, gem, other):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("# the real one\n")
    common = debs.build("opennebula-common", tree, tmp_path)
    assert _text(common, f"/{ours}") == "# the real one\n"
    assert _listing(common)[f"/{ours}"][0] == "-r--r-----"
    assert f"/{gem}" in _listing(debs.build("opennebula-rubygems", tree, tmp_path))
    assert all(f"/{other}" not in _listing(debs.build(package, tree, tmp_path)) for package in debs.packages())
    assert dict(debs.sources(tree)) != dict(debs.sources(None))


def test_what_stays_the_stand_ins_is_known(tmp_path: Path) -> None:
    ours = "etc/sudoers.d/opennebula"
    kept = debs.kept(tmp_path)
    assert ours in kept and "etc/cron.d/opennebula-node" in kept
    assert kept == sorted(set(kept)), "each once, though two packages have it"
    assert not any(name.endswith(".keep") for name in kept), "nothing that is installed for its own sake"
    (tmp_path / ours).parent.mkdir(parents=True)
    (tmp_path / ours).write_text("# the real one\n")
    assert debs.kept(tmp_path) == [name for name in kept if name != ours]
