"""containerd's image store, prepared once for a set of images and then linked into every lab that starts with that set.

Importing half a gigabyte takes ten seconds, hard links to the result half of one, and two labs share the disk and the
page cache. Layers are safe to share: containers write into layers of their own. Only containerd's two databases are
copied. A new set starts from the newest store there is, so that a changed script costs its own layer and no more.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from lab import cache, paths, process
from lab.box import Box
from lab.cluster import runtime
from lab.errors import LabError, tail
from lab.oci import Image
from lab.packages import system_program

_KIND = "stores"
_KEPT = 3  # prepared stores in the cache; each is as large as its images
_SOCKET = "/run/containerd-store/containerd.sock"
_LAYOUT = b"containerd 1, overlayfs"


def place(box: Box, images: Sequence[Image]) -> None:
    """Give the lab a containerd root with these images, unless it has one. Needs the box, but no containerd in it."""
    root = box.instance.state / "containerd"
    if root.exists():
        return
    names = sorted(name for image in images for name in image.names)
    key = cache.digest([_LAYOUT, *(name.encode() for name in names)])
    prepared = cache.entry(_KIND, key, lambda into: _prepare(box, images, into))
    prepared.touch()  # newest: the one to start the next set from, and the last to be dropped
    draft = root.with_suffix(".draft")
    cache.remove_tree(draft)
    clone(prepared / "root", draft)
    draft.replace(root)
    _drop_old()


def clone(source: Path, target: Path) -> None:
    """Copy a store: files are linked where the file system allows it, databases never."""
    linked = subprocess.run(
        process.tied(["cp", "-al", str(source), str(target)]), capture_output=True, text=True, timeout=300, check=False
    )
    if linked.returncode != 0:  # another file system, or one without links
        cache.remove_tree(target)
        copied = subprocess.run(
            process.tied(["cp", "-a", "--reflink=auto", str(source), str(target)]),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if copied.returncode != 0:
            raise LabError(f"the image store cannot be copied to {target}", cause=copied.stderr.strip()[-500:])
    for database in source.rglob("*.db"):
        mine = target / database.relative_to(source)
        mine.unlink()
        shutil.copy2(database, mine)


def _newest() -> Path | None:
    stores = [path for path in (paths.CACHE / _KIND).glob("[!.]*") if (path / "root").is_dir()]
    return max(stores, key=lambda path: path.stat().st_mtime, default=None)


def _drop_old() -> None:
    stores = [path for path in (paths.CACHE / _KIND).glob("[!.]*") if path.is_dir()]
    for path in sorted(stores, key=lambda each: each.stat().st_mtime, reverse=True)[_KEPT:]:
        doomed = path.with_name(f".{path.name}.old")  # out of sight first: nobody starts from half a store
        path.replace(doomed)
        cache.remove_tree(doomed)


def _prepare(box: Box, images: Sequence[Image], into: Path) -> None:
    """Run a containerd of its own on the new store, import what is missing, drop what is not wanted."""
    root = into / "root"
    newest = _newest()
    if newest:
        clone(newest / "root", root)
    config = into / "containerd.toml"
    config.write_text(
        f'version = 2\nroot = "{root}"\nstate = "/run/containerd-store"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\n  address = "{_SOCKET}"\n'
    )
    record = box.instance.state / "store.json"
    earlier = process.load(record)  # left by a start that was killed in here
    if earlier:
        process.kill(earlier)
    log = box.logs / "containerd-store.log"
    running = box.spawn([system_program("containerd"), "--config", config], log)
    process.save(running, record)
    try:
        deadline = time.monotonic() + 30
        while box.run(runtime.ctr("version", socket=_SOCKET), check=False).returncode != 0:
            if not running.alive or time.monotonic() > deadline:
                raise LabError("containerd does not start", cause=tail(log), fix="run `make down`, then `make up`")
            time.sleep(0.05)
        runtime.bring(box, images, socket=_SOCKET)
        runtime.drop_others(box, images, socket=_SOCKET)
    finally:
        process.kill(running, first=signal.SIGTERM)
        record.unlink()
    config.unlink()
