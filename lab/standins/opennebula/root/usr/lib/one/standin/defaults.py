"""What is compiled into the daemons for keys that their files leave out (not what the shipped files say).

Source: OpenNebula 7.4.0 src/template/OpenNebulaTemplate.cc and src/monitor/src/monitor/MonitorConfigTemplate.cc.
Drivers (IM_MAD, VM_MAD, TM_MAD, HM_MAD, AUTH_MAD, …) have none, SCHED_MAD excepted.
"""

from __future__ import annotations

from typing import Final

from standin.grammar import Value

ONED: Final[dict[str, Value]] = {
    "MANAGER_TIMER": "15",
    "MONITORING_INTERVAL_MARKET": "600",
    "MONITORING_INTERVAL_DATASTORE": "300",
    "DS_MONITOR_VM_DISK": "10",
    "PORT": "2633",
    "LISTEN_ADDRESS": "0.0.0.0",
    "GRPC_PORT": "2634",
    "GRPC_LISTEN_ADDRESS": "0.0.0.0",
    "SCRIPTS_REMOTE_DIR": "/var/tmp/one",
    "VM_SUBMIT_ON_HOLD": "NO",
    "API_LIST_ORDER": "DESC",
    "SHOWBACK_ONLY_RUNNING": "NO",
    "CONTEXT_RESTRICTED_DIRS": "/etc",
    "CONTEXT_SAFE_DIRS": "",
    "CONTEXT_ALLOW_ETH_UPDATES": "NO",
    "DB": {"BACKEND": "sqlite", "TIMEOUT": "2500"},
    "LOG": {"SYSTEM": "file", "DEBUG_LEVEL": "3", "USE_VMS_LOCATION": "NO"},
    "VNC_PORTS": {"RESERVED": "", "START": "5900"},
    "MAX_BACKUPS": "5",
    "MAX_BACKUPS_HOST": "2",
    "FEDERATION": {
        "MODE": "STANDALONE",
        "ZONE_ID": "0",
        "SERVER_ID": "-1",
        "MASTER_ONED": "",
        "MASTER_ONED_GRPC": "",
    },
    "RAFT": {
        "LOG_RETENTION": "500000",
        "LOG_PURGE_TIMEOUT": "600",
        "ELECTION_TIMEOUT_MS": "1500",
        "BROADCAST_TIMEOUT_MS": "500",
        "XMLRPC_TIMEOUT_MS": "100",
        "LIMIT_PURGE": "100000",
    },
    "DEFAULT_COST": {"CPU_COST": "0", "MEMORY_COST": "0", "DISK_COST": "0"},
    "MAX_CONN": "15",
    "MAX_CONN_BACKLOG": "15",
    "KEEPALIVE_TIMEOUT": "15",
    "KEEPALIVE_MAX_CONN": "30",
    "TIMEOUT": "15",
    "RPC_LOG": "NO",
    "MESSAGE_SIZE": "1073741824",
    "LOG_CALL_FORMAT": "Req:%i UID:%u IP:%A %m invoked %l",
    "LOG_RESULT_LENGTH": "20",
    "MAC_PREFIX": "02:00",
    "MAC_GLOBAL_SPACE": "NO",
    "NETWORK_SIZE": "254",
    "VLAN_IDS": {"RESERVED": "0, 1, 4095", "START": "2"},
    "VXLAN_IDS": {"START": "2"},
    "PCI_PASSTHROUGH_BUS": "0x01",
    "DATASTORE_CAPACITY_CHECK": "YES",
    "DEFAULT_IMAGE_TYPE": "OS",
    "DEFAULT_IMAGE_PERSISTENT": "",
    "DEFAULT_IMAGE_PERSISTENT_NEW": "",
    "DEFAULT_DEVICE_PREFIX": "hd",
    "VM_SNAPSHOT_FACTOR": "0",
    "DEFAULT_AUTH": "default",
    "SESSION_EXPIRATION_TIME": "0",
    "ENABLE_OTHER_PERMISSIONS": "YES",
    "DEFAULT_UMASK": "177",
    "VM_USE_OPERATIONS": "",
    "HOOK_LOG_CONF": {"LOG_RETENTION": "10"},
    "SCHED_MAD": {"EXECUTABLE": "one_sched", "ARGUMENTS": "-t 15 -p rank -o one_drs"},
    "SCHED_MAX_WND_TIME": "30",
    "SCHED_MAX_WND_LENGTH": "7",
    "SCHED_RETRY_TIME": "60",
    "MAX_ACTIONS_PER_HOST": "2",
    "MAX_ACTIONS_PER_CLUSTER": "10",
    "LIVE_RESCHEDS": "0",
    "COLD_MIGRATE_MODE": "0",
    "ACTION_TIMEOUT": "120",
    "DRS_INTERVAL": "600",
}


def _transfer(name: str, link: str, clone: str, flags: str = "", **more: str) -> dict[str, str]:
    """`flags` says what the driver's system datastores are not: shared, migratable, migratable live."""
    words = {
        "SHARED": "NO" if "unshared" in flags else "YES",
        "DS_MIGRATE": "NO" if "fixed" in flags else "YES",
        "DS_LIVE_MIGRATE": "NO" if "fixed" in flags or "cold" in flags else "YES",
        "DS_MIGRATE_SNAP": "NO" if "fixed" in flags or "cold" in flags else "YES",
    }
    return {"NAME": name, "LN_TARGET": link, "CLONE_TARGET": clone, **words, **more}


_OVER_SSH: Final = {
    "TM_MAD_SYSTEM": "ssh",
    "LN_TARGET_SSH": "SYSTEM",
    "CLONE_TARGET_SSH": "SYSTEM",
    "DISK_TYPE_SSH": "FILE",
}

