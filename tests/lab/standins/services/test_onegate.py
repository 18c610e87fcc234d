"""OneGate: what a VM proves itself with, what it sees and may change, and where each release listens."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from lab.standins.opennebula.services import Service
from tests.lab.standins.services.conftest import Start
from tests.lab.standins.services.fake_oned import FakeOned, Vm, onegate_token
from tests.lab.standins.services.web import Answer, Browser, basic, until

OWNER = 0


class Guest:
    """A virtual machine that asks."""

    def __init__(self, gate: Service, vm: Vm) -> None:
        self.browser = Browser(gate.port)
        self.headers = {"X-ONEGATE-TOKEN": onegate_token(vm), "X-ONEGATE-VMID": str(vm.oid)}

    def ask(self, method: str, path: str, text: str = "", **headers: str) -> Answer:
        changed = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.browser.ask(method, path, raw=text, headers={key: value for key, value in changed.items() if value})


@pytest.fixture
def gate(install: Start, oned: FakeOned) -> Service:
    oned._vm_allocate(oned.users[OWNER], 'NAME="guest"\nSCHED_MESSAGE="secret"\nCOLOUR="blue"', False)
    service = install("onegate", {":one_xmlrpc": oned.endpoint})
    service.start()
    return service


@pytest.fixture
def guest(gate: Service, oned: FakeOned) -> Guest:
    return Guest(gate, oned.vms[0])


def test_the_root_names_the_rest(guest: Guest, gate: Service) -> None:
    assert guest.ask("GET", "/").json == {"vm_info": f"{gate.url}/vm", "service_info": f"{gate.url}/service"}


def test_a_vm_sees_itself(guest: Guest) -> None:
    seen = guest.ask("GET", "/vm").json["VM"]
    assert (seen["NAME"], seen["ID"], seen["STATE"]) == ("guest", "0", "1")
    assert seen["USER_TEMPLATE"] == {"COLOUR": "blue"}
    assert seen["TEMPLATE"]["NIC"] == [{"IP": "10.0.0.2", "MAC": "02:00:0a:00:00:00"}], "no bridge"


@pytest.mark.parametrize(
    "headers",
    [
        {"X_ONEGATE_TOKEN": ""},
        {"X_ONEGATE_VMID": ""},
        {"X_ONEGATE_VMID": "1"},
        {"X_ONEGATE_TOKEN": "bm90IGEgdG9rZW4="},
        {"X_ONEGATE_VMID": "99"},
    ],
)
def test_who_is_not_let_in(guest: Guest, oned: FakeOned, headers: dict[str, str]) -> None:
    oned._vm_allocate(oned.users[OWNER], "NAME=other", False)
    for path in ("/", "/vm", "/service"):
        answer = guest.ask("GET", path, **headers)
        assert (answer.status, answer.text) == (401, "Not authorized")


def test_a_token_of_an_earlier_life(guest: Guest, oned: FakeOned) -> None:
    oned.vms[0].stime += 1
    assert guest.ask("GET", "/vm").status == 401


def test_an_owner_without_token_password(guest: Guest, oned: FakeOned, gate: Service) -> None:
    oned.users[OWNER].template = {}
    assert guest.ask("GET", "/vm").status == 401
    assert "TOKEN_PASSWORD not present" in gate.log()


def test_a_vm_reports(guest: Guest, oned: FakeOned) -> None:
    assert guest.ask("PUT", "/vm", "READY=YES").status == 200
    assert guest.ask("PUT", "/vm", 'A="1"\nB=two words').status == 200
    expected = {"READY": "YES", "A": "1", "B": "two words", "COLOUR": "blue", "SCHED_MESSAGE": "secret"}
    assert oned.vms[0].user_template == expected
    assert oned.calls[-1] == ("oneadmin", "one.vm.update"), "as its owner, not as serveradmin"
    assert guest.ask("PUT", "/vm?type=2", "COLOUR").status == 200
    assert "COLOUR" not in oned.vms[0].user_template
    assert guest.ask("PUT", "/vm?type=2", "COLOUR").status == 500


@pytest.mark.parametrize("text", ["SERVICE_ID=1", "ROLE_NAME=x", "sched_requirements=NAME=a", "A=1\nSERVICE_ID=2"])
def test_attributes_that_a_vm_may_not_set(guest: Guest, oned: FakeOned, text: str) -> None:
    answer = guest.ask("PUT", "/vm", text)
    assert answer.status == 403
    assert "cannot be modified" in answer.text
    assert oned.asked("one.vm.update") == 0


def test_what_the_configuration_forbids(install: Start, oned: FakeOned) -> None:
    oned._vm_allocate(oned.users[OWNER], "NAME=guest", False)
    service = install("onegate", {":one_xmlrpc": oned.endpoint, ":permissions": {":vm": {":update": False}}})
    service.start()
    guest = Guest(service, oned.vms[0])
    assert guest.ask("PUT", "/vm", "READY=YES").text == "Action (update) on resource (vm) not supported"
    assert guest.ask("GET", "/vm").status == 200


def test_a_restricted_action(guest: Guest, oned: FakeOned) -> None:
    def act(name: str) -> Answer:
        return guest.ask("POST", "/vms/0/action", f'{{"action": {{"perform": "{name}"}}}}')

    assert act("reboot").status == 403
    assert act("terminate").status == 204
    assert oned.vms[0].state == 6


def test_a_vm_without_a_service(guest: Guest, oned: FakeOned) -> None:
    oned._vm_allocate(oned.users[OWNER], "NAME=other", False)
    assert guest.ask("GET", "/service").text == "Empty or invalid SERVICE_ID"
    assert guest.ask("GET", "/vms/1").status == 400
    assert guest.ask("GET", "/nothing").text == "OneGate server doesn't support this feature"


def test_ready_over_onegate_opens_the_gate_of_oneflow(install: Start, oned: FakeOned) -> None:
    """The third flow of the architecture, without its network."""
    oned.templates.append("CPU=1")
    flow = install(
        "oneflow", {":one_xmlrpc": oned.endpoint, ":subscriber_endpoint": "tcp://127.0.0.1:1", ":wait_timeout": 1}
    )
    flow.start()
    gate = install("onegate", {":one_xmlrpc": oned.endpoint, ":oneflow_server": flow.url})
    gate.start()
    operator = Browser(flow.port)
    roles = [
        {"name": "db", "cardinality": 1, "template_id": 0},
        {"name": "app", "cardinality": 1, "template_id": 0, "parents": ["db"]},
    ]
    body = {"name": "shop", "deployment": "straight", "ready_status_gate": True, "roles": roles}
    login = basic("oneadmin:rehearsal")
    oid = operator.ask("POST", "/service_template", body, headers=login).json["DOCUMENT"]["ID"]
    operator.ask("POST", f"/service_template/{oid}/action", {"action": {"perform": "instantiate"}}, headers=login)
    oned.run(oned.vms[0])
    database = Guest(gate, oned.vms[0])
    seen = database.ask("GET", "/service").json["SERVICE"]
    assert [(role["name"], [node["deploy_id"] for node in role["nodes"]]) for role in seen["roles"]] == [
        ("db", [0]),
        ("app", []),
    ]
    assert database.ask("PUT", "/vm", "READY=YES").status == 200
    until(lambda: len(oned.vms) == 2)
    assert oned.vms[1].user_template["ROLE_NAME"] == "app"
    assert database.ask("GET", "/vms/1").status == 200, "of the same service"
    flow.stop()
    assert database.ask("GET", "/service").status == 404


@pytest.mark.parametrize("version", ["7.4", "6.10"])
def test_the_keys_of_the_other_release_are_ignored(install: Start, version: str) -> None:
    service = install("onegate")
    foreign = {":host": "127.0.0.1", ":port": service.port, ":server": None}
    own = {":server": {":bind": "127.0.0.1", ":port": service.port}}
    service.environment["ONE_STANDIN_VERSION"] = version
    service.settings = foreign if version == "7.4" else own
    process = service.launch()
    port = 4567 if version == "7.4" else 8080
    until(lambda: f"listening on localhost:{port}" in service.said() or process.poll() is not None)
    assert not service.listening()
    assert "is ignored" in service.said()


def test_the_keys_of_its_own_release(install: Start) -> None:
    service = install("onegate")
    service.environment["ONE_STANDIN_VERSION"] = "6.10"
    service.settings = {":server": None, ":host": "127.0.0.1", ":port": service.port}
    service.start()
    assert "OpenNebula 6.10.5 OneGate rehearsal stand-in" in service.log()
    with socket.create_connection(("127.0.0.1", service.port)):
        assert Browser(service.port).ask("GET", "/").status == 401


def test_oned_is_away(install: Start, oned: FakeOned) -> None:
    oned._vm_allocate(oned.users[OWNER], "NAME=guest", False)
    service = install("onegate", {":one_xmlrpc": "http://127.0.0.1:1/RPC2"})
    service.start()
    assert Guest(service, oned.vms[0]).ask("GET", "/vm").status == 401
    assert "info error" in service.log()


def test_without_its_credential(install: Start) -> None:
    service = install("onegate")
    service.auth.unlink()
    assert service.fails() == 255
    assert "Error initializing authentication system" in service.log()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({":server": {":host": "127.0.0.1"}}, "unknown key :server: :host:"),
        ({":permissions": {":vm": {":show": "yes"}}}, ":permissions: :vm: :show: cannot be"),
        ({":auth": "opennebula"}, ":auth: cannot be"),
    ],
)
def test_a_configuration_that_is_refused(install: Start, settings: dict[str, Any], problem: str) -> None:
    service = install("onegate", settings)
    assert service.fails() == 1
    assert problem in service.said()
