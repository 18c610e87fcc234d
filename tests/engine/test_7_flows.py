"""The architecture's three flows on the whole control plane, each hop over its real path, port and credential.

A machine here is what the rehearsal's hosts can run: a process of its own on the host, started by the driver's scripts over
SSH, with the context that OpenNebula gives it. What a machine says to OneGate comes from a network of virtual machines, a
namespace of its own beside the hosts.
"""

from __future__ import annotations

import base64
import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Any
from xml.etree import ElementTree

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from components import naming
from lab import hosts
from lab.stackfile import MONITORD_PORT, ONEGATE_PORT
from tests.engine.conftest import INSTANCE, World
from tests.engine.pushes import Push, Wire, wire
from tests.engine.reachability import namespaces
from tests.engine.vm_network import VmNetwork, vm_network
from tests.engine.web import Site

pytestmark = pytest.mark.engine

ROLE_PENDING, ROLE_RUNNING = 0, 2
SERVICE_RUNNING = 2
API = "api"  # oned's name behind the ingress
ACTIVE, POWEROFF = "3", "8"  # of machines, as the database has them
CONSOLE = 'GRAPHICS = [ TYPE = "vnc", LISTEN = "0.0.0.0" ]\n'
CONTEXT = 'CONTEXT = [ TOKEN = "YES" ]\nCPU = "0.1"\nMEMORY = "32"\n'


@pytest.fixture(scope="module")
def plane(world: World) -> World:
    world.stack().up()
    return world


@pytest.fixture(scope="module")
def login(plane: World) -> str:
    """oneadmin's NAME:PASSWORD, from the Secret."""
    found = plane.get("secret", naming.ONEADMIN_SECRET)["data"][naming.ONE_AUTH_KEY]
    return base64.b64decode(found).decode().strip()


@pytest.fixture(scope="module")
def sunstone(plane: World, login: str) -> Site:
    """FireEdge, logged in."""
    site = Site(INSTANCE, naming.FIREEDGE)
    user, _, password = login.partition(":")
    assert site.ask("GET", "/fireedge/api/user/info").status == 401
    assert site.ask("POST", "/fireedge/api/auth", {"user": user, "token": f"{password}x"}).status == 401
    assert site.ask("POST", "/fireedge/api/auth", {"user": user, "token": password}).status == 200
    return site


@pytest.fixture(scope="module")
def vms(plane: World) -> Iterator[VmNetwork]:
    """A machine's view of the network: at an address of VMs on the hosts' bridge."""
    with vm_network(INSTANCE) as network:
        yield network


def until(condition: Callable[[], Any], what: str, limit: float = 90) -> Any:
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.5)
    return found


def machine(sunstone: Site, number: int) -> dict[str, Any]:
    answer = sunstone.ask("GET", f"/fireedge/api/vm/info/{number}")
    assert answer.status == 200, answer.text
    found: dict[str, Any] = answer.json["data"]["VM"]
    return found


def running(sunstone: Site, number: int) -> bool:
    found = machine(sunstone, number)
    return (found["STATE"], found["LCM_STATE"]) == ("3", "3")


def host_of(sunstone: Site, number: int) -> str:
    record = machine(sunstone, number)["HISTORY_RECORDS"]["HISTORY"]
    last = record[-1] if isinstance(record, list) else record
    return str(last["HOSTNAME"])


