"""The rehearsal of 6.10, whole: a lab of its own beside the one of the other engine tests, brought up once and ended here.

What differs from 7.4 is looked at where it runs: the scheduler is a container that places machines, the Ruby Sunstone
answers behind the ingress, hosts have packages of that release.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from components import naming
from components.domain import Version
from lab import hosts, rehearsal, stackfile, status
from lab.ca import DOMAIN
from lab.engine.stack import ProgramStack
from lab.paths import Instance
from policy import declared as table
from policy.declared import Configuration
from tests.engine.conftest import NAMESPACE, left_behind
from tests.engine.matrix import matrix
from tests.engine.web import Site
from tests.kubectl import Kubectl

pytestmark = pytest.mark.engine

INSTANCE = Instance(name="lts", index=6)
kubectl = Kubectl(INSTANCE.kubeconfig, NAMESPACE)
STACK = "lablts"
CONSOLE = 'GRAPHICS = [ TYPE = "vnc", LISTEN = "0.0.0.0" ]\n'
TEMPLATE = f'NAME = "placed"\n{CONSOLE}CONTEXT = [ TOKEN = "YES" ]\nCPU = "0.1"\nMEMORY = "32"\n'
# What noVNC's proxy does with a token: the host's name and the port. Prints what the host says first.
GREETING = (
    "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 20).recv(12).decode(), end='')"
)


@pytest.fixture(scope="module")
def stack() -> Iterator[ProgramStack]:
    rehearsal.stop_lab(INSTANCE, STACK)
    lab = rehearsal.start_lab(INSTANCE, rehearsal.HOSTS, rehearsal.Phases(), version=Version.V6_10)
    try:
        found = lab.stack(STACK)
        found.up()
        yield found
    finally:
        rehearsal.stop_lab(INSTANCE, STACK)
    assert left_behind(INSTANCE) == []


@pytest.fixture(scope="module")
def login(stack: ProgramStack) -> str:
    """oneadmin's NAME:PASSWORD, from the Secret."""
    secret = json.loads(kubectl("get", "secret", naming.ONEADMIN_SECRET, "-o", "json"))
    return base64.b64decode(secret["data"][naming.ONE_AUTH_KEY]).decode().strip()


@pytest.fixture(scope="module")
def sunstone(login: str) -> Site:
    """The Ruby Sunstone, logged in as a browser does it: once by name and password, from then on by cookie."""
    wrong = Site(INSTANCE, naming.SUNSTONE, login=f"{login}x")
    assert wrong.ask("POST", "/login").status == 401
    site = Site(INSTANCE, naming.SUNSTONE, login=login)
    assert site.ask("GET", "/login").status == 200
    assert site.ask("POST", "/login", {}).status == 204
    site.login = None
    return site


@pytest.fixture(scope="module")
def csrf(sunstone: Site) -> str:
    found = re.search(r'csrftoken = "([0-9a-f]+)"', sunstone.ask("GET", "/").text)
    assert found
    return found[1]


def until(condition: Callable[[], Any], what: str, limit: float = 90) -> Any:
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.5)
    return found


def test_a_second_run_changes_nothing(stack: ProgramStack) -> None:
    assert stack.up().changed == 0


