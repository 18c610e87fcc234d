"""What differs between the OpenNebula releases that this program deploys: one table, nothing elsewhere.

Facts: `share/etc/oned.conf`, `share/pkgs/services/systemd/` and the servers' own configuration files at the tags
release-6.10.5 and release-7.4.0. Which names a daemon reads: what it looks up in its configuration (Nebula.cc, the pools,
Monitor.cc), beside what is shipped.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
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
    oned_keys: frozenset[str]  # every name at the top of oned.conf that oned reads
    monitord_keys: frozenset[str]  # and of monitord.conf

    def unknown(self, what: str) -> str:
        """Sentence about a setting that this release does not know."""
        return f"OpenNebula {self.version} does not know {what}; remove it, or deploy a release that does"

    def unread(self, name: str, file: str) -> str:
        """Sentence about a name that this release does not read in one of its files."""
        return self.unread_of(name, file, {version: other._keys(file) for version, other in RELEASES.items()})

    def unread_of(self, name: str, file: str, names: Mapping[Version, Collection[str]]) -> str:
        """The same, where `names` are what each release reads."""
        near = difflib.get_close_matches(name, sorted(names[self.version]), n=1, cutoff=0.75)
        if any(name in known for known in names.values()):
            return self.unknown(f"{name} in {file}")
        guess = f" Is {near[0]} meant?" if near else ""
        return f"OpenNebula {self.version} does not know {name} in {file}; correct it or remove it.{guess}"

    def _keys(self, file: str) -> frozenset[str]:
        return {"oned.conf": self.oned_keys, "monitord.conf": self.monitord_keys}[file]


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

_ONED = frozenset(
    {
        # the daemon, its database, its log and its API
        *("MANAGER_TIMER", "DB", "LOG", "FEDERATION", "RAFT", "RAFT_LEADER_HOOK", "RAFT_FOLLOWER_HOOK"),
        *("PORT", "LISTEN_ADDRESS", "HOSTNAME", "SCRIPTS_REMOTE_DIR", "API_LIST_ORDER", "HOOK_LOG_CONF"),
        *("MAX_CONN", "MAX_CONN_BACKLOG", "KEEPALIVE_TIMEOUT", "KEEPALIVE_MAX_CONN", "TIMEOUT", "RPC_LOG"),
        *("MESSAGE_SIZE", "LOG_CALL_FORMAT", "ONEGATE_ENDPOINT"),
        # drivers, and how they behave
        *("IM_MAD", "VM_MAD", "TM_MAD", "DATASTORE_MAD", "MARKET_MAD", "IPAM_MAD", "AUTH_MAD", "HM_MAD"),
        *("TM_MAD_CONF", "DS_MAD_CONF", "MARKET_MAD_CONF", "AUTH_MAD_CONF", "VN_MAD_CONF"),
        # storage and images
        *("DATASTORE_LOCATION", "DATASTORE_CAPACITY_CHECK", "MONITORING_INTERVAL_DATASTORE", "DS_MONITOR_VM_DISK"),
        *("MONITORING_INTERVAL_MARKET", "DEFAULT_IMAGE_TYPE", "DEFAULT_DEVICE_PREFIX", "DEFAULT_IMAGE_PERSISTENT"),
        *("DEFAULT_IMAGE_PERSISTENT_NEW", "VM_SNAPSHOT_FACTOR", "MAX_BACKUPS", "MAX_BACKUPS_HOST"),
        # VMs and networks
        *(
            "VM_SUBMIT_ON_HOLD",
            "VNC_PORTS",
            "PCI_PASSTHROUGH_BUS",
            "NETWORK_SIZE",
            "MAC_PREFIX",
            "VLAN_IDS",
            "VXLAN_IDS",
        ),
        *("CONTEXT_RESTRICTED_DIRS", "CONTEXT_SAFE_DIRS", "CONTEXT_ALLOW_ETH_UPDATES"),
        # users, and what they may
        *("DEFAULT_AUTH", "SESSION_EXPIRATION_TIME", "ENABLE_OTHER_PERMISSIONS", "DEFAULT_UMASK"),
        *("VM_ADMIN_OPERATIONS", "VM_MANAGE_OPERATIONS", "VM_USE_OPERATIONS", "DEFAULT_COST", "SHOWBACK_ONLY_RUNNING"),
        *("DEFAULT_VDC_HOST_ACL", "DEFAULT_VDC_VNET_ACL", "DEFAULT_VDC_DATASTORE_ACL", "DEFAULT_VDC_CLUSTER_HOST_ACL"),
        *("DEFAULT_VDC_CLUSTER_NET_ACL", "DEFAULT_VDC_CLUSTER_DATASTORE_ACL", "QUOTA_VM_ATTRIBUTE"),
        *(f"{kind}_RESTRICTED_ATTR" for kind in ("VM", "IMAGE", "VNET", "USER", "GROUP")),
        *(
            f"{kind}_ENCRYPTED_ATTR"
            for kind in ("CLUSTER", "DATASTORE", "DOCUMENT", "HOST", "IMAGE", "USER", "VM", "VNET")
        ),
        *(f"INHERIT_{kind}_ATTR" for kind in ("DATASTORE", "IMAGE", "VNET")),
    }
)
_MONITORD = frozenset(
    {
        *("MANAGER_TIMER", "MONITORING_INTERVAL_HOST", "HOST_MONITORING_EXPIRATION_TIME"),
        *("VM_MONITORING_EXPIRATION_TIME", "DB", "LOG", "NETWORK", "PROBES_PERIOD", "IM_MAD"),
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
        oned_keys=_ONED | {"DEFAULT_CDROM_DEVICE_PREFIX"},
        monitord_keys=_MONITORD,
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
        oned_keys=_ONED
        | _DRIVER_SCHEDULER
        | {"GRPC_PORT", "GRPC_LISTEN_ADDRESS", "MAC_GLOBAL_SPACE", "LOG_RESULT_LENGTH"},
        monitord_keys=_MONITORD,
    ),
}
