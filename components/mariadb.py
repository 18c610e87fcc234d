"""MariaDB: the database of one oned.

Runs one mariadbd in a StatefulSet of one, READ COMMITTED and utf8mb4 as OpenNebula's documentation asks, with one
account that is limited to its schema. Deliberately not here: replication or Galera (oned replicates its own SQL, and
several oned on one database corrupt it), backups, TLS (oned has no option for it: the network policy is the control).
Makes a Secret, a ConfigMap, a Service, a NetworkPolicy, a ServiceAccount without token and the StatefulSet.
Outputs: `handle`, all that a client of the database needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pulumi
from pulumi_kubernetes.apps.v1 import StatefulSet
from pulumi_kubernetes.core.v1 import ConfigMap, Secret, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pydantic import AfterValidator, BeforeValidator, Field

from components import naming
from components.domain import Memory, Section, SqlName
from components.manifests import (
    SKIP_AWAIT,
    Manifest,
    container_security,
    content_hash,
    empty_dir,
    exec_probe,
    mount,
    peer,
    pod_security,
    policy_ports,
    stateful_set,
)
from components.placement import configuration
from components.scheduling import SchedulingSettings, pod_fields

SCRIPTS = Path(__file__).parent / "scripts"


def _no_sqlite(value: Any) -> Any:
    if value == "sqlite":
        raise ValueError("SQLite takes one writer, and oned and onemonitord are two processes: leave this key out")
    return value


# images/oned/oned-start takes a schema without users for a half-made first boot and drops it.
SYSTEM_SCHEMAS: Final = frozenset({"mysql", "information_schema", "performance_schema", "sys"})
SYSTEM_USERS: Final = frozenset({"root", "mysql", "mariadb_sys"})


def _own_schema(name: str) -> str:
    if name in SYSTEM_SCHEMAS:
        raise ValueError(f"{name} is a schema of MariaDB itself: choose another name, such as opennebula")
    return name


def _own_user(name: str) -> str:
    if name in SYSTEM_USERS:
        raise ValueError(f"{name} is an account of MariaDB itself: choose another name, such as oneadmin")
    return name


class MariaDBSettings(Section):
    """The database of oned."""

    backend: Annotated[Literal["mysql"], BeforeValidator(_no_sqlite)] = Field(
        default="mysql", description="MySQL or MariaDB; SQLite is refused"
    )
    name: Annotated[SqlName, AfterValidator(_own_schema)] = Field(
        default="opennebula", description="schema; oned's account may use no other"
    )
    user: Annotated[SqlName, AfterValidator(_own_user)] = Field(
        default="oneadmin", description="oned's account; another one takes the place of the former, which is dropped"
    )
    connections: int = Field(default=25, ge=5, le=500, description="connections that oned keeps open")
    buffer_pool: Memory | None = Field(
        default=None, description="innodb_buffer_pool_size; by tier 128Mi, 1Gi or 6Gi when left out"
    )


@dataclass(frozen=True, kw_only=True)
class MariaDBHandle:
    """What a client of the database needs. `secret` holds the key `password`."""

    host: pulumi.Output[str]
    port: int
    name: str
    user: str
    connections: int
    secret: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class MariaDBArgs:
    """`claim` is the volume claim of the data, `password` letters and digits only."""

    settings: MariaDBSettings
    namespace: pulumi.Input[str]
    image: str
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...]
    claim: pulumi.Input[str]
    password: pulumi.Input[str]
    resources: Manifest
    buffer_pool: str
    max_connections: int = 100
    scheduling: SchedulingSettings = field(default_factory=SchedulingSettings)


class MariaDB(pulumi.ComponentResource):
    """See the module."""

    handle: MariaDBHandle

    def __init__(self, name: str, args: MariaDBArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opennebula:index:MariaDB", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        labels = naming.labels(naming.MARIADB)

        secret = Secret(
            f"{name}-password",
            metadata={"namespace": args.namespace, "labels": labels},
            string_data={"password": args.password},
            opts=child,
        )
        files = {
            "my.cnf": server_config(args.buffer_pool, args.max_connections),
            "start.sh": (SCRIPTS / "mariadb-start.sh").read_text(),
            "ready.sh": (SCRIPTS / "mariadb-ready.sh").read_text(),
        }
        config = ConfigMap(
            f"{name}-config",
            # The content is in the name, so a change of content is a new pod and the old object serves the old one.
            metadata={
                "name": f"mariadb-config-{content_hash(*files.values())}",
                "namespace": args.namespace,
                "labels": labels,
            },
            data=files,
            opts=configuration(self),
        )
        account = ServiceAccount(
            f"{name}-account",
            metadata={"name": naming.MARIADB, "namespace": args.namespace, "labels": labels},
            automount_service_account_token=False,
            opts=child,
        )
        NetworkPolicy(
            f"{name}-policy",
            metadata={"name": naming.MARIADB, "namespace": args.namespace, "labels": labels},
            spec=network_policy(),
            opts=child,
        )
        # A cluster IP: its name resolves before the pod is ready, so oned's wait never runs into a cached "no such name".
        Service(
            f"{name}-service",
            metadata={"name": naming.MARIADB, "namespace": args.namespace, "labels": labels, "annotations": SKIP_AWAIT},
            spec=service(),
            opts=child,
        )
        peers = Service(
            f"{name}-peers",
            metadata={"name": naming.MARIADB_PEERS, "namespace": args.namespace, "labels": labels},
            spec=service() | {"clusterIP": "None"},
            opts=child,
        )
        StatefulSet(
            f"{name}-statefulset",
            metadata={"name": naming.MARIADB, "namespace": args.namespace, "labels": labels},
            spec=stateful_set(
                naming.selector(naming.MARIADB),
                peers.metadata.name,
                pod_template(args, config.metadata.name, secret.metadata.name, account.metadata.name),
            ),
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=pulumi.CustomTimeouts(create="5m", update="5m")),
        )
        self.handle = MariaDBHandle(
            # Independent of the StatefulSet: oned starts beside the database and waits for it by itself.
            host=pulumi.Output.concat(naming.MARIADB, ".", args.namespace, ".svc"),
            port=naming.PORT_MARIADB,
            name=args.settings.name,
            user=args.settings.user,
            connections=args.settings.connections,
            secret=secret.metadata.name,
        )
        self.register_outputs({"host": self.handle.host})


def server_config(buffer_pool: str, max_connections: int) -> str:
    """my.cnf: what OpenNebula asks of the server, and the paths of a pod with a read-only root file system."""
    return f"""\