# How transfer drivers treat images. `local` came with 7.0, the storage arrays with 7.2.
TRANSFERS: Final = (
    _transfer("dummy", "NONE", "SYSTEM"),
    _transfer("shared", "NONE", "SYSTEM", ALLOW_ORPHANS="FORMAT", **_OVER_SSH),
    _transfer("lvm", "NONE", "SELF", "cold", DRIVER="raw", DISK_TYPE="BLOCK", ALLOW_ORPHANS="YES"),
    _transfer("fs_lvm", "SYSTEM", "SYSTEM", "cold", DRIVER="raw", DISK_TYPE="BLOCK"),
    _transfer(
        "fs_lvm_ssh",
        "SYSTEM",
        "SYSTEM",
        DRIVER="raw",
        DISK_TYPE="BLOCK",
        PERSISTENT_SNAPSHOTS="NO",
        ALLOW_ORPHANS="YES",
    ),
    _transfer("qcow2", "NONE", "SYSTEM", DRIVER="qcow2", ALLOW_ORPHANS="FORMAT", **_OVER_SSH),
    _transfer("ssh", "SYSTEM", "SYSTEM", "unshared", ALLOW_ORPHANS="YES"),
    _transfer("local", "SYSTEM", "SYSTEM", "unshared", ALLOW_ORPHANS="FORMAT"),
    _transfer("ceph", "NONE", "SELF", "fixed", DRIVER="raw", ALLOW_ORPHANS="mixed", **_OVER_SSH),
    _transfer("iscsi_libvirt", "NONE", "SELF", "fixed", DRIVER="raw"),
    _transfer("dev", "NONE", "NONE", "fixed", DRIVER="raw"),
    _transfer("netapp", "NONE", "SELF", "fixed", DRIVER="raw", DISK_TYPE="BLOCK", ALLOW_ORPHANS="LINEAR"),
    _transfer("purefa", "NONE", "SELF", "fixed", DRIVER="raw", DISK_TYPE="BLOCK", ALLOW_ORPHANS="YES"),
)
DATASTORES: Final = tuple(
    {"NAME": name, "REQUIRED_ATTRS": required}
    for name, required in (
        ("ceph", "DISK_TYPE,BRIDGE_LIST"),
        ("dev", "DISK_TYPE"),
        ("iscsi_libvirt", "DISK_TYPE,ISCSI_HOST"),
        ("dummy", ""),
        ("fs", ""),
        ("lvm", ""),
        ("restic", "RESTIC_PASSWORD"),
        ("rsync", "RSYNC_HOST,RSYNC_USER"),
        (
            "netapp",
            "NETAPP_HOST,NETAPP_USER,NETAPP_PASS,NETAPP_AGGREGATES,NETAPP_SVM,NETAPP_IGROUP,NETAPP_TARGET",
        ),
        ("purefa", "PUREFA_HOST,PUREFA_API_TOKEN,PUREFA_TARGET"),
    )
)

ONED_NAMED: Final[dict[str, tuple[dict[str, str], ...]]] = {
    "AUTH_MAD_CONF": tuple(
        {
            "NAME": name,
            "PASSWORD_CHANGE": change,
            "DRIVER_MANAGED_GROUPS": groups,
            "DRIVER_MANAGED_GROUP_ADMIN": groups,
            "MAX_TOKEN_TIME": token,
        }
        for name, change, groups, token in (
            ("core", "YES", "NO", "-1"),
            ("public", "NO", "NO", "-1"),
            ("ssh", "YES", "NO", "-1"),
            ("x509", "NO", "NO", "-1"),
            ("ldap", "YES", "YES", "86400"),
            ("saml", "YES", "YES", "86400"),
            ("server_cipher", "NO", "NO", "-1"),
            ("server_x509", "NO", "NO", "-1"),
        )
    ),
    "TM_MAD_CONF": TRANSFERS,
    "DS_MAD_CONF": DATASTORES,
}

MONITORD: Final[dict[str, Value]] = {
    "MANAGER_TIMER": "15",
    "MONITORING_INTERVAL_HOST": "180",
    "HOST_MONITORING_EXPIRATION_TIME": "43200",
    "VM_MONITORING_EXPIRATION_TIME": "43200",
    "DB": {"CONNECTIONS": "15"},
    "LOG": {"SYSTEM": "FILE", "DEBUG_LEVEL": "3"},
    "NETWORK": {"ADDRESS": "0.0.0.0", "PORT": "4124", "THREADS": "16"},
    "PROBES_PERIOD": {
        "BEACON_HOST": "30",
        "SYSTEM_HOST": "600",
        "MONITOR_HOST": "120",
        "STATE_VM": "10",
        "EXEC_VM": "5",
        "MONITOR_VM": "90",
        "SYNC_STATE_VM": "180",
    },
}
SCHEDULER: Final[dict[str, Value]] = {
    "ONE_XMLRPC": "http://localhost:2633/RPC2",
    "MESSAGE_SIZE": "1073741824",
    "TIMEOUT": "60",
    "SCHED_INTERVAL": "15",
    "MAX_VM": "5000",
    "MAX_DISPATCH": "30",
    "MAX_HOST": "1",
    "LIVE_RESCHEDS": "0",
    "COLD_MIGRATE_MODE": "0",
    "MEMORY_SYSTEM_DS_SCALE": "0",
    "DIFFERENT_VNETS": "YES",
    "DEFAULT_SCHED": {"POLICY": "1"},
    "DEFAULT_DS_SCHED": {"POLICY": "1"},
    "DEFAULT_NIC_SCHED": {"POLICY": "1"},
    "LOG": {"SYSTEM": "file", "DEBUG_LEVEL": "3"},
}
