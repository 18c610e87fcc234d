"""The first objects of an empty schema, in oned's order, and the credentials that oned must make itself.

Each pool that never had an object gets its own; users come after the `*_auth` files. So a kill in between leaves files
that the next start refuses, and only deleting them heals that. Source: OpenNebula 7.4.0 src/um/UserPool.cc,
src/{cluster,group,datastore,zone}/*Pool.cc.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Final

from standin import RELEASE, datastores
from standin.clusters import FIRST_USER_ID, Cluster, ClusterPool, Zone, ZonePool
from standin.config import Config
from standin.database import Database
from standin.datastores import DatastorePool
from standin.hook_objects import HookPool
from standin.hosts import HostPool
from standin.locations import Locations
from standin.log import Log
from standin.machines import MachinePool
from standin.ownership import DocumentPool, ImagePool, NetworkPool, TemplatePool
from standin.pool import PoolError
from standin.template import Template
from standin.users import CORE, ONEADMIN, ONEADMIN_GROUP, Group, GroupPool, UserPool, random_password, sha256

SERVERADMIN: Final = "serveradmin"
_DATASTORES: Final = (
    ("system", (("TYPE", "SYSTEM_DS"), ("TM_MAD", RELEASE.transfer))),
    ("default", (("TYPE", "IMAGE_DS"), ("DS_MAD", "fs"), ("TM_MAD", RELEASE.transfer))),
    ("files", (("TYPE", "FILE_DS"), ("DS_MAD", "fs"), ("TM_MAD", RELEASE.transfer))),
)


class BootstrapError(RuntimeError):
    """The first boot cannot go on; the cause is in the log too."""


def load_key(locations: Locations) -> str:
    """The master key, made at the first start (0600, no newline at its end, unlike the `*_auth` files: seen on 7.4.0).

    :raises BootstrapError: when it can neither be read nor made.
    """
    path = locations.auth / "one_key"
    try:
        if not path.exists():
            locations.auth.mkdir(mode=0o700, exist_ok=True)
            _create(path, random_password())
        return path.read_text().strip()
    except OSError:
        raise BootstrapError("Could not load nebula master key file.") from None


def read_one_auth() -> str:
    """First line of $ONE_AUTH, else of .one/one_auth in the home that the password database gives this uid.

    :raises BootstrapError: without a password entry or a readable file; $HOME is not asked.
    """
    path = os.environ.get("ONE_AUTH")
    if path is None:
        try:
            path = pwd.getpwuid(os.getuid()).pw_dir + "/.one/one_auth"
        except KeyError:
            raise BootstrapError("No matching password record for user") from None
    try:
        with Path(path).open(encoding="utf-8") as file:
            line = file.readline()
    except OSError:
        raise BootstrapError(f"Could not open file {path}") from None
    if not line:
        raise BootstrapError(f"Error reading file {path}")
    return line.removesuffix("\n")


class Pools:
    """All pools of one schema, made complete on construction.

    :raises BootstrapError: "Error Initializing OpenNebula pools"; the log has the cause.
    """

    def __init__(
        self, database: Database, config: Config, locations: Locations, log: Log, between: Callable[[], None]
    ) -> None:
        self._config = config
        self._locations = locations
        self._log = log
        self._between = between
        self.clusters = ClusterPool(database)
        self.hosts = HostPool(database)
        self.groups = GroupPool(database)
        self.users = UserPool(self.groups)
        self.datastores = DatastorePool(database)
        self.zones = ZonePool(database)
        self.templates = TemplatePool(database)
        self.documents = DocumentPool(database)
        self.images = ImagePool(database)
        self.networks = NetworkPool(database)
        self.machines = MachinePool(database)
        self.hooks = HookPool(database, config.integer("HOOK_LOG_CONF", "LOG_RETENTION"))
        try:
            self._first_cluster()
            self._first_groups()
            owner = self._first_users()
            self._first_datastores(owner)
            self._first_zone()
        except (PoolError, BootstrapError) as error:
            log.error("ONE", str(error))
            raise BootstrapError("Error Initializing OpenNebula pools") from None

    def _first_cluster(self) -> None:
        if self.clusters.last_oid() == -1:
            self.clusters.insert(Cluster("default", datastores={0, 1, 2}))
            self.clusters.set_last_oid(FIRST_USER_ID - 1)
            self._between()

    def _first_groups(self) -> None:
        if self.groups.last_oid() == -1:
            for name in ("oneadmin", "users"):
                self.groups.insert(Group(name))
            self.groups.set_last_oid(FIRST_USER_ID - 1)
            self._between()

    def _first_users(self) -> str:
        oneadmin = self.users.get(ONEADMIN)
        if oneadmin is not None:
            return oneadmin.name
        try:
            session = read_one_auth()
        except BootstrapError as error:
            raise BootstrapError(f"Error reading one_auth: {error}") from None
        name, separator, password = session.partition(":")
        if not separator:
            raise BootstrapError("Wrong format must be <username>:<password>")
        if name == SERVERADMIN:
            raise BootstrapError(f"The name '{SERVERADMIN}' is reserved")
        shared = random_password()
        self._write_credentials(shared)
        self._allocate("oneadmin", 0, name, password, CORE)
        self._allocate("server_admin", 1, SERVERADMIN, sha256(shared), "server_cipher")
        return name

    def _write_credentials(self, shared: str) -> None:
        self._locations.auth.mkdir(mode=0o700, exist_ok=True)
        for file in RELEASE.credentials:
            path = self._locations.auth / file
            if path.exists():
                raise BootstrapError(
                    f"Password file {self._locations.var}//.one/{file} already exists but OpenNebula is boostraping the database. "
                    "Check your database configuration in oned.conf."
                )
            try:
                _create(path, f"{SERVERADMIN}:{shared}\n")
            except OSError:
                raise BootstrapError(f"Could not create configuration file {path}") from None
            self._between()

    def _allocate(self, label: str, expected: int, name: str, password: str, driver: str) -> None:
        try:
            oid = self.users.allocate(name, password, driver, {ONEADMIN_GROUP}, ONEADMIN_GROUP)
        except PoolError as error:
            raise BootstrapError(f"Error creating {label} user: {error}") from None
        if oid != expected:
            raise BootstrapError(f"Error creating {label} user: ")
        self._between()

    def _first_datastores(self, owner: str) -> None:
        if self.datastores.last_oid() == -1:
            for name, attributes in _DATASTORES:
                self.datastores.insert(datastores.first(name, attributes, self._config, owner))
            self.datastores.set_last_oid(FIRST_USER_ID - 1)
            self._between()

    def _first_zone(self) -> None:
        if self.zones.last_oid() == -1:
            self.zones.insert(Zone("OpenNebula", Template(self._endpoints())))
            self.zones.set_last_oid(FIRST_USER_ID - 1)
            self._between()

    def _endpoints(self) -> list[tuple[str, str]]:
        """MASTER_ONED and MASTER_ONED_GRPC become the zone's endpoints even in STANDALONE mode."""
        federation = self._config.section("FEDERATION")
        xmlrpc, grpc = federation.get("MASTER_ONED", ""), federation.get("MASTER_ONED_GRPC", "")
        if not xmlrpc and not grpc:
            xmlrpc = f"http://localhost:{self._config.get('PORT')}/RPC2"
            grpc = f"localhost:{self._config.get('GRPC_PORT')}"
        if not xmlrpc:
            raise BootstrapError("Error trying to create local zone: ENDPOINT not present in template.")
        found = (("ENDPOINT", xmlrpc), ("ENDPOINT_GRPC", grpc if RELEASE.grpc else ""))
        return [(name, value) for name, value in found if value]


def _create(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
