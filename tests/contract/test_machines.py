"""Machines without a host, their templates, and documents: what OneFlow, OneGate and FireEdge build on."""

from __future__ import annotations

import pytest

from tests.contract.endpoint import Endpoint, unique

ALLOCATE = 0x4000
NO_EXISTS = 0x400
ACTION = 0x800
RPC_API = 0x1000
INTERNAL = 0x2000
NOWHERE = 999999
SMALL = "CPU = 0.5\nMEMORY = 64\nROLE = front\n"
HOLD, PENDING, DONE = "2", "1", "6"


def machine(api: Endpoint, text: str = SMALL) -> int:
    """On hold, so that no scheduler looks at it."""
    oid = int(api.ok("vm.allocate", text, True))
    api.later(lambda: api.call("vm.action", "terminate-hard", oid))
    return oid


def template(api: Endpoint, text: str = SMALL) -> int:
    oid = int(api.ok("template.allocate", f'NAME = "{unique()}"\n{text}'))
    api.later(lambda: api.call("template.delete", oid, False))
    return oid


def document(api: Endpoint, kind: int = 100) -> int:
    oid = int(api.ok("document.allocate", f'NAME = "{unique()}"\nTEMPLATE_BODY = "{{}}"', kind))
    api.later(lambda: api.call("document.delete", oid))
    return oid


def test_a_request_is_split_in_what_the_machine_is_and_what_its_owner_says(api: Endpoint) -> None:
    oid = machine(api)
    found = api.xml("vm.info", oid)
    assert [found.findtext(tag) for tag in ("STATE", "LCM_STATE", "NAME", "UID", "UNAME")] == [
        HOLD, "0", f"one-{oid}", "0", "oneadmin",
    ]  # fmt: skip
    assert [found.findtext(f"TEMPLATE/{tag}") for tag in ("CPU", "MEMORY", "VMID")] == ["0.5", "64", str(oid)]
    assert [found.findtext(f"USER_TEMPLATE/{tag}") for tag in ("ROLE", "CPU")] == ["front", None]
    assert found.find("HISTORY_RECORDS/HISTORY") is None


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("MEMORY = 64", "CPU attribute must be a positive float or integer value."),
        ("CPU = 0\nMEMORY = 64", "CPU attribute must be a positive float or integer value."),
        ("CPU = 1", "MEMORY attribute must be a positive integer value."),
        ("CPU = 1\nMEMORY = 64\nVCPU = 0", "VCPU attribute must be a positive integer value."),
        ('CPU = 1\nMEMORY = 64\nGRAPHICS = [ PORT = "70000" ]', "Wrong PORT number in GRAPHICS attribute"),
    ],
)
def test_requests_that_are_refused(api: Endpoint, text: str, refusal: str) -> None:
    assert api.call("vm.allocate", text, True) == [
        False, f"[one.vm.allocate] {refusal}", INTERNAL, -1, -1,
    ]  # fmt: skip
    answer = api.call("template.instantiate", template(api, text), "", True, "", False)
    assert answer[1:3] == [
        f"[one.template.instantiate] Error allocating a new virtual machine template. {refusal}", ALLOCATE,
    ]  # fmt: skip


def test_actions_by_state(api: Endpoint) -> None:
    oid = machine(api)

    def state() -> str | None:
        return api.xml("vm.info", oid).findtext("STATE")

    assert api.call("vm.action", "poweroff", oid) == [
        False,
        '[one.vm.action] Error performing action "poweroff": This action is not available for state HOLD',
        ACTION, -1, -1,
    ]  # fmt: skip
    assert api.call("vm.action", "dance", oid) == [
        False, '[one.vm.action] Action "dance" is not supported', ACTION, -1, -1,
    ]  # fmt: skip
    assert api.ok("vm.action", "release", oid) == oid
    assert state() == PENDING
    assert api.ok("vm.action", "hold", oid) == oid
    assert state() == HOLD
    assert api.ok("vm.action", "terminate", oid) == oid
    assert state() == DONE
    assert api.call("vm.action", "hold", oid)[2] == ACTION
    assert api.call("vm.action", "hold", NOWHERE)[2] == NO_EXISTS


def test_deploying_needs_a_host_and_a_state(api: Endpoint) -> None:
    oid, host = machine(api), api.host()
    assert api.call("vm.deploy", oid, NOWHERE, False, -1, "") == [
        False, f"[one.vm.deploy] Error getting host [{NOWHERE}].", NO_EXISTS, NOWHERE, -1,
    ]  # fmt: skip
    api.ok("vm.action", "terminate", oid)
    assert api.call("vm.deploy", oid, host, False, 0, "") == [
        False, "[one.vm.deploy] Deploy action is not available for state DONE", ACTION, -1, -1,
    ]  # fmt: skip


def test_update_touches_what_the_owner_says_only(api: Endpoint) -> None:
    oid = machine(api)
    assert api.ok("vm.update", oid, "READY = YES", 1) == oid
    found = api.xml("vm.info", oid)
    assert [found.findtext(f"USER_TEMPLATE/{tag}") for tag in ("ROLE", "READY")] == ["front", "YES"]
    assert api.ok("vm.update", oid, "ONLY = this", 0) == oid
    found = api.xml("vm.info", oid)
    assert [found.findtext(path) for path in ("USER_TEMPLATE/ROLE", "USER_TEMPLATE/ONLY", "TEMPLATE/MEMORY")] == [
        None, "this", "64",
    ]  # fmt: skip


