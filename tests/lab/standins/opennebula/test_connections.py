"""The HTTP side of the API: how many may connect, how long they may stay, what is answered to anything but a call."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from lab.standins.opennebula.local import LocalOned

pytestmark = pytest.mark.database

BODY = (
    b"<?xml version='1.0'?><methodCall><methodName>one.system.version</methodName>"
    b"<params><param><value>oneadmin:rehearsal</value></param></params></methodCall>"
)
IDLE, READ = 2, 3  # seconds


@pytest.fixture
def small(oned: LocalOned) -> Iterator[LocalOned]:
    """An oned that takes two connections and is impatient."""
    oned.oned_conf.update({"MAX_CONN": 2, "KEEPALIVE_TIMEOUT": IDLE, "TIMEOUT": READ, "MESSAGE_SIZE": 500})
    with oned:
        time.sleep(0.2)  # the connection that asked whether it serves is gone
        yield oned


def post(oned: LocalOned, body: bytes = BODY, method: str = "POST", path: str = "/RPC2") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", oned.port, timeout=10)
    connection.request(method, path, body, {"Content-Type": "text/xml", "Connection": "keep-alive"})
    return connection.getresponse()


def say(oned: LocalOned, words: bytes) -> tuple[bytes, float]:
    """What comes back to somebody who says only this, and after how many seconds."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", oned.port), timeout=10) as connection:
        connection.sendall(words)
        return connection.recv(32), time.monotonic() - started


def test_every_connection_is_for_one_call(small: LocalOned) -> None:
    response = post(small)
    assert (response.status, response.getheader("Connection")) == (200, "close")
    assert b"7.4.0" in response.read()


def test_silent_connections_keep_others_waiting_until_they_are_closed(small: LocalOned) -> None:
    silent = [socket.create_connection(("127.0.0.1", small.port)) for _ in range(2)]
    time.sleep(0.2)
    started = time.monotonic()
    assert post(small).status == 200  # accepted by the kernel, answered only when a place is free
    assert IDLE - 1 < time.monotonic() - started < IDLE + 3
    for connection in silent:
        connection.close()


def test_a_connection_that_says_nothing_is_closed_without_a_word(small: LocalOned) -> None:
    answer, seconds = say(small, b"")
    assert answer == b""
    assert IDLE - 0.5 < seconds < IDLE + 2


@pytest.mark.parametrize("part", [b"POST /RPC2 HT", b"POST /RPC2 HTTP/1.1\r\nContent-Length: 400\r\n\r\n<methodCall>"])
def test_half_a_request_is_answered_when_time_is_up(small: LocalOned, part: bytes) -> None:
    answer, seconds = say(small, part)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout")
    assert READ - 0.5 < seconds < READ + 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/RPC2", b"", 405),
        ("POST", "/", BODY, 404),
        ("POST", "/RPC2", b"x" * 501, 500),
        ("POST", "/RPC2", b"not xml", 200),
    ],
)
def test_what_is_no_call(small: LocalOned, method: str, path: str, body: bytes, status: int) -> None:
    response = post(small, body, method, path)
    assert response.status == status
    if status == 200:
        assert b"<fault>" in response.read()


def test_a_call_without_its_length(small: LocalOned) -> None:
    answer, _ = say(small, b"POST /RPC2 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 411 ")