def on_host(name: str, command: str) -> str:
    argv = [*hosts.inside(INSTANCE, name), "sh", "-euc", command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout


def context_of(sunstone: Site, number: int) -> dict[str, str]:
    """What the machine finds on its context disk."""
    folder = f"/var/lib/one/datastores/0/{number}/disk.0"
    text = on_host(host_of(sunstone, number), f"cat {folder}/context.sh")
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    values = {name: value.strip("'") for name, value in found.items()}
    return values | {"token": on_host(host_of(sunstone, number), f"cat {folder}/token.txt").strip()}


def test_a_machine_from_the_browser_to_the_host_and_its_console_back(sunstone: Site, plane: World) -> None:
    """FireEdge's API → oned → scheduler → SSH → host, and the way back by monitoring.

    Browser → TLS, ingress, WebSocket → FireEdge → guacd → VNC port of the host, and what is typed.
    """
    template = f'NAME = "alone"\n{CONSOLE}{CONTEXT}'
    answer = sunstone.ask("PUT", "/fireedge/api/vm/allocate", {"template": template})
    assert answer.status == 200, answer.text
    number = int(answer.json["data"])
    until(lambda: running(sunstone, number), "the machine does not run")
    host = host_of(sunstone, number)
    assert host in ("kvm-1", "lxc-1")
    assert f"one-{number}" in on_host(host, "ps -eo args")
    with pytest.raises(Exception, match="running VMs"):
        plane.oned().delete(plane.rows()[host])
    port = machine(sunstone, number)["TEMPLATE"]["GRAPHICS"]["PORT"]
    assert int(port) >= 5900
    token = sunstone.ask("GET", f"/fireedge/api/vm/{number}/guacamole/vnc").json["data"]
    with sunstone.console(token) as console:
        assert [words for words in console.until("name") if words[0] in ("size", "name")] == [
            ["size", "0", "640", "480"],
            ["name", f"one-{number} on {host}, a rehearsal stand-in"],
        ]
        for pressed in ("1", "0"):
            console.say("key", str(ord("q")), pressed)
        typed = f"/var/lib/one/datastores/0/{number}/machine.log"
        until(
            lambda: on_host(host, f"cat {typed}").splitlines()[-2:] == ["key 113 pressed", "key 113 released"],
            "what is typed does not reach the machine",
            20,
        )
    ended = sunstone.ask("PUT", f"/fireedge/api/vm/action/{number}", {"action": "terminate-hard"})
    assert ended.status == 200, ended.text
    until(lambda: machine(sunstone, number)["STATE"] == "6", "the machine does not end")
    assert f"one-{number}" not in on_host(host, "ps -eo args")


def database(plane: World, query: str) -> str:
    """One value of OpenNebula's database; empty when there is no row."""
    client = ["mariadb", "--defaults-file=/etc/one-mariadb/my.cnf", "--socket=/run/mysqld/mysqld.sock"]
    return plane.kubectl("exec", "mariadb-0", "--", *client, "-N", "opennebula", "-e", query).strip()


@pytest.fixture(scope="module")
def private_key(plane: World) -> RSAPrivateKey:
    """What onemonitord opens messages with, as its pod has it."""

    def file(path: str) -> str:
        return plane.kubectl("exec", "oned-0", "-c", "oned", "--", "cat", path)

    line = next(line for line in file("/etc/one/monitord.conf").splitlines() if line.strip().startswith("PRIKEY"))
    path = line.partition("=")[2].strip(' ",')
    assert path != "", "messages are encrypted by default"
    key = load_pem_private_key(file(path).encode(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


@contextmanager
def pushes_of(plane: World, name: str) -> Iterator[Wire]:
    """What a host sends to onemonitord meanwhile, on its own interface."""
    address = next(IPv4Address(host.ip) for host in plane.hosts if host.name == name)
    with wire(namespaces(INSTANCE)[address], INSTANCE.node_ip, MONITORD_PORT) as found:
        yield found


def only_for(push: Push, key: RSAPrivateKey, words: bytes) -> bool:
    """Does the message say these words to who has the key, and to nobody else?"""
    other = generate_private_key(public_exponent=65537, key_size=key.key_size)
    return words in push.opened(key) and words not in push.sealed and words not in push.opened(other)


def test_figures_of_hosts_come_by_udp_encrypted_and_are_kept(plane: World, private_key: RSAPrivateKey) -> None:
    """Host → UDP 4124 → onemonitord → MariaDB."""
    number = plane.rows()["kvm-1"]
    latest = f"SELECT COALESCE(MAX(last_mon_time), 0) FROM host_monitoring WHERE hid = {number}"
    with pushes_of(plane, "kvm-1") as pushes:
        before = int(database(plane, latest))
        figures = until(
            lambda: [push for push in pushes.pushes() if push.kind == "MONITOR_HOST"], "the host pushes no figures"
        )
    assert {(push.protocol, push.host, push.status) for push in figures} == {("UDP", number, "SUCCESS")}
    assert all(only_for(push, private_key, b"FREEMEMORY=") for push in figures)
    until(lambda: int(database(plane, latest)) > before, "no push of the host reaches the database")


def test_a_machine_that_dies_on_its_host_is_noticed(sunstone: Site, plane: World, private_key: RSAPrivateKey) -> None:
    """The state of machines comes by TCP 4124, apart from the figures: encrypted as well, and what it says is kept."""
    answer = sunstone.ask("PUT", "/fireedge/api/vm/allocate", {"template": f'NAME = "mortal"\n{CONTEXT}'})
    number = int(answer.json["data"])
    until(lambda: running(sunstone, number), "the machine does not run")

    def told() -> bool:
        log = plane.kubectl("logs", "oned-0", "-c", "oned", "--tail=2000")
        return any(f"VM id: {number}, state: RUNNING" in line for line in log.splitlines())

    until(told, "no push says that it runs")
    host, words = host_of(sunstone, number), f'ID="{number}", DEPLOY_ID="one-{number}", STATE="POWEROFF"'.encode()
    state = f"SELECT state FROM vm_pool WHERE oid = {number}"
    assert database(plane, state) == ACTIVE
    with pushes_of(plane, host) as pushes:
        on_host(host, f"pkill -KILL -f '^one-{number} '")
        news = until(
            lambda: [push for push in pushes.pushes() if words in push.opened(private_key)], "no push says that it died"
        )
    assert {(push.protocol, push.kind) for push in news} == {("TCP", "STATE_VM")}
    assert all(only_for(push, private_key, words) for push in news)
    # Hosts tell changes once, and everything again every three minutes: so long may one that oned missed take.
    until(lambda: not running(sunstone, number), "what the host said is not taken up", 240)
    until(lambda: database(plane, state) == POWEROFF, f"not kept: {machine(sunstone, number)}")
    sunstone.ask("PUT", f"/fireedge/api/vm/action/{number}", {"action": "terminate-hard"})
    until(lambda: machine(sunstone, number)["STATE"] == "6", "the machine does not end")


def test_a_service_waits_for_its_first_role_to_say_ready(sunstone: Site, login: str, vms: VmNetwork) -> None:
    """OneFlow starts the second role only once the first one's machine has said READY to OneGate, from its network."""
    flow = Site(INSTANCE, naming.ONEFLOW, login=login)
    made = sunstone.ask("PUT", "/fireedge/api/template/allocate", {"template": f'NAME = "small"\n{CONTEXT}'})
    assert made.status == 200, made.text
    template = int(made.json["data"])
    roles = [
        {"name": "front", "type": "vm", "cardinality": 1, "template_id": template, "parents": ["back"]},
        {"name": "back", "type": "vm", "cardinality": 1, "template_id": template},
    ]
    wanted = {"name": "web", "deployment": "straight", "ready_status_gate": True, "roles": roles}
    answer = flow.ask("POST", "/service_template", wanted)
    assert answer.status == 201, answer.text
    place = f"/service_template/{answer.json['DOCUMENT']['ID']}/action"
    answer = flow.ask("POST", place, {"action": {"perform": "instantiate"}})
    assert answer.status == 201, answer.text
    service = int(answer.json["DOCUMENT"]["ID"])

    def role(name: str) -> dict[str, Any]:
        body = flow.ask("GET", f"/service/{service}").json["DOCUMENT"]["TEMPLATE"]["BODY"]
        return next(found for found in body["roles"] if found["name"] == name)

    def node(name: str) -> int | None:
        nodes = role(name).get("nodes") or []
        return int(nodes[0]["deploy_id"]) if nodes else None

    back = until(lambda: node("back") is not None and [node("back")], "the first role gets no machine")[0]
    until(lambda: running(sunstone, back), "the first role's machine does not run")
    report(vms, context_of(sunstone, back), "READY=NO")
    assert role("front")["state"] == ROLE_PENDING
    assert node("front") is None
    report(vms, context_of(sunstone, back), "READY=YES")
    assert machine(sunstone, back)["USER_TEMPLATE"]["READY"] == "YES"
    front = until(lambda: node("front") is not None and [node("front")], "the second role never starts")[0]
    until(lambda: running(sunstone, front), "the second role's machine does not run")
    report(vms, context_of(sunstone, front), "READY=YES")
    until(
        lambda: flow.ask("GET", f"/service/{service}").json["DOCUMENT"]["TEMPLATE"]["BODY"]["state"] == SERVICE_RUNNING,
        "the service does not run",
    )
    assert flow.ask("DELETE", f"/service/{service}").status in (201, 204)
    until(
        lambda: all(machine(sunstone, number)["STATE"] == "6" for number in (back, front)),
        "the service's machines do not end",
    )


def report(vms: VmNetwork, context: dict[str, str], attribute: str) -> None:
    """What the context scripts inside a machine do: tell OneGate, with the token of the context disk."""
    assert context["ONEGATE_ENDPOINT"] == f"http://{INSTANCE.node_ip}:{ONEGATE_PORT}"
    done = vms.run(
        *("curl", "--silent", "--show-error", "--max-time", "20", "--write-out", "%{http_code}"),
        *("--request", "PUT", "--data", attribute),
        *("--header", f"X-ONEGATE-TOKEN: {context['token']}", "--header", f"X-ONEGATE-VMID: {context['VMID']}"),
        f"{context['ONEGATE_ENDPOINT']}/vm",
    )
    assert done.stdout.endswith("200"), f"{done.stdout} {done.stderr}"


def test_a_hook_is_carried_out_and_its_record_kept(plane: World, login: str) -> None:
    """oned's event → hook execution manager → command → reply → oned → MariaDB."""
    api = Site(INSTANCE, API, login=login)
    name = "told-of-groups"
    about = 'TYPE = "api"\nCALL = "one.group.allocate"\nCOMMAND = "/bin/echo"\nARGUMENTS = "hooked $API"'
    hook = api.call("hook.allocate", f'NAME = "{name}"\n{about}')
    turns = itertools.count()

    def records() -> list[ElementTree.Element]:
        # The manager subscribes once it has heard of the hook: what happens before is not told.
        api.call("group.delete", api.call("group.allocate", f"{name}-{next(turns)}"))
        body = ElementTree.fromstring(api.call("hook.info", hook, False))  # noqa: S314  (the API under test)
        return body.findall("HOOKLOG/HOOK_EXECUTION_RECORD")

    try:
        record = until(records, "no hook is carried out")[0]
        assert record.findtext("EXECUTION_RESULT/CODE") == "0"
        said = base64.b64decode(record.findtext("EXECUTION_RESULT/STDOUT") or "").decode().split()
        assert said[0] == "hooked" and f"{name}-" in base64.b64decode(said[1]).decode()
        assert database(plane, f"SELECT rc FROM hook_log WHERE hkid = {hook} AND exeid = 0") == "0"
    finally:
        api.call("hook.delete", hook)


def test_onegate_answers_machines_only(sunstone: Site, vms: VmNetwork) -> None:
    url = f"http://{INSTANCE.node_ip}:{ONEGATE_PORT}/"
    refused = vms.run("curl", "--silent", "--max-time", "20", "--write-out", "%{http_code}", url)
    assert refused.stdout.endswith("401")
    with pytest.raises(subprocess.CalledProcessError):
        on_host("kvm-1", f"curl --silent --max-time 5 {url}")


def test_of_a_host_only_the_console_ports_are_reached_from_fireedge(plane: World, sunstone: Site) -> None:
    """guacd's edge, which is FireEdge's: a host's VNC port answers from the pod, and no other port of that host does."""
    listener = subprocess.Popen(
        [*hosts.inside(INSTANCE, "kvm-1"), "ruby", "-rsocket", "-e", "s = TCPServer.new(5901); loop { s.accept }"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        pod = plane.get("pods", "-l", f"app.kubernetes.io/name={naming.FIREEDGE}")["items"][0]["metadata"]["name"]
        address = INSTANCE.host_ip(1)
        probe = (
            "const s = require('net').connect({host: process.argv[1], port: +process.argv[2], timeout: 3000});"
            "s.on('connect', () => { console.log('open'); process.exit() });"
            "s.on('timeout', () => process.exit(1)); s.on('error', () => process.exit(1))"
        )

        def reach(port: int) -> str:
            command = ["exec", pod, "-c", "fireedge", "--", "node", "-e", probe, str(address), str(port)]
            return plane.kubectl(*command, check=False).strip()

        until(lambda: reach(5901) == "open", "FireEdge's pod does not reach the console port", 20)
        assert reach(22) == ""
    finally:
        listener.kill()
        listener.wait(10)
