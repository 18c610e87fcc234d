"""The adapter: calls, refusals, repeating by meaning, limits towards oned."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from components.registration.access import UrlDialer
from components.registration.client import AdminState
from components.registration.errors import (
    ActionRefused,
    Ambiguous,
    AuthenticationError,
    AuthorizationError,
    HostInUse,
    NameTaken,
    NotFound,
    OnedError,
    ProtocolError,
    Unavailable,
)
from components.registration.lease import ProcessLocks
from components.registration.pool import Pool
from components.registration.reconcile import Registrar
from components.registration.spec import AdoptPolicy, HostSpec
from components.registration.xmlrpc import Limits, XmlRpcClient
from tests.registration.servers import PASSWORD, QUICK, OnedServer, client_of


@pytest.fixture
def server() -> OnedServer:
    return OnedServer()


# ---- answers of a healthy oned


def test_every_call_reaches_oned_as_it_should(server: OnedServer) -> None:
    with server.running() as url:
        client = client_of(url)
        assert client.hosts() == ()
        host_id = client.allocate("kvm-1", "kvm", "qemu", 0, within=5)
        client.update(host_id, {"RACK": 'a "b"'})
        client.set_state(host_id, AdminState.OFFLINE)
        record = client.host(host_id)
        assert (record.name, record.vm_mad, record.attribute("RACK")) == ("kvm-1", "qemu", 'a "b"')
        assert record.admin_state is AdminState.OFFLINE
        assert client.monitoring(60) == ()
        client.delete(host_id)
        with pytest.raises(NotFound):
            client.host(host_id)
    assert set(server.sessions) == {f"oneadmin:{PASSWORD}"}


def test_machines_are_asked_for_by_id_and_migrated_within_capacity(server: OnedServer) -> None:
    old, new = server.oned.insert("old"), server.oned.insert("new", free_cpu=200, free_memory=4096)
    first, second = (server.oned.run_machine(old, cpu=150, memory=2048) for _ in range(2))
    with server.running() as url:
        client = client_of(url)
        assert client.vms(()) == ()
        assert server.requests == 0, "an empty list would mean every VM of the zone to somebody"
        assert client.vms({second, first, 999}) == server.oned.vms((first, second))
        record = client.host(new)
        assert (record.free_cpu, record.free_memory, record.vms) == (200, 4096, ())
        client.migrate(first, new, live=True)
        with pytest.raises(ActionRefused, match="does not fit"):
            client.migrate(second, new, live=False)
        assert client.host(new).vms == (first,)
        assert client.vms((first,))[0].host_id == new


def test_a_migration_whose_answer_is_lost_is_not_sent_again(server: OnedServer) -> None:
    old, new = server.oned.insert("old"), server.oned.insert("new", free_cpu=200, free_memory=4096)
    vm = server.oned.run_machine(old)
    server.after = lambda method, connection: method == "one.vm.migrate"
    with server.running() as url, pytest.raises(Ambiguous):
        client_of(url).migrate(vm, new, live=True)
    assert server.oned.counted()["migrate"] == 1


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (0x0200, "User [2] : not authorized", AuthorizationError),
        (0x0400, "Error getting host [7].", NotFound),
        (0x0800, "Can not remove a host with running VMs", HostInUse),
        (0x0800, "Wrong state", ActionRefused),
        (0x1000, "Wrong update type", ProtocolError),
        (0x2000, "Cannot process request, zone disabled", ActionRefused),
        (0x2000, "Forwarding xml-rpc message to gRPC leader is not supported", ActionRefused),
        (0x2000, "Internal error", OnedError),
        (0x4000, "Error allocating a new host. NAME is already taken by HOST 12.", NameTaken),
        (0x4000, "Error allocating a new host. Invalid HOSTNAME, ':' is invalid", ActionRefused),
        (0x8000, "The resource HOST is locked.", ActionRefused),
        (0x12345, "", OnedError),
    ],
)
def test_refusals_are_typed_and_not_repeated(server: OnedServer, code: int, text: str, kind: type[OnedError]) -> None:
    server.instead = lambda _method: [False, text, code, -1, -1]
    with server.running() as url, pytest.raises(kind) as caught:
        client_of(url).allocate("kvm-1", "kvm", "kvm", 0, within=5)
    assert type(caught.value) is kind
    assert server.requests == 1
    assert "Next: " in str(caught.value) or kind is HostInUse
    if isinstance(caught.value, NameTaken):
        assert caught.value.host_id == 12


def test_a_refused_credential_is_not_tried_again(server: OnedServer) -> None:
    with server.running() as url, pytest.raises(AuthenticationError) as caught:
        client_of(url, password="wrong-password-1").hosts()
    assert server.requests == 1
    assert "wrong-password-1" not in str(caught.value)


def test_a_credential_that_was_rotated_meanwhile_is_read_again_once(server: OnedServer) -> None:
    class Rotated:
        reads = 0

        def session(self) -> str:
            return server.session if self.reads else "oneadmin:old"

        def renewed(self) -> bool:
            self.reads += 1
            return True

        def known(self) -> tuple[str, ...]:
            return ()

    with server.running() as url:
        assert XmlRpcClient(UrlDialer(url), Rotated(), QUICK).hosts() == ()
        server.session = "oneadmin:another"
        with pytest.raises(AuthenticationError):
            XmlRpcClient(UrlDialer(url), Stubborn(), QUICK).hosts()
    assert server.requests == 4


class Stubborn:
    """Claims to be new every time."""

    def session(self) -> str:
        return "oneadmin:wrong"

    def renewed(self) -> bool:
        return True

    def known(self) -> tuple[str, ...]:
        return ()


LEADERLESS = (
    "Cannot process request, no leader found",
    "Cannot process request, oned cluster in election mode",
    "Cannot process request, oned cluster is replicating log",
    "libcurl failed to execute the HTTP POST transaction, explaining:  Failed to connect to oned-1 port 2633: Connection refused",
)


@pytest.mark.parametrize("text", LEADERLESS)
def test_without_a_leader_reads_and_writes_are_repeated(server: OnedServer, text: str) -> None:
    replies: Iterator[Any] = iter([[False, text, 0x2000, -1, -1]] * 2)
    server.instead = lambda _method: next(replies, None)
    with server.running() as url:
        assert client_of(url, Limits(wait=5)).allocate("kvm-1", "kvm", "kvm", 0, within=5) == 0
    assert server.oned.ids("kvm-1") == [0]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            0x2000,
            "libcurl failed to execute the HTTP POST transaction, explaining:  Operation timed out after 10000 ms",
        ),
        (0x2000, "libcurl failed to execute the HTTP POST transaction, explaining:  Empty reply from server"),
        (0x10000, "Error replicating log entry 5"),
    ],
)
def test_a_write_that_a_follower_lost_is_ambiguous_and_a_read_is_repeated(
    server: OnedServer, code: int, text: str
) -> None:
    server.instead = lambda _method: [False, text, code, -1, -1]
    with server.running() as url:
        with pytest.raises(Ambiguous):
            client_of(url).allocate("kvm-1", "kvm", "kvm", 0, within=5)
        assert server.requests == 1
        with pytest.raises(Unavailable):
            client_of(url).hosts()
    assert server.requests > 2


# ---- oned away


def test_a_refused_connection_is_waited_for(server: OnedServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(Unavailable, match=r"cannot connect to 127\.0\.0\.1.*refused"):
        client_of(f"http://127.0.0.1:{port}/RPC2").allocate("kvm-1", "kvm", "kvm", 0, within=0.5)


def test_oned_down_costs_one_wait_and_not_one_for_each_host() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    client = client_of(f"http://127.0.0.1:{port}/RPC2")
    begun = time.monotonic()
    for _ in range(50):
        with pytest.raises(Unavailable):
            client.hosts()
    assert time.monotonic() - begun < QUICK.wait + 1


# ---- limits towards oned


def test_never_more_than_eight_connections_and_all_are_closed(server: OnedServer) -> None:
    def slow(_method: str, _connection: socket.socket) -> bool:
        time.sleep(0.02)
        return False

    server.after = slow
    with server.running() as url:
        client = client_of(url, Limits(per_second=10_000, connections=64))
        threads = [threading.Thread(target=lambda: [client.hosts() for _ in range(5)]) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert server.requests == 150
    assert server.most_at_once <= 8


def test_requests_a_second_are_limited(server: OnedServer) -> None:
    with server.running() as url:
        client = client_of(url, Limits(per_second=50))
        begun = time.monotonic()
        for _ in range(26):
            client.hosts()
        assert time.monotonic() - begun >= 0.5


# ---- the whole: rules over the adapter


def test_two_hundred_answers_lost_after_the_commit_make_two_hundred_hosts(server: OnedServer) -> None:
    """The connection dies when oned has registered the host and not yet said so."""

    def cut(method: str, connection: socket.socket) -> bool:
        if method == "one.host.allocate":
            connection.shutdown(socket.SHUT_RDWR)
            return True
        return False

    server.after = cut
    with server.running() as url:
        client = client_of(url, Limits(per_second=10_000))
        rules = Registrar(client, Pool(client), ProcessLocks())
        ids = {
            rules.register(HostSpec(name=f"h-{number}", im_mad="kvm", vm_mad="kvm"), AdoptPolicy.MATCHING)
            for number in range(200)
        }
    assert len(ids) == 200
    assert server.oned.counted()["allocate"] == 200
    assert all(len(server.oned.ids(f"h-{number}")) == 1 for number in range(200))
