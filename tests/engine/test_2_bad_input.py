"""Hosts and pods that cannot work: one clear message each, exit not 0, the rest of the fleet untouched."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from components.generated.keys import new_key_pair
from lab.errors import LabError
from lab.hosts import LabHost
from tests.engine.conftest import World

pytestmark = pytest.mark.engine

FAST = {"opennebula:ssh": {"user": "deploy", "dialTimeout": 2, "dialAttempts": 2}}


@pytest.fixture(scope="module")
def ready(world: World) -> World:
    world.core().up()
    return world


@pytest.fixture
def as_before(ready: World) -> Iterator[None]:
    """The rest of the fleet is untouched while a test fails, and the declared fleet is whole again afterwards."""
    rows, restarts = ready.rows(), ready.restarts()
    yield
    assert {name: id_ for name, id_ in ready.rows().items() if name in rows} == rows
    assert ready.restarts() == restarts
    ready.core().up()
    assert ready.rows() == rows


def failing_up(world: World, entry: dict[str, Any] | None = None, **changes: Any) -> str:
    """The message of an up that must fail, with one more host entry."""
    config: dict[str, Any] = {**FAST, **{f"opennebula:{key}": value for key, value in changes.items()}}
    if entry is not None:
        config["opennebula:hosts"] = [*entries(world.hosts), entry]
    stack = world.core(config)
    with pytest.raises(LabError) as caught:
        stack.up()
    return str(caught.value)


def entries(hosts: list[LabHost]) -> list[dict[str, Any]]:
    return [{"name": h.name, "kind": h.kind, "address": h.ip, "hostKey": h.host_key_public} for h in hosts]


@pytest.mark.usefixtures("as_before")
def test_an_unreachable_host(ready: World) -> None:
    address = str(ready.lab.instance.host_ip(200))
    entry = {"name": "kvm-9", "kind": "kvm", "address": address, "hostKey": new_key_pair().public_key}
    text = failing_up(ready, entry)
    assert "kvm-9" in text and address in text
    assert "kvm-9" not in ready.rows()


@pytest.mark.usefixtures("as_before")
def test_a_changed_host_key(ready: World) -> None:
    impostor = ready.start_host("kvm-3", "kvm")
    wrong = new_key_pair().public_key
    text = failing_up(ready, entries([impostor])[0] | {"hostKey": wrong})
    assert "kvm-3" in text and "host key" in text.lower()
    assert "kvm-3" not in ready.rows()


@pytest.mark.usefixtures("as_before")
def test_sudo_that_asks_for_a_password(ready: World, inside: Callable[[str], list[str]]) -> None:
    host = ready.start_host("kvm-4", "kvm")
    subprocess.run([*inside("kvm-4"), "sh", "-c", "rm -f /etc/sudoers.d/deploy"], check=True, timeout=20)
    text = failing_up(ready, entries([host])[0])
    assert "kvm-4" in text and "sudo" in text and "next:" in text
    assert "kvm-4" not in ready.rows()


@pytest.mark.usefixtures("as_before")
def test_several_dead_hosts_leave_the_living_ones_done(ready: World) -> None:
    living = ready.start_host("lxc-2", "lxc")
    dead = [
        {
            "name": f"kvm-8{n}",
            "kind": "kvm",
            "address": str(ready.lab.instance.host_ip(180 + n)),
            "hostKey": new_key_pair().public_key,
        }
        for n in range(3)
    ]
    text = failing_up(ready, hosts=[*entries([*ready.hosts, living]), *dead])
    assert all(entry["name"] in text for entry in dead)
    assert "lxc-2" in ready.rows()
    assert not any(entry["name"] in ready.rows() for entry in dead)


def test_oned_with_an_image_that_does_not_exist(ready: World) -> None:
    """The pod in service is replaced only by the controller; the message names the pod and why."""
    broken = {
        "oned": "localhost/onelab/oned:7.4-missing",
        "mariadb": ready.lab.images["mariadb"],
        "pullPolicy": "Never",
    }
    text = failing_up(ready, images=broken)
    assert "oned-0" in text and "ErrImageNeverPull" in text and "correct opennebula:images" in text
    whole_again(ready)


def test_mariadb_that_does_not_come_up(ready: World) -> None:
    """oned's pod is not to blame, and the message says whose it is."""
    broken = {
        "oned": ready.lab.images["oned"],
        "mariadb": "localhost/onelab/mariadb:0-missing",
        "pullPolicy": "IfNotPresent",  # as before: oned's pod stays as it is
    }
    text = failing_up(ready, images=broken)
    assert "mariadb-0" in text and "Pull" in text
    whole_again(ready)


def whole_again(world: World) -> None:
    """The next good up mends it, and nothing was lost."""
    assert world.core().up().changed > 0
    assert set(world.rows()) == {host.name for host in world.hosts}
    assert world.core().up().changed == 0
