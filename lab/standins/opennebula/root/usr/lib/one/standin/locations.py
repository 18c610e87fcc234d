"""Where things are: under / as the packages install them, or all under $ONE_LOCATION (the self-contained layout)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Locations:
    """Directories of one installation. Source: OpenNebula 7.4.0 include/NebulaService.h, src/nebula/oned.cc."""

    etc: Path
    var: Path
    log: Path
    mads: Path
    remotes: Path
    lock_file: Path

    @classmethod
    def from_environment(cls) -> Locations:
        base = os.environ.get("ONE_LOCATION")
        if base is None:
            return cls(
                etc=Path("/etc/one"),
                var=Path("/var/lib/one"),
                log=Path("/var/log/one"),
                mads=Path("/usr/lib/one/mads"),
                remotes=Path("/var/lib/one/remotes"),
                lock_file=Path("/var/lock/one/one"),
            )
        root = Path(base)
        return cls(
            etc=root / "etc",
            var=root / "var",
            log=root / "var",
            mads=root / "lib" / "mads",
            remotes=root / "var" / "remotes",
            lock_file=root / "var" / "lock" / ".lock",
        )

    @property
    def auth(self) -> Path:
        """The directory of one_auth, one_key and the service credentials."""
        return self.var / ".one"


def remote_scripts(config: Path) -> str:
    """SCRIPTS_REMOTE_DIR of the file that oned writes at its start: where hosts keep the remotes."""
    for line in config.read_text().splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "SCRIPTS_REMOTE_DIR":
            return value.strip().replace("'", "")
    return "/var/tmp/one"