def test_pods_are_admitted_under_restricted(stack: ProgramStack) -> None:
    namespace = json.loads(kubectl("get", "namespace", NAMESPACE, "-o", "json"))["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "restricted"
    events = json.loads(kubectl("get", "events", "-o", "json"))["items"]
    assert [event["message"] for event in events if "violates PodSecurity" in event.get("message", "")] == []
    pods = json.loads(kubectl("get", "pods", "-o", "json"))["items"]
    assert {pod["metadata"]["labels"]["app.kubernetes.io/name"] for pod in pods} == table.DAEMONS


def test_status_shows_what_this_release_runs(stack: ProgramStack) -> None:
    asked = rehearsal.Options(
        existing=False, stack=STACK, opennebula_root=None, version=Version.V6_10, instance=INSTANCE
    )
    found = status.collect(asked)
    names = {naming.ONED, "api", naming.MONITORD, *stackfile.SERVICES}
    assert {(item["name"], item["ready"]) for item in found["endpoints"]} == {(name, True) for name in names}
    assert {(item["name"], item["kind"], item["state"]) for item in found["hosts"]} == {
        (name, kind, "MONITORED") for name, kind in rehearsal.HOSTS.items()
    }
    (row,) = (line.split() for line in status.table(found).splitlines() if line.startswith(f"{naming.SUNSTONE} "))
    assert row[1] == "yes" and row[2].startswith(f"https://{naming.SUNSTONE}.{DOMAIN}")


def test_the_daemons_of_this_release_answer_people_through_the_ingress(login: str) -> None:
    user, _, password = login.partition(":")
    fireedge = Site(INSTANCE, naming.FIREEDGE)
    assert fireedge.ask("POST", "/fireedge/api/auth", {"user": user, "token": f"{password}x"}).status == 401
    assert fireedge.ask("POST", "/fireedge/api/auth", {"user": user, "token": password}).status == 200
    assert fireedge.ask("GET", "/fireedge/api/user/info").json["data"]["USER"]["NAME"] == user
    assert Site(INSTANCE, naming.ONEFLOW, login=f"{login}x").ask("GET", "/service").status != 200
    assert Site(INSTANCE, naming.ONEFLOW, login=login).ask("GET", "/service").status == 200
    assert Site(INSTANCE, naming.ONEGATE, login=login).ask("GET", "/").status == 401, "it answers machines only"


def test_packets_pass_along_the_edges_of_this_release_alone(stack: ProgramStack) -> None:
    """Sunstone's among them: to oned, OneFlow, FireEdge and the hosts' consoles, and from the ingress controller."""
    exposed = {table.EXPOSED + name for name in ("api", *stackfile.SERVICES)}
    ports = {
        "monitord": tuple((protocol, stackfile.MONITORD_PORT, stackfile.MONITORD_PORT) for protocol in ("TCP", "UDP"))
    }
    configuration = Configuration(
        parts=frozenset(), switches=frozenset(exposed | {table.WAY_BACK, table.SUNSTONE_ASKS_FIREEDGE}), ports=ports
    )
    addresses = {name: str(INSTANCE.host_ip(number)) for number, name in enumerate(rehearsal.HOSTS, start=1)}
    found = matrix(INSTANCE, kubectl, addresses, configuration)
    assert naming.SUNSTONE in found.members
    assert found.differences() == []
    policies = json.loads(kubectl("get", "networkpolicies", "--all-namespaces", "-o", "json"))["items"]
    assert found.predicted(policies) == found.expected
    assert found.unlike(policies) == []


def test_hosts_have_packages_of_this_release(stack: ProgramStack) -> None:
    for name, kind in rehearsal.HOSTS.items():
        command = [*hosts.inside(INSTANCE, name), "dpkg-query", "-W", "-f", "${Version}", f"opennebula-node-{kind}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout.startswith("6.10.")


def test_sunstone_shows_the_hosts_to_those_who_logged_in(sunstone: Site, csrf: str) -> None:
    assert Site(INSTANCE, naming.SUNSTONE).ask("GET", "/host").status == 401
    pool = sunstone.ask("GET", f"/host?csrftoken={csrf}").json["HOST_POOL"]["HOST"]
    assert {host["NAME"]: host["STATE"] for host in pool} == dict.fromkeys(rehearsal.HOSTS, "2")


def test_a_machine_of_sunstone_is_placed_by_the_schedulers_container(sunstone: Site, csrf: str) -> None:
    """Sunstone → oned → mm_sched → oned → SSH → host; there is no driver in oned that would place it."""
    made = sunstone.ask("POST", "/vm", {"csrftoken": csrf, "vm": {"vm_raw": TEMPLATE}})
    assert made.status == 201, made.text
    number = int(made.json["VM"]["ID"])

    def machine() -> dict[str, Any]:
        found: dict[str, Any] = sunstone.ask("GET", f"/vm/{number}?csrftoken={csrf}").json["VM"]
        return found

    until(lambda: (machine()["STATE"], machine()["LCM_STATE"]) == ("3", "3"), "the machine does not run")
    record = machine()["HISTORY_RECORDS"]["HISTORY"]
    assert f"Dispatching VM {number} to host {record['HID']}" in kubectl("logs", "oned-0", "-c", "scheduler")
    listing = [*hosts.inside(INSTANCE, record["HOSTNAME"]), "ps", "-eo", "args"]
    done = subprocess.run(listing, capture_output=True, text=True, timeout=30, check=True)
    assert any(line.startswith(f"one-{number} ") for line in done.stdout.splitlines())
    console = (record["HOSTNAME"], machine()["TEMPLATE"]["GRAPHICS"]["PORT"])
    novnc = ("exec", f"deployment/{naming.SUNSTONE}", "-c", "novnc", "--", "python3", "-c", GREETING)
    assert kubectl(*novnc, *console) == "RFB 003.008"