[mariadbd]
socket = /run/mysqld/mysqld.sock
pid-file = /run/mysqld/mysqld.pid
tmpdir = /tmp
bind-address = 0.0.0.0
skip-name-resolve
character-set-server = utf8mb4
collation-server = utf8mb4_general_ci
transaction-isolation = READ-COMMITTED
# An acknowledged allocation must survive a power cut.
innodb_flush_log_at_trx_commit = 1
innodb_buffer_pool_size = {memory_bytes(buffer_pool)}
max_connections = {max_connections}
local-infile = 0
"""


def memory_bytes(quantity: str) -> int:
    """A Kubernetes memory quantity in bytes; my.cnf knows other suffixes."""
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
    for suffix, factor in units.items():
        if quantity.endswith(suffix):
            return int(float(quantity[: -len(suffix)]) * factor)
    return int(quantity)


def service() -> Manifest:
    """Port 3306 of the pod."""
    return {
        "selector": naming.selector(naming.MARIADB),
        "ports": [{"name": "mysql", "port": naming.PORT_MARIADB}],
    }


def network_policy() -> Manifest:
    """Only oned talks to the database, and the database talks to nobody."""
    return {
        "podSelector": {"matchLabels": naming.selector(naming.MARIADB)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [peer(naming.selector(naming.ONED))], "ports": policy_ports(("TCP", naming.PORT_MARIADB))}
        ],
        "egress": [],
    }


def pod_template(
    args: MariaDBArgs,
    config: pulumi.Input[str],
    secret: pulumi.Input[str],
    account: pulumi.Input[str],
) -> Manifest:
    """One container; writable are the data, a memory-backed run directory and /tmp."""
    ping = ["mariadb-admin", "--defaults-file=/etc/one-mariadb/my.cnf", "--socket=/run/mysqld/mysqld.sock", "ping"]
    return {
        "metadata": {"labels": naming.labels(naming.MARIADB)},
        "spec": {
            "serviceAccountName": account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": pod_security(naming.UID_MARIADB),
            "imagePullSecrets": [{"name": item} for item in args.image_pull_secrets],
            **pod_fields(args.scheduling),
            # InnoDB flushes its pages; a kill is safe but costs a recovery at the next start.
            "terminationGracePeriodSeconds": 60,
            "containers": [
                {
                    "name": "mariadb",
                    "image": args.image,
                    "imagePullPolicy": args.image_pull_policy,
                    "command": ["/bin/sh", "/etc/one-mariadb/start.sh"],
                    "env": [
                        {"name": "DATABASE_NAME", "value": args.settings.name},
                        {"name": "DATABASE_USER", "value": args.settings.user},
                    ],
                    "ports": [{"name": "mysql", "containerPort": naming.PORT_MARIADB}],
                    "securityContext": container_security(),
                    "resources": args.resources,
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    # The socket opens after --init-file ran: an answer means that the account is there.
                    "startupProbe": exec_probe(ping, period=1, failures=180),
                    "readinessProbe": exec_probe(["/bin/sh", "/etc/one-mariadb/ready.sh"], period=5, failures=3),
                    # Much more patient than readiness: a restart costs a recovery and helps a busy server little.
                    "livenessProbe": exec_probe(ping, period=20, failures=6, timeout=10),
                    "volumeMounts": [
                        mount("data", "/var/lib/mysql"),
                        mount("run", "/run/mysqld"),
                        mount("tmp", "/tmp"),
                        mount("config", "/etc/one-mariadb", read_only=True),
                        mount("password", "/run/secrets/mariadb", read_only=True),
                    ],
                }
            ],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": args.claim}},
                empty_dir("run", "16Mi", memory=True),
                empty_dir("tmp", "1Gi"),
                {"name": "config", "configMap": {"name": config, "defaultMode": 0o444}},
                {"name": "password", "secret": {"secretName": secret, "defaultMode": 0o440}},
            ],
        },
    }
