"""What the pods of the lab run: the images of `images/Containerfile`, byte for byte, with tini in front."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from images import build
from lab import images
from lab.box import Box
from lab.cluster.runtime import ctr
from lab.oci import Image
from tests.engine.conftest import World

pytestmark = pytest.mark.engine

# daemon → container of a pod, and the user that the image and the pod name
RUNNING = {
    "oned": ("oned-0", "oned", 9869),
    "fireedge": ("deploy/fireedge", "fireedge", 19869),
    "oneflow": ("deploy/oneflow", "oneflow", 19869),
    "onegate": ("deploy/onegate", "onegate", 19869),
}


@pytest.fixture(scope="module")
def plane(world: World) -> World:
    world.stack().up()
    return world


@pytest.fixture(scope="module")
def built() -> Mapping[str, Image]:
    return images.build()


def inside(plane: World, daemon: str, *command: str) -> str:
    pod, container, _ = RUNNING[daemon]
    return plane.kubectl("exec", pod, "-c", container, "--", *command).strip()


def test_every_daemon_of_the_release_has_an_image_of_the_containerfile(built: Mapping[str, Image]) -> None:
    assert set(build.targets("7.4")) == set(RUNNING) <= set(built)


@pytest.mark.parametrize("daemon", RUNNING)
def test_the_node_has_it_under_its_name_and_pods_name_it(daemon: str, plane: World, built: Mapping[str, Image]) -> None:
    image = built[daemon]
    listed = Box(plane.lab.instance).run(ctr("images", "ls")).stdout.splitlines()
    digests = {line.split()[0]: line.split()[2] for line in listed[1:]}
    assert digests[image.reference] == image.digest
    pods = plane.get("pods")["items"]
    named = {each["image"] for pod in pods for each in pod["spec"]["containers"] if each["name"] == daemon}
    assert named == {image.reference}
    config = json.loads(image.config_bytes)["config"]
    assert config["Labels"]["org.opencontainers.image.title"] == daemon
    assert config["Labels"]["org.opencontainers.image.version"] == "7.4"
    assert config["User"] == f"{RUNNING[daemon][2]}:{RUNNING[daemon][2]}"


@pytest.mark.parametrize("daemon", RUNNING)
def test_in_the_pod(daemon: str, plane: World) -> None:
    """tini is process 1, the user is the image's, packages came from the archive, entrypoints are this checkout's."""
    assert inside(plane, daemon, "cat", "/proc/1/comm") == "tini"
    assert inside(plane, daemon, "id", "-u") == str(RUNNING[daemon][2])
    assert build.installed(daemon)
    for package in build.installed(daemon):
        found = inside(plane, daemon, "dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Version}", package)
        assert found == "installed 7.4.0-1"
    # oned's package is not installed where only files of it are wanted.
    names = inside(plane, daemon, "dpkg-query", "--show", "--showformat", "${Package}\n").split()
    assert {name for name in names if name in build.packages(daemon)} == set(build.installed(daemon))
    for directory in build.TARGETS[daemon]:
        for source in (build.HERE / directory).iterdir():
            if source.is_file():
                place = f"/usr/local/libexec/one/{source.name}"
                assert inside(plane, daemon, "cat", place) == source.read_text().strip()
    assert "sources.list.d" not in inside(plane, daemon, "sh", "-c", "find /media /mnt /build 2>/dev/null || true")
