"""The allowed edges of the real program are the declared ones, and every rule and row is needed for that."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from ipaddress import IPv4Network
from typing import Any

import pytest

from components import naming
from policy import declared as table
from policy.declared import Configuration, declared
from policy.edges import Edge, Party, Place, Pod, World, edges, ports_of
from tests.graph import Graph, reveal
from tests.program.test_program import lab_like, lts_like, run, stack_config

NAMESPACE = "one"
OURS = table.DAEMONS | {table.ACME_SOLVER}
CLUSTER_DNS = Pod(name="dns", namespace="kube-system", labels={"k8s-app": "kube-dns"})
STRAY = Pod(name="stray", namespace="default", labels={"app.kubernetes.io/name": "stray"})
BESIDE = Pod(name="beside", namespace=NAMESPACE, labels={"app.kubernetes.io/name": "beside"})
OUTSIDE = Place(name="outside", network=IPv4Network("203.0.113.9/32"))


def rendered(graph: Graph) -> list[dict[str, Any]]:
    return [reveal(dict(record.inputs)) for record in graph.all("NetworkPolicy")]


def workloads(graph: Graph) -> tuple[Pod, ...]:
    """One pod for every workload, called like it."""
    found = []
    for record in (*graph.all("StatefulSet"), *graph.all("Deployment")):
        inputs = reveal(dict(record.inputs))
        template = inputs["spec"]["template"]
        found.append(
            Pod(
                name=template["metadata"]["labels"]["app.kubernetes.io/name"],
                namespace=inputs["metadata"]["namespace"],
                labels=template["metadata"]["labels"],
                ports=ports_of(template),
            )
        )
    return tuple(found)


def world_of(graph: Graph, *more: Party) -> World:
    extra = (CLUSTER_DNS, STRAY, OUTSIDE, *more)
    own = workloads(graph)
    beside = Pod(name="beside", namespace=own[0].namespace, labels=BESIDE.labels)
    return World(
        pods=(*own, beside, *(each for each in extra if isinstance(each, Pod))),
        places=tuple(each for each in extra if isinstance(each, Place)),
    )


def of_ours(found: frozenset[Edge]) -> set[Edge]:
    """Edges with a pod at one end that the policies are for: what strangers do among themselves is no matter."""
    return {edge for edge in found if OURS & {edge.client, edge.server}}


def configuration(name: str, graph: Graph) -> tuple[Configuration, tuple[Party, ...]]:
    """The declared configuration of a stack, and who else is there, read from the stack's own values."""
    values = {key.removeprefix("opennebula:"): text for key, text in stack_values(name).items()}

    def section(key: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(values.get(key, "{}"))
        return found

    own = workloads(graph)
    parties: list[Party] = []
    switches, ports = set(), {}

    def places(role: str, networks: Sequence[str]) -> None:
        assert len(networks) <= 1, "the examples have one network each"
        parties.extend(Place(name=role, network=IPv4Network(cidr)) for cidr in networks)

    network, onegate, sunstone = section("network"), section("onegate"), section("sunstone")
    places(table.HYPERVISORS, network.get("hypervisors", ()))
    places(table.API_CLIENTS, network.get("apiClients", ()))
    if onegate.get("enabled"):
        places(table.VMS, onegate.get("vmNetworks", ()))
        if "//169.254." in onegate.get("endpoint", ""):
            switches.add(table.TRANSPARENT_PROXY)
    places(table.CONSOLE_CLIENTS, sunstone.get("consoleClients", ()))
    if sunstone.get("publicFireedgeUrl"):
        switches.add(table.SUNSTONE_ASKS_FIREEDGE)
    for server in section("authentication").get("ldap", {}).get("servers", ()):
        places(table.LDAP, [f"{server['host']}/32"])
        ports["ldap"] = tcp(server["port"])
    places(table.DOWNLOADS, network.get("downloads", ()))
    for further in network.get("egress", ()):
        places(table.FURTHER, further["networks"])
        ports["further"] = tuple((further["protocol"], number, number) for number in further["ports"])
    ingress = section("ingress")
    if ingress.get("enabled"):
        parties += controllers(ingress)
        switches |= {table.EXPOSED + daemon for daemon in ingress["hosts"]}
        if ingress["tls"]["kind"] == "certManager" and ingress["tls"].get("challenge", "http01") == "http01":
            solver = {"acme.cert-manager.io/http01-solver": "true"}
            parties.append(Pod(name=table.ACME_SOLVER, namespace=own[0].namespace, labels=solver))
    if section("wayBack").get("enabled"):
        switches.add(table.WAY_BACK)
    number = int(section("monitoring").get("port", 4124))
    ports["monitord"] = (*tcp(number), ("UDP", number, number))
    hosts = [*json.loads(values.get("hosts", "[]")), *json.loads(values.get("hostGroups", "{}")).values()]
    ports["ssh"] = tcp(*sorted({int(host.get("port", 22)) for host in hosts} or {22}))
    parts = {pod.name for pod in own} | {party.name for party in parties} | {table.DNS}
    return Configuration(parts=frozenset(parts), switches=frozenset(switches), ports=ports), tuple(parties)


def tcp(*numbers: int) -> tuple[tuple[str, int, int], ...]:
    return tuple(("TCP", number, number) for number in numbers)


def controllers(ingress: Mapping[str, Any]) -> Iterator[Pod]:
    """The ingress controller's pod, and one beside it that is no controller, where labels tell them apart."""
    namespace, labels = ingress["controllerNamespace"], ingress.get("controllerLabels", {})
    yield Pod(name=table.INGRESS, namespace=namespace, labels=labels)
    if labels:
        yield Pod(name="beside-ingress", namespace=namespace, labels={})


def stack_values(name: str) -> dict[str, str]:
    """Config values of the shipped stacks by name, of a lab's, and of one with every edge that 7.4 can have."""
    made = {
        "lab": lab_like,
        "everything": everything,
        "proxied": proxied,
        "lts": lts_like,
        "lts consoles": lts_consoles,
    }
    return made[name]() if name in made else stack_config(name)


def everything() -> dict[str, str]:
    """prod with what it leaves out: LDAP, downloads, a power switch, clients of the API, one more daemon at the ingress, other ports."""
    values = stack_config("prod")
    ingress = json.loads(values["opennebula:ingress"])
    network = json.loads(values["opennebula:network"])
    server = {"name": "directory", "host": "203.0.113.40", "port": 3268, "base": "dc=example,dc=com"}
    hosts = json.loads(values["opennebula:hosts"])
    return values | {
        "opennebula:authentication": json.dumps({"ldap": {"servers": [server], "check": False}}),
        "opennebula:network": json.dumps(
            network
            | {
                "apiClients": ["203.0.113.128/25"],
                "downloads": ["203.0.113.64/29"],
                "egress": [{"networks": ["203.0.113.80/30"], "ports": [623, 664], "protocol": "UDP"}],
            }
        ),
        "opennebula:ingress": json.dumps(
            ingress
            | {
                "controllerLabels": {"app.kubernetes.io/name": "ingress-nginx"},
                "hosts": ingress["hosts"] | {"onegate": "gate.example.com"},
            }
        ),
        "opennebula:hosts": json.dumps([hosts[0] | {"port": 2022}, *hosts[1:]]),
    }


def lts_consoles() -> dict[str, str]:
    """6.10 with noVNC published by a proxy of the operator's own, and nothing asked of FireEdge."""
    return lts_like() | {
        "opennebula:sunstone": json.dumps(
            {
                "enabled": True,
                "publicUrl": "https://classic.example.com",
                "consolePort": 8443,
                "consoleClients": ["203.0.113.64/28"],
                "consoleExposure": "nodePort",
                "consoleNodePort": 30876,
            }
        )
    }


def proxied() -> dict[str, str]:
    """prod whose hosts' transparent proxies call OneGate in place of VMs."""
    values = stack_config("prod")
    gate = json.loads(values["opennebula:onegate"])
    del gate["vmNetworks"]
    return values | {"opennebula:onegate": json.dumps(gate | {"endpoint": "http://169.254.16.9:5030"})}


@cache
def program_graph(name: str) -> Graph:
    return run(stack_values(name))


stacks = pytest.mark.parametrize("name", ["dev", "prod", "lab", "everything", "proxied", "lts", "lts consoles"])


def differences(policies: list[dict[str, Any]], world: World, expected: frozenset[Edge]) -> list[str]:
    """What is not as declared: the whole, and what each daemon's policies alone let in and out."""
    found = of_ours(edges(policies, world))
    lines = [f"not declared: {edge}" for edge in found - expected]
    lines += [f"declared, but not allowed: {edge}" for edge in expected - found]
    for pod in world.pods:
        if pod.name not in OURS:
            continue
        alone = {
            edge for edge in edges(policies, world, enforced_for={pod.name}) if pod.name in (edge.client, edge.server)
        }
        wanted = {edge for edge in expected if pod.name in (edge.client, edge.server)}
        lines += [f"{pod.name} alone allows: {edge}" for edge in alone - wanted]
        lines += [f"{pod.name} alone forbids: {edge}" for edge in wanted - alone]
    return lines


@stacks
def test_the_program_allows_exactly_the_declared_edges(name: str) -> None:
    graph = program_graph(name)
    wanted, places = configuration(name, graph)
    assert differences(rendered(graph), world_of(graph, *places), declared(wanted)) == []


def without_one_rule(policies: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The policies with each single rule left out in turn."""
    for index, each in enumerate(policies):
        for key in ("ingress", "egress"):
            for number in range(len(each["spec"].get(key) or ())):
                changed = copy.deepcopy(policies)
                del changed[index]["spec"][key][number]
                yield f"{each['metadata']['name']} {key} {number}", changed


def with_one_more(policies: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The policies with one thing too wide in turn: a rule for everybody, every port of a peer, every peer of a port."""
    for index, each in enumerate(policies):
        for key, side in (("ingress", "from"), ("egress", "to")):
            if key.capitalize() not in each["spec"].get("policyTypes", []):
                continue
            for number, rule in enumerate(each["spec"].get(key) or ()):
                for removed in ("ports", side):
                    changed = copy.deepcopy(policies)
                    del changed[index]["spec"][key][number][removed]
                    yield f"{each['metadata']['name']} {key} {rule} without {removed}", changed


def taken_away(policies: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The policies without each one of them in turn."""
    for index, each in enumerate(policies):
        yield f"no {each['metadata']['name']}", [*policies[:index], *policies[index + 1 :]]


@stacks
def test_every_rule_is_needed_and_none_may_be_wider(name: str) -> None:
    graph = program_graph(name)
    wanted, places = configuration(name, graph)
    expected, world, policies = declared(wanted), world_of(graph, *places), rendered(graph)
    mutants = [*without_one_rule(policies), *with_one_more(policies)]
    assert len(mutants) >= 9
    assert [title for title, changed in mutants if not differences(changed, world, expected)] == []


@stacks
def test_every_policy_is_needed(name: str) -> None:
    graph = program_graph(name)
    wanted, places = configuration(name, graph)
    expected, world, policies = declared(wanted), world_of(graph, *places), rendered(graph)
    unnoticed = [title for title, changed in taken_away(policies) if not differences(changed, world, expected)]
    # Each daemon has a policy for both directions of its own; this one is for pods that somebody else puts beside them.
    assert unnoticed == ["no deny-all"]
    nobody = edges(policies, world)
    assert not [edge for edge in nobody if "beside" in (edge.client, edge.server) and edge.server != table.DNS]


# The table


def test_roles_that_are_not_there_have_no_edges() -> None:
    assert declared(Configuration(parts=frozenset({naming.ONED, naming.MARIADB}))) == {
        Edge(client="oned", server="mariadb", protocol="TCP", first=3306, last=3306)
    }


def test_a_role_of_several_pods_has_each_edge_for_all_of_them() -> None:
    two = Configuration(parts=frozenset({naming.FIREEDGE, naming.ONEFLOW}))
    found = declared(two, {naming.FIREEDGE: ("f-1", "f-2")})
    assert {str(edge) for edge in found} == {"f-1 → oneflow TCP 2474", "f-2 → oneflow TCP 2474"}


def test_every_row_is_reachable_by_some_configuration() -> None:
    ends = {each for row in table.TABLE for each in (row.client, row.server)} - {table.EVERY_DAEMON}
    switches = {row.needs for row in table.TABLE if row.needs}
    everything = declared(Configuration(parts=frozenset(ends), switches=frozenset(switches)))
    assert len(everything) == sum(
        len(table.PORTS[row.port]) * (len(table.DAEMONS) if row.client == table.EVERY_DAEMON else 1)
        for row in table.TABLE
    )
    assert everything > declared(Configuration(parts=frozenset(ends)))
