"""The deployed control plane under its own network policies: packets pass along the declared edges and nowhere else.

Who is asked stands in matrix.py. Grows by data: a new daemon's edges stand in policy/declared.py, and `SWITCHES` says what
the lab's stack switches on.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from itertools import permutations, product
from pathlib import Path
from typing import Any

import pytest

from components import naming
from lab import stackfile
from lab.console import say
from policy import declared as table
from policy.declared import Configuration
from tests.engine.conftest import NAMESPACE, World
from tests.engine.matrix import BESIDE, MACHINE, STRAY, STRAYS, Matrix, matrix
from tests.engine.reachability import Party, Probe, every
from tests.engine.vm_network import vm_network

pytestmark = pytest.mark.engine

SWITCHES = frozenset({table.WAY_BACK, *(table.EXPOSED + name for name in ("fireedge", "oneflow", "onegate", "api"))})
LAB_PORTS = {
    "monitord": tuple((protocol, stackfile.MONITORD_PORT, stackfile.MONITORD_PORT) for protocol in ("TCP", "UDP")),
}
_OPENED = 7101  # and upwards: ports that the tests open where nothing may be open


def strays(image: str) -> list[dict[str, Any]]:
    """A pod beside the daemons and one in another namespace, both admitted under `restricted`."""
    container = {
        "name": "pause",
        "image": image,
        "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}, "limits": {"cpu": "100m", "memory": "16Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
        for name, namespace in STRAYS.items()
    ]


def without_one_rule(policy: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A live policy with each single rule left out in turn."""
    for key in ("ingress", "egress"):
        for number in range(len(policy["spec"].get(key) or ())):
            changed = copy.deepcopy(dict(policy))
            del changed["spec"][key][number]
            yield f"{policy['metadata']['name']} without {key} rule {number}", changed


def forbidden(client: str, server: str, port: int) -> list[dict[str, Any]]:
    """Policies that open one port from one role to another, at both ends."""

    def policy(end: str, spec: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": f"forbidden-{client}-{server}-{end}", "namespace": NAMESPACE}
        return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}

    def pods(role: str) -> dict[str, Any]:
        return {"podSelector": {"matchLabels": naming.selector(role)}}

    ports = [{"protocol": "TCP", "port": port}]
    return [
        policy("out", {**pods(client), "policyTypes": ["Egress"], "egress": [{"to": [pods(server)], "ports": ports}]}),
        policy(
            "in", {**pods(server), "policyTypes": ["Ingress"], "ingress": [{"from": [pods(client)], "ports": ports}]}
        ),
    ]


def write(path: Path, *objects: Mapping[str, Any]) -> str:
    """Objects as a file that kubectl takes."""
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
    return str(path)


@pytest.fixture(scope="module")
def deployed(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """The control plane up, with two strays and a machine, and everybody's place in it."""
    world.stack().up()
    folder = tmp_path_factory.mktemp("strays")
    # kubectl takes the objects of one namespace at a time once it is told a namespace.
    placed = [
        ("-n", each["metadata"]["namespace"], "-f", write(folder / f"{each['metadata']['name']}.json", each))
        for each in strays(world.lab.images["pause"])
    ]
    for where in placed:
        world.kubectl("delete", "--ignore-not-found", "--wait", *where)
        world.kubectl("apply", *where)
    for where in placed:
        world.kubectl("wait", "--for=condition=Ready", "--timeout=60s", *where)
    hosts = {host.name: host.ip for host in world.hosts}
    configuration = Configuration(parts=frozenset(), switches=SWITCHES, ports=LAB_PORTS)
    with vm_network(world.lab.instance) as vms:
        machine = Party(name=MACHINE, address=vms.address, namespace=vms.namespace)
        yield matrix(world.lab.instance, world.kubectl, hosts, configuration, {table.VMS: (machine,)})
    for where in placed:
        world.kubectl("delete", "--wait", *where)


def live_policies(world: World) -> list[dict[str, Any]]:
    """All of the cluster, to be put back as they are whatever they have become by then."""
    found: list[dict[str, Any]] = json.loads(world.kubectl("get", "networkpolicies", "--all-namespaces", "-o", "json"))[
        "items"
    ]
    for policy in found:
        del policy["metadata"]["resourceVersion"]
    return found


def test_every_daemon_is_in_the_matrix(world: World, deployed: Matrix) -> None:
    roles = {pod["metadata"].get("labels", {}).get("app.kubernetes.io/name", "") for pod in world.get("pods")["items"]}
    assert roles - {""} <= table.DAEMONS, "a new daemon's edges belong into policy/declared.py"
    daemons = table.DAEMONS - {naming.SUNSTONE}  # a daemon of 6.10, and the lab runs 7.4
    assert daemons | {table.DNS, table.HYPERVISORS, table.INGRESS, table.VMS, BESIDE, STRAY} <= set(deployed.members)


def test_packets_pass_along_the_declared_edges_and_nowhere_else(world: World, deployed: Matrix) -> None:
    say(f"{len(deployed.parties)} parties, {len(deployed.probes)} probes, {len(deployed.expected)} to arrive")
    assert deployed.differences() == []
    assert deployed.predicted(live_policies(world)) == deployed.expected


def test_the_policies_in_force_mean_what_is_declared_at_every_port(world: World, deployed: Matrix) -> None:
    """Packets are sent to the ports of the table and some others; an edge to any other port shows here."""
    assert deployed.unlike(live_policies(world)) == []


def test_each_missing_rule_shows(world: World, deployed: Matrix, tmp_path: Path) -> None:
    """Without it, exactly the packets that it is for are stopped, and they are never none."""
    live = live_policies(world)
    shown = 0
    for at, policy in enumerate(live):
        if policy["metadata"]["namespace"] != NAMESPACE:
            continue
        try:
            for title, changed in without_one_rule(policy):
                left = deployed.predicted([*live[:at], changed, *live[at + 1 :]])
                assert left < deployed.expected, f"{title}: nothing is stopped by it"
                world.kubectl("replace", "-f", write(tmp_path / "changed.json", changed))
                assert deployed.differences(left) == [], title
                shown += 1
        finally:
            world.kubectl("replace", "-f", write(tmp_path / "restored.json", policy))
    assert deployed.differences() == []
    say(f"{shown} rules left out in turn")


def test_each_forbidden_edge_shows(world: World, deployed: Matrix, tmp_path: Path) -> None:
    """Somebody opens a port of its own between every two daemons: each of them, and no other pair, is seen to be open."""
    roles = sorted(set(deployed.members) & table.DAEMONS)
    opened = dict(enumerate(permutations(roles, 2), start=_OPENED))
    pods = [name for role in roles for name in deployed.members[role]]
    more = every(pods, pods, {"TCP": opened})
    wrong = frozenset(
        Probe(client=client, server=server, protocol="TCP", port=port)
        for port, (from_, to) in opened.items()
        for client, server in product(deployed.members[from_], deployed.members[to])
    )
    extra = [each for port, (from_, to) in opened.items() for each in forbidden(from_, to, port)]
    file = write(tmp_path / "forbidden.json", *extra)
    try:
        world.kubectl("apply", "-f", file)
        assert deployed.differences(deployed.expected | wrong, more) == []
        assert len(deployed.unlike(live_policies(world))) == len(wrong)
    finally:
        world.kubectl("delete", "--wait", "-f", file)
    assert deployed.differences(more=more) == []
