"""buildah as the lab uses it: no registry, no container runtime, and a store of its own in the cache.

A build that is killed ends whole, because it has a process namespace of its own, and leaves no mount behind, because it
has a mount namespace of its own. What it leaves in the store is not trusted: the next run begins with an empty one.
RUN steps work in a chroot with this machine's network, so neither systemd nor cgroups are needed.
Nothing here knows what is built.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import cache, layers, oci, packages, paths, process, rootfs
from lab.console import Report, say
from lab.errors import LabError, tail
from lab.layers import Layer
from lab.oci import Image

NEEDED = {"buildah": "buildah", "setpriv": "util-linux", "unshare": "util-linux"}
# Empty directories of every Debian, so that mounts leave nothing behind in a layer.
STATE = "/mnt"  # apt's lists and downloads, which all builds share
PACKAGES = "/media"  # a package archive
# A file of every Debian, which only matters when packages are removed: the settings of a build lie over it.
_SETTINGS = "/etc/apt/apt.conf.d/01autoremove"
_STORE_LIMIT = 6 << 30  # bytes; layers of earlier sources are dropped by beginning anew
_LIMIT = 1800  # seconds, of which a slow mirror takes the most


@dataclass(frozen=True, kw_only=True)
class Buildah:
    """An open store: nobody else works on it."""

    place: Path
    driver: str
    lock: int  # descriptor; a build holds it too, so that nobody follows before the last process of a killed one ended

    @property
    def options(self) -> tuple[str, ...]:
        """Words before the subcommand."""
        work = self.place / "work"
        return ("--root", f"{self.place}/store", "--runroot", f"{work}/run", "--storage-driver", self.driver)

    def build_options(self, archive: Path) -> tuple[str, ...]:
        """Words of `build`: `archive` is at PACKAGES, and an unchanged step is taken from the store."""
        mounts = (
            f"{self.place}/apt.conf:{_SETTINGS}:ro",
            f"{self.place}/apt:{STATE}",
            f"{archive}:{PACKAGES}:ro",
        )
        return (
            *("--isolation", "chroot", "--pull-never", "--layers", "--force-rm", "--timestamp", str(rootfs.EPOCH)),
            *(word for mount in mounts for word in ("--volume", mount)),
        )

    def run(self, words: Sequence[str], what: str, cwd: Path | None = None) -> str:
        """One call, all words after the program's name; its standard output. Raises LabError with its last lines."""
        mark, log = self.place / "at-work", paths.CACHE / "logs" / "buildah.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        try:
            with log.open("wb") as errors:
                done = subprocess.run(
                    process.tied([*own, "buildah", *words]),
                    env=self._environment(),
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    pass_fds=(self.lock,),
                    timeout=_LIMIT,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            raise LabError(
                f"{what} was not done in {_LIMIT} s", cause=tail(log), fix="check the Debian mirror"
            ) from None
        output = done.stdout.decode(errors="replace")
        if 0 <= done.returncode < 128:  # it ended by itself, and has put its store in order
            mark.unlink()
        if done.returncode != 0:
            said = [line for line in output.splitlines() if line.strip()][-8:]
            raise LabError(
                f"{what}: buildah failed ({done.returncode})",
                cause="\n    ".join([*said, tail(log)]),
                fix="mend what it reports, run again",
            )
        return output

    def has(self, name: str) -> bool:
        """Is there an image of this name?"""
        listed = self.run([*self.options, "images", "--format", "{{.Name}}:{{.Tag}}"], "the list of images")
        return name in listed.split()

    def bring(self, image: Image) -> None:
        """Put an image of the lab into the store, under its own name."""
        if self.has(image.reference):
            return
        layout = self.place / "work" / "layout"
        oci.layout(image, layout)
        what = f"bringing {image.reference} into the store"
        # By its last part: buildah 1.28 makes a name of the path, and refuses one with a part such as `.cache`.
        found = self.run([*self.options, "pull", "--quiet", f"oci:{layout.name}"], what, layout.parent).strip()
        self.run([*self.options, "tag", found, image.reference], what)
        cache.remove_tree(layout)

    def export(self, name: str, known: Sequence[Layer]) -> tuple[bytes, tuple[Layer, ...]]:
        """Config and layers of an image of the store; `known` are layers that the cache has already."""
        target = self.place / "work" / "export"
        cache.remove_tree(target)
        self.run(
            [*self.options, "push", "--quiet", "--disable-compression", name, f"dir:{target}"],
            f"taking {name} out of the store",
        )
        manifest = json.loads((target / "manifest.json").read_text())
        config = (target / _hex(manifest["config"]["digest"])).read_bytes()
        digests = [part["digest"] for part in manifest["layers"]]
        if digests != json.loads(config)["rootfs"]["diff_ids"]:
            raise LabError(f"{name}: buildah gave compressed layers", fix="use buildah of Debian 12 or newer")
        here = {part.digest: part for part in known}
        found = tuple(here.get(digest) or _layer(target / _hex(digest), digest) for digest in digests)
        cache.remove_tree(target)
        return config, found

    def _environment(self) -> dict[str, str]:
        """The machine's own container settings stay out of it; proxies of this machine are passed on, and not kept."""
        work = self.place / "work"
        kept = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy") or name == "PATH"}
        return {
            **kept,
            "LC_ALL": "C.UTF-8",
            "HOME": str(work),
            "TMPDIR": str(work),
            "CONTAINERS_CONF": "/dev/null",
            "CONTAINERS_STORAGE_CONF": str(self.place / "storage.conf"),
        }


@contextmanager
def opened(report: Report = say) -> Iterator[Buildah]:
    """The lab's store, made if need be; waits for whoever works on it. Raises LabError."""
    packages.ensure_system_packages(NEEDED, report)
    place = paths.CACHE / "buildah"
    with cache.locked(place / ".lock") as lock:
        if (place / "at-work").exists() or _size(place / "store") > _STORE_LIMIT:
            for name in ("store", "apt"):
                cache.remove_tree(place / name)
            (place / "at-work").unlink(missing_ok=True)
        cache.remove_tree(place / "work")
        for name in ("store", "work/run", "apt/lists/partial", "apt/cache/archives/partial"):
            (place / name).mkdir(parents=True, exist_ok=True)
        (place / "apt.conf").write_text(_apt_conf())
        (place / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{place}/store"\n')
        try:
            yield _with_driver(place, lock)
        finally:
            cache.remove_tree(place / "work")


def _with_driver(place: Path, lock: int) -> Buildah:
    """Overlay where the file system of the cache can be the base of one; else vfs, which copies every layer."""
    overlay = Buildah(place=place, driver="overlay", lock=lock)
    try:
        overlay.run([*overlay.options, "info"], "the check for overlay file systems")
    except LabError:
        return Buildah(place=place, driver="vfs", lock=lock)
    return overlay


def _apt_conf() -> str:
    """Lists and downloads outside of the image: several targets need the same ones."""
    ours = [
        'APT::Sandbox::User "root";',
        f'Dir::State::Lists "{STATE}/lists";',
        f'Dir::Cache "{STATE}/cache";',
        'DPkg::Options:: "--force-unsafe-io";',  # a build that is cut off is thrown away
    ]
    return "".join(f"{line}\n" for line in (*rootfs.apt_settings(), *ours))


def _layer(blob: Path, digest: str) -> Layer:
    found = layers.layer(f"blob-{_hex(digest)[:24]}", lambda out: _move(blob, out))
    if found.digest != digest:
        raise LabError(f"layer {digest} has the content of {found.digest}", fix=f"remove {found.path.parent}")
    return found


def _move(blob: Path, out: Path) -> None:
    blob.rename(out)


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _size(tree: Path) -> int:
    """Bytes on disk; containers/storage links nothing, so every file counts."""
    return sum(path.lstat().st_blocks * 512 for path in tree.rglob("*")) if tree.is_dir() else 0
