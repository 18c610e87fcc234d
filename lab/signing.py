"""The key that signs the lab's package repository: made once a cache, used by gpg in a home that exists for one call.

The secret key is a file of mode 0600 without passphrase: it vouches for packages of the lab to hosts of the lab only.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import cache
from lab.errors import LabError

_OWNER = "Rehearsal Lab package repository"
# program -> Debian package
PROGRAMS = {"gpg": "gpg", "gpg-agent": "gpg-agent", "gpgconf": "gpgconf"}
_LIMIT = 120  # seconds


def ensure_key(root: Path | None = None) -> Path:
    """Directory with `secret.asc` and `public.asc`, in another cache than the usual one if `root` is given."""
    return cache.entry("signing", "repository", _make, cache=root)


def sign(key: Path, release: Path) -> None:
    """Write InRelease and Release.gpg beside a Release file."""
    with _gpg_home() as gpg:
        _run([*gpg, "--import", str(key / "secret.asc")])
        for option, name in (("--clearsign", "InRelease"), ("--detach-sign", "Release.gpg")):
            output = str(release.with_name(name))
            _run([*gpg, "--armor", "--digest-algo", "SHA512", option, "--output", output, str(release)])


def _make(draft: Path) -> None:
    with _gpg_home() as gpg:
        _run([*gpg, "--passphrase", "", "--quick-generate-key", _OWNER, "ed25519", "sign", "never"])
        public = _run([*gpg, "--armor", "--export"])
        secret = _run([*gpg, "--armor", "--export-secret-keys"])
    (draft / "public.asc").write_text(public)
    with os.fdopen(os.open(draft / "secret.asc", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(secret)


@contextmanager
def _gpg_home() -> Iterator[list[str]]:
    """A gpg command with a home of its own, short enough for the agent's socket; the agent ends with it."""
    with tempfile.TemporaryDirectory(prefix="lab-gpg-", dir="/tmp") as home:
        try:
            yield ["gpg", "--homedir", home, "--batch", "--quiet", "--no-tty", "--yes", "--pinentry-mode", "loopback"]
        finally:
            _run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
    if done.returncode != 0:
        raise LabError(f"`{command[0]}` cannot sign the lab's repository", cause=done.stderr.strip())
    return done.stdout
