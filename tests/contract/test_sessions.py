"""Server tokens and login tokens: who a session acts as, and when it is no longer believed."""

from __future__ import annotations

import hashlib
from xml.etree import ElementTree

import pytest

from tests.contract.endpoint import Answer, Endpoint, unique
from tests.contract.sessions import ServerAccount

RPC_API = 0x1000
AUTHENTICATION = 0x100
REFUSED = [False, "[one.user.info] User couldn't be authenticated, aborting call.", AUTHENTICATION, -1, -1]


@pytest.fixture
def account(api: Endpoint) -> ServerAccount:
    return ServerAccount(api)


def name(answer: Answer) -> str | None:
    assert answer[0] is True, answer
    return ElementTree.fromstring(answer[1]).findtext("NAME")  # noqa: S314


def test_a_server_token_acts_as_its_target(api: Endpoint, account: ServerAccount) -> None:
    oid, session = api.user("secret")
    user = session.partition(":")[0]
    acting = account.session(user)
    assert name(api.call("user.info", -1, session=acting)) == user
    assert api.call("hostpool.info", session=acting)[0] is True
    assert api.call("user.info", 0, session=acting)[2] == 0x200  # what the target may not, the server may not
    assert name(api.call("user.info", -1, session=account.session("oneadmin"))) == "oneadmin"
    assert oid > 1


def test_a_server_token_has_an_end(api: Endpoint, account: ServerAccount) -> None:
    assert api.call("user.info", -1, session=account.session("oneadmin", seconds=-1)) == REFUSED
    assert api.call("user.info", -1, session=account.session("oneadmin", seconds=0)) == REFUSED


def test_a_server_token_of_another_secret_or_name(api: Endpoint, account: ServerAccount) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    assert api.call("user.info", -1, session=account.session("oneadmin", secret=other)) == REFUSED
    assert api.call("user.info", -1, session=account.session("oneadmin", signer="serveradmin")) == REFUSED


def test_a_server_token_for_nobody(api: Endpoint, account: ServerAccount) -> None:
    assert api.call("user.info", -1, session=account.session(unique())) == REFUSED
    assert api.call("user.info", -1, session=f"{account.name}:no-second-part") == REFUSED


def test_a_login_token_is_as_good_as_the_password(api: Endpoint) -> None:
    oid, session = api.user("secret")
    user = session.partition(":")[0]
    answer = api.call("user.login", user, "", 3600, -1, session=session)
    assert answer[0] is True, answer
    assert len(answer[1]) == 64
    assert name(api.call("user.info", -1, session=f"{user}:{answer[1]}")) == user
    assert [each.findtext("EGID") for each in api.xml("user.info", oid).iterfind("LOGIN_TOKEN")] == ["-1"]
    assert api.call("user.login", user, answer[1], 0, -1, session=session)[0] is True
    assert api.call("user.info", -1, session=f"{user}:{answer[1]}") == REFUSED


def test_login_tokens_that_cannot_be_had(api: Endpoint) -> None:
    _, session = api.user("secret")
    user = session.partition(":")[0]
    assert api.call("user.login", user, "none", 0, -1, session=session) == [
        False, "[one.user.login] Could not find token: none", RPC_API, -1, -1,
    ]  # fmt: skip
    assert api.call("user.login", user, "", -2, -1, session=session)[1:3] == [
        "[one.user.login] Wrong valid period for token", RPC_API,
    ]  # fmt: skip
    for _ in range(10):
        assert api.call("user.login", user, "", 60, -1, session=session)[0] is True
    assert api.call("user.login", user, "", 60, -1, session=session)[1:3] == [
        "[one.user.login] Max number of tokens limit reached.", RPC_API,
    ]  # fmt: skip
