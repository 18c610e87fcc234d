"""What differs between the OpenNebula releases that this program deploys: one table, nothing elsewhere.

Facts: `share/etc/oned.conf`, `share/pkgs/services/systemd/` and the servers' own configuration files at the tags
release-6.10.5 and release-7.4.0.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.domain import Version


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release. A setting that a release does not know is an error that names the release (stacks/problems.py)."""

    version: Version
    scheduler_daemon: bool  # mm_sched with sched.conf; since 7.0 a driver inside oned (SCHED_MAD) with rank.conf
    ruby_sunstone: bool  # the legacy web interface on 9869, with noVNC on 29876
    onegate_server_section: bool  # `:server: {:bind, :port}` (since 7.3.80) instead of `:host:` and `:port:`
    saml: bool
    local_transfer: bool  # the `local` TM driver; before, `ssh` does that work
    monitord_listen: str
    exec_vm_probe: bool  # PROBES_PERIOD/EXEC_VM
    grpc: bool  # gRPC API, and FEDERATION/MASTER_ONED_GRPC with it
    auth_files: tuple[str, ...]  # what oned's first boot creates, `<name>_auth`
    unknown_keys: frozenset[str]  # of oned.conf: names that another release of this table reads and this one does not

    def unknown(self, what: str) -> str:
        """Sentence about a setting that this release does not know."""
        return f"OpenNebula {self.version} does not know {what}; remove it, or deploy a release that does"


_DRIVER_SCHEDULER = frozenset(
    {
        "SCHED_MAD",
        "SCHED_MAX_WND_TIME",
        "SCHED_MAX_WND_LENGTH",
        "SCHED_RETRY_TIME",
        "MAX_ACTIONS_PER_HOST",
        "MAX_ACTIONS_PER_CLUSTER",
        "ACTION_TIMEOUT",
        "LIVE_RESCHEDS",  # 6.10 has these two in sched.conf
        "COLD_MIGRATE_MODE",
        "DRS_INTERVAL",
    }
)

RELEASES: dict[Version, Release] = {
    Version.V6_10: Release(
        version=Version.V6_10,
        scheduler_daemon=True,
        ruby_sunstone=True,
        onegate_server_section=False,
        saml=False,
        local_transfer=False,
        monitord_listen="0.0.0.0",
        exec_vm_probe=False,
        grpc=False,
        auth_files=("sunstone", "onegate", "oneflow"),
        unknown_keys=_DRIVER_SCHEDULER | {"GRPC_PORT", "GRPC_LISTEN_ADDRESS", "MAC_GLOBAL_SPACE", "LOG_RESULT_LENGTH"},
    ),
    Version.V7_4: Release(
        version=Version.V7_4,
        scheduler_daemon=False,
        ruby_sunstone=False,
        onegate_server_section=True,
        saml=True,
        local_transfer=True,
        monitord_listen="0.0.0.0",
        exec_vm_probe=True,
        grpc=True,
        auth_files=("sunstone", "onegate", "oneflow", "oneform", "oneks"),
        unknown_keys=frozenset({"DEFAULT_CDROM_DEVICE_PREFIX"}),
    ),
}
