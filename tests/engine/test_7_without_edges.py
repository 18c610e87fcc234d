"""Each edge between daemons is needed by something that people do: with its rule taken out of the live policies that fails,
and nothing else brought it about; with the rule back it works again.

Packets are test_6_reachability's. Here the function itself is asked, by new connections: those that were open before stay
open under a changed policy.
"""

from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

import pytest

from components import naming
from lab.stackfile import ONEGATE_PORT
from policy import declared as table
from policy.declared import TABLE, Configuration
from tests.engine.conftest import INSTANCE, World
from tests.engine.matrix import MACHINE, Matrix, matrix
from tests.engine.reachability import Party
from tests.engine.test_6_reachability import LAB_PORTS, SWITCHES, live_policies, without_one_rule, write
from tests.engine.test_7_flows import API, CONTEXT, context_of, database, machine, running, until
from tests.engine.vm_network import VmNetwork, vm_network
from tests.engine.web import Refused, Site

pytestmark = pytest.mark.engine

LIMIT = 60.0  # the ingress controller closes the connections that it keeps every 20 s
PUSHED = 12.0  # two periods of the lab's figures, and some
# Remote connections of the database: not the kubelet's checks and not this question.
_REMOTE = "host LIKE '%:%' AND host NOT LIKE 'localhost%' AND host NOT LIKE '127.%'"
_turns = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The running control plane, its parties, and a machine of a service to ask OneGate for."""

    world: World
    matrix: Matrix
    vms: VmNetwork
    login: str
    context: Mapping[str, str]

    def closed(self, client: str, server: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """A live policy, and the same without the one rule that is for this edge and for nothing else."""
        live = live_policies(self.world)
        for at, policy in enumerate(live):
            for _title, changed in without_one_rule(policy):
                lost = self.matrix.expected - self.matrix.predicted([*live[:at], changed, *live[at + 1 :]])
                members = self.matrix.members
                if lost and all(each.client in members[client] and each.server in members[server] for each in lost):
                    return policy, changed
        raise AssertionError(f"no rule is for {client} → {server} alone")


def fireedge(plane: Plane) -> Site:
    """FireEdge, logged in anew: it asks oned who that is."""
    site = Site(INSTANCE, naming.FIREEDGE)
    user, _, password = plane.login.partition(":")
    assert site.ask("POST", "/fireedge/api/auth", {"user": user, "token": password}).status == 200
    return site


def gate(plane: Plane, path: str) -> bool:
    """Does OneGate answer the machine, from its network?"""
    done = plane.vms.run(
        *("curl", "--silent", "--max-time", "20", "--write-out", "%{http_code}"),
        *("--header", f"X-ONEGATE-TOKEN: {plane.context['token']}"),
        *("--header", f"X-ONEGATE-VMID: {plane.context['VMID']}"),
        f"http://{INSTANCE.node_ip}:{ONEGATE_PORT}{path}",
    )
    return done.stdout.endswith("200")


def oned_keeps(plane: Plane) -> bool:
    """oned stores what is new, over a connection to its database that it must open."""
    ids = database(plane.world, f"SELECT id FROM information_schema.processlist WHERE {_REMOTE}").split()
    client = ["mariadb", "--defaults-file=/etc/one-mariadb/my.cnf", "--socket=/run/mysqld/mysqld.sock", "--force"]
    kill = "; ".join(f"KILL {each}" for each in ids) or "SELECT 1"
    plane.world.kubectl("exec", "mariadb-0", "--", *client, "-e", kill, check=False)  # some have ended meanwhile
    api = Site(INSTANCE, API, login=plane.login)
    api.call("template.delete", api.call("template.allocate", f'NAME = "kept-{next(_turns)}"'))
    return True


def fireedge_logs_in(plane: Plane) -> bool:
    return fireedge(plane).ask("GET", "/fireedge/api/user/info").status == 200


def fireedge_shows_services(plane: Plane) -> bool:
    return fireedge(plane).ask("GET", "/fireedge/api/service").status == 200


def oneflow_knows_people(plane: Plane) -> bool:
    return Site(INSTANCE, naming.ONEFLOW, login=plane.login).ask("GET", "/service").status == 200


def fireedge_is_served(plane: Plane) -> bool:
    return Site(INSTANCE, naming.FIREEDGE).ask("GET", "/fireedge/sunstone").status == 200


def oneflow_is_served(plane: Plane) -> bool:
    return Site(INSTANCE, naming.ONEFLOW, login=plane.login).ask("GET", "/service").status == 200


def onegate_is_served(plane: Plane) -> bool:
    """Somebody without a token is answered, by OneGate and not by the controller in its place."""
    return Site(INSTANCE, naming.ONEGATE).ask("GET", "/vm").status == 401


def api_is_served(plane: Plane) -> bool:
    return bool(Site(INSTANCE, API, login=plane.login).call("system.version"))


def hosts_are_heard(plane: Plane) -> bool:
    """A figure that was pushed after the question."""
    latest, limit = "SELECT COALESCE(MAX(last_mon_time), 0) FROM host_monitoring", time.monotonic() + PUSHED
    before = database(plane.world, latest)
    while time.monotonic() < limit:
        if database(plane.world, latest) != before:
            return True
        time.sleep(0.5)
    return False


FUNCTIONS: Mapping[tuple[str, str], Callable[[Plane], bool]] = {
    (naming.ONED, naming.MARIADB): oned_keeps,
    (naming.FIREEDGE, naming.ONED): fireedge_logs_in,
    (naming.FIREEDGE, naming.ONEFLOW): fireedge_shows_services,
    (naming.ONEFLOW, naming.ONED): oneflow_knows_people,
    (naming.ONEGATE, naming.ONED): lambda plane: gate(plane, "/vm"),
    (naming.ONEGATE, naming.ONEFLOW): lambda plane: gate(plane, "/service"),
    (table.VMS, naming.ONEGATE): lambda plane: gate(plane, "/vm"),
    (table.INGRESS, naming.FIREEDGE): fireedge_is_served,
    (table.INGRESS, naming.ONEFLOW): oneflow_is_served,
    (table.INGRESS, naming.ONEGATE): onegate_is_served,
    (table.INGRESS, naming.ONED): api_is_served,
    (table.HYPERVISORS, naming.ONED): hosts_are_heard,
}


@pytest.fixture(scope="module")
def plane(world: World) -> Iterator[Plane]:
    """Everything up, with a service of one machine: what OneGate tells of it comes from oned and from OneFlow."""
    world.stack().up()
    secret = world.get("secret", naming.ONEADMIN_SECRET)["data"][naming.ONE_AUTH_KEY]
    login = base64.b64decode(secret).decode().strip()
    api, flow = Site(INSTANCE, API, login=login), Site(INSTANCE, naming.ONEFLOW, login=login)
    sunstone = Site(INSTANCE, naming.FIREEDGE)
    user, _, password = login.partition(":")
    assert sunstone.ask("POST", "/fireedge/api/auth", {"user": user, "token": password}).status == 200
    template = int(api.call("template.allocate", f'NAME = "asked"\n{CONTEXT}'))
    roles = [{"name": "only", "type": "vm", "cardinality": 1, "template_id": template}]
    answer = flow.ask("POST", "/service_template", {"name": "asked", "deployment": "straight", "roles": roles})
    assert answer.status == 201, answer.text
    place = f"/service_template/{answer.json['DOCUMENT']['ID']}/action"
    answer = flow.ask("POST", place, {"action": {"perform": "instantiate"}})
    assert answer.status == 201, answer.text
    service = f"/service/{answer.json['DOCUMENT']['ID']}"

    def number() -> list[int]:
        (role,) = flow.ask("GET", service).json["DOCUMENT"]["TEMPLATE"]["BODY"]["roles"]
        return [int(node["deploy_id"]) for node in role.get("nodes") or ()]

    made: list[int] = []
    try:
        made = until(number, "the service gets no machine")
        (vm,) = made
        until(lambda: running(sunstone, vm), "the machine does not run")
        hosts = {host.name: host.ip for host in world.hosts}
        configuration = Configuration(parts=frozenset(), switches=SWITCHES, ports=LAB_PORTS)
        with vm_network(INSTANCE) as vms:
            asking = Party(name=MACHINE, address=vms.address, namespace=vms.namespace)
            parties = matrix(INSTANCE, world.kubectl, hosts, configuration, {table.VMS: (asking,)})
            yield Plane(world=world, matrix=parties, vms=vms, login=login, context=context_of(sunstone, vm))
    finally:
        flow.ask("DELETE", service)
        until(
            lambda: all(machine(sunstone, each)["STATE"] == "6" for each in made), "the service's machine does not end"
        )
        api.call("template.delete", template)


def test_every_edge_between_daemons_and_from_the_ingress_has_a_function() -> None:
    """But for the interface of 6.10, which this lab does not run."""
    daemons = (table.DAEMONS - {naming.SUNSTONE}) | {table.INGRESS}
    assert {(row.client, row.server) for row in TABLE if {row.client, row.server} <= daemons} <= FUNCTIONS.keys()


def works(function: Callable[[Plane], bool], plane: Plane) -> bool:
    """Refused, unreachable and answered with an error are all the same to who asks."""
    try:
        return function(plane)
    except (Refused, Fault, AssertionError, OSError, HTTPException):
        return False


@pytest.mark.parametrize(("client", "server"), FUNCTIONS, ids=["-".join(edge) for edge in FUNCTIONS])
def test_without_its_edge_a_function_fails_and_with_it_works(
    plane: Plane, client: str, server: str, tmp_path: Path
) -> None:
    function = FUNCTIONS[client, server]
    until(lambda: works(function, plane), "it does not work to begin with", LIMIT)
    policy, closed = plane.closed(client, server)
    try:
        plane.world.kubectl("replace", "-f", write(tmp_path / "closed.json", closed))
        until(lambda: not works(function, plane), "it works without the edge", LIMIT)
    finally:
        plane.world.kubectl("replace", "-f", write(tmp_path / "open.json", policy))
    until(lambda: works(function, plane), "it does not come back", 2 * LIMIT)
