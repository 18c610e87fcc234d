"""Debian root file systems as tar files, made once for a list of packages and kept in the cache.

Reproducible: times are clamped, and what packages invent while they install (host keys, an empty database) is taken
out again. Documentation and translations are left out: half of the files, and nobody reads them in a container.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import cache, paths, process
from lab.console import Report, say, timed
from lab.errors import LabError, tail

SUITE = "bookworm"
EPOCH = 1_750_000_000  # the one modification time in everything the lab builds
_LIMIT = 1800  # seconds
_RECIPE = b"3"  # raise when the options below change what comes out

_SKIPPED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
_APT_SETTINGS = tuple(f"Acquire::{name}" for name in ("http", "ftp", "Check-", "Retries", "ForceIPv", "Proxy"))
_INVENTED = (
    "etc/ssh/ssh_host_*",
    "var/lib/mysql/*",
    "var/lib/mysql/.[!.]*",
    "etc/machine-id",
    "etc/apt/apt.conf.d/99mmdebstrap",  # this machine's way to the mirrors: a proxy's address may hold a password
    "var/log/*.log",
    "var/log/mysql",
)


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user that must exist before packages are installed, so that theirs gets the number that we chose."""

    name: str
    uid: int
    home: str
    login: str = "/usr/sbin/nologin"

    @property
    def passwd(self) -> str:
        return f"{self.name}:x:{self.uid}:{self.uid}:{self.name}:{self.home}:{self.login}"


def debian(packages: Sequence[str], accounts: Sequence[Account] = (), report: Report = say) -> Path:
    """A tar of Debian bookworm (minbase) with these packages. Raises LabError when mmdebstrap fails."""
    chosen = sorted(set(packages))
    parts = [_RECIPE, SUITE.encode(), *(name.encode() for name in chosen), *(a.passwd.encode() for a in accounts)]
    key = cache.digest(parts)
    return cache.entry("rootfs", key, lambda into: _bootstrap(key, chosen, accounts, into, report)) / "root.tar"


def _bootstrap(key: str, packages: Sequence[str], accounts: Sequence[Account], into: Path, report: Report) -> None:
    log = paths.CACHE / "logs" / f"rootfs-{key}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    label = f"Debian root file system ({' '.join(packages)[:60] or 'minimal'})"
    command = [*("mmdebstrap", "--variant=minbase", "--mode=root", "--format=tar"), *_apt_options(into)]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in _SKIPPED]
    command += [f"--essential-hook={line}" for account in accounts for line in _account_hooks(account)]
    command += [f'--customize-hook=rm -rf "$1"/{pattern}' for pattern in _INVENTED]
    command += ['--customize-hook=: > "$1"/etc/machine-id']
    command += [f"--include={','.join(packages)}"] if packages else []
    command += [SUITE, str(into / "root.tar")]
    environment = os.environ | {
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    with timed(label, report), log.open("wb") as output:
        try:
            done = subprocess.run(
                process.tied(command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired as slow:
            raise LabError(
                f"{label} was not ready in {_LIMIT} s", cause=tail(log), fix="check the package mirror"
            ) from slow
    if done.returncode != 0:
        raise LabError(
            f"{label} failed", cause=tail(log), fix="check the package names and the package mirror, run again"
        )


def _account_hooks(account: Account) -> list[str]:
    return [
        f"echo '{account.passwd}' >> \"$1\"/etc/passwd",
        f"echo '{account.name}:x:{account.uid}:' >> \"$1\"/etc/group",
    ]


def apt_settings() -> list[str]:
    """This machine's own way to the mirrors (proxy, validity checks), as lines of an apt.conf."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=60, check=False).stdout
    return [line for line in dump.splitlines() if line.startswith(_APT_SETTINGS) and not line.endswith('"";')]


def _apt_options(into: Path) -> list[str]:
    # mmdebstrap does not read the machine's settings by itself
    wanted = apt_settings()
    if not wanted:
        return []
    options = into / "apt.conf"
    options.write_text("\n".join(wanted) + "\n")
    return [f"--aptopt={options}"]
