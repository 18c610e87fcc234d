"""Which release the tree stands for: 7.4, or 6.10 where the file VERSION beside this module (an image of 6.10 has one) or
ONE_STANDIN_VERSION in the environment says so.

Only what a client, a file or a first boot can see differs; the tables are those of 7.4 in both. Source: tags release-6.10.5
and release-7.4.0.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VARIABLE: Final = "ONE_STANDIN_VERSION"
_FILE: Final = Path(__file__).with_name("VERSION")


@dataclass(frozen=True, kw_only=True)
class Release:
    """`scheduler_driver` False is the release whose scheduler is a daemon of its own."""

    code: str
    database: str
    credentials: tuple[str, ...]
    grpc: bool
    scheduler_driver: bool
    transfer: str  # of the datastores of the first boot
    transfers_missing: frozenset[str] = frozenset()


RELEASES: Final = {
    "6.10": Release(
        code="6.10.5",
        database="6.10.0",
        credentials=("sunstone_auth", "onegate_auth", "oneflow_auth"),
        grpc=False,
        scheduler_driver=False,
        transfer="ssh",
        transfers_missing=frozenset({"local", "netapp", "purefa"}),
    ),
    "7.4": Release(
        code="7.4.0",
        database="7.4.0",
        credentials=("sunstone_auth", "onegate_auth", "oneflow_auth", "oneform_auth", "oneks_auth"),
        grpc=True,
        scheduler_driver=True,
        transfer="local",
    ),
}


def current() -> Release:
    """:raises RuntimeError: for a release that the stand-in does not know."""
    named = os.environ.get(VARIABLE) or (_FILE.read_text() if _FILE.is_file() else "7.4")
    short = ".".join(named.strip().split(".")[:2])
    if short not in RELEASES:
        raise RuntimeError(
            f"The rehearsal stand-in knows {', '.join(RELEASES)}; {VARIABLE} or VERSION says {named.strip()!r}."
        )
    return RELEASES[short]
