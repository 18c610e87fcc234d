"""one.host.* and one.hostpool.*"""

from __future__ import annotations

import re
import time

import pyone
import pytest

from tests.contract.endpoint import NO_DRIVER, Endpoint, unique

ALLOCATE = 0x4000
NO_EXISTS = 0x400
ACTION = 0x800
RPC_API = 0x1000
INTERNAL = 0x2000
REFUSED = "[one.host.allocate] Error allocating a new host. "
NOWHERE = 999999


def test_a_success_has_three_values_and_a_new_host_is_init_in_the_default_cluster(api: Endpoint) -> None:
    name = unique()
    answer = api.call("host.allocate", name, NO_DRIVER, NO_DRIVER, -1)
    api.later(lambda: api.call("host.delete", answer[1]))
    assert answer == [True, answer[1], 0]
    host = api.xml("host.info", answer[1])
    assert [host.findtext(tag) for tag in ("NAME", "STATE", "CLUSTER_ID", "CLUSTER")] == [name, "0", "0", "default"]
    assert host.findtext("IM_MAD") == host.findtext("VM_MAD") == NO_DRIVER


def test_drivers_are_not_validated(api: Endpoint) -> None:
    assert api.host() >= 0


@pytest.mark.parametrize(("im", "vm", "text"), [("", "kvm", "IM_MAD_NAME"), ("kvm", "", "VMM_MAD_NAME")])
def test_a_driver_must_be_named(api: Endpoint, im: str, vm: str, text: str) -> None:
    assert api.call("host.allocate", unique(), im, vm, -1) == [
        False,
        f"{REFUSED}{text} cannot be empty.",
        ALLOCATE,
        -1,
        -1,
    ]


def test_a_name_that_is_taken_is_refused_with_the_id_in_the_text_only(api: Endpoint) -> None:
    name = unique()
    oid = api.host(name)
    answer = api.call("host.allocate", name, NO_DRIVER, NO_DRIVER, -1)
    assert answer == [False, f"{REFUSED}NAME is already taken by HOST {oid}.", ALLOCATE, -1, -1]


def test_names_are_compared_without_case(api: Endpoint) -> None:
    name = unique()
    api.host(name)
    assert api.call("host.allocate", name.upper(), NO_DRIVER, NO_DRIVER, -1)[2] == ALLOCATE


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("-bad", "Invalid HOSTNAME, first character can't be '-'"),
        (".bad", "Invalid HOSTNAME, first character can't be '.'"),
        ("_bad", "Invalid HOSTNAME, first character can't be '_'"),
        ("bad-", "Invalid HOSTNAME, last character can't be '-'"),
        ("bad.", "Invalid HOSTNAME, last character can't be '.'"),
        ("fe80::1", "Invalid HOSTNAME, ':' is invalid character for a HOSTNAME"),
        ("a b", "Invalid HOSTNAME, ' ' is invalid character for a HOSTNAME"),
        ("a", "Invalid HOSTNAME, HOSTNAME length should be greater than 1, but smaller than 64 characters"),
        ("a" * 64, "Invalid HOSTNAME, HOSTNAME length should be greater than 1, but smaller than 64 characters"),
    ],
)
def test_host_names_that_are_refused(api: Endpoint, name: str, text: str) -> None:
    assert api.call("host.allocate", name, NO_DRIVER, NO_DRIVER, -1) == [False, REFUSED + text, ALLOCATE, -1, -1]


@pytest.mark.parametrize("tail", ["", ".example.org", "_1", "-A.b"])
def test_host_names_that_are_taken(api: Endpoint, tail: str) -> None:
    name = (unique() + tail) if tail else ("x" * 40 + unique())[-63:]
    assert api.xml("host.info", api.host(name)).findtext("NAME") == name


def test_an_unknown_cluster_is_no_place_for_a_host(api: Endpoint) -> None:
    answer = api.call("host.allocate", unique(), NO_DRIVER, NO_DRIVER, NOWHERE)
    text = f"[one.host.allocate] Error getting cluster [{NOWHERE}]."
    assert answer == [False, text, NO_EXISTS, NOWHERE, -1]


@pytest.mark.parametrize(
    ("method", "more"),
    [("info", ()), ("delete", ()), ("status", (1,)), ("update", ("A=b", 1)), ("rename", ("x1",)), ("monitoring", ())],
)
def test_a_host_that_is_not_there(api: Endpoint, method: str, more: tuple[object, ...]) -> None:
    answer = api.call(f"host.{method}", NOWHERE, *more)
    assert answer == [False, f"[one.host.{method}] Error getting host [{NOWHERE}].", NO_EXISTS, NOWHERE, -1]


def test_a_deleted_host_is_gone_and_its_id_does_not_come_back(api: Endpoint) -> None:
    first = api.host()
    assert api.ok("host.delete", first) == first
    assert api.call("host.info", first)[2] == NO_EXISTS
    assert api.host() > first


def test_update_merges_or_replaces(api: Endpoint) -> None:
    oid = api.host()
    assert api.ok("host.update", oid, 'LABEL="one two"\nRACK = r1', 1) == oid
    api.ok("host.update", oid, "RACK = r2", 1)
    template = {child.tag: child.text for child in api.xml("host.info", oid).find("TEMPLATE") or ()}
    assert (template["LABEL"], template["RACK"]) == ("one two", "r2")
    api.ok("host.update", oid, "ONLY = this", 0)
    template = {child.tag: child.text for child in api.xml("host.info", oid).find("TEMPLATE") or ()}
    assert template == {"ONLY": "this", "IM_MAD": NO_DRIVER, "VM_MAD": NO_DRIVER}


