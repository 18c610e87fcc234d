"""Everybody in a running lab with what may pass between them: packets at the table's ports, and policies at all ports.

Parties are all pods of the namespace by their role, a stray pod beside them and one in another namespace, the cluster's
DNS, the ingress controller, the hosts, a machine in the network of virtual ones, the node and this machine (the outside).
A new daemon's pods are found by their label, its edges stand in policy/declared.py. Not here: the strays themselves.

The node itself reaches every pod at every port, whatever the policies say: the kubelet's probes and port-forwards come
from there. That is how node agents behave, and the only liberty taken.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from components import naming
from lab import ingress, stackfile
from lab.paths import Instance
from policy import declared as table
from policy.declared import PORTS, TABLE, Configuration, declared
from policy.edges import PROTOCOLS, Edge, Place, Pod, edges, ports_of
from policy.edges import World as Everybody
from tests.engine.conftest import NAMESPACE
from tests.engine.reachability import Party, Probe, every, namespaces, until
from tests.policy.comparison import unlike

Kubectl = Callable[..., str]

LIMIT = 20.0  # seconds for changed policies to be in force
# Nobody may reach these at any daemon: an API that is off, event replies, guacd, noVNC, the kubelet, and some that nobody
# uses.
FORBIDDEN_PORTS = {
    "TCP": (7, 2634, naming.PORT_HOOK_REPLIES, naming.PORT_GUACD, 5899, 10250, naming.PORT_NOVNC),
    "UDP": (7, 2633),
}

# At the node's address these are ports of the pods behind them, which are asked about themselves.
NODE_PORTS = {stackfile.MONITORD_PORT, stackfile.ONEGATE_PORT}

BESIDE, STRAY, NODE, OUTSIDE, MACHINE = "beside", "stray", "node", "outside", "machine"
STRAYS = {BESIDE: NAMESPACE, STRAY: "default"}


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """All parties of a lab, what is asked about them, and what must come out."""

    parties: tuple[Party, ...]
    pods: tuple[Pod, ...]
    members: Mapping[str, tuple[str, ...]]
    allowed: frozenset[Edge]
    probes: frozenset[Probe]
    expected: frozenset[Probe]

    def differences(self, expected: frozenset[Probe] | None = None, more: frozenset[Probe] = frozenset()) -> list[str]:
        """What is otherwise than declared (or than `expected`), once the last change is in force. Empty is right. `more`
        is asked as well."""
        wanted = self.expected if expected is None else expected
        seen = until(self.parties, lambda seen: seen.arrived == wanted, self.probes | more, LIMIT)
        lines = [f"passed, but not declared: {each}" for each in sorted(seen.arrived - wanted)]
        lines += [f"declared, but blocked: {each}" for each in sorted(wanted - seen.arrived)]
        lines += [f"no answer: {each}" for each in sorted(seen.arrived - seen.answered) if each.protocol == "TCP"]
        return lines

    def predicted(self, policies: Iterable[Mapping[str, Any]]) -> frozenset[Probe]:
        """What would arrive under other policies, by their meaning alone."""
        return _covered(self.probes, self._edges(policies))

    def unlike(self, policies: Iterable[Mapping[str, Any]]) -> list[str]:
        """Where the policies' meaning is not what is declared: at every port of every protocol, asked for or not."""
        ours = {pod.name for pod in self.pods if pod.namespace == NAMESPACE}
        return unlike(self._edges(policies), self.allowed, ours)

    def _edges(self, policies: Iterable[Mapping[str, Any]]) -> frozenset[Edge]:
        known = {pod.name for pod in self.pods}
        places = (
            Place(name=party.name, network=IPv4Network(party.address), node=party.name == NODE)
            for party in self.parties
            if party.name not in known
        )
        return edges(policies, Everybody(pods=self.pods, places=tuple(places)))


