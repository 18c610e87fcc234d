"""guacd's first words, by themselves."""

from __future__ import annotations

import socket

import pytest

from lab.standins.opennebula.services import Service
from tests.lab.standins.services.conftest import Start
from tests.lab.standins.services.web import SECONDS


@pytest.fixture
def guacd(install: Start) -> Service:
    service = install("guacd")
    service.start()
    return service


def dialogue(guacd: Service, text: str, until: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", guacd.port), SECONDS) as client:
        client.sendall(text.encode())
        said = b""
        while until not in said and (chunk := client.recv(4096)):
            said += chunk
        return said


def test_the_arguments_of_a_protocol(guacd: Service) -> None:
    said = dialogue(guacd, "6.select,3.vnc;", b";")
    assert said.startswith(b"4.args,13.VERSION_1_5_0,8.hostname,4.port,")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("6.select,6.telnet;", b"3.519"),
        ("7.connect,1.a;", b"3.768"),
        ("x.select,3.vnc;", b"3.768"),
        ("GET / HTTP/1.1\r\n\r\n", b"3.768"),
        ("6.select,3.vnc;7.connect,1.a;", b"3.768"),
    ],
)
def test_what_it_refuses(guacd: Service, words: str, code: bytes) -> None:
    said = dialogue(guacd, words, b"5.error")
    assert b"5.error" in said
    assert code in said + dialogue(guacd, words, code)


def test_it_ends_at_once(guacd: Service) -> None:
    assert guacd.stop() == 0
    assert "Listening on host 127.0.0.1" in guacd.said()
