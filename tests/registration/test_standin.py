"""The rules and the adapter on oned itself: the stand-in with a MariaDB of its own, or the one that ONE_XMLRPC names.

Real oned has the race, the error texts and the grammar that the other tests of this directory only imitate.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.registration.access import GivenCredential, UrlDialer
from components.registration.client import AdminState
from components.registration.errors import ActionRefused, AuthenticationError, NameTaken, NotFound
from components.registration.lease import ProcessLocks
from components.registration.pool import Pool
from components.registration.reconcile import Registrar
from components.registration.spec import AdoptPolicy, HostSpec
from components.registration.xmlrpc import Limits, XmlRpcClient
from lab.standins.opennebula.local import LocalOned, running_oned
from tests.registration.kubeapi import KubeApi
from tests.registration.races import racers

pytestmark = pytest.mark.database

MATCHING = AdoptPolicy.MATCHING
QUICK = Limits(per_second=10_000)


class Zone:
    """One oned; what a test registers under `name` is deleted after it."""

    def __init__(self, url: str, password: str, own: LocalOned | None) -> None:
        self.url, self.password, self.own = url, password, own
        self.prefix = f"reg-{uuid.uuid4().hex[:6]}"
        self.client = self.connect()
        self.new_process()

    def connect(self, url: str | None = None, password: str | None = None, limits: Limits = QUICK) -> XmlRpcClient:
        return XmlRpcClient(UrlDialer(url or self.url), GivenCredential(password or self.password), limits)

    def new_process(self, client: XmlRpcClient | None = None) -> Registrar:
        used = client or self.client
        self.rules = Registrar(used, Pool(used), ProcessLocks())
        return self.rules

    def spec(self, name: str = "h", **more: object) -> HostSpec:
        return HostSpec(name=f"{self.prefix}-{name}", im_mad="none", vm_mad="none", **more)  # type: ignore[arg-type]

    def ids(self, spec: HostSpec) -> list[int]:
        return [row.id for row in self.client.hosts() if row.name == spec.name]

    def clean(self) -> None:
        for row in self.client.hosts():
            if row.name.startswith(self.prefix):
                self.client.delete(row.id)


@pytest.fixture(scope="module")
def _zone() -> Iterator[Zone]:
    url = os.environ.get("ONE_XMLRPC")
    if url:
        session = Path(os.environ["ONE_AUTH"]).read_text().strip()
        yield Zone(url, session.partition(":")[2], None)
        return
    with running_oned() as oned:
        yield Zone(oned.endpoint, oned.session.partition(":")[2], oned)


@pytest.fixture
def zone(_zone: Zone) -> Iterator[Zone]:
    _zone.new_process()
    yield _zone
    _zone.clean()


def test_the_life_of_a_host(zone: Zone) -> None:
    before = zone.spec(labels={"RACK": "r1", "NOTE": 'say "hi", a\\b = [c] # é'}, reserved_cpu="100", owner="a")
    host_id = zone.rules.register(before, MATCHING)
    record = zone.client.host(host_id)
    assert before.as_seen(record) == before
    assert zone.new_process().register(before, MATCHING) == host_id

    after = zone.spec(labels={"RACK": "r2"}, state=AdminState.DISABLED, owner="a")
    zone.rules.update(host_id, before, after)
    record = zone.client.host(host_id)
    assert after.as_seen(record) == after
    assert (record.attribute("NOTE"), record.attribute("RESERVED_CPU"), record.im_mad) == ("", "", "none")

    zone.new_process().remove(host_id, after.name, owner="a")
    assert zone.rules.observe(host_id) is None
    zone.rules.remove(host_id, after.name, owner="a")


def test_a_value_that_looks_like_another_attribute_stays_a_value(zone: Zone) -> None:
    spec = zone.spec(labels={"NOTE": 'x" VM_MAD="kvm', "OTHER": '\\" IM_MAD="kvm'})
    record = zone.client.host(zone.rules.register(spec, MATCHING))
    assert spec.as_seen(record) == spec
    assert (record.im_mad, record.vm_mad) == ("none", "none")


def test_what_oned_refuses_comes_out_typed(zone: Zone) -> None:
    taken = zone.rules.register(zone.spec("taken"), MATCHING)
    with pytest.raises(NameTaken) as caught:
        zone.client.allocate(zone.spec("taken").name, "none", "none", 0, within=5)
    assert caught.value.host_id == taken
    for name in ("-ab", "fe80::1"):
        with pytest.raises(ActionRefused, match="Invalid HOSTNAME"):
            zone.client.allocate(name, "none", "none", 0, within=5)
    with pytest.raises(NotFound):
        zone.client.host(10_000_000)
    with pytest.raises(NotFound, match="no cluster 'nowhere'"):
        zone.rules.register(zone.spec("x", cluster="nowhere"), MATCHING)
    with pytest.raises(AuthenticationError):
        zone.connect(password="certainly-wrong").hosts()


def test_two_hundred_races_of_two_processes_under_the_lease(zone: Zone, tmp_path: Path) -> None:
    with KubeApi().running(tmp_path) as kubeconfig, racers(zone.url, zone.password, kubeconfig) as both:
        for number in range(200):
            spec = zone.spec(f"race-{number}")
            first, second = both.race(spec.name)
            assert first == second, (first, second)
            assert zone.ids(spec) == [int(first)]


def test_fifty_answers_lost_after_the_commit(zone: Zone) -> None:
    """A proxy that passes the request on, waits for oned's answer and then resets the connection instead."""
    with cutting_proxy(zone.url) as url:
        client = zone.connect(url)
        rules = zone.new_process(client)
        for number in range(50):
            spec = zone.spec(f"lost-{number}")
            assert zone.ids(spec) in ([], [rules.register(spec, MATCHING)])
            assert len(zone.ids(spec)) == 1


def test_a_hundred_hosts_by_four_threads(zone: Zone) -> None:
    errors: list[Exception] = []

    def work(part: int) -> None:
        try:
            for number in range(25):
                zone.rules.register(zone.spec(f"many-{part}-{number}"), MATCHING)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    names = [row.name for row in zone.client.hosts() if row.name.startswith(f"{zone.prefix}-many")]
    assert len(names) == len(set(names)) == 100


def test_a_killed_oned_is_waited_for(zone: Zone) -> None:
    if zone.own is None:
        pytest.skip("the oned of ONE_XMLRPC is not ours to kill")
    zone.rules.register(zone.spec("before"), MATCHING)
    zone.own.kill()
    zone.own.lock_file.unlink(missing_ok=True)
    result: list[int] = []
    spec = zone.spec("after")
    waiting = threading.Thread(target=lambda: result.append(zone.new_process().register(spec, MATCHING)))
    waiting.start()
    time.sleep(0.5)
    assert result == []
    zone.own.start()
    waiting.join(30)
    assert [result] == [zone.ids(spec)]


@contextlib.contextmanager
def cutting_proxy(url: str) -> Iterator[str]:
    """To oned and back, but the answer to every `one.host.allocate` is withheld."""
    host, port = url.split("/")[2].split(":")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port)), timeout=10) as oned:
            request = b""
            while b"</methodCall>" not in request:
                request += client.recv(65536)
            oned.sendall(request)
            answer = b""
            while chunk := oned.recv(65536):
                answer += chunk
                if b"</methodResponse>" in answer:
                    break
            if b"one.host.allocate" not in request:
                client.sendall(answer)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/RPC2"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
