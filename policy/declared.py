"""The table of edges that OpenNebula's daemons need, by role and port: what the reachability matrix must equal.

A row counts when both of its ends exist in a configuration, and what it `needs` is switched on. It is written from
OpenNebula's own port table and from which daemon calls which, not from the components: a policy too many or too few in a
component must differ from it. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from components import naming
from policy.edges import Edge

PortRange = tuple[str, int, int]  # protocol, first, last

# Parties that are no pods of the control plane.
DNS: Final = "dns"
HYPERVISORS: Final = "hypervisors"
VMS: Final = "vms"  # the networks of virtual machines
INGRESS: Final = "ingress"  # the ingress controller's pods
API_CLIENTS: Final = "api-clients"
CONSOLE_CLIENTS: Final = "console-clients"  # an operator's proxy in front of noVNC; 6.10
LDAP: Final = "ldap"
DOWNLOADS: Final = "downloads"  # marketplaces, images by URL
FURTHER: Final = "further"  # what else the operator lets oned call, at ports of his own
# cert-manager's short-lived pods beside an Ingress: its HTTP-01 challenge comes through the ingress controller. The program
# does not make them, but where it asks for such certificates its deny-all must let them answer.
ACME_SOLVER: Final = "acme-solver"
EVERY_DAEMON: Final = "*"

WAY_BACK: Final = "way back"
TRANSPARENT_PROXY: Final = "transparent proxy"  # on the hosts, which call OneGate for their VMs
SUNSTONE_ASKS_FIREEDGE: Final = "sunstone asks fireedge"  # its settings name a FireEdge
EXPOSED: Final = "exposed "  # and the name of the port


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """`parts`: every role that has pods or addresses. `switches`: WAY_BACK, TRANSPARENT_PROXY, SUNSTONE_ASKS_FIREEDGE, and EXPOSED + port
    name for what the ingress publishes. `ports`: numbers that differ from the usual ones, by port name."""

    parts: frozenset[str]
    switches: frozenset[str] = frozenset()
    ports: Mapping[str, tuple[PortRange, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """`port` is a name of PORTS."""

    client: str
    server: str
    port: str
    needs: str = ""


def _tcp(*numbers: int) -> tuple[PortRange, ...]:
    return tuple(("TCP", number, number) for number in numbers)


PORTS: Mapping[str, tuple[PortRange, ...]] = {
    "dns": (("UDP", 53, 53), ("TCP", 53, 53)),
    "api": _tcp(naming.PORT_XMLRPC),
    "events": _tcp(naming.PORT_HOOK_EVENTS),
    "mariadb": _tcp(naming.PORT_MARIADB),
    "monitord": (("TCP", 4124, 4124), ("UDP", 4124, 4124)),
    "ssh": _tcp(naming.PORT_SSH),
    "way back": _tcp(naming.PORT_WAY_BACK),
    "consoles": (("TCP", 5900, 65535),),
    "ldap": _tcp(389),
    "web": _tcp(80, 443),
    "further": (),
    "fireedge": _tcp(naming.PORT_FIREEDGE),
    "sunstone": _tcp(naming.PORT_SUNSTONE),
    "novnc": _tcp(naming.PORT_NOVNC),
    "oneflow": _tcp(naming.PORT_ONEFLOW),
    "onegate": _tcp(naming.PORT_ONEGATE),
    "challenge": _tcp(8089),
}

TABLE: tuple[Row, ...] = (
    Row(EVERY_DAEMON, DNS, "dns"),
    Row(ACME_SOLVER, DNS, "dns"),
    Row(INGRESS, ACME_SOLVER, "challenge"),
    Row(naming.ONED, naming.MARIADB, "mariadb"),
    Row(naming.ONED, HYPERVISORS, "ssh"),
    Row(naming.ONED, LDAP, "ldap"),
    Row(naming.ONED, DOWNLOADS, "web"),
    Row(naming.ONED, FURTHER, "further"),
    Row(HYPERVISORS, naming.ONED, "monitord"),
    Row(HYPERVISORS, naming.ONED, "way back", WAY_BACK),
    Row(API_CLIENTS, naming.ONED, "api"),
    Row(INGRESS, naming.ONED, "api", EXPOSED + "api"),
    Row(naming.FIREEDGE, naming.ONED, "api"),
    Row(naming.FIREEDGE, naming.ONED, "events"),
    Row(naming.FIREEDGE, naming.ONEFLOW, "oneflow"),
    Row(naming.FIREEDGE, HYPERVISORS, "consoles"),
    Row(INGRESS, naming.FIREEDGE, "fireedge", EXPOSED + "fireedge"),
    Row(naming.SUNSTONE, naming.ONED, "api"),
    Row(naming.SUNSTONE, naming.ONED, "events"),
    Row(naming.SUNSTONE, naming.ONEFLOW, "oneflow"),
    Row(naming.SUNSTONE, naming.FIREEDGE, "fireedge", SUNSTONE_ASKS_FIREEDGE),
    Row(naming.SUNSTONE, HYPERVISORS, "consoles"),
    Row(INGRESS, naming.SUNSTONE, "sunstone", EXPOSED + "sunstone"),
    Row(CONSOLE_CLIENTS, naming.SUNSTONE, "novnc"),
    Row(naming.ONEFLOW, naming.ONED, "api"),
    Row(naming.ONEFLOW, naming.ONED, "events"),
    Row(INGRESS, naming.ONEFLOW, "oneflow", EXPOSED + "oneflow"),
    Row(naming.ONEGATE, naming.ONED, "api"),
    Row(naming.ONEGATE, naming.ONEFLOW, "oneflow"),
    Row(VMS, naming.ONEGATE, "onegate"),
    Row(HYPERVISORS, naming.ONEGATE, "onegate", TRANSPARENT_PROXY),
    Row(INGRESS, naming.ONEGATE, "onegate", EXPOSED + "onegate"),
)

DAEMONS: Final = frozenset(
    (naming.ONED, naming.MARIADB, naming.FIREEDGE, naming.SUNSTONE, naming.ONEFLOW, naming.ONEGATE)
)


def declared(configuration: Configuration, members: Mapping[str, tuple[str, ...]] | None = None) -> frozenset[Edge]:
    """The edges of a configuration. `members` names the pods (or addresses) of a role where there are several, or where
    they are not called like it."""
    known = members or {}
    found = set()
    for row in TABLE:
        clients = sorted(DAEMONS & configuration.parts) if row.client == EVERY_DAEMON else [row.client]
        for client in clients:
            if not {client, row.server} <= configuration.parts:
                continue
            if row.needs and row.needs not in configuration.switches:
                continue
            for protocol, first, last in configuration.ports.get(row.port, PORTS[row.port]):
                for one in known.get(client, (client,)):
                    for other in known.get(row.server, (row.server,)):
                        found.add(Edge(client=one, server=other, protocol=protocol, first=first, last=last))
    return frozenset(found)