def test_pools_by_state_owner_and_page(api: Endpoint) -> None:
    first, second = machine(api), machine(api)
    api.ok("vm.action", "terminate", first)

    def ids(method: str, *arguments: object) -> list[int]:
        return [int(each.text or -1) for each in api.xml(method, *arguments).iterfind("VM/ID")]

    for method in ("vmpool.info", "vmpool.infoextended"):
        assert first not in ids(method, -2, -1, -1, -1)
        assert {first, second} <= set(ids(method, -2, -1, -1, -2))
        assert first in ids(method, -2, -1, -1, 6)
        assert ids(method, -2, second, second, -2) == [second]
        assert ids(method, 0, 0, -2, -2) == sorted({*ids(method, -2, -1, -1, -2)}, reverse=True)[:2]
    assert api.call("vmpool.info", -2, -1, -1, 99)[1:3] == ["[one.vmpool.info] Incorrect state filter 99", RPC_API]
    assert ids("vmpool.infoset", f"{first},{second}", False) in ([second, first], [first, second])
    _, session = api.user("secret")
    assert api.call("vmpool.info", -2, -1, -1, -2, session=session)[1].replace("</VM_POOL>", "") in (
        "<VM_POOL>", "<VM_POOL/>",
    )  # fmt: skip


def test_a_template_becomes_a_machine(api: Endpoint) -> None:
    source = template(api)
    oid = int(api.ok("template.instantiate", source, "web", True, "EXTRA = 1\nMEMORY = 128", False))
    api.later(lambda: api.call("vm.action", "terminate-hard", oid))
    found = api.xml("vm.info", oid)
    assert [found.findtext(path) for path in ("NAME", "TEMPLATE/TEMPLATE_ID", "TEMPLATE/MEMORY", "USER_TEMPLATE/EXTRA")] == [
        "web", str(source), "128", "1",
    ]  # fmt: skip
    assert api.ok("template.update", source, "MORE = 1", 1) == source
    assert api.xml("template.info", source, False, False).findtext("TEMPLATE/MORE") == "1"
    assert str(source) in [each.text for each in api.xml("templatepool.info", -2, -1, -1).iterfind("VMTEMPLATE/ID")]
    assert api.ok("template.delete", source, False) == source
    assert api.call("template.info", source, False, False)[1] == (
        f"[one.template.info] Error getting virtual machine template [{source}]."
    )


def test_documents_have_a_type_and_may_share_a_name(api: Endpoint) -> None:
    oid, other = document(api), document(api, 101)
    found = api.xml("document.info", oid)
    assert [found.findtext(tag) for tag in ("TYPE", "TEMPLATE/TEMPLATE_BODY")] == ["100", "{}"]
    pool = [each.text for each in api.xml("documentpool.info", -2, -1, -1, 100).iterfind("DOCUMENT/ID")]
    assert (str(oid) in pool, str(other) in pool) == (True, False)
    name = found.findtext("NAME")
    again = api.ok("document.allocate", f'NAME = "{name}"', 100)
    api.later(lambda: api.call("document.delete", again))
    assert again > oid
    assert api.ok("document.update", oid, 'TEMPLATE_BODY = "[1]"', 0) == oid
    assert api.xml("document.info", oid).findtext("TEMPLATE/TEMPLATE_BODY") == "[1]"


def test_a_locked_document(api: Endpoint) -> None:
    oid = document(api)
    _, session = api.user("secret")
    api.ok("document.chmod", oid, -1, -1, -1, -1, -1, -1, 1, 1, -1)
    assert api.call("document.update", oid, "A = b", 1, session=session)[0] is True
    assert api.ok("document.lock", oid, 1, False) == oid
    lock = api.xml("document.info", oid).find("LOCK")
    assert lock is not None
    assert [lock.findtext(tag) for tag in ("LOCKED", "OWNER")] == ["1", "0"]
    assert api.call("document.update", oid, "A = c", 1, session=session)[0] is False
    assert api.call("document.unlock", oid, session=session)[2] == ACTION
    assert api.ok("document.unlock", oid) == oid
    assert api.xml("document.info", oid).find("LOCK") is None


def test_what_the_services_ask_at_their_start(api: Endpoint) -> None:
    for call, root in (
        ("grouppool.info", "GROUP_POOL"), ("vdcpool.info", "VDC_POOL"), ("zonepool.info", "ZONE_POOL"),
        ("acl.info", "ACL_POOL"), ("userpool.info", "USER_POOL"),
    ):  # fmt: skip
        assert api.xml(call).tag == root
    for call, root in (
        ("imagepool.info", "IMAGE_POOL"), ("vnpool.info", "VNET_POOL"), ("marketpool.info", "MARKETPLACE_POOL"),
        ("secgrouppool.info", "SECURITY_GROUP_POOL"), ("vrouterpool.info", "VROUTER_POOL"),
    ):  # fmt: skip
        assert api.xml(call, -2, -1, -1).tag == root


def test_a_machine_that_is_nowhere_cannot_be_migrated(api: Endpoint) -> None:
    oid, host = machine(api), api.host()
    assert api.call("vm.migrate", oid, NOWHERE, True, True, -1, 0)[2] == NO_EXISTS
    assert api.call("vm.migrate", NOWHERE, host, True, True, -1, 0)[2] == NO_EXISTS
    assert api.call("vm.migrate", oid, host, True, True, -1, 0)[:3] == [
        False, "[one.vm.migrate] Migrate action is not available for state HOLD", ACTION,
    ]  # fmt: skip


def test_machines_are_listed_by_id(api: Endpoint) -> None:
    first, second = machine(api), machine(api)
    found = api.xml("vmpool.infoset", f"{second},{first},{NOWHERE}", True)
    assert sorted(int(each.text or 0) for each in found.iterfind("VM/ID")) == [first, second]
    assert [each.text for each in found.iterfind("VM/USER_TEMPLATE/ROLE")] == ["front", "front"]
