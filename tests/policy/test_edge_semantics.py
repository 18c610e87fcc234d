"""What edges a policy means: by examples, and for any policies by asking the oracle about every single packet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings

from policy.edges import NAMESPACE_NAME, Place, Pod, World, edges, union
from tests.policy.oracle import asked, found_for, singles
from tests.policy.policies import pod, policies_of_any_kind, policy, worlds


def shown(policies: list[dict[str, Any]], *pods: Pod, places: tuple[Place, ...] = ()) -> set[str]:
    """TCP and UDP edges towards the first pod from the others, and from it to them."""
    found = edges(policies, World(pods=pods, places=places, namespaces={"b": {"team": "blue"}}))
    return {str(edge) for edge in found if edge.protocol != "SCTP"}


X, Y = pod("x", app="x"), pod("y", app="y")
ALL_X_TO_Y = {"x → y TCP 1-65535", "x → y UDP 1-65535"}
ALL_Y_TO_X = {"y → x TCP 1-65535", "y → x UDP 1-65535"}
TO_X = {"podSelector": {"matchLabels": {"app": "x"}}}


def test_without_policies_everybody_talks() -> None:
    assert shown([], X, Y) == ALL_X_TO_Y | ALL_Y_TO_X


def test_a_policy_without_types_is_for_ingress_and_for_egress_only_if_it_has_rules() -> None:
    assert shown([policy(TO_X)], X, Y) == ALL_X_TO_Y
    assert shown([policy(TO_X | {"egress": []})], X, Y) == ALL_X_TO_Y
    assert shown([policy(TO_X | {"egress": [{"to": [{"podSelector": {}}]}]})], X, Y) == ALL_X_TO_Y
    assert shown([policy(TO_X | {"egress": [{"ports": [{"port": 1}]}]})], X, Y) == {"x → y TCP 1"}
    assert shown([policy(TO_X | {"policyTypes": ["Egress"]})], X, Y) == ALL_Y_TO_X


def test_both_ends_must_allow() -> None:
    deny = policy({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
    send = policy(TO_X | {"policyTypes": ["Egress"], "egress": [{"ports": [{"port": 80}, {"port": 81}]}]})
    assert shown([deny, send], X, Y) == set()
    take = policy({"podSelector": {"matchLabels": {"app": "y"}}, "ingress": [{"ports": [{"port": 81}, {"port": 82}]}]})
    assert shown([deny, send, take], X, Y) == {"x → y TCP 81"}


def test_a_policy_is_for_its_own_namespace() -> None:
    assert shown([policy({"podSelector": {}}, namespace="b")], X, Y) == ALL_X_TO_Y | ALL_Y_TO_X


@pytest.mark.parametrize(
    ("peer", "who"),
    [
        ({"podSelector": {}}, {"y"}),
        ({"namespaceSelector": {}}, {"y", "z"}),
        ({"namespaceSelector": {"matchLabels": {"team": "blue"}}}, {"z"}),
        ({"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: "b"}}}, {"z"}),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "y"}}}, {"y"}),
        ({"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["z"]}]}}, set()),
        ({"podSelector": {"matchExpressions": [{"key": "no", "operator": "NotIn", "values": ["z"]}]}}, {"y"}),
        ({"podSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}}, set()),
        ({"ipBlock": {"cidr": "0.0.0.0/0"}}, {"place"}),
        ({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, set()),
        ({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.2.0.0/16"]}}, {"place"}),
    ],
)
def test_peers(peer: dict[str, Any], who: set[str]) -> None:
    z, place = pod("z", "b", app="z"), Place(name="place", network=IPv4Network("10.1.2.0/24"))
    found = shown([policy(TO_X | {"ingress": [{"from": [peer]}]})], X, Y, z, places=(place,))
    assert {line.split()[0] for line in found if "→ x TCP" in line} == who


def test_ports_by_number_range_and_name_of_the_receiver() -> None:
    ports = [{"port": 80}, {"port": 81, "endPort": 90}, {"port": "http"}, {"protocol": "UDP", "port": "http"}]
    found = shown([policy(TO_X | {"ingress": [{"ports": ports}]})], X, Y)
    assert found - ALL_X_TO_Y == {"y → x TCP 80-90", "y → x TCP 8080", "y → x UDP 9090"}
    assert shown([policy(TO_X | {"ingress": [{"ports": [{"protocol": "UDP"}]}]})], X, Y) - ALL_X_TO_Y == {
        "y → x UDP 1-65535"
    }
    named = policy(TO_X | {"policyTypes": ["Egress"], "egress": [{"ports": [{"port": "none"}]}]})
    assert shown([named], X, Y) == ALL_Y_TO_X


def test_a_place_treated_in_two_ways_is_reported_in_parts() -> None:
    place = Place(name="vms", network=IPv4Network("10.0.0.0/30"))
    block = {"ipBlock": {"cidr": "10.0.0.0/24", "except": ["10.0.0.2/31"]}}
    found = shown([policy(TO_X | {"ingress": [{"from": [block], "ports": [{"port": 1}]}]})], X, places=(place,))
    assert {line for line in found if line.endswith("x TCP 1")} == {"vms(10.0.0.0/31) → x TCP 1"}
    assert "x → vms TCP 1-65535" in found


def test_the_node_reaches_its_pods_and_a_wide_block_opens_pods_too() -> None:
    node = Place(name="node", network=IPv4Network("10.0.0.1/32"), node=True)
    y = Pod(name="y", namespace="a", address=IPv4Address("10.9.0.1"))
    wide = policy(
        TO_X | {"policyTypes": ["Ingress", "Egress"], "egress": [{"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}]}]}
    )
    assert shown([wide], X, y, places=(node,)) == ALL_X_TO_Y | {
        *("node → x TCP 1-65535", "node → x UDP 1-65535", "node → y TCP 1-65535", "node → y UDP 1-65535"),
        *("y → node TCP 1-65535", "y → node UDP 1-65535"),
    }


@pytest.mark.parametrize(
    "spec",
    [
        {"podSelector": {}, "policyTypes": ["ingress"]},
        {"podSelector": {}, "ingress": [{"from": [{}]}]},
        {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]},
        {"podSelector": {"matchExpressions": [{"key": "app", "operator": "in", "values": []}]}},
    ],
)
def test_what_the_api_would_refuse_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"policy p|operator"):
        edges([policy(spec)], World(pods=(X, Y)))


def test_ranges_are_joined() -> None:
    assert union(((5, 9),), ((1, 2), (3, 4)), ((11, 12),)) == ((1, 9), (11, 12))


@settings(max_examples=400, deadline=None)
@given(policies_of_any_kind, worlds())
def test_edges_are_what_every_single_packet_would_meet(policies: list[dict[str, Any]], world: World) -> None:
    found = edges(policies, world)
    for (client, _, src), (server, _, dst) in product(singles(world), singles(world)):
        if client == server or not (isinstance(src, Pod) or isinstance(dst, Pod)):
            continue
        about = found_for(found, client, src, server, dst)
        for protocol, port in product(("TCP", "UDP", "SCTP"), (*range(1, 10), 65535)):
            wanted = asked(policies, world, src, dst, (protocol, port))
            assert any(edge.covers(protocol, port) for edge in about) == wanted, (
                client,
                src,
                server,
                dst,
                protocol,
                port,
            )
