"""The adapter against peers on loopback that are silent, cut off, foreign, hostile or huge."""

from __future__ import annotations

import resource
import socket
import time
import xmlrpc.client
from collections.abc import Callable

import pytest

from components.registration.errors import (
    Ambiguous,
    ProtocolError,
    Unavailable,
)
from components.registration.xmlrpc import Limits
from tests.registration.servers import QUICK, answer, client_of, http, peer, request_of


def silent(connection: socket.socket) -> None:
    request_of(connection)
    time.sleep(3)


def accepts_only(_connection: socket.socket) -> None:
    time.sleep(3)


def drips(connection: socket.socket) -> None:
    """A byte now and then: each read succeeds, the whole never does."""
    request_of(connection)
    for byte in answer([True, "<HOST_POOL/>", 0]):
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def half(connection: socket.socket) -> None:
    request_of(connection)
    connection.sendall(answer([True, "<HOST_POOL/>", 0])[:-40])


def hangs_up(connection: socket.socket) -> None:
    request_of(connection)


def gateway(connection: socket.socket) -> None:
    request_of(connection)
    connection.sendall(http(b"<html>no healthy upstream</html>", "503 Service Unavailable"))


LOST = [silent, accepts_only, drips, half, hangs_up, gateway]


@pytest.mark.parametrize("behave", LOST)
def test_a_lost_answer_fails_a_read_in_time(behave: Callable[[socket.socket], None]) -> None:
    with peer(behave) as url:
        begun = time.monotonic()
        with pytest.raises(Unavailable, match=r"list the hosts: oned at http://127\.0\.0\.1.*Next: `curl"):
            client_of(url).hosts()
        assert time.monotonic() - begun < QUICK.wait + QUICK.read + QUICK.connect + 0.5


@pytest.mark.parametrize("behave", LOST)
def test_a_lost_answer_makes_a_write_ambiguous_after_one_attempt(behave: Callable[[socket.socket], None]) -> None:
    sent: list[int] = []

    def counting(connection: socket.socket) -> None:
        sent.append(1)
        behave(connection)

    with peer(counting) as url, pytest.raises(Ambiguous, match="register host 'kvm-1'"):
        client_of(url).allocate("kvm-1", "kvm", "kvm", 0, within=5)
    assert len(sent) == 1


def chunked_flood(connection: socket.socket) -> None:
    request_of(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    block = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    for _ in range(1024):  # 1 GiB, if anyone read it
        connection.sendall(block)


def endless_headers(connection: socket.socket) -> None:
    request_of(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        connection.sendall(f"X-{number}: {'y' * 1000}\r\n".encode())


def announces_a_gigabyte(connection: socket.socket) -> None:
    request_of(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    time.sleep(2)


def sends(raw: bytes) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(raw)

    return behave


ENTITY_BOMB = b"""<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>
<methodResponse><params><param><value><string>&c;</string></value></param></params></methodResponse>"""
UTF16_BOMB = ENTITY_BOMB.decode().replace('version="1.0"', 'version="1.0" encoding="utf-16"').encode("utf-16")
INNER_BOMB = "<!DOCTYPE m [<!ENTITY a 'aaaa'>]><HOST_POOL>&a;</HOST_POOL>"

HUGE_INTEGER = answer([True, 7, 0]).split(b"\r\n\r\n")[1].replace(b"7", b"9" * 100_000)
FAULT = xmlrpc.client.dumps(xmlrpc.client.Fault(-506, "Method not defined"), methodresponse=True).encode()

BROKEN = {
    "html": sends(http(b"<html><body>It works!</body></html>")),
    "garbage": sends(b"\x00\xff\x13garbage\r\n\r\n"),
    "ssh": sends(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "error 500": sends(http(b"boom", "500 Internal Server Error")),
    "not found": sends(http(b"nothing here", "404 Not Found")),
    "redirect": sends(http(b"", "302 Found", "Location: http://127.0.0.1:1/")),
    "compressed": sends(http(b"\x1f\x8b", "200 OK", "Content-Encoding: gzip")),
    "chunked flood": chunked_flood,
    "announced flood": announces_a_gigabyte,
    "endless headers": endless_headers,
    "entity bomb": sends(http(ENTITY_BOMB)),
    "entity bomb in UTF-16": sends(http(UTF16_BOMB)),
    "entity bomb inside": sends(answer([True, INNER_BOMB, 0])),
    "truncated inside": sends(answer([True, "<HOST_POOL><HOST>", 0])),
    "no result array": sends(answer("hello")),
    "wrong types": sends(answer([1, 2, "three"])),
    "short array": sends(answer([True])),
    "empty text": sends(answer([True, "", 0])),
    "number for XML": sends(answer([True, 7, 0])),
    "fault": sends(http(FAULT)),
    "deep nesting": sends(http(b"<methodResponse>" + b"<array>" * 5_000_000)),
    "huge integer": sends(http(HUGE_INTEGER)),
}


@pytest.mark.parametrize("behaviour", sorted(BROKEN))
def test_what_is_no_answer_of_oned_is_a_typed_error_in_bounded_time_and_memory(behaviour: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with peer(BROKEN[behaviour]) as url:
        begun = time.monotonic()
        with pytest.raises(ProtocolError, match="Next: "):
            client_of(url, Limits(connect=1, read=10, wait=10)).hosts()
        assert time.monotonic() - begun < 10
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 250 * 1024, f"{grown} KiB"


@pytest.mark.parametrize(
    "behaviour",
    sorted(set(BROKEN) - {"fault", "number for XML", "empty text", "truncated inside", "entity bomb inside"}),
)
def test_after_a_write_the_same_is_ambiguous(behaviour: str) -> None:
    with peer(BROKEN[behaviour]) as url, pytest.raises(Ambiguous):
        client_of(url, Limits(connect=1, read=10, wait=10)).allocate("kvm-1", "kvm", "kvm", 0, within=5)
