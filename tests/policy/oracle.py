"""A slow and obvious oracle: whether one packet passes, asked of the policies as Kubernetes' documentation words them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any

from policy.edges import NAMESPACE_NAME, Edge, Pod, World


def asked(policies: list[dict[str, Any]], world: World, src: Any, dst: Any, target: tuple[str, int]) -> bool:
    """One packet between two pods, or a pod and an address: (address, is it the node) stands for a place."""
    protocol, port = target

    def selector(wanted: dict[str, Any], have: Mapping[str, str]) -> bool:
        for key, value in wanted.get("matchLabels", {}).items():
            if key not in have or have[key] != value:
                return False
        for each in wanted.get("matchExpressions", []):
            present, equal = each["key"] in have, have.get(each["key"]) in each.get("values", [])
            if each["operator"] == "In" and not (present and equal):
                return False
            if each["operator"] == "NotIn" and present and equal:
                return False
            if each["operator"] == "Exists" and not present:
                return False
            if each["operator"] == "DoesNotExist" and present:
                return False
        return True

    def peer_is(peer: dict[str, Any], other: Any, namespace: str) -> bool:
        if "ipBlock" in peer:
            address = other.address if isinstance(other, Pod) else other[0]
            if address is None or address not in IPv4Network(peer["ipBlock"]["cidr"]):
                return False
            return all(address not in IPv4Network(hole) for hole in peer["ipBlock"].get("except", []))
        if not isinstance(other, Pod):
            return False
        if "namespaceSelector" in peer:
            have = dict(world.namespaces.get(other.namespace, {})) | {NAMESPACE_NAME: other.namespace}
            if not selector(peer["namespaceSelector"], have):
                return False
        elif other.namespace != namespace:
            return False
        return selector(peer.get("podSelector", {}), other.labels)

    def port_is(entry: dict[str, Any]) -> bool:
        if entry.get("protocol", "TCP") != protocol:
            return False
        if "port" not in entry:
            return True
        if isinstance(entry["port"], str):
            return isinstance(dst, Pod) and dst.ports.get((protocol, entry["port"])) == port
        return bool(entry["port"] <= port <= entry.get("endPort", entry["port"]))

    def passes(mine: Any, other: Any, direction: str, key: str, side: str) -> bool:
        if not isinstance(mine, Pod):
            return True
        isolated = False
        for each in policies:
            spec, namespace = each["spec"], each["metadata"]["namespace"]
            types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
            if direction not in types or namespace != mine.namespace or not selector(spec["podSelector"], mine.labels):
                continue
            isolated = True
            for rule in spec.get(key) or []:
                if (not rule.get(side) or any(peer_is(peer, other, namespace) for peer in rule[side])) and (
                    not rule.get("ports") or any(port_is(entry) for entry in rule["ports"])
                ):
                    return True
        return not isolated

    if not isinstance(src, Pod) and src[1]:
        return True
    return passes(src, dst, "Egress", "egress", "to") and passes(dst, src, "Ingress", "ingress", "from")


def singles(world: World) -> Iterator[tuple[str, str, Any]]:
    """(name of the party, how its part would be called, what the oracle takes) for every pod and address."""
    for each in world.pods:
        yield each.name, "", each
    for place in world.places:
        for address in place.network:
            yield place.name, str(address), (address, place.node)


def found_for(found: frozenset[Edge], client: str, src: Any, server: str, dst: Any) -> list[Edge]:
    """The edges that are about this pair, parts of places included."""

    def about(name: str, party: str, single: Any) -> bool:
        if name == party:
            return True
        return name.startswith(f"{party}(") and single[0] in IPv4Network(name[len(party) + 1 : -1])

    return [edge for edge in found if about(edge.client, client, src) and about(edge.server, server, dst)]
