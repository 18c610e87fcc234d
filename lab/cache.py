"""The content-addressed cache: an entry is complete or absent, whoever is killed while making it.

An entry is a directory named by what it was made of. It is built beside its final place and renamed into it, under a
file lock, so that two labs starting at once build it once. Nothing here knows what is in an entry.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import paths
from lab.errors import LabError

_LOCK_LIMIT = 3600.0  # seconds; the longest build may take that


def digest(parts: Iterable[bytes]) -> str:
    """12 hex digits over the parts; each is length-prefixed, so that no two lists of parts run together."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big"))
        total.update(part)
    return total.hexdigest()[:12]


@contextmanager
def locked(path: Path, *, limit: float = _LOCK_LIMIT) -> Iterator[int]:
    """Hold an exclusive lock on the file `path`; the kernel releases it when the holder dies.

    Yields the lock's descriptor: processes that inherit it hold the lock as well. Waits for another holder for `limit`
    seconds, then raises LabError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + limit
    with path.open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LabError(
                        f"another process has held {path} for {limit:.0f} s",
                        cause="a second run that starts or stops the same lab, or builds the same thing",
                        fix=f"wait for it; `fuser {path}` shows its pid",
                    ) from None
                time.sleep(0.05)
        yield handle.fileno()


def entry(kind: str, name: str, make: Callable[[Path], None], *, cache: Path | None = None) -> Path:
    """The directory `kind/name` of the cache, made by `make(empty directory)` if it is not there yet."""
    cache = cache or paths.CACHE
    final = cache / kind / name
    if final.is_dir():
        return final
    with locked(cache / kind / f".{name}.lock"):
        if final.is_dir():
            return final
        draft = cache / kind / f".{name}.draft"
        remove_tree(draft)  # left by a build that was killed; the lock says nobody is working on it
        draft.mkdir(parents=True)
        try:
            make(draft)
            draft.replace(final)
        except BaseException:
            remove_tree(draft)
            raise
    return final


def remove_tree(path: Path) -> None:
    """Remove a directory if it exists."""
    if path.exists():
        shutil.rmtree(path)
