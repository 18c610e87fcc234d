"""Who may talk to whom: the edges that NetworkPolicies allow, and the table of those that OpenNebula needs.

`edges` computes what a set of rendered policies allows between pods and places outside of the cluster, exactly: every
port of every protocol, as ranges. `declared` is the table, by configuration. A program is right when both are equal; the
cluster is right when real packets find the same (tests/engine/reachability.py). Pure: nothing here asks a cluster.

The meaning is the API's (networking.k8s.io/v1), with the two liberties that node agents take: a pod always reaches itself,
and the pod's own node reaches it whatever the policies say, because the kubelet's probes come from there. An ipBlock also
matches pods whose address is known and lies in it, as agents that work with addresses do.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from itertools import product
from typing import Any

Manifest = Mapping[str, Any]
Ranges = tuple[tuple[int, int], ...]  # sorted, apart from each other by at least one port

PROTOCOLS = ("TCP", "UDP", "SCTP")
EVERY: Ranges = ((1, 65535),)
NONE: Ranges = ()
NAMESPACE_NAME = "kubernetes.io/metadata.name"  # the API server puts this label on every namespace


@dataclass(frozen=True, kw_only=True)
class Pod:
    """One pod; `ports` are the named ones of its containers, by (protocol, name)."""

    name: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict)
    address: IPv4Address | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """A network outside of the cluster (or one address, /32). `node` marks the pods' own node."""

    name: str
    network: IPv4Network
    node: bool = False


Party = Pod | Place


@dataclass(frozen=True, kw_only=True)
class World:
    """Everybody who may talk. Names of parties are unique; `namespaces` are the namespaces' labels by name."""

    pods: tuple[Pod, ...]
    places: tuple[Place, ...] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, order=True)
class Edge:
    """`client` may open connections to the ports `first` to `last` of `server`."""

    client: str
    server: str
    protocol: str
    first: int
    last: int

    def __str__(self) -> str:
        ports = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.client} → {self.server} {self.protocol} {ports}"

    def covers(self, protocol: str, port: int) -> bool:
        return self.protocol == protocol and self.first <= port <= self.last


def edges(policies: Iterable[Manifest], world: World, *, enforced_for: Container[str] | None = None) -> frozenset[Edge]:
    """All edges that the policies allow. A place whose addresses are treated differently is reported in parts, named
    `place(network)`. With `enforced_for` all other pods are taken to be open: what is left is these pods' own doing.
    Raises ValueError for a policy that the API would refuse."""
    known = [_Policy.read(policy) for policy in policies]
    strict = frozenset(pod.name for pod in world.pods if enforced_for is None or pod.name in enforced_for)
    parts = {place.name: tuple(_parts(place, known)) for place in world.places}
    found = set()
    parties: list[Party] = [*world.pods, *(part for several in parts.values() for part in several)]
    for client, server in product(parties, parties):
        if client == server or (isinstance(client, Place) and isinstance(server, Place)):
            continue
        for protocol in PROTOCOLS:
            for first, last in _allowed(_Question(known, world, strict, server, protocol), client, server):
                found.add(Edge(client=client.name, server=server.name, protocol=protocol, first=first, last=last))
    return frozenset(_joined(found, parts))


def ports_of(template: Manifest) -> dict[tuple[str, str], int]:
    """The named ports of a pod template's containers, sidecars included."""
    spec = template["spec"]
    return {
        (port.get("protocol", "TCP"), port["name"]): port["containerPort"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]
        for port in container.get("ports", [])
        if "name" in port
    }


# Port ranges


