"""OneFlow: who may in, documents in oned, and roles that start in order and only when their parents report READY."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.standins.opennebula.services import Service
from tests.lab.standins.services.conftest import Start
from tests.lab.standins.services.events import Events
from tests.lab.standins.services.fake_oned import FakeOned
from tests.lab.standins.services.web import Answer, Browser, basic, until

USER = basic("oneadmin:rehearsal")
SLEEPY = 600  # a wait_timeout that no test outlasts: only events can wake
RUNNING, DEPLOYING, FAILED_DEPLOYING, FAILED_ROLE = 2, 1, 7, 7
ROLES = [
    {"name": "front", "type": "vm", "cardinality": 1, "template_id": 0, "parents": ["back"]},
    {"name": "back", "type": "vm", "cardinality": 2, "template_id": 0},
]


class Flow:
    """A client of one OneFlow."""

    def __init__(self, service: Service) -> None:
        self.browser = Browser(service.port)

    def ask(self, method: str, path: str, content: object = None, headers: dict[str, str] | None = None) -> Answer:
        return self.browser.ask(method, path, content, headers=USER if headers is None else headers)

    def template(self, **changes: object) -> int:
        template = {"name": "web", "deployment": "straight", "ready_status_gate": True, "roles": ROLES, **changes}
        answer = self.ask("POST", "/service_template", template)
        assert answer.status == 201, answer.text
        return int(answer.json["DOCUMENT"]["ID"])

    def instantiate(self, template: int) -> int:
        answer = self.ask("POST", f"/service_template/{template}/action", {"action": {"perform": "instantiate"}})
        assert answer.status == 201, answer.text
        return int(answer.json["DOCUMENT"]["ID"])

    def body(self, service: int) -> dict[str, Any]:
        body: dict[str, Any] = self.ask("GET", f"/service/{service}").json["DOCUMENT"]["TEMPLATE"]["BODY"]
        return body

    def states(self, service: int) -> dict[str, int]:
        body = self.body(service)
        return {"": body["state"], **{role["name"]: role["state"] for role in body["roles"]}}


def start(install: Start, oned: FakeOned, events: Events | None = None, wait: int = 1) -> Flow:
    endpoint = events.endpoint if events else "tcp://127.0.0.1:1"
    settings = {":one_xmlrpc": oned.endpoint, ":subscriber_endpoint": endpoint, ":wait_timeout": wait}
    service = install("oneflow", settings)
    service.start()
    return Flow(service)


@pytest.fixture
def flow(install: Start, oned: FakeOned) -> Flow:
    """Without events: it can only poll."""
    oned.templates.append("CPU=1")
    return start(install, oned)


def test_who_may_in(flow: Flow) -> None:
    assert flow.ask("GET", "/service", headers={}).status == 401
    assert flow.ask("GET", "/service", headers={}).text == "A username and password must be provided"
    assert flow.ask("GET", "/service", headers=basic("oneadmin:wrong")).text == "Invalid credentials"
    assert flow.ask("GET", "/service").json == {"DOCUMENT_POOL": {}}
    assert flow.ask("GET", "/nothing/there").status == 404


def test_a_service_template_is_a_document_of_type_101(flow: Flow, oned: FakeOned) -> None:
    oid = flow.template()
    kind, owner, name, body = oned.documents[oid]
    assert (kind, owner.name, name) == (101, "oneadmin", "web")
    assert json.loads(body)["roles"][1]["cardinality"] == 2
    listed = flow.ask("GET", "/service_template").json["DOCUMENT_POOL"]["DOCUMENT"]
    assert [document["ID"] for document in listed] == [str(oid)]
    assert flow.ask("DELETE", f"/service_template/{oid}").status == 204
    assert flow.ask("GET", f"/service_template/{oid}").status == 404


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"roles": [{"name": "a b", "template_id": 0}]}, "`name`"),
        ({"roles": [{"name": "a"}]}, "`template_id`"),
        ({"roles": [{"name": "a", "template_id": 0, "cardinality": -1}]}, "`cardinality`"),
        ({"roles": [{"name": "a", "template_id": 0, "parents": ["b"]}]}, "parents of a"),
        ({"roles": ROLES + ROLES}, "already exists"),
        ({"deployment": "crooked"}, "`deployment`"),
        ({"ready_status_gate": "yes"}, "`ready_status_gate`"),
        ({"name": None}, "`name`"),
    ],
)
def test_a_service_template_that_is_refused(flow: Flow, changes: dict[str, object], problem: str) -> None:
    answer = flow.ask("POST", "/service_template", {"name": "web", "roles": ROLES, **changes})
    assert answer.status == 400
    assert problem in answer.text


def test_a_role_waits_for_ready_of_its_parents_by_events_alone(
    install: Start, eventful: FakeOned, events: Events
) -> None:
    eventful.templates.append("CPU=1")
    flow = start(install, eventful, events, SLEEPY)
    service = flow.instantiate(flow.template())
    assert [vm.user_template["ROLE_NAME"] for vm in eventful.vms] == ["back", "back"]
    assert {vm.user_template["SERVICE_ID"] for vm in eventful.vms} == {str(service)}
    assert eventful.vms[1].name == f"back_1_(service_{service})"
    events.subscribed("EVENT API one.vm.update 1")
    first, second = eventful.vms
    for vm in (first, second):
        eventful.run(vm)
    eventful._vm_update(eventful.users[0], first.oid, "READY=YES", 1)
    looks = eventful.asked("one.vm.info")
    until(lambda: eventful.asked("one.vm.info") > looks)
    assert flow.states(service) == {"": DEPLOYING, "front": 0, "back": DEPLOYING}, "one of two is not enough"
    eventful._vm_update(eventful.users[0], second.oid, "READY=YES", 1)
    until(lambda: len(eventful.vms) == 3)
    assert until(lambda: flow.states(service)["back"] == RUNNING)
    front = eventful.vms[2]
    eventful.run(front)
    assert flow.states(service)["front"] == DEPLOYING, "running alone is not READY"
    eventful._vm_update(eventful.users[0], front.oid, "READY=YES", 1)
    assert until(lambda: flow.states(service) == {"": RUNNING, "front": RUNNING, "back": RUNNING})


def test_without_events_it_polls_and_without_a_gate_running_is_enough(flow: Flow, oned: FakeOned) -> None:
    service = flow.instantiate(flow.template(ready_status_gate=False))
    assert len(oned.vms) == 2
    for vm in oned.vms[:]:
        oned.run(vm)
    until(lambda: len(oned.vms) == 3)
    oned.run(oned.vms[2])
    assert until(lambda: flow.states(service)[""] == RUNNING)


def test_without_an_order_all_roles_start_at_once(flow: Flow, oned: FakeOned) -> None:
    flow.instantiate(flow.template(deployment="none"))
    assert sorted(vm.user_template["ROLE_NAME"] for vm in oned.vms) == ["back", "back", "front"]


def test_a_vm_that_fails_fails_its_service_and_is_recovered(flow: Flow, oned: FakeOned) -> None:
    service = flow.instantiate(flow.template(ready_status_gate=False))
    oned.fail(oned.vms[0])
    assert until(lambda: flow.states(service)[""] == FAILED_DEPLOYING)
    assert flow.states(service) == {"": FAILED_DEPLOYING, "front": 0, "back": FAILED_ROLE}
    assert flow.ask("DELETE", f"/service/{service}").status == 500, "only a recovery leads out of a failure"
    recover = {"action": {"perform": "recover"}}
    assert flow.ask("POST", f"/service/{service}/action", recover).status == 204
    assert oned.asked("one.vm.recover") == 1
    for vm in oned.vms[:]:
        oned.run(vm)
    until(lambda: len(oned.vms) == 3)


def test_a_missing_template_fails_the_service(install: Start, oned: FakeOned) -> None:
    flow = start(install, oned)
    service = flow.instantiate(flow.template())
    assert flow.states(service) == {"": FAILED_DEPLOYING, "front": 0, "back": FAILED_ROLE}


def test_a_service_ends_children_first_and_is_gone(flow: Flow, oned: FakeOned) -> None:
    service = flow.instantiate(flow.template(ready_status_gate=False))
    for vm in oned.vms[:]:
        oned.run(vm)
    until(lambda: len(oned.vms) == 3)
    oned.run(oned.vms[2])
    until(lambda: flow.states(service)[""] == RUNNING)
    assert flow.ask("DELETE", f"/service/{service}").status == 204
    until(lambda: flow.ask("GET", f"/service/{service}").status == 404)
    assert [vm.state for vm in oned.vms] == [6, 6, 6]


def test_scaling_a_role(flow: Flow, oned: FakeOned) -> None:
    service = flow.instantiate(flow.template(ready_status_gate=False, roles=[ROLES[1]]))
    for vm in oned.vms[:]:
        oned.run(vm)
    until(lambda: flow.states(service)[""] == RUNNING)
    up = {"role_name": "back", "cardinality": 3}
    assert flow.ask("POST", f"/service/{service}/scale", up).status == 204
    oned.run(oned.vms[2])
    until(lambda: flow.states(service)[""] == RUNNING)
    assert flow.ask("POST", f"/service/{service}/scale", {**up, "cardinality": 1}).status == 204
    until(lambda: flow.states(service)[""] == RUNNING)
    assert [node["deploy_id"] for node in flow.body(service)["roles"][0]["nodes"]] == [0]
    assert [vm.state for vm in oned.vms] == [3, 6, 6]


def test_a_restart_goes_on_waiting(install: Start, oned: FakeOned) -> None:
    oned.templates.append("CPU=1")
    service = install(
        "oneflow", {":one_xmlrpc": oned.endpoint, ":subscriber_endpoint": "tcp://127.0.0.1:1", ":wait_timeout": 1}
    )
    service.start()
    flow = Flow(service)
    oid = flow.instantiate(flow.template(ready_status_gate=False))
    assert service.stop() == 0
    for vm in oned.vms[:]:
        oned.run(vm)
    service.start()
    until(lambda: len(oned.vms) == 3)
    assert flow.states(oid)["back"] == RUNNING


def test_oned_is_away(install: Start, oned: FakeOned) -> None:
    service = install("oneflow", {":one_xmlrpc": "http://127.0.0.1:1/RPC2"})
    service.start()
    answer = Flow(service).ask("GET", "/service")
    assert answer.status == 500
    assert answer.json["message"] == "Internal server error"


@pytest.mark.parametrize("content", [None, "", "no colon"])
def test_without_its_credential(install: Start, content: str | None) -> None:
    service = install("oneflow")
    service.auth.unlink() if content is None else service.auth.write_text(content)
    assert service.fails() == 255
    assert "Error initializing authentication system" in service.said()
    assert "Error initializing authentication system" in service.log()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({":prot": 2474}, "unknown key :prot:"),
        ({"port": 2474}, 'unknown key "port"'),
        ({":log": {":system": "std"}}, ":log: :system: cannot be"),
        ({":wait_timeout": "30"}, ':wait_timeout: cannot be "30"'),
        ({":shutdown_action": "kill"}, ":shutdown_action:"),
        ({":subscriber_endpoint": "oned:2101"}, ":subscriber_endpoint:"),
    ],
)
def test_a_configuration_that_is_refused(install: Start, settings: dict[str, Any], problem: str) -> None:
    service = install("oneflow", settings)
    assert service.fails() == 1
    assert f"Error parsing config file {service.config}" in service.said()
    assert problem in service.said()


def test_the_address_is_taken(install: Start, oned: FakeOned) -> None:
    service = install("oneflow", {":port": oned.port})
    assert service.fails() == 1
    assert "Address already in use" in service.said()