def matrix(
    instance: Instance,
    kubectl: Kubectl,
    hosts: Mapping[str, str],
    configuration: Configuration,
    others: Mapping[str, tuple[Party, ...]] | None = None,
) -> Matrix:
    """Who is there now. `hosts`: name to address; `configuration`: its parts are completed by what is found; `others`:
    parties that are neither pods nor hosts, by role (VMs, an LDAP server). Whoever has an address of the hypervisors'
    network counts as one of them, because policies know addresses alone."""
    spaces = namespaces(instance)
    members: dict[str, tuple[str, ...]] = defaultdict(tuple)
    parties = [
        Party(name=NODE, address=instance.node_ip, namespace=spaces[instance.node_ip], filters=True),
        Party(name=OUTSIDE, address=instance.root_ip),
    ]
    for name, text in hosts.items():
        parties.append(Party(name=name, address=IPv4Address(text), namespace=spaces[IPv4Address(text)]))
        members[table.HYPERVISORS] += (name,)
    for role, several in (others or {}).items():
        parties += several
        members[role] += tuple(party.name for party in several)
        members[table.HYPERVISORS] += tuple(party.name for party in several if party.address in instance.hypervisors)
    own, pods = [], []
    for pod in json.loads(kubectl("get", "pods", "--all-namespaces", "-o", "json"))["items"]:
        name, found = _role(pod)
        if found is None or pod["spec"].get("hostNetwork"):
            continue
        address = IPv4Address(pod["status"]["podIP"])
        parties.append(Party(name=name, address=address, namespace=spaces[address]))
        members[found] += (name,)
        metadata = pod["metadata"]
        if metadata["namespace"] == NAMESPACE:
            own.append(name)
        pods.append(
            Pod(
                name=name,
                namespace=metadata["namespace"],
                labels=metadata.get("labels", {}),
                ports=ports_of(pod),
                address=address,
            )
        )
    wanted = Configuration(
        parts=configuration.parts | set(members), switches=configuration.switches, ports=configuration.ports
    )
    allowed = declared(wanted, members | {table.HYPERVISORS: (*members[table.HYPERVISORS], NODE)})
    # Whoever is put beside the daemons may ask DNS and nothing else.
    allowed |= {
        Edge(client=beside, server=name, protocol=protocol, first=first, last=last)
        for beside in members.get(BESIDE, ())
        for name in members[table.DNS]
        for protocol, first, last in PORTS["dns"]
    }
    allowed |= {
        Edge(client=NODE, server=name, protocol=protocol, first=1, last=65535) for name in own for protocol in PROTOCOLS
    }
    probes = _probes(parties, own, wanted)
    return Matrix(
        parties=tuple(parties),
        pods=tuple(pods),
        members=members,
        allowed=allowed,
        probes=probes,
        expected=_covered(probes, allowed),
    )


def _role(pod: Mapping[str, Any]) -> tuple[str, str | None]:
    """(name of the party, role) of a pod; no role for those that are not asked about."""
    metadata = pod["metadata"]
    name, labels = metadata["name"], metadata.get("labels", {})
    if pod["status"].get("phase") != "Running" or "deletionTimestamp" in metadata:
        return name, None
    if name in STRAYS:
        return name, name
    if labels.get("k8s-app") == "kube-dns":
        return name, table.DNS
    if metadata["namespace"] == ingress.NAMESPACE:
        return name, table.INGRESS
    if metadata["namespace"] == NAMESPACE:
        return name, labels.get("app.kubernetes.io/name")
    return name, None


def _probes(parties: list[Party], own: list[str], configuration: Configuration) -> frozenset[Probe]:
    """Every pair with a pod of the namespace in it, at each port of the table, the ends of ranges, and forbidden ones."""
    ports: dict[str, set[int]] = {protocol: set(numbers) for protocol, numbers in FORBIDDEN_PORTS.items()}
    for row in TABLE:
        for protocol, first, last in configuration.ports.get(row.port, PORTS[row.port]):
            ports[protocol] |= {first, last}
    names = [party.name for party in parties]
    asked = every(names, own, ports) | every(own, names, ports)
    return frozenset(
        each for each in asked if each.server != NODE or (each.protocol == "TCP" and each.port not in NODE_PORTS)
    )


def _covered(probes: frozenset[Probe], allowed: frozenset[Edge]) -> frozenset[Probe]:
    between: dict[tuple[str, str], list[Edge]] = defaultdict(list)
    for edge in allowed:
        between[edge.client, edge.server].append(edge)
    return frozenset(
        each
        for each in probes
        if any(edge.covers(each.protocol, each.port) for edge in between.get((each.client, each.server), ()))
    )
