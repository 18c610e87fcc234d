"""The lab's images: OpenNebula's daemons from `images/Containerfile` (lab.containerfile), MariaDB from Debian packages,
the cluster's own from static binaries.

All of Debian share one base layer.
Tags end in a hash of the content, so that a node never runs an older image under the same name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from components.domain import Version
from lab import cache, containerfile, layers, rootfs
from lab.console import Report, say
from lab.containerfile import Source
from lab.errors import LabError
from lab.layers import Layer
from lab.oci import Config, Image
from lab.paths import PROJECT
from lab.rootfs import Account
from lab.toolchain import TOOLS, tool

DEFAULT_VERSION = Version.V7_4
REGISTRY = "localhost/onelab"  # a name that no node can pull from: a missing image is an error, never a download
STANDIN = PROJECT / "lab" / "standins" / "opennebula" / "root"

_MARIADB = ("ca-certificates", "mariadb-server", "procps", "tini")
_MYSQL = Account(name="mysql", uid=10999, home="/nonexistent")
_TINI = ("/usr/bin/tini", "--")


def build(
    opennebula_root: Path | None = None, report: Report = say, version: Version = DEFAULT_VERSION
) -> dict[str, Image]:
    """Every image by its short name, built as far as the cache does not have it.

    `opennebula_root` is a tree with OpenNebula as its packages install it, and a `packages.txt`; by default the
    stand-in, which acts as the release `version`.
    Raises LabError when a package, a program or the tree is missing.
    """
    source = Source(tree=(opennebula_root or STANDIN).resolve(), version=version, standin=opennebula_root is None)
    images = (
        *_cluster(report),
        _mariadb(report),
        *containerfile.build(REGISTRY, source, base(source, report), report),
    )
    return {image.repository.rpartition("/")[2]: image for image in images}


def ensure_images(
    opennebula_root: Path | None = None, report: Report = say, version: Version = DEFAULT_VERSION
) -> dict[str, str]:
    """Short name -> reference of every image, e.g. `oned` -> `localhost/onelab/oned:7.4-<hash>`."""
    return {name: image.reference for name, image in build(opennebula_root, report, version).items()}


def _cluster(report: Report) -> list[Image]:
    images = []
    for name in ("pause", "coredns", "provisioner", "skipper"):
        binary = layers.program_layer(tool(name, report), name)
        config = Config(entrypoint=(f"/{name}",), user="65535:65535")
        images.append(Image(f"{REGISTRY}/{name}", TOOLS[name].version, (binary,), config))
    return images


def _mariadb(report: Report) -> Image:
    config = Config(entrypoint=_TINI, command=("mariadbd",), user="10999:10999", home="/var/lib/mysql")
    return Image(f"{REGISTRY}/mariadb", "10.11", _debian(_MARIADB, (_MYSQL,), report), config)


def base(source: Source, report: Report = say) -> Image:
    """What `BASE` is here: a Debian 12 as its maintainers' slim image, plus the packages that the tree asks for."""
    lists = [source.tree / "packages.txt", *sorted(source.tree.glob("packages-*.txt"))]
    packages = sorted({package for path in lists for package in read_packages(path)})
    return Image(f"{REGISTRY}/base", "12", _debian(packages, (), report), Config(entrypoint=(), command=("bash",)))


def read_packages(path: Path) -> tuple[str, ...]:
    """Debian package names, one a line, `#` starts a comment. LabError names the line that is none."""
    if not path.is_file():
        raise LabError(
            f"{path} is missing",
            cause="it names the Debian packages that the programs in this tree need",
            fix="write it (one package a line; an empty file is fine), or correct OPENNEBULA_ROOT",
        )
    names = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        name = line.partition("#")[0].strip()
        if name and not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name):
            raise LabError(f"{path}:{number}: {name!r} is not a Debian package name", fix="one package a line")
        if name:
            names.append(name)
    return tuple(names)


def _debian(packages: Sequence[str], accounts: Sequence[Account], report: Report) -> tuple[Layer, ...]:
    bare = rootfs.debian((), report=report)
    first = layers.layer(f"base-{bare.parent.name}", lambda out: out.hardlink_to(bare))
    if not packages and not accounts:  # an empty second layer is none
        return (first,)
    full = rootfs.debian(packages, accounts, report)
    key = cache.digest([bare.parent.name.encode(), full.parent.name.encode()])
    return first, layers.layer(f"packages-{key}", lambda out: layers.difference(full, bare, out))
