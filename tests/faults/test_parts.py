"""The parts of these scenarios by themselves: proxies that do what they say, a script that prepares, counts, the look."""

from __future__ import annotations

import http.client
import socket
import socketserver
import subprocess
from pathlib import Path

import pytest

from bench.hosts import work
from bench.hosts.endpoints import Host
from components.preparing.values import Endpoint
from components.registration.errors import Ambiguous, OnedError
from lab.errors import LabError
from tests.faults import rounds
from tests.faults.front import LOST, Fault, Front
from tests.faults.host_script import STEPS, text
from tests.faults.relay import Relay, Way
from tests.faults.rounds import Tally, count
from tests.faults.test_host_faults import FAULTS
from tests.faults.world import told
from tests.registration.servers import OnedServer, client_of, serving


@pytest.fixture
def host(tmp_path: Path) -> Host:
    found = Host("bench-0", Endpoint("root", "127.0.0.1", 22, "ssh-ed25519 AAAA"), tmp_path / "root")
    work.forget([found])
    return found


def run(host: Host, script: str) -> subprocess.CompletedProcess[str]:
    environ = {"ONE_ROOT": str(host.root), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return subprocess.run(
        ["sh", "-s"], input=script, env=environ, capture_output=True, text=True, timeout=30, check=False
    )


def test_the_script_prepares_a_host_and_can_be_repeated(host: Host) -> None:
    for _ in "ab":
        done = run(host, text(host.name))
        assert done.returncode == 0, done.stderr
        assert work.undone([host], work.FIVE) == []
    assert [line.partition(": ")[2] for line in done.stdout.splitlines()[:-1]] == list(STEPS)
    assert not list(host.root.rglob("*.draft"))


def test_the_script_waits_for_apt_no_longer_than_told(host: Host) -> None:
    (apt,) = [fault for fault in FAULTS if fault.name == "apt lock held"]
    with Relay("127.0.0.1", 9) as relay, apt.at(host, relay):
        done = run(host, text(host.name, lock_wait=1))
    assert done.returncode == 1
    assert "another package manager held its lock for 1 s: " in done.stderr
    assert "Could not get lock" in done.stderr
    assert run(host, text(host.name, lock_wait=1)).returncode == 0


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(100):
            self.request.sendall(data)


def test_a_relay_passes_on_cuts_refuses_and_falls_silent() -> None:
    with serving(Echo) as url, Relay("127.0.0.1", int(url.rpartition(":")[2])) as relay:
        place = ("127.0.0.1", relay.port)
        with socket.create_connection(place, timeout=5) as client:
            client.sendall(b"one")
            assert client.recv(9) == b"one"
            relay.cut()
            with pytest.raises(ConnectionResetError):
                client.recv(9)
        relay.set(Way.REFUSED)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(place, timeout=5)
        relay.set(Way.SILENT)
        with socket.create_connection(place, timeout=0.5) as client:
            client.sendall(b"two")
            with pytest.raises(TimeoutError):
                client.recv(9)
        relay.set(Way.OPEN)
        with socket.create_connection(place, timeout=5) as client:
            client.sendall(b"three")
            assert client.recv(9) == b"three"


@pytest.mark.parametrize("fault", LOST)
def test_a_lost_answer_is_one_of_a_commit(fault: Fault) -> None:
    server = OnedServer()
    with server.running() as endpoint, Front(endpoint) as front:
        front.fault = lambda method: fault if method == "host.allocate" else None
        with pytest.raises(Ambiguous):
            client_of(front.url).allocate("kvm-1", "kvm", "kvm", 0, within=5)
        assert server.oned.ids("kvm-1") == [0]
        assert front.met == [("host.allocate", fault)]
        front.well()
        assert [row.name for row in client_of(front.url).hosts()] == ["kvm-1"]


def test_a_request_that_was_cut_before_reached_nobody() -> None:
    server = OnedServer()
    with server.running() as endpoint, Front(endpoint) as front:
        front.fault = lambda _method: Fault.UNSENT
        with pytest.raises(OnedError):
            client_of(front.url).allocate("kvm-1", "kvm", "kvm", 0, within=5)
        assert server.requests == 0
        front.refuse()
        with pytest.raises(ConnectionRefusedError):
            http.client.HTTPConnection("127.0.0.1", front.port, timeout=5).connect()


@pytest.mark.parametrize(("share", "many"), [(0, 6), (2, 6), (10, 20), (100, 200)])
def test_counts(share: int, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "SHARE", share)
    assert count(200, 6) == many


def test_a_failed_round_is_counted_and_the_next_is_tried_until_there_are_too_many() -> None:
    tally = Tally("x", expected=9)
    for _ in "ab":
        with tally.round():
            raise AssertionError("no")
    with tally.round():
        pass
    assert tally.row().split() == ["x", "3", "2"]
    with pytest.raises(AssertionError), tally.round():
        raise AssertionError("no")


@pytest.mark.parametrize("fix", ["", "next: try"])
def test_a_message_has_to_say_what_to_do(fix: str) -> None:
    error = LabError("kvm-1 failed: no answer", cause="dead", fix=fix)
    if fix:
        assert "dead" in told(error, "kvm-1")
    else:
        with pytest.raises(AssertionError):
            told(error, "kvm-1")
