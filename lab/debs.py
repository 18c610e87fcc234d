"""Debian packages from plain directories: what `lab/standins/node/<package>` describes, built with dpkg-deb.

With a tree of an installed OpenNebula, files of that tree take the place of ours. The same sources give the same bytes.
Nothing is compiled and no package is installed here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from components.domain import Version
from lab.errors import LabError

SOURCES = Path(__file__).resolve().parent / "standins" / "node"

VERSION = "7.4.0-1"  # what the sources' control files say, of themselves and of what they depend on
VERSIONS = {Version.V6_10: "6.10.5-1", Version.V7_4: VERSION}
_SCRIPTS = frozenset({"preinst", "postinst", "prerm", "postrm"})
_EPOCH = "1785024000"  # 2026-07-26, the day of 7.4.0: one time stamp for every file
_LIMIT = 120  # seconds
_KEEP = ".keep"  # there for its directory


def packages() -> list[str]:
    return sorted(path.parent.parent.name for path in SOURCES.glob("*/DEBIAN/control"))


def sources(tree: Path | None) -> Iterator[tuple[str, bytes]]:
    """Path and content of everything that decides what the packages hold."""
    yield "copyright", (SOURCES / "copyright").read_bytes()
    for package in packages():
        for path in sorted((SOURCES / package).rglob("*")):
            if path.is_symlink() or path.is_file():
                name = str(path.relative_to(SOURCES))
                yield name, str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for place, origin in sorted(_from_tree(package, tree).items()):
            if origin.is_symlink():
                yield f"{package}:{place}", str(origin.readlink()).encode()
            else:
                yield f"{package}:{place}:{mode(origin):o}", origin.read_bytes()


def build(
    package: str,
    tree: Path | None,
    into: Path,
    version: str | None = None,
    extra: Mapping[str, bytes] | None = None,
) -> Path:
    """The package file, `<package>_<version>_all.deb` in `into`. Raises LabError if dpkg-deb refuses the sources.

    `version` takes the place of the sources' own: an archive of another release has no package of this one. `extra` are
    further files by their path.
    """
    source = SOURCES / package
    with tempfile.TemporaryDirectory(prefix="lab-deb-") as scratch:
        stage = Path(scratch) / package
        shutil.copytree(source / "root", stage, symlinks=True) if (source / "root").is_dir() else stage.mkdir()
        for place, origin in _from_tree(package, tree).items():
            target = stage / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copy(origin, target, follow_symlinks=False)
        for place, content in (extra or {}).items():
            (stage / place).parent.mkdir(parents=True, exist_ok=True)
            (stage / place).write_bytes(content)
        doc = stage / "usr" / "share" / "doc" / package
        doc.mkdir(parents=True, exist_ok=True)
        if not (doc / "copyright").exists():
            shutil.copyfile(SOURCES / "copyright", doc / "copyright")
        shutil.copytree(source / "DEBIAN", stage / "DEBIAN")
        if version is not None:
            control = stage / "DEBIAN" / "control"
            control.write_text(control.read_text().replace(VERSION, version))
        _set_modes(stage)
        return pack(stage, into)


def places(tree: Path | None) -> frozenset[str]:
    """Paths of the files that these packages hold: no other package may have them."""
    own = {
        str(path.relative_to(SOURCES / package / "root"))
        for package in packages()
        for path in (SOURCES / package / "root").rglob("*")
        if path.is_symlink() or path.is_file()
    }
    texts = (f"usr/share/doc/{package}/copyright" for package in packages())
    return frozenset(own.union(texts, *(_from_tree(package, tree) for package in packages())))


def kept(tree: Path) -> list[str]:
    """Paths of the stand-in's files that a tree of an installed OpenNebula has nothing to put in the place of."""
    return sorted(
        {
            place
            for package in packages()
            for place in map(str, _ours(package))
            if not (tree / place).is_file() and Path(place).name != _KEEP
        }
    )


def fields(deb: Path) -> str:
    """The control file of a package, for the index of a repository."""
    return _dpkg_deb("--field", str(deb)).strip()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _from_tree(package: str, tree: Path | None) -> dict[str, Path]:
    """Files and links of an installed OpenNebula that belong in this package: ours replaced, and what `taken` names."""
    if tree is None:
        return {}
    found = {str(place): tree / place for place in _ours(package) if (tree / place).is_file()}
    taken = SOURCES / package / "taken"
    for name in (f"usr/share/doc/{package}", *(taken.read_text().split() if taken.exists() else ())):
        place = tree / name
        inside = () if place.is_symlink() else place.rglob("*")
        found |= {str(path.relative_to(tree)): path for path in (place, *inside) if path.is_symlink() or path.is_file()}
    return found


def _ours(package: str) -> list[Path]:
    """The stand-in's own files of a package; links lead to them."""
    root = SOURCES / package / "root"
    return [path.relative_to(root) for path in root.rglob("*") if path.is_file() and not path.is_symlink()]


def _set_modes(stage: Path) -> None:
    for path in stage.rglob("*"):
        if path.is_symlink():
            continue
        if path.is_dir():
            path.chmod(0o755)
        elif path.parent.name == "DEBIAN":
            path.chmod(0o755 if path.name in _SCRIPTS else 0o644)
        else:
            path.chmod(mode(path))
    stage.chmod(0o755)


def mode(path: Path) -> int:
    """The checkout's modes are the umask's of whoever cloned it; a package's are fixed."""
    if path.parent.name == "sudoers.d":
        return 0o440
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def pack(stage: Path, into: Path) -> Path:
    """The package file of a staged directory with its DEBIAN/control. Raises LabError."""
    control = (stage / "DEBIAN" / "control").read_text()
    version = next(line.split(": ", 1)[1] for line in control.splitlines() if line.startswith("Version: "))
    deb = into / f"{stage.name}_{version}_all.deb"
    _dpkg_deb("--root-owner-group", "-Zgzip", "--build", str(stage), str(deb))
    return deb


def _dpkg_deb(*arguments: str) -> str:
    environment = os.environ | {"SOURCE_DATE_EPOCH": _EPOCH, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["dpkg-deb", *arguments], capture_output=True, text=True, timeout=_LIMIT, check=False, env=environment
    )
    if done.returncode != 0:
        raise LabError(f"`dpkg-deb {' '.join(arguments)}` failed", cause=done.stderr.strip())
    return done.stdout