def test_update_changes_drivers(api: Endpoint) -> None:
    oid = api.host()
    api.ok("host.update", oid, 'IM_MAD = "other-none"', 1)
    host = api.xml("host.info", oid)
    assert (host.findtext("IM_MAD"), host.findtext("VM_MAD")) == ("other-none", NO_DRIVER)


def test_update_takes_xml_and_vectors(api: Endpoint) -> None:
    oid = api.host()
    api.ok("host.update", oid, "<T><PLACE><ROW>1</ROW></PLACE></T>", 1)
    api.ok("host.update", oid, 'SITE = [ CITY = "a", FLOOR = 2 ]', 1)
    host = api.xml("host.info", oid)
    assert [host.findtext(f"TEMPLATE/{path}") for path in ("PLACE/ROW", "SITE/CITY", "SITE/FLOOR")] == ["1", "a", "2"]


def test_update_refuses_other_kinds_and_broken_templates(api: Endpoint) -> None:
    oid = api.host()
    assert api.call("host.update", oid, "A=b", 2) == [False, "[one.host.update] Wrong update type", RPC_API, -1, -1]
    answer = api.call("host.update", oid, "A=[B=1,]", 1)
    assert answer[:1] + answer[2:] == [False, INTERNAL, -1, -1]
    text = (
        "[one.host.update] Cannot update template. Parse error: syntax error, unexpected CBRACKET, expecting VARIABLE"
    )
    assert re.fullmatch(re.escape(text) + r" at line -?\d+, columns 8:9", answer[1])  # the real line is any number


def test_attribute_names_that_xml_cannot_take(api: Endpoint) -> None:
    oid = api.host()
    api.ok("host.update", oid, "1ST = x\nXMLA = y", 1)
    template = api.xml("host.info", oid).find("TEMPLATE")
    assert template is not None
    assert [template.findtext(name) for name in ("ONE_1ST", "ONE_XMLA")] == ["x", "y"]


def test_states(api: Endpoint) -> None:
    oid = api.host()

    def state(status: int) -> str | None:
        assert api.ok("host.status", oid, status) == oid
        return api.xml("host.info", oid).findtext("STATE")

    assert state(1) == "4"  # disabled
    assert state(0) == "0"  # enabled: its capacity is not known
    assert state(2) == "8"  # offline
    assert state(0) == "0"
    assert api.call("host.status", oid, 3) == [False, "[one.host.status] Wrong status code", INTERNAL, -1, -1]


def test_rename(api: Endpoint) -> None:
    name, other = unique(), unique()
    oid, taken = api.host(name), api.host(other)
    answer = api.call("host.rename", oid, other)
    text = f"[one.host.rename] host cannot be renamed to {other} because it collides with host {taken}"
    assert answer == [False, text, ACTION, -1, -1]
    assert api.ok("host.rename", oid, name) == oid
    renamed = "::" + unique()  # the rule for new hosts is not asked, only the general one, which forbids ':'
    assert api.call("host.rename", oid, renamed)[1:3] == [
        "[one.host.rename] Invalid NAME, char ':' is not allowed",
        ACTION,
    ]
    api.ok("host.rename", oid, "-" + name)
    assert api.xml("host.info", oid).findtext("NAME") == "-" + name


def test_the_pool_has_every_host_newest_first_and_no_monitoring(api: Endpoint) -> None:
    ids = [api.host() for _ in range(3)]
    pool = api.xml("hostpool.info")
    found = [int(host.findtext("ID") or -1) for host in pool.iterfind("HOST")]
    assert [oid for oid in found if oid in ids] == ids[::-1]
    assert all(len(monitoring) == 0 for monitoring in pool.iterfind("HOST/MONITORING"))


def test_monitoring_of_a_host_that_sent_nothing(api: Endpoint) -> None:
    oid = api.host()
    assert list(api.xml("host.monitoring", oid)) == []
    assert len(api.xml("host.info", oid).find("MONITORING") or ()) == 0
    assert api.xml("hostpool.monitoring", 0).tag == "MONITORING_DATA"


def test_pyone_reads_the_answers(api: Endpoint) -> None:
    name = unique()
    oid = api.host(name)
    one = pyone.OneServer(api.url, session=api.session)
    host = one.host.info(oid)
    assert name == host.NAME
    assert (host.STATE, host.HOST_SHARE.RUNNING_VMS) == (0, 0)
    assert name in [each.NAME for each in one.hostpool.info().HOST]
    assert one.host.update(oid, {"LABEL": "x"}, 1) == oid
    with pytest.raises(pyone.OneNoExistsException):
        one.host.info(NOWHERE)
    with pytest.raises(pyone.OneException, match="NAME is already taken by HOST"):
        one.host.allocate(name, NO_DRIVER, NO_DRIVER, -1)


def test_a_driver_that_nobody_has_leaves_the_host_init(api: Endpoint) -> None:
    oid = api.host()
    time.sleep(1)
    assert api.xml("host.info", oid).findtext("STATE") == "0"
