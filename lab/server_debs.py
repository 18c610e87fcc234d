"""The server packages of the rehearsal: the stand-in's tree, cut into the packages that OpenNebula's own archive has.

For the images of the control plane (images/Containerfile), which install packages and know no tree. What belongs to whom
follows from paths; all the rest is `opennebula`, the package of oned. Debian packages that a tree's programs need stand in
its `packages*.txt` and become dependencies. A package may be empty: a tree need not have every daemon.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import debs

# What stand-ins read, and the package that every daemon's image has.
RELEASE_FILE = "usr/lib/one/standin/VERSION"
EVERYWHERE = "opennebula-common"

# As the real one does: a password for oneadmin, made up at installation. No image may carry it.
_POSTINST = """#!/bin/sh
# Rehearsal stand-in: makes up oneadmin's first password.
set -e
if [ "$1" = configure ] && [ ! -e /var/lib/one/.one/one_auth ]; then
    install -d -o oneadmin -g oneadmin -m 0750 /var/lib/one
    install -d -o oneadmin -g oneadmin -m 0700 /var/lib/one/.one
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')
    (umask 077 && printf 'oneadmin:%s\\n' "$password" >/var/lib/one/.one/one_auth)
    chown oneadmin:oneadmin /var/lib/one/.one/one_auth
fi
"""


@dataclass(frozen=True, kw_only=True)
class ServerPackage:
    """One package: the paths that are its own, packages it depends on, and the file that names Debian's."""

    name: str
    takes: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    needs: str | None = None
    postinst: str = ""


OPENNEBULA = ServerPackage(
    name="opennebula",
    depends=("opennebula-common", "opennebula-libs", "opennebula-tools"),
    needs="packages.txt",
    postinst=_POSTINST,
)
_OTHERS = (
    ServerPackage(name="opennebula-libs", takes=("usr/lib/one/ruby-standin",), depends=("opennebula-rubygems",)),
    ServerPackage(name="opennebula-tools", depends=("opennebula-libs",)),
    ServerPackage(
        name="opennebula-fireedge",
        takes=("etc/one/fireedge-server.conf", "etc/one/fireedge", "usr/lib/one/fireedge"),
        depends=("opennebula-common",),
        needs="packages-fireedge.txt",
    ),
    ServerPackage(name="opennebula-guacd", takes=("usr/share/one/guacd",), depends=("opennebula-common",)),
    ServerPackage(
        name="opennebula-flow",
        takes=("etc/one/oneflow-server.conf", "usr/lib/one/oneflow"),
        depends=("opennebula-common", "opennebula-libs"),
        needs="packages-oneflow.txt",
    ),
    ServerPackage(
        name="opennebula-gate",
        takes=("etc/one/onegate-server.conf", "usr/lib/one/onegate"),
        depends=("opennebula-common", "opennebula-libs"),
        needs="packages-onegate.txt",
    ),
    ServerPackage(
        name="opennebula-sunstone",
        takes=(
            "etc/one/sunstone-server.conf",
            "usr/bin/novnc-server",
            "usr/lib/one/sunstone",
            "usr/share/one/websockify",
        ),
        depends=("opennebula-common", "opennebula-libs"),
        needs="packages-sunstone.txt",
    ),
)
PACKAGES = (OPENNEBULA, *_OTHERS)


def contents(package: ServerPackage, tree: Path) -> dict[str, Path]:
    """Path in the package → file, link or empty directory of the tree."""
    return {place: path for place, path in _files(tree).items() if _owner(place) is package}


def sources(tree: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of everything that decides what the packages hold."""
    yield "server-packages", Path(__file__).read_bytes()
    for package in PACKAGES:
        yield package.name, ",".join(_depends(package, tree)).encode()
    for place, path in sorted(_files(tree).items()):
        if path.is_symlink():
            yield place, str(path.readlink()).encode()
        elif path.is_dir():
            yield place, b"a directory"
        else:
            yield f"{place}:{_mode(path):o}", path.read_bytes()


def build(package: ServerPackage, tree: Path, version: str, into: Path) -> Path:
    """The package file, `<name>_<version>_all.deb` in `into`. Raises LabError if dpkg-deb refuses it."""
    with tempfile.TemporaryDirectory(prefix="lab-deb-") as scratch:
        stage = Path(scratch) / package.name
        control = stage / "DEBIAN"
        control.mkdir(parents=True)
        for place, path in contents(package, tree).items():
            target = stage / place
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir() and not path.is_symlink():
                target.mkdir()
                continue
            shutil.copy2(path, target, follow_symlinks=False)
            if not path.is_symlink():
                target.chmod(_mode(path))
        doc = stage / "usr" / "share" / "doc" / package.name
        doc.mkdir(parents=True)
        shutil.copyfile(debs.SOURCES / "copyright", doc / "copyright")
        (control / "control").write_text(_control(package, tree, version))
        if package.postinst:
            (control / "postinst").write_text(package.postinst)
            (control / "postinst").chmod(0o755)
        for directory in (stage, *(path for path in stage.rglob("*") if path.is_dir() and not path.is_symlink())):
            directory.chmod(0o755)
        return debs.pack(stage, into)


def _files(tree: Path) -> Mapping[str, Path]:
    found = {}
    others = debs.places(tree)
    for path in tree.rglob("*"):
        place = path.relative_to(tree)
        if "__pycache__" in place.parts:
            continue
        if path.is_dir() and not path.is_symlink() and any(path.iterdir()):
            continue
        # directly in the tree lie the lists of packages
        if len(place.parts) > 1 and str(place) not in others:
            found[str(place)] = path
    return found


def _owner(place: str) -> ServerPackage:
    for package in _OTHERS:
        if any(place == taken or place.startswith(f"{taken}/") for taken in package.takes):
            return package
    return OPENNEBULA


def _mode(path: Path) -> int:
    """The checkout's modes are the umask's of whoever cloned it; a package's are fixed."""
    if path.parent.name == "sudoers.d":
        return 0o440
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def _depends(package: ServerPackage, tree: Path) -> list[str]:
    listed = tree / package.needs if package.needs else None
    lines = listed.read_text().splitlines() if listed is not None and listed.is_file() else []
    needed = [name for line in lines if (name := line.partition("#")[0].strip())]
    return list(dict.fromkeys((*package.depends, *needed)))


def _control(package: ServerPackage, tree: Path, version: str) -> str:
    fields = {
        "Package": package.name,
        "Version": version,
        "Architecture": "all",
        "Maintainer": "Rehearsal Lab <root@localhost>",
        "Depends": ", ".join(_depends(package, tree)),
        "Section": "admin",
        "Priority": "optional",
        "Description": f"rehearsal stand-in: the part of the control plane that {package.name} installs\n"
        " Laid out as the package of this name, and nothing of OpenNebula in it.",
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)