def union(*several: Ranges) -> Ranges:
    """Ports that are in any of them."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(each for ranges in several for each in ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def intersection(left: Ranges, right: Ranges) -> Ranges:
    """Ports that are in both."""
    both = ((max(a, c), min(b, d)) for (a, b), (c, d) in product(left, right))
    return union(tuple((first, last) for first, last in both if first <= last))


# What the policies say


@dataclass(frozen=True, kw_only=True)
class _Policy:
    name: str
    namespace: str
    selector: Manifest
    ingress: tuple[Manifest, ...] | None  # None: says nothing about this direction
    egress: tuple[Manifest, ...] | None

    @staticmethod
    def read(manifest: Manifest) -> _Policy:
        metadata, spec = manifest["metadata"], manifest["spec"]
        types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        if unknown := set(types) - {"Ingress", "Egress"}:
            raise ValueError(f"policy {metadata['name']}: no such policyTypes: {', '.join(sorted(unknown))}")
        return _Policy(
            name=metadata["name"],
            namespace=metadata["namespace"],
            selector=spec.get("podSelector") or {},
            ingress=tuple(spec.get("ingress") or ()) if "Ingress" in types else None,
            egress=tuple(spec.get("egress") or ()) if "Egress" in types else None,
        )

    def selects(self, pod: Pod) -> bool:
        return pod.namespace == self.namespace and matches(self.selector, pod.labels)

    def rules(self, side: str) -> tuple[Manifest, ...] | None:
        return self.ingress if side == "from" else self.egress


def matches(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """Does a label selector match? The empty one matches everything."""
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression(each, labels) for each in selector.get("matchExpressions") or ())


def _expression(expression: Manifest, labels: Mapping[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or ()
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return key not in labels or labels[key] not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    raise ValueError(f"no such operator of a label selector: {operator}")


@dataclass(frozen=True)
class _Question:
    """What stays the same for both ends of one connection."""

    policies: Sequence[_Policy]
    world: World
    strict: frozenset[str]
    server: Party
    protocol: str


def _allowed(question: _Question, client: Party, server: Party) -> Ranges:
    """Ports on which the client may send and the server may receive: both must allow it."""
    if isinstance(client, Place) and client.node:
        return EVERY
    return intersection(_one_side(question, client, server, "to"), _one_side(question, server, client, "from"))


def _one_side(question: _Question, mine: Party, other: Party, side: str) -> Ranges:
    """Ports that the policies of one end allow; everything when no policy selects it."""
    if isinstance(mine, Place) or mine.name not in question.strict:
        return EVERY
    said = [policy for policy in question.policies if policy.rules(side) is not None and policy.selects(mine)]
    if not said:
        return EVERY
    found = [
        _ports(rule, question.server, question.protocol)
        for policy in said
        for rule in policy.rules(side) or ()
        if _peers(rule.get(side), policy, other, question.world)
    ]
    return union(*found)


def _peers(peers: Any, policy: _Policy, other: Party, world: World) -> bool:
    return not peers or any(_peer(peer, policy, other, world) for peer in peers)


def _peer(peer: Manifest, policy: _Policy, other: Party, world: World) -> bool:
    block, pods, namespaces = peer.get("ipBlock"), peer.get("podSelector"), peer.get("namespaceSelector")
    if block is not None:
        if pods is not None or namespaces is not None:
            raise ValueError(f"policy {policy.name}: an ipBlock stands beside a selector in one peer")
        return _in_block(block, other)
    if pods is None and namespaces is None:
        raise ValueError(f"policy {policy.name}: a peer is empty")
    if not isinstance(other, Pod):
        return False
    if namespaces is None:
        near = other.namespace == policy.namespace
    else:
        labels = {**world.namespaces.get(other.namespace, {}), NAMESPACE_NAME: other.namespace}
        near = matches(namespaces, labels)
    return near and matches(pods or {}, other.labels)


def _in_block(block: Manifest, other: Party) -> bool:
    if isinstance(other, Place):
        network = other.network
    elif other.address is not None:
        network = IPv4Network(other.address)
    else:
        return False
    inside = network.subnet_of(IPv4Network(block["cidr"]))
    return inside and not any(network.subnet_of(IPv4Network(each)) for each in block.get("except") or ())


def _ports(rule: Manifest, server: Party, protocol: str) -> Ranges:
    ports = rule.get("ports")
    if not ports:
        return EVERY
    return union(*(_port(port, server) for port in ports if port.get("protocol", "TCP") == protocol))


def _port(entry: Manifest, server: Party) -> Ranges:
    port = entry.get("port")
    if port is None:
        return EVERY
    if isinstance(port, str):
        number = server.ports.get((entry.get("protocol", "TCP"), port)) if isinstance(server, Pod) else None
        return ((number, number),) if number is not None else NONE
    return ((int(port), int(entry.get("endPort") or port)),)


# Places whose addresses are not all treated alike


def _parts(place: Place, policies: Iterable[_Policy]) -> Iterator[Place]:
    """The place, cut wherever a block or an exception of some policy begins or ends inside of it."""
    cuts = {
        IPv4Network(text)
        for policy in policies
        for side in ("from", "to")
        for rule in policy.rules(side) or ()
        for peer in rule.get(side) or ()
        if (block := peer.get("ipBlock")) is not None
        for text in (block["cidr"], *(block.get("except") or ()))
    }
    whole = [place.network]
    for cut in sorted(cuts):
        whole = [part for network in whole for part in _cut(network, cut)]
    if len(whole) == 1:
        yield place
        return
    for part in whole:
        yield Place(name=f"{place.name}({part})", network=part, node=place.node)


def _cut(network: IPv4Network, by: IPv4Network) -> Iterable[IPv4Network]:
    if by != network and by.subnet_of(network):
        return (by, *network.address_exclude(by))
    return (network,)


def _joined(found: set[Edge], parts: Mapping[str, tuple[Place, ...]]) -> Iterator[Edge]:
    """Edges of a place's parts as edges of the place, where all parts have them."""
    owner = {part.name: name for name, several in parts.items() for part in several}
    for edge in found:
        client, server = owner.get(edge.client, edge.client), owner.get(edge.server, edge.server)
        several = parts.get(client) or parts.get(server) or ()
        whole = Edge(client=client, server=server, protocol=edge.protocol, first=edge.first, last=edge.last)
        if all(_of_part(edge, owner, part.name) in found for part in several):
            yield whole
        else:
            yield edge


def _of_part(edge: Edge, owner: Mapping[str, str], part: str) -> Edge:
    client = part if edge.client in owner else edge.client
    server = part if edge.server in owner else edge.server
    return Edge(client=client, server=server, protocol=edge.protocol, first=edge.first, last=edge.last)
