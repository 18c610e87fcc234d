"""Each declared edge is needed by something that people do: taken out of the live policies, it alone, that fails; back again,
it works again.

Packets are test_6_reachability's. Here the function itself is asked, by new connections: those that were open before stay
open under a changed policy. Edges of other configurations (the directory, the way back) are taken away where those run.
"""

from __future__ import annotations

import base64
import copy
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from xmlrpc.client import Fault

import pytest
from websocket import WebSocketException, WebSocketTimeoutException

from components import naming
from components.registration.client import AdminState, HostState
from lab.stackfile import ONEGATE_PORT
from policy import declared as table
from policy.declared import PORTS, TABLE, Configuration
from tests.engine.conftest import INSTANCE, World
from tests.engine.matrix import MACHINE, NODE, Matrix, matrix
from tests.engine.reachability import Party, Probe
from tests.engine.test_6_reachability import LAB_PORTS, SWITCHES, live_policies, without_one_rule, write
from tests.engine.test_7_flows import (
    API,
    CONSOLE,
    CONTEXT,
    POWEROFF,
    SERVICE_RUNNING,
    context_of,
    database,
    host_of,
    machine,
    on_host,
    running,
    until,
)
from tests.engine.vm_network import VmNetwork, vm_network
from tests.engine.way_back import FRONTEND, from_host
from tests.engine.web import Refused, Site

pytestmark = pytest.mark.engine

LIMIT = 60.0  # the ingress controller closes the connections that it keeps every 20 s
PUSHED = 12.0  # two periods of the lab's figures, and some
# Remote connections of the database: not the kubelet's checks and not this question.
_REMOTE = "host LIKE '%:%' AND host NOT LIKE 'localhost%' AND host NOT LIKE '127.%'"
_turns = itertools.count()


class Taken(NamedTuple):
    """An edge to take away: roles and a port's name of policy/declared.py, and one protocol of that port."""

    client: str
    server: str
    port: str
    protocol: str = "TCP"


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The running control plane, its parties, a service with a machine that has a console and may ask OneGate, and a host
    that the machine does not run on."""

    world: World
    matrix: Matrix
    vms: VmNetwork
    login: str
    vm: int
    context: Mapping[str, str]
    service_template: int
    spare: str

    def closed(self, edge: Taken) -> tuple[dict[str, Any], dict[str, Any]]:
        """A live policy, and the same without what is for this edge and for nothing else: a rule, or one of its ports."""
        live, wanted = live_policies(self.world), self.packets(edge)
        assert wanted, f"nobody sends packets along {edge}"
        for at, policy in enumerate(live):
            for changed in (*(found for _, found in without_one_rule(policy)), *without_one_port(policy)):
                left = self.matrix.predicted([*live[:at], changed, *live[at + 1 :]])
                if self.matrix.expected - left == wanted:
                    return policy, changed
        raise AssertionError(f"nothing is for {edge} alone")

    def packets(self, edge: Taken) -> frozenset[Probe]:
        """Those that pass along the edge."""
        members, ranges = self.matrix.members, LAB_PORTS.get(edge.port, PORTS[edge.port])
        if edge.client == table.EVERY_DAEMON:
            clients = frozenset(pod for role in table.DAEMONS for pod in members.get(role, ()))
        else:
            clients = frozenset(members[edge.client])
        # The node has one of the hosts' addresses; it reaches every pod whatever the policies say.
        servers = frozenset((*members[edge.server], *((NODE,) if edge.server == table.HYPERVISORS else ())))
        return frozenset(
            each
            for each in self.matrix.expected
            if each.client in clients and each.server in servers and each.protocol == edge.protocol
            if any(protocol == edge.protocol and first <= each.port <= last for protocol, first, last in ranges)
        )

    @property
    def api(self) -> Site:
        return Site(INSTANCE, API, login=self.login)


def without_one_port(policy: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A live policy with each single port left out in turn, where a rule has several."""
    for key in ("ingress", "egress"):
        for number, rule in enumerate(policy["spec"].get(key) or ()):
            ports = range(len(rule.get("ports") or ()))
            for port in ports if len(ports) > 1 else ():  # a rule without ports is for all of them
                changed = copy.deepcopy(dict(policy))
                del changed["spec"][key][number]["ports"][port]
                yield changed


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
    plane.api.call("template.delete", plane.api.call("template.allocate", f'NAME = "kept-{next(_turns)}"'))
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
    return bool(plane.api.call("system.version"))


def hosts_are_heard(plane: Plane) -> bool:
    """A figure that was pushed after the question."""
    latest, limit = "SELECT COALESCE(MAX(last_mon_time), 0) FROM host_monitoring", time.monotonic() + PUSHED
    before = database(plane.world, latest)
    while time.monotonic() < limit:
        if database(plane.world, latest) != before:
            return True
        time.sleep(0.5)
    return False


