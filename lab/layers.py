"""Layers of container images: plain tar files, kept in the cache by what is in them.

Never compressed: they go from this disk to containerd on this machine. Equal content gives equal bytes and so equal
digests.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import cache
from lab.rootfs import EPOCH


@dataclass(frozen=True)
class Layer:
    """One tar file; as it is not compressed, its digest is its diff id too."""

    path: Path
    digest: str
    size: int


def layer(key: str, write: Callable[[Path], None]) -> Layer:
    """The cached layer `key`; `write` makes the tar file at the path it is given."""

    def make(into: Path) -> None:
        tar = into / "layer.tar"
        write(tar)
        with tar.open("rb") as stream:
            (into / "digest").write_text(f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}")

    made = cache.entry("layers", key, make)
    tar = made / "layer.tar"
    return Layer(tar, (made / "digest").read_text(), tar.stat().st_size)


def program_layer(program: Path, name: str) -> Layer:
    """A layer with one program of this machine as `/name`, and a `/tmp`."""
    data = program.read_bytes()
    parts = [b"program", name.encode(), data]

    def write(out: Path) -> None:
        with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
            file, scratch = tarfile.TarInfo(name), tarfile.TarInfo("tmp")
            file.mtime = scratch.mtime = EPOCH
            file.size, file.mode = len(data), 0o755
            scratch.type, scratch.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(file, io.BytesIO(data))
            tar.addfile(scratch)

    return layer(f"program-{cache.digest(parts)}", write)


def difference(full: Path, base: Path, out: Path) -> None:
    """Write to `out` what turns the tar `base` into `full`: new and changed members, whiteouts for lost ones."""
    with tarfile.open(base) as tar:
        known = {member.name: _fingerprint(tar, member) for member in tar}
    with tarfile.open(full) as source, tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as target:
        for member in source:
            before = known.pop(member.name, None)
            if before is None or before != _fingerprint(source, member):
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
        for name in sorted(known):
            head, _, last = name.rpartition("/")
            whiteout = tarfile.TarInfo(f"{head}/.wh.{last}" if head else f".wh.{last}")
            whiteout.mtime = EPOCH
            target.addfile(whiteout)


def _fingerprint(tar: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[object, ...]:
    # A hard link counts by the content it leads to: when that changes, the link must come along.
    content = tar.extractfile(member) if member.isreg() or member.islnk() else None
    digest = hashlib.sha256(content.read()).hexdigest() if content else ""
    return (member.type, member.mode, member.uid, member.gid, member.size, member.mtime, member.linkname, digest)
