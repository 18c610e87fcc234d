"""An edge at a port that nobody asks for shows in what the live cluster's policies are compared with."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from components import naming
from policy import declared as table
from policy.declared import declared
from policy.edges import Edge, Place
from tests.engine.matrix import Matrix
from tests.engine.reachability import Party
from tests.engine.test_6_reachability import forbidden
from tests.policy.comparison import unlike
from tests.policy.test_edges import configuration, program_graph, rendered, workloads


@pytest.fixture(scope="module")
def live() -> tuple[Matrix, list[dict[str, Any]]]:
    """The lab's stack as the engine tests find it in the cluster, with one host, and its policies."""
    graph = program_graph("lab")
    wanted, others = configuration("lab", graph)
    (network,) = (other.network for other in others if isinstance(other, Place) and other.name == table.HYPERVISORS)
    host = Party(name=table.HYPERVISORS, address=IPv4Address(network.network_address + 11))
    policies = rendered(graph)
    # Clusters have DNS in another namespace; here it is nobody's pod, and nothing is expected of it.
    allowed = frozenset(edge for edge in declared(wanted) if edge.server != table.DNS)
    matrix = Matrix(
        parties=(host,), pods=workloads(graph), members={}, allowed=allowed, probes=frozenset(), expected=frozenset()
    )
    return matrix, policies


def test_the_labs_policies_mean_what_is_declared(live: tuple[Matrix, list[dict[str, Any]]]) -> None:
    matrix, policies = live
    assert len(matrix.allowed) == 11
    assert matrix.unlike(policies) == []


@pytest.mark.parametrize(
    ("client", "server", "port"),
    [
        (naming.FIREEDGE, naming.MARIADB, 3307),
        (naming.ONEFLOW, naming.MARIADB, 61000),
        (naming.ONEFLOW, naming.ONED, 2632),
    ],
)
def test_one_more_port_between_two_daemons_shows(
    live: tuple[Matrix, list[dict[str, Any]]], client: str, server: str, port: int
) -> None:
    matrix, policies = live
    (line,) = matrix.unlike([*policies, *forbidden(client, server, port)])
    assert line.startswith(f"{client} → {server} TCP: allowed ") and str(port) in line


def test_a_port_that_is_missing_shows(live: tuple[Matrix, list[dict[str, Any]]]) -> None:
    matrix, policies = live
    without = [policy for policy in policies if policy["metadata"]["name"] != naming.MARIADB]
    assert matrix.unlike(without) == ["oned → mariadb TCP: allowed nothing, declared 3306"]


def edge(client: str, first: int, last: int) -> Edge:
    return Edge(client=client, server="b", protocol="TCP", first=first, last=last)


def test_how_ports_are_cut_into_edges_is_no_difference() -> None:
    assert unlike([edge("a", 1, 9)], [edge("a", 1, 4), edge("a", 3, 9)], {"a"}) == []
    assert unlike([edge("a", 1, 9)], [edge("a", 1, 4), edge("a", 6, 9)], {"b"}) == [
        "a → b TCP: allowed 1-9, declared 1-4, 6-9"
    ]
    assert unlike([edge("a", 1, 9)], [], {"c"}) == [], "what strangers do among themselves is no matter"