def deaths_are_told(plane: Plane) -> bool:
    """A machine's process ends on its host: changes of states are pushed apart from the figures, and once."""
    sunstone = fireedge(plane)
    vm = int(plane.api.call("vm.allocate", f'NAME = "mortal-{next(_turns)}"\n{CONTEXT}', False))
    try:
        until(lambda: running(sunstone, vm), "the machine does not run")
        host = host_of(sunstone, vm)
        known = f"/var/tmp/one_db/states_*_*/{vm}"
        until(lambda: on_host(host, f"ls {known} 2>/dev/null || true"), "the probes do not see that it runs")
        on_host(host, f"pkill -KILL -f '^one-{vm} '")
        until(lambda: machine(sunstone, vm)["STATE"] == POWEROFF, "its end is not noticed", PUSHED)
    finally:
        plane.api.call("vm.action", "terminate-hard", vm)
        until(lambda: machine(sunstone, vm)["STATE"] == "6", "the machine does not end")
    return True


def a_host_is_probed_anew(plane: Plane) -> bool:
    """Taken offline and back, a host is asked by SSH: MONITORED when it answers, ERROR when it cannot be reached."""
    client, number = plane.world.oned(), plane.world.rows()[plane.spare]
    client.set_state(number, AdminState.OFFLINE)
    # The end of the probes goes over SSH as well: without the edge they stay. With it the next start must not come before.
    if not eventually(lambda: not on_host(plane.spare, "pgrep -f [m]onitord-client || true"), PUSHED):
        assert client.host(number).state == HostState.OFFLINE
    end_shared_connections(plane)
    client.set_state(number, AdminState.ENABLED)
    settled = (HostState.MONITORED, HostState.ERROR)
    if not eventually(lambda: client.host(number).state in settled, LIMIT):
        pytest.fail(f"the host is neither monitored nor in error, but {client.host(number).state!r}")
    return bool(client.host(number).state == HostState.MONITORED)


def end_shared_connections(plane: Plane) -> None:
    """oned's calls of ssh to one host share a connection, which lasts for 70 s after the last of them."""
    script = 'for each in /run/one/ssh-socks/*; do if [ -S "$each" ]; then ssh -S "$each" -O exit any || true; fi; done'
    plane.world.kubectl("exec", "oned-0", "-c", "oned", "--", "sh", "-euc", script)


def eventually(condition: Callable[[], object], limit: float) -> bool:
    try:
        return bool(until(condition, "", limit))
    except AssertionError:
        return False


def consoles_are_shown(plane: Plane) -> bool:
    """From a page's WebSocket to the machine's VNC server on its host, which says the desktop's name."""
    site = fireedge(plane)
    token = site.ask("GET", f"/fireedge/api/vm/{plane.vm}/guacamole/vnc").json["data"]
    with site.console(token) as console:
        return console.until("name")[-1][1].startswith(f"one-{plane.vm} on ")


def fireedge_tells_events(plane: Plane) -> bool:
    """A page that shows a host hears that somebody disabled it."""
    site, number = fireedge(plane), plane.world.rows()[plane.spare]
    assert site.ask("GET", f"/fireedge/api/host/info/{number}").status == 200
    client = plane.world.oned()
    with site.events("HOST", number) as events:
        events.settimeout(2)
        for _ in range(3):  # FireEdge subscribes while the page goes on
            try:
                client.set_state(number, AdminState.DISABLED)
                return "EVENT HOST" in events.recv()
            except WebSocketTimeoutException:
                continue
            finally:
                client.set_state(number, AdminState.ENABLED)
    return False


def oneflow_hears_events(plane: Plane) -> bool:
    """A new service's machine runs: OneFlow hears it. Without that it asks oned, every `wait_timeout` seconds."""
    flow = Site(INSTANCE, naming.ONEFLOW, login=plane.login)
    place = f"/service_template/{plane.service_template}/action"
    number = flow.ask("POST", place, {"action": {"perform": "instantiate"}}).json["DOCUMENT"]["ID"]

    def body() -> Any:
        return flow.ask("GET", f"/service/{number}").json["DOCUMENT"]["TEMPLATE"]["BODY"]

    try:
        until(lambda: body()["state"] == SERVICE_RUNNING, "the service does not run")
        (vm,) = (int(node["deploy_id"]) for role in body()["roles"] for node in role["nodes"])
        log = plane.world.kubectl("logs", f"deploy/{naming.ONEFLOW}", "--tail=400")
        return f"EVENT VM {vm}/ACTIVE/RUNNING" in log
    finally:
        flow.ask("DELETE", f"/service/{number}")
        until(lambda: flow.ask("GET", f"/service/{number}").status == 404, "the service does not end")


