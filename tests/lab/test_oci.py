"""The stream that containerd imports is a complete OCI image layout, equal for equal images."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lab import oci
from lab.layers import Layer
from lab.oci import Config, Image


def make_layer(directory: Path, text: str) -> Layer:
    path = directory / text
    path.write_text(text)
    return Layer(path, f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", len(text))


@pytest.fixture
def base(tmp_path: Path) -> Layer:
    return make_layer(tmp_path, "base")


@pytest.fixture
def image(base: Layer, tmp_path: Path) -> Image:
    config = Config(entrypoint=("/usr/bin/tini", "--"), command=("mariadbd",), user="10999:10999")
    return Image("localhost/onelab/mariadb", "10.11", (base, make_layer(tmp_path, "packages")), config)


def archived(*images: Image, present: tuple[str, ...] = ()) -> dict[str, bytes]:
    out = io.BytesIO()
    oci.archive(images, out, present=present)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        names = tar.getnames()
        assert len(names) == len(set(names))
        return {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]


def blob(files: dict[str, bytes], digest: str) -> bytes:
    data = files[f"blobs/{digest.replace(':', '/')}"]
    assert digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    return data


def test_every_reference_leads_to_a_blob_with_that_digest(image: Image) -> None:
    files = archived(image)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for entry in json.loads(files["index.json"])["manifests"]:
        manifest: dict[str, Any] = json.loads(blob(files, entry["digest"]))
        config = json.loads(blob(files, manifest["config"]["digest"]))
        layers = [blob(files, layer["digest"]) for layer in manifest["layers"]]
        assert layers == [b"base", b"packages"]
        assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
        assert config["config"]["User"] == "10999:10999"
        assert config["config"]["Cmd"] == ["mariadbd"]


def test_an_image_is_named_by_tag_and_by_digest(image: Image) -> None:
    entries = json.loads(archived(image)["index.json"])["manifests"]
    names = [entry["annotations"]["io.containerd.image.name"] for entry in entries]
    tag = image.digest.removeprefix("sha256:")[:12]
    assert names == [f"localhost/onelab/mariadb:10.11-{tag}", f"localhost/onelab/mariadb@{image.digest}"]
    assert image.reference == names[0]


def test_the_tag_changes_with_the_config_and_with_each_layer(image: Image, base: Layer) -> None:
    other_config = Image(image.repository, image.version, image.layers, Config(entrypoint=("/bin/sh",)))
    fewer = Image(image.repository, image.version, (base,), image.config)
    assert len({image.reference, other_config.reference, fewer.reference}) == 3


def test_shared_layers_are_written_once(image: Image, base: Layer) -> None:
    other = Image("localhost/onelab/base", "1", (base,), Config(entrypoint=("/bin/sh",)))
    assert sum(content == b"base" for content in archived(image, other).values()) == 1


def test_layers_that_the_node_has_are_left_out(image: Image, base: Layer) -> None:
    files = archived(image, present=(base.digest,))
    assert b"base" not in files.values()
    assert b"packages" in files.values()


def test_equal_images_give_equal_bytes(image: Image) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    oci.archive([image], first)
    oci.archive([image], second)
    assert first.getvalue() == second.getvalue()


def test_a_builders_config_stays_as_it_is(base: Layer) -> None:
    text = b'{"config": {"User": "9869:9869"},  "rootfs": {}}'
    image = Image("localhost/onelab/oned", "7.4", (base,), text)
    assert image.config_bytes == text
    files = archived(image)
    manifest = json.loads(blob(files, json.loads(files["index.json"])["manifests"][0]["digest"]))
    assert blob(files, manifest["config"]["digest"]) == text


def test_a_layout_is_the_archive_as_a_directory(image: Image, tmp_path: Path) -> None:
    place = tmp_path / "layout"
    oci.layout(image, place)
    files = archived(image)
    for name in files:
        if name != "index.json":
            assert (place / name).read_bytes() == files[name]
    (entry,) = json.loads((place / "index.json").read_text())["manifests"]
    assert entry["digest"] == image.digest
    assert (place / "blobs/sha256" / image.layers[0].digest[7:]).samefile(image.layers[0].path)


def test_every_layer_has_its_line_of_history(image: Image) -> None:
    """buildah builds on no image without."""
    assert len(json.loads(image.config_bytes)["history"]) == len(image.layers)
