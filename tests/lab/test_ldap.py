"""The lab's directory server, and what the check before a deployment says about it: real slapd, real TLS."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from components.authentication_settings import Encryption, LdapServer
from components.ldap_check import Refusal, check_server
from lab import ldap, process
from lab.box import Box
from lab.ldap import LdapInfo
from lab.paths import Instance
from tests.faults.relay import Relay

pytestmark = pytest.mark.engine

INSTANCE = Instance(name="ldaptest", index=24)


@pytest.fixture(scope="module")
def directory() -> Iterator[LdapInfo]:
    box = Box(INSTANCE)
    box.stop()
    box.start()
    try:
        yield ldap.start(INSTANCE)
    finally:
        box.stop()
    assert process.load(INSTANCE.state / "ldap" / "pid.json") is None


def look(directory: LdapInfo, password: str | None = None, **changes: Any) -> str:
    """What the check says: `field: text`, or nothing."""
    fields = {
        "name": "main",
        "host": directory.ip,
        "ca": directory.ca,
        "user": directory.user,
        "base": directory.base,
        "user_field": "uid",
    }
    server = LdapServer.model_validate(fields | changes)
    try:
        check_server(server, directory.password if password is None else password, limit=5)
    except Refusal as refusal:
        return f"{refusal.field}: {refusal.text}"
    return ""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"encryption": "simpleTls"},
        {"encryption": "none", "ca": None},
        {"ca": None, "verify": False},
        {"group": ldap.GROUP, "group_admin_group_dn": ldap.ADMIN_GROUP},
        {"group": f"cn=unix,ou=groups,{ldap.BASE}", "rfc2307bis": False},
        {"user_field": "cn"},
    ],
)
def test_what_the_driver_could_work_with(directory: LdapInfo, changes: dict[str, Any]) -> None:
    assert look(directory, **_enums(changes)) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"user": "cn=nobody,dc=lab,dc=test"}, "user: 10.148.0.5:389 refuses cn=nobody,dc=lab,dc=test: wrong name or"),
        ({"user": "reader"}, "user: 10.148.0.5:389 says that reader is no valid name"),
        ({"user": None}, "base: 10.148.0.5:389 has no entry dc=lab,dc=test, or an anonymous reader"),
        ({"base": "dc=other"}, "base: 10.148.0.5:389 has no entry dc=other"),
        ({"base": "other"}, "base: other is no valid DN"),
        ({"group": f"cn=gone,{ldap.BASE}"}, "group: 10.148.0.5:389 has no entry cn=gone"),
        ({"group": f"cn=unix,ou=groups,{ldap.BASE}"}, "rfc2307bis: false"),
        ({"user_field": "sAMAccountName"}, "userField: no entry below dc=lab,dc=test has"),
        ({"ca": None}, "ca: the certificate of 10.148.0.5:389 is signed by nobody that this machine knows"),
        ({"encryption": "simpleTls", "port": 389}, "encryption: 10.148.0.5:389 does not speak TLS"),
        ({"port": 636}, "encryption: 10.148.0.5:636 does not speak TLS with encryption startTls"),
        ({"port": 390}, "port: nobody listens at 10.148.0.5:390"),
        ({"host": "no.such.host.invalid"}, "host: the name no.such.host.invalid is not known here"),
    ],
)
def test_what_it_could_not(directory: LdapInfo, changes: dict[str, Any], words: str) -> None:
    assert words in look(directory, **_enums(changes))


@pytest.mark.parametrize("encryption", [Encryption.START_TLS, Encryption.SIMPLE_TLS])
def test_an_address_in_the_certificate_counts_on_every_python(
    directory: LdapInfo, encryption: Encryption, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What ldap3 takes from Python 3.12 on, where ssl.match_hostname is gone.
    own = import_module("ldap3.utils.tls_backport")  # untyped
    for name in ("match_hostname", "CertificateError"):
        monkeypatch.setattr(f"ldap3.core.tls.{name}", getattr(own, name))
    assert look(directory, encryption=encryption) == ""


@pytest.mark.parametrize(
    ("encryption", "port"), [(Encryption.START_TLS, ldap.PORT), (Encryption.SIMPLE_TLS, ldap.PORT_TLS)]
)
def test_a_certificate_for_another_address_is_refused(directory: LdapInfo, encryption: Encryption, port: int) -> None:
    with Relay(directory.ip, port) as elsewhere:
        said = look(directory, host="127.0.0.1", port=elsewhere.port, encryption=encryption)
    assert said.startswith("host: the certificate of 127.0.0.1:") and "names another server" in said, said


def test_a_wrong_password_is_told_with_the_command_that_mends_it(directory: LdapInfo) -> None:
    said = look(directory, "MARKER-wrong")
    assert said.startswith("user: ") and "wrong password" in said and "ldapPasswords.main" in said
    assert "MARKER" not in said


def test_people_log_in_with_their_own_password_only(directory: LdapInfo) -> None:
    for name, password in directory.people.items():
        person = {"user": f"uid={name},ou=people,{directory.base}"}
        assert look(directory, password, **person) == ""
        assert "wrong password" in look(directory, password + "x", **person)


def test_a_foreign_authority_is_refused(directory: LdapInfo) -> None:
    from tests.certificates import certificate

    assert "ca: " in look(directory, ca=certificate())


def test_a_server_that_is_no_directory(directory: LdapInfo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4)
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        said = look(directory, host="127.0.0.1", port=listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    assert said.startswith(("port: ", "encryption: ")), said


def test_a_second_start_finds_the_first(directory: LdapInfo) -> None:
    record = INSTANCE.state / "ldap" / "pid.json"
    before = process.load(record)
    assert ldap.start(INSTANCE) == directory
    assert process.load(record) == before is not None


def test_it_starts_again_after_a_stop(directory: LdapInfo) -> None:
    ldap.stop(INSTANCE)
    assert look(directory) != ""
    assert ldap.start(INSTANCE) == directory
    assert look(directory) == ""


def _enums(changes: dict[str, Any]) -> dict[str, Any]:
    """Python values are checked strictly; the configuration's words are these."""
    from components.authentication_settings import Encryption

    return {key: Encryption(value) if key == "encryption" else value for key, value in changes.items()}
