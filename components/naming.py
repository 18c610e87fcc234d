"""Names, labels and ports that more than one part relies on: one table, pure.

Kubernetes names are fixed only where DNS or another part depends on them; everything else is auto-named by the
provider. Ports are OpenNebula's own (facts: frontend_install.md, the firewall table).
"""

from __future__ import annotations

from typing import Final

from components.registration import names as registration

PROJECT: Final = "opennebula"

# Services and StatefulSets: these names are DNS names inside the cluster.
ONED: Final = registration.ONED_SERVICE
ONED_PEERS: Final = "oned-peers"
MONITORD: Final = "monitord"
MARIADB: Final = "mariadb"
MARIADB_PEERS: Final = "mariadb-peers"
FIREEDGE: Final = "fireedge"
SUNSTONE: Final = "sunstone"  # the Ruby one of 6.10
ONEFLOW: Final = "oneflow"
ONEGATE: Final = "onegate"

# Objects that something outside Pulumi's graph looks up by name. oneadmin's Secret is read by the registration provider,
# whose package must stay light to import; therefore its names are written there.
ONEADMIN_SECRET: Final = registration.ONEADMIN_SECRET
ONE_AUTH_KEY: Final = registration.SESSION_KEY
KNOWN_HOSTS: Final = "oned-known-hosts"  # updated in place while oned runs
HEM_CONFIG: Final = "oned-hem"  # the same

PORT_XMLRPC: Final = registration.XMLRPC_PORT
PORT_GRPC: Final = 2634  # since 7.2
PORT_HOOK_EVENTS: Final = 2101
PORT_HOOK_REPLIES: Final = 2102
PORT_MARIADB: Final = 3306
PORT_FIREEDGE: Final = 2616
PORT_GUACD: Final = 4822
PORT_ONEFLOW: Final = 2474
PORT_ONEGATE: Final = 5030
PORT_SUNSTONE: Final = 9869
PORT_NOVNC: Final = 29876
PORT_WAY_BACK: Final = 2222  # sshd of the control plane, unprivileged
PORT_SSH: Final = 22
PORT_DNS: Final = 53

UID_ONEADMIN: Final = 9869  # assigned by OpenNebula's packages; hosts and datastores rely on it
UID_MARIADB: Final = 10999
UID_SERVICES: Final = 19869  # FireEdge, Sunstone, OneFlow, OneGate: no file of theirs is shared with hosts


def labels(component: str) -> dict[str, str]:
    """The recommended Kubernetes labels, of every object of one component."""
    return {**selector(component), "app.kubernetes.io/part-of": PROJECT, "app.kubernetes.io/managed-by": "pulumi"}


def selector(component: str) -> dict[str, str]:
    """The labels by which Services, policies and StatefulSets select pods. Never changes for a living object."""
    return {"app.kubernetes.io/name": component}


def service_dns(service: str, namespace: str) -> str:
    """Cluster DNS name without the cluster's domain, which differs between clusters."""
    return f"{service}.{namespace}.svc"
