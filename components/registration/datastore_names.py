"""Names of datastores and of their attributes: what oned refuses, and what a declaration may not write.

Pure values, asked by the settings before anything is touched and by the provider's check.
"""

from __future__ import annotations

import re
from typing import Final

from components.registration.template import value_problem

_REFUSED = re.compile(r"[&|:\\\";/'#{}$<>\t\n\v\f\r]")

_WRITTEN_BY_ONED: Final = frozenset(
    {
        *("NAME", "TYPE", "DS_MAD", "TM_MAD", "TM_MAD_SYSTEM", "BASE_PATH", "SHARED", "CLONE_TARGET", "LN_TARGET"),
        *("DS_MIGRATE", "DS_LIVE_MIGRATE", "DS_MIGRATE_SNAP", "ALLOW_ORPHANS", "PERSISTENT_SNAPSHOTS", "ERROR"),
    }
)
_WRITTEN_BY_ONED_START: Final = ("CLONE_TARGET_", "LN_TARGET_", "DISK_TYPE_")
"""Datastore::set_tm_mad writes them with every update, from TM_MAD_CONF."""

_NEEDS_MORE_THAN_A_POD: Final = {
    "NFS_AUTO_": "makes the drivers mount with sudo and edit /etc/fstab where oned runs, and its pod has neither sudo nor "
    "the right to mount; mount the export on the hosts, and for images set bridgeList",
    "LVM_": "belongs to the LVM drivers, which need sudo and block devices where oned runs",
    "ISCSI_": "belongs to the iSCSI drivers, which need an initiator where oned runs",
    "NETAPP_": "belongs to storage arrays, which need sudo, iSCSI and multipath where oned runs",
    "PUREFA_": "belongs to storage arrays, which need sudo, iSCSI and multipath where oned runs",
    "RESTIC_": "belongs to backup datastores, which are not declared here",
    "RSYNC_": "belongs to backup datastores, which are not declared here",
}


def datastore_name_problem(name: str) -> str | None:
    """Why oned refuses `name` for a datastore or changes it, or None.

    Source: PoolObjectSQL::name_is_valid of 7.4 (the same in 6.10): 1 to 128 bytes, none of `&|:\\";/'#{}$<>`.
    """
    if not name:
        return "must not be empty"
    size = len(name.encode(errors="surrogatepass"))
    if size > 128:
        return f"has {size} bytes; oned takes at most 128"
    if found := _REFUSED.search(name):
        return f"contains {found[0]!r}, which oned refuses in a name"
    return value_problem(name)


def reserved_problem(attribute: str) -> str | None:
    """Why a declaration may not write that attribute, or None."""
    if attribute in _WRITTEN_BY_ONED or attribute.startswith(_WRITTEN_BY_ONED_START):
        return "is written by oned and cannot be declared"
    return next((text for start, text in _NEEDS_MORE_THAN_A_POD.items() if attribute.startswith(start)), None)
