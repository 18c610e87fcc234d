"""The tables of 7.4.0 and the two version rows that say whether they exist.

The same statements in the same order as the real one, with `IF NOT EXISTS` only where the real one has it: an oned that
is killed while it makes them leaves indexes behind, and every later start ends in `Duplicate key name`. Only dropping
the half-made schema heals that. Source: OpenNebula 7.4.0 src/sql/{OneDB,LogDB}.cc, src/nebula/{Nebula,SystemDB}.cc.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from standin import BANNER, DB_VERSION
from standin.database import Database, SqlError
from standin.log import Log

_OWNED: Final = "uid INTEGER, gid INTEGER, owner_u INTEGER, group_u INTEGER, other_u INTEGER"


def _table(name: str, columns: str) -> str:
    return f"CREATE TABLE IF NOT EXISTS {name} ({columns})"


def _pool(name: str, *, more: str = "", unique: str = "") -> str:
    tail = (f", {more}" if more else "") + (f", UNIQUE({unique})" if unique else "")
    return _table(name, f"oid INTEGER PRIMARY KEY, name VARCHAR(128), body MEDIUMTEXT, {_OWNED}{tail}")


def _rows_of(name: str, key: str) -> str:
    return _table(name, f"{key} INTEGER PRIMARY KEY, body MEDIUMTEXT")


LOG_TABLES: Final = (
    _table(
        "logdb",
        "log_index BIGINT UNSIGNED PRIMARY KEY, term INTEGER, sqlcmd MEDIUMTEXT, "
        "timestamp INTEGER, fed_index BIGINT UNSIGNED, applied BOOLEAN",
    ),
    "CREATE INDEX fed_index_idx on logdb (fed_index);",
    "CREATE INDEX applied_idx on logdb (applied);",
)
LOCAL_TABLES: Final = (
    _pool(
        "vm_pool",
        more="state INTEGER, lcm_state INTEGER, resched INTEGER, short_body MEDIUMTEXT, body_json JSON",
    ),
    "CREATE INDEX state_oid_idx on vm_pool (state, oid);",
    _table("vm_monitoring", "vmid INTEGER, last_poll INTEGER, body MEDIUMTEXT, PRIMARY KEY(vmid, last_poll)"),
    _table(
        "history",
        "vid INTEGER, seq INTEGER, body MEDIUMTEXT, stime INTEGER, etime INTEGER, PRIMARY KEY(vid, seq)",
    ),
    _table(
        "vm_showback",
        "vmid INTEGER, year INTEGER, month INTEGER, body MEDIUMTEXT, PRIMARY KEY(vmid, year, month)",
    ),
    _pool("host_pool", more="state INTEGER, cid INTEGER"),
    _table(
        "host_monitoring",
        "hid INTEGER, last_mon_time INTEGER, body MEDIUMTEXT, PRIMARY KEY(hid, last_mon_time)",
    ),
    _pool("network_pool", more="pid INTEGER", unique="name,uid"),
    _table("network_vlan_bitmap", "id INTEGER, map LONGTEXT, PRIMARY KEY(id)"),
    _pool("image_pool", unique="name,uid"),
    _pool("template_pool"),
    _pool("datastore_pool"),
    _pool("cluster_pool", unique="name"),
    _table("cluster_datastore_relation", "cid INTEGER, oid INTEGER, PRIMARY KEY(cid, oid)"),
    _table("cluster_network_relation", "cid INTEGER, oid INTEGER, PRIMARY KEY(cid, oid)"),
    _table("cluster_vnc_bitmap", "id INTEGER, map LONGTEXT, PRIMARY KEY(id)"),
    _pool("document_pool", more="type INTEGER"),
    _rows_of("user_quotas", "user_oid"),
    _rows_of("group_quotas", "group_oid"),
    _rows_of("group_vlans", "group_oid"),
    _pool("secgroup_pool", unique="name,uid"),
    _pool("vrouter_pool"),
    _pool("vmgroup_pool", unique="name,uid"),
    _pool("vn_template_pool"),
    _pool("hook_pool", more="type INTEGER"),
    _table(
        "hook_log",
        "hkid INTEGER, exeid INTEGER, timestamp INTEGER, rc INTEGER, body MEDIUMTEXT, PRIMARY KEY(hkid, exeid)",
    ),
    _pool("backupjob_pool", more="priority INTEGER, outdated_vms INTEGER"),
    _table(
        "schedaction_pool",
        "oid INTEGER PRIMARY KEY, parent_id INTEGER, type VARCHAR(128), body MEDIUMTEXT, time INTEGER, done INTEGER",
    ),
    _table("plan_pool", "cid INTEGER PRIMARY KEY, state INTEGER, body MEDIUMTEXT"),
)
SHARED_TABLES: Final = (
    _pool("group_pool", unique="name"),
    _pool("user_pool", unique="name"),
    _table(
        "acl",
        "oid INT PRIMARY KEY, userset BIGINT, resource BIGINT, rights BIGINT, zone BIGINT, "
        "UNIQUE(userset, resource, rights, zone)",
    ),
    _pool("zone_pool", unique="name"),
    _pool("vdc_pool", unique="name"),
    _pool("marketplace_pool"),
    _pool("marketplaceapp_pool", unique="name,uid"),
)
_VERSION_COLUMNS: Final = "oid INTEGER PRIMARY KEY, version VARCHAR(256), timestamp INTEGER, comment VARCHAR(256)"


class Schema:
    """Version check and creation. `between` runs after every statement: the seam of the crash tests."""

    def __init__(self, database: Database, log: Log, between: Callable[[], None]) -> None:
        self._database = database
        self._log = log
        self._between = between

    def missing(self) -> tuple[bool, bool]:
        """Whether the local and the shared tables have to be made.

        :raises RuntimeError: for tables of another version.
        """
        return self._absent("local_db_versioning"), self._absent("db_versioning")

    def create_log(self) -> None:
        """:raises RuntimeError: when a statement fails."""
        self._all(LOG_TABLES)

    def create(self, *, local: bool, shared: bool) -> None:
        """Make what is missing.

        :raises RuntimeError: after the first table group in which a statement failed.
        """
        if local:
            self._log.info("ONE", "Bootstrapping OpenNebula database, stage 1.")
            self._all(LOCAL_TABLES)
            self._all(
                (
                    "CREATE TABLE pool_control (tablename VARCHAR(32) PRIMARY KEY, last_oid BIGINT UNSIGNED)",
                    f"CREATE TABLE local_db_versioning ({_VERSION_COLUMNS}, is_slave BOOLEAN)",
                    self._version_row("local_db_versioning", ", 0"),
                    _table("system_attributes", "name VARCHAR(128) PRIMARY KEY, body MEDIUMTEXT"),
                    "INSERT INTO system_attributes (name, body) VALUES "
                    "('DEFAULT_USER_QUOTAS', '<DEFAULT_USER_QUOTAS/>')",
                    "INSERT INTO system_attributes (name, body) VALUES "
                    "('DEFAULT_GROUP_QUOTAS', '<DEFAULT_GROUP_QUOTAS/>')",
                )
            )
        if shared:
            self._log.info("ONE", "Bootstrapping OpenNebula database, stage 2.")
            self._all(SHARED_TABLES)
            self._all(
                (f"CREATE TABLE db_versioning ({_VERSION_COLUMNS})", self._version_row("db_versioning", "")),
            )

    def _all(self, statements: tuple[str, ...]) -> None:
        made = True
        for statement in statements:
            made = self._database.attempt(statement) and made
            self._between()
        if not made:
            raise RuntimeError("Error bootstrapping database.")

    def _absent(self, table: str) -> bool:
        try:
            rows = self._database.query(f"SELECT version FROM {table} WHERE oid=(SELECT MAX(oid) FROM {table})")
        except SqlError:
            return True
        if not rows:
            return True
        found = rows[0][0]
        if found != DB_VERSION:
            self._log.error(
                "ONE",
                f"Database version mismatch ( {table}). Installed {BANNER} needs DB version '{DB_VERSION}', "
                f"and existing DB version is '{found}'.",
            )
            self._log.error("ONE", "Use onedb to upgrade DB.")
            raise RuntimeError("Database version mismatch. Check oned.log.")
        self._log.info("ONE", f"oned is using version {DB_VERSION} for {table}")
        return False

    @staticmethod
    def _version_row(table: str, tail: str) -> str:
        return f"INSERT INTO {table} VALUES (0, '{DB_VERSION}', {int(time.time())}, '{BANNER} daemon bootstrap'{tail})"
