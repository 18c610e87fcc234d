"""LDAP servers are asked before anything is touched, unless the settings say that they cannot be."""

from __future__ import annotations

import json
import socket

import pulumi
import pytest

from stacks.secrets import SECRETS
from stacks.settings import ConfigError, StackSettings, ldap_problems, load, parse
from tests.examples import config


def ldap(*, check: bool | None = None) -> dict[str, str]:
    server = {"name": "main", "host": "192.0.2.10", "base": "dc=example", "user": "cn=reader", "encryption": "none"}
    asking = {} if check is None else {"check": check}
    found = {"default": "ldap", "ldap": {"servers": [server], "checkSeconds": 1, **asking}}
    passwords = json.dumps({"main": "MARKER-password"})
    return config() | {"authentication": json.dumps(found), "ldapPasswords": passwords}


def loaded(values: dict[str, str]) -> StackSettings:
    keys = [f"opennebula:{key}" for key in SECRETS]
    pulumi.runtime.set_all_config({f"opennebula:{key}": value for key, value in values.items()}, keys)
    try:
        return load()[0]
    finally:
        pulumi.runtime.set_all_config({}, [])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Addresses that connections were tried to; all are refused."""
    found: list[tuple[str, int]] = []

    def refuse(address: tuple[str, int], **_: object) -> None:
        found.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    return found


@pytest.mark.parametrize("check", [None, True])
def test_an_ldap_server_that_does_not_answer_is_a_problem_of_the_configuration(
    asked: list[tuple[str, int]], check: bool | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(ldap(check=check))
    (problem,) = caught.value.problems
    assert problem.path == "authentication.ldap.servers[0].port"
    assert "nobody listens" in problem.text and "MARKER" not in str(caught.value)
    assert "check: false" in problem.text, "the way out for machines that cannot reach the directory"
    assert asked == [("192.0.2.10", 389)]


def test_no_ldap_server_is_asked_where_none_can_be(asked: list[tuple[str, int]]) -> None:
    values = ldap(check=False)
    assert ldap_problems(parse(values), values) == []
    assert asked == []


def test_a_mistake_in_the_file_keeps_servers_from_being_asked(asked: list[tuple[str, int]]) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(ldap() | {"tier": "huge"})
    assert {problem.path for problem in caught.value.problems} == {"tier"}
    assert asked == []