FUNCTIONS: Mapping[Taken, Callable[[Plane], bool]] = {
    Taken(table.EVERY_DAEMON, table.DNS, "dns", "UDP"): oneflow_knows_people,
    Taken(naming.ONED, naming.MARIADB, "mariadb"): oned_keeps,
    Taken(naming.ONED, table.HYPERVISORS, "ssh"): a_host_is_probed_anew,
    Taken(naming.FIREEDGE, naming.ONED, "api"): fireedge_logs_in,
    Taken(naming.FIREEDGE, naming.ONED, "events"): fireedge_tells_events,
    Taken(naming.FIREEDGE, naming.ONEFLOW, "oneflow"): fireedge_shows_services,
    Taken(naming.FIREEDGE, table.HYPERVISORS, "consoles"): consoles_are_shown,
    Taken(naming.ONEFLOW, naming.ONED, "api"): oneflow_knows_people,
    Taken(naming.ONEFLOW, naming.ONED, "events"): oneflow_hears_events,
    Taken(naming.ONEGATE, naming.ONED, "api"): lambda plane: gate(plane, "/vm"),
    Taken(naming.ONEGATE, naming.ONEFLOW, "oneflow"): lambda plane: gate(plane, "/service"),
    Taken(table.VMS, naming.ONEGATE, "onegate"): lambda plane: gate(plane, "/vm"),
    Taken(table.INGRESS, naming.FIREEDGE, "fireedge"): fireedge_is_served,
    Taken(table.INGRESS, naming.ONEFLOW, "oneflow"): oneflow_is_served,
    Taken(table.INGRESS, naming.ONEGATE, "onegate"): onegate_is_served,
    Taken(table.INGRESS, naming.ONED, "api"): api_is_served,
    Taken(table.HYPERVISORS, naming.ONED, "monitord", "UDP"): hosts_are_heard,
    Taken(table.HYPERVISORS, naming.ONED, "monitord", "TCP"): deaths_are_told,
    Taken(table.HYPERVISORS, naming.ONED, "way back"): lambda plane: (
        from_host(plane.world, "-o", "ConnectTimeout=5", FRONTEND, "true").returncode == 0
    ),
}
# DNS by TCP is for answers that are longer than a datagram, and there are none here.
UNUSED = {Taken(table.EVERY_DAEMON, table.DNS, "dns", "TCP")}


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
    template = int(api.call("template.allocate", f'NAME = "asked"\n{CONSOLE}{CONTEXT}'))
    roles = [{"name": "only", "type": "vm", "cardinality": 1, "template_id": template}]
    answer = flow.ask("POST", "/service_template", {"name": "asked", "deployment": "straight", "roles": roles})
    assert answer.status == 201, answer.text
    service_template = int(answer.json["DOCUMENT"]["ID"])
    place = f"/service_template/{service_template}/action"
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
            (spare,) = hosts.keys() - {host_of(sunstone, vm)}
            yield Plane(
                world=world,
                matrix=parties,
                vms=vms,
                login=login,
                vm=vm,
                context=context_of(sunstone, vm),
                service_template=service_template,
                spare=spare,
            )
    finally:
        flow.ask("DELETE", service)
        until(
            lambda: all(machine(sunstone, each)["STATE"] == "6" for each in made), "the service's machine does not end"
        )
        api.call("template.delete", template)


def test_every_edge_of_this_configuration_has_a_function() -> None:
    """But for the interface of 6.10, and for parties that this lab does not have: they come with other configurations."""
    here = (table.DAEMONS - {naming.SUNSTONE}) | {
        table.EVERY_DAEMON,
        table.DNS,
        table.INGRESS,
        table.HYPERVISORS,
        table.VMS,
    }
    wanted = {
        Taken(row.client, row.server, row.port, protocol)
        for row in TABLE
        if {row.client, row.server} <= here and (not row.needs or row.needs in SWITCHES)
        for protocol, *_ in PORTS[row.port]
    }
    assert wanted == FUNCTIONS.keys() | UNUSED


def works(function: Callable[[Plane], bool], plane: Plane) -> bool:
    """Refused, unreachable and answered with an error are all the same to who asks."""
    try:
        return function(plane)
    except (Refused, Fault, AssertionError, OSError, HTTPException, WebSocketException):
        return False


@pytest.mark.parametrize("edge", FUNCTIONS, ids="-".join)
def test_without_its_edge_a_function_fails_and_with_it_works(plane: Plane, edge: Taken, tmp_path: Path) -> None:
    function = FUNCTIONS[edge]
    if not eventually(lambda: works(function, plane), LIMIT):
        assert function(plane), "it does not work to begin with"  # or whatever it raises
    policy, closed = plane.closed(edge)
    try:
        plane.world.kubectl("replace", "-f", write(tmp_path / "closed.json", closed))
        until(lambda: not works(function, plane), "it works without the edge", LIMIT)
    finally:
        plane.world.kubectl("replace", "-f", write(tmp_path / "open.json", policy))
    until(lambda: works(function, plane), "it does not come back", 2 * LIMIT)
