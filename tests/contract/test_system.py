"""Sessions, faults, users, zones, datastores, configuration, and callers that come at the same time."""

from __future__ import annotations

import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.endpoint import NO_DRIVER, Endpoint, unique

AUTHENTICATION = 0x100
AUTHORIZATION = 0x200
ACTION = 0x800
INTERNAL = 0x2000
NO_SUCH_METHOD = -506
WRONG_TYPE = -501


def test_the_version_is_a_number_clients_can_compare(api: Endpoint) -> None:
    assert tuple(int(part) for part in api.ok("system.version").split(".")) >= (7, 2, 0)


@pytest.mark.parametrize("session", ["", "oneadmin", "oneadmin:wrong", "nobody-has-this:x", "one admin:x"])
def test_a_session_that_is_not_believed(api: Endpoint, session: str) -> None:
    text = "[one.hostpool.info] User couldn't be authenticated, aborting call."
    assert api.call("hostpool.info", session=session) == [False, text, AUTHENTICATION, -1, -1]


def test_an_unknown_method_is_a_fault(api: Endpoint) -> None:
    with pytest.raises(xmlrpc.client.Fault) as fault:
        api.call("nothing.here")
    assert fault.value.faultCode == NO_SUCH_METHOD


def test_a_parameter_of_another_type_is_a_fault(api: Endpoint) -> None:
    with pytest.raises(xmlrpc.client.Fault) as fault:
        api.call("host.info", "0")
    assert fault.value.faultCode == WRONG_TYPE


def test_the_first_boot_made_two_users(api: Endpoint) -> None:
    assert api.xml("user.info", 0).findtext("AUTH_DRIVER") == "core"
    server = api.xml("user.info", 1)
    assert (server.findtext("NAME"), server.findtext("AUTH_DRIVER")) == ("serveradmin", "server_cipher")
    assert len(server.findtext("PASSWORD") or "") == 64


def test_serveradmin_can_be_given_a_chosen_secret(own_api: Endpoint) -> None:
    assert own_api.ok("user.passwd", 1, "c0ffee" * 10) == 1
    assert own_api.xml("user.info", 1).findtext("PASSWORD") == "c0ffee" * 10


def test_a_user_may_change_the_own_password_and_register_nothing(api: Endpoint) -> None:
    oid, session = api.user("first")
    assert api.call("user.passwd", oid, "second", session=session)[0] is True
    assert api.call("user.info", -1, session=session)[2] == AUTHENTICATION
    session = session.replace(":first", ":second")
    assert api.call("user.info", -1, session=session)[0] is True
    answer = api.call("host.allocate", unique(), NO_DRIVER, NO_DRIVER, -1, session=session)
    assert answer[0] is False
    assert answer[2] == AUTHORIZATION
    assert answer[1].startswith(f"[one.host.allocate] User [{oid}] : Not authorized to perform CREATE HOST")


@pytest.mark.parametrize(
    ("password", "text"),
    [("", "Invalid password, it cannot be empty"), ("a b", "Invalid password, character ' ' is not allowed")],
)
def test_passwords_that_are_refused(api: Endpoint, password: str, text: str) -> None:
    oid, _ = api.user("first")
    assert api.call("user.passwd", oid, password) == [False, f"[one.user.passwd] {text}", ACTION, -1, -1]
    answer = api.call("user.allocate", unique(), password, "core")
    assert answer == [False, f"[one.user.allocate] {text}.", INTERNAL, -1, -1]


def test_a_user_name_that_is_taken(api: Endpoint) -> None:
    answer = api.call("user.allocate", "serveradmin", "x", "core")
    assert answer == [False, "[one.user.allocate] NAME is already taken by USER 1.", INTERNAL, -1, -1]


def test_oneadmin_stays(api: Endpoint) -> None:
    text = "[one.user.delete] Cannot delete user. oneadmin cannot be deleted."
    assert api.call("user.delete", 0) == [False, text, ACTION, -1, -1]


def test_the_zone_is_solo(api: Endpoint) -> None:
    raft = api.xml("zone.raftstatus")
    if raft.findtext("SERVER_ID") != "-1":
        pytest.skip("the endpoint of ONE_XMLRPC runs Raft")
    assert raft.findtext("STATE") == "0"


def test_the_zone_has_an_endpoint(api: Endpoint) -> None:
    zone = api.xml("zone.info", 0)
    assert (zone.findtext("TEMPLATE/ENDPOINT") or "").endswith("/RPC2")
    assert [each.findtext("ID") for each in api.xml("zonepool.info").iterfind("ZONE")][-1] == "0"


def test_the_first_boot_made_three_datastores(api: Endpoint) -> None:
    names = {each.findtext("ID"): each.findtext("NAME") for each in api.xml("datastorepool.info").iterfind("DATASTORE")}
    assert [names[oid] for oid in ("0", "1", "2")] == ["system", "default", "files"]
    assert api.xml("datastore.info", 1).findtext("CLUSTERS/ID") == "0"


def test_the_configuration_hides_the_database_from_users_and_shows_them_the_master_key(api: Endpoint) -> None:
    _, session = api.user("first")
    full = api.xml("system.config")
    assert full.findtext("DB/PASSWD") not in (None, "***")
    answer = api.call("system.config", session=session)
    assert answer[0] is True
    assert all(f"<{key}>***</{key}>" in answer[1] for key in ("SERVER", "USER", "PASSWD", "DB_NAME", "PORT", "BACKEND"))
    assert (full.findtext("ONE_KEY") or "no key") in answer[1]


def test_callers_that_come_together_with_one_name_may_all_get_it(api: Endpoint) -> None:
    """Nothing guards host names: look up and insert are two steps. A client that relies on oned for that is wrong."""
    for _ in range(60):
        name = unique()
        with ThreadPoolExecutor(6) as pool:
            answers = list(
                pool.map(lambda _, name=name: api.call("host.allocate", name, NO_DRIVER, NO_DRIVER, -1), range(6))
            )
        ids = [answer[1] for answer in answers if answer[0]]
        for oid in ids:
            api.ok("host.delete", oid)
        assert ids
        if len(ids) > 1:
            assert len(set(ids)) == len(ids)
            return
    pytest.fail("60 rounds of 6 callers, and never two hosts of one name")


def test_callers_that_come_together_with_different_names_are_not_mixed_up(api: Endpoint) -> None:
    names = [unique() for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(api.host, names))
    assert [api.xml("host.info", oid).findtext("NAME") for oid in ids] == names
    cluster = {int(each.text or -1) for each in api.xml("cluster.info", 0).iterfind("HOSTS/ID")}
    assert cluster >= set(ids)
