"""When an image of a daemon is built, and when it is only taken from the cache; buildah itself is not here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from components.domain import Version
from images import build as recipe
from lab import buildah, containerfile
from lab.console import Report
from lab.containerfile import Source
from lab.errors import LabError
from lab.images import STANDIN
from lab.layers import Layer, layer
from lab.oci import Config, Image

ALL = ["oned", "fireedge", "oneflow", "onegate"]
PROGRAMS = {
    "oned": "usr/bin/oned",
    "fireedge": "usr/lib/one/fireedge/dist/index.js",
    "oneflow": "usr/lib/one/oneflow/oneflow-server.rb",
    "onegate": "usr/lib/one/onegate/onegate-server.rb",
}


def writer(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text)

    return write


class Store:
    """In buildah's place: writes down what is asked for. An image is the base, and a layer with what was given."""

    options: tuple[str, ...] = ("--root", "/store")

    def __init__(self) -> None:
        self.opened = 0
        self.built: list[str] = []
        self.broken: str | None = None
        self.last = ""

    def build_options(self, archive: Path) -> tuple[str, ...]:
        return ("--volume", f"{archive}:{buildah.PACKAGES}:ro")

    def bring(self, image: Image) -> None:
        assert image.repository == "localhost/onelab/base"

    def run(self, words: Sequence[str], what: str) -> str:
        assert list(words[:3]) == ["--root", "/store", "build"]
        target = words[list(words).index("--target") + 1]
        if target == self.broken:
            raise LabError(f"{what}: buildah failed (1)")
        self.built.append(target)
        self.last = " ".join(words[:-1]).replace(words[-1], "")
        return ""

    def export(self, name: str, known: Sequence[Layer]) -> tuple[bytes, tuple[Layer, ...]]:
        number = len(self.built)
        return json.dumps({"name": name}).encode(), (*known, layer(f"made-{number}", writer(f"{name} {number}")))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()

    @contextmanager
    def opened(report: Report) -> Iterator[Store]:
        made.opened += 1
        yield made

    monkeypatch.setattr("lab.paths.CACHE", tmp_path / "cache")
    monkeypatch.setattr(buildah, "opened", opened)
    monkeypatch.setattr(recipe, "check", lambda request: None)
    here = tmp_path / "images"
    shutil.copytree(recipe.HERE, here, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(recipe, "HERE", here)
    return made


@pytest.fixture
def source(tmp_path: Path) -> Source:
    tree = tmp_path / "tree"
    for place in PROGRAMS.values():
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        (tree / place).write_text(place)
    (tree / "packages.txt").touch()
    return Source(tree=tree, version=Version.V7_4, standin=True)


def base(words: str = "base") -> Image:
    return Image("localhost/onelab/base", "12", (layer(words, writer(words)),), Config(entrypoint=()))


def build(source: Source, on: Image | None = None) -> dict[str, Image]:
    found = containerfile.build("localhost/onelab", source, on or base(), lambda line: None)
    return {image.repository.rpartition("/")[2]: image for image in found}


def test_each_daemon_is_built_from_the_containerfile_with_the_labs_packages(store: Store, source: Source) -> None:
    found = build(source)
    assert list(found) == store.built == ALL
    assert found["oned"].reference.startswith("localhost/onelab/oned:7.4-")
    assert found["oned"].config_bytes == b'{"name": "localhost/onelab/oned:7.4"}'
    assert found["oned"].layers[0].digest == base().layers[0].digest
    for words in (f"BASE={base().reference}", "REPOSITORY=file:/media", "OPENNEBULA_VERSION=7.4", "KEY_FINGERPRINT="):
        assert f"--build-arg {words}" in store.last


def test_the_second_time_no_tool_is_started(store: Store, source: Source) -> None:
    first = build(source)
    second = build(source)
    assert [image.reference for image in second.values()] == [image.reference for image in first.values()]
    assert (store.opened, store.built) == (1, ALL)


def test_an_entrypoint_costs_its_own_images_only(store: Store, source: Source) -> None:
    before = build(source)
    (recipe.HERE / "fireedge" / "start").write_text("#!/bin/sh\n")
    after = build(source)
    assert store.built == [*ALL, "fireedge"]
    assert {name for name in ALL if before[name].reference != after[name].reference} == {"fireedge"}
    (recipe.HERE / "service" / "serve.sh").write_text("# shared\n")
    build(source)
    assert store.built == [*ALL, "fireedge", "fireedge", "oneflow", "onegate"]


def test_a_mode_counts_but_not_that_of_the_umask(store: Store, source: Source) -> None:
    build(source)
    script = recipe.HERE / "oned" / "keeper"
    script.chmod(0o700)
    build(source)
    assert store.built == ALL
    script.chmod(0o644)
    build(source)
    assert store.built == [*ALL, "oned"]


def test_a_changed_package_costs_the_daemons_that_have_it(store: Store, source: Source) -> None:
    build(source)
    (source.tree / PROGRAMS["oneflow"]).write_text("changed")
    build(source)
    assert store.built == [*ALL, "oneflow"]
    libs = source.tree / "usr/lib/one/ruby-standin/web.rb"
    libs.parent.mkdir()
    libs.write_text("for all that speak Ruby, oned, and the tools that FireEdge runs")
    build(source)
    assert store.built == [*ALL, "oneflow", *ALL]


def test_a_change_of_oneds_package_reaches_who_takes_files_of_it(store: Store, source: Source) -> None:
    build(source)
    (source.tree / PROGRAMS["oned"]).write_text("changed")
    build(source)
    assert store.built == [*ALL, "oned", "fireedge", "oneflow"]


@pytest.mark.parametrize("what", ["base", "recipe", "packaging", "release"])
def test_what_all_share_costs_all(what: str, store: Store, source: Source) -> None:
    build(source)
    on = base("newer") if what == "base" else base()
    if what == "recipe":
        with (recipe.HERE / "Containerfile").open("a") as stream:
            stream.write("# another line\n")
    if what == "packaging":
        (recipe.HERE / "packaging" / "install.sh").write_text("#!/bin/sh\n")
    build(replace(source, version=Version.V6_10) if what == "release" else source, on)
    assert store.built == [*ALL, *ALL]


def test_after_a_failure_only_the_rest_is_built(store: Store, source: Source) -> None:
    store.broken = "oneflow"
    with pytest.raises(LabError, match="the image of oneflow"):
        build(source)
    store.broken = None
    build(source)
    assert store.built == ["oned", "fireedge", "oneflow", "onegate"]


def test_an_entry_is_whole_without_the_cache_of_layers(
    store: Store, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(source)
    shutil.rmtree(tmp_path / "cache" / "layers")
    for part in build(source)["oned"].layers:
        assert part.path.stat().st_size == part.size
    assert store.opened == 1


def test_the_stand_ins_are_told_their_release_and_a_real_tree_is_not(store: Store, source: Source) -> None:
    def release(of: Source) -> list[Path]:
        pool = containerfile.archive(of, lambda line: None).directory / "pool"
        return [path for path in pool.glob("opennebula-common_*") if b"standin/VERSION" in listing(path)]

    assert release(source)
    assert not release(replace(source, standin=False))


def listing(deb: Path) -> bytes:
    import subprocess

    return subprocess.run(["dpkg-deb", "--contents", deb], capture_output=True, check=True).stdout


def test_the_daemons_of_a_tree_and_a_release(source: Source) -> None:
    legacy = Source(tree=STANDIN, version=Version.V6_10, standin=True)
    assert legacy.targets == (*ALL, "sunstone")
    assert replace(legacy, version=Version.V7_4).targets == tuple(ALL)
    (source.tree / PROGRAMS["onegate"]).unlink()
    assert source.targets == ("oned", "fireedge", "oneflow")


def test_the_packages_of_a_target_are_the_containerfiles() -> None:
    assert recipe.packages("oned") == ("opennebula",)
    fireedge = ("opennebula-fireedge", "opennebula-guacd", "opennebula-tools", "opennebula")
    assert recipe.packages("fireedge") == fireedge
    assert recipe.packages("oneflow") == ("opennebula-flow", "opennebula")
    assert recipe.packages("sunstone") == ("opennebula-sunstone",)
