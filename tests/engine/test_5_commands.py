"""`make status`, `make up CLUSTER=existing`, `make down` as the command line has them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from lab import __main__ as command_line
from lab import hosts, ingress, rehearsal, stackfile, status
from lab.errors import Incomplete
from lab.hosts import LabHost
from lab.paths import STATE
from tests.engine.conftest import INSTANCE, STACK, World

pytestmark = pytest.mark.engine

OTHER = "labother"


@pytest.fixture(scope="module")
def ready(world: World) -> World:
    world.stack().up()
    return world


def options(stack: str, *, existing: bool) -> rehearsal.Options:
    return rehearsal.Options(existing=existing, stack=stack, opennebula_root=None, instance=INSTANCE)


def test_status_is_the_present_state(ready: World) -> None:
    found = json.loads(json.dumps(status.collect(options(STACK, existing=False))))
    names = {"oned", "fireedge", "oneflow", "onegate", "api", "monitord"}
    assert {(item["name"], item["ready"]) for item in found["endpoints"]} == {(name, True) for name in names}
    assert all(item["url"] for item in found["endpoints"])
    assert {item["why"] for item in found["endpoints"]} == {""}
    assert {(item["name"], item["ready"]) for item in found["parts"]} == {
        ("mariadb", True),
        ("hem", True),
        ("way back", True),
        ("guacd", True),
    }
    assert {(item["name"], item["kind"], item["state"]) for item in found["hosts"]} == {
        ("kvm-1", "kvm", "MONITORED"),
        ("lxc-1", "lxc", "MONITORED"),
    }
    assert {item["name"]: item["id"] for item in found["hosts"]} == ready.rows()
    assert len(found["pods"]) == 5
    assert {frozenset(item) for item in found["pods"]} == {frozenset({"name", "ready"})}
    assert all(item["ready"] for item in found["pods"])
    text = status.table(found)
    assert "kvm-1  kvm   MONITORED" in text and "get secret oned-oneadmin" in text


def test_status_tells_a_pod_that_is_not_ready(ready: World) -> None:
    ready.kubectl("scale", "statefulset", "oned", "--replicas=0")
    ready.kubectl("wait", "pod/oned-0", "--for=delete", "--timeout=90s")
    found = status.collect(options(STACK, existing=False))
    assert {item["name"] for item in found["endpoints"] if not item["ready"]} >= {"oned", "api", "monitord"}
    assert found["hosts"] == []
    assert {(item["name"], item["ready"]) for item in found["parts"]} >= {("hem", False), ("mariadb", True)}
    assert "api: its pods are not ready" in status.table(found)
    ready.kubectl("scale", "statefulset", "oned", "--replicas=1")
    ready.kubectl("rollout", "status", "statefulset/oned", "--timeout=120s")
    assert {item["ready"] for item in status.collect(options(STACK, existing=False))["endpoints"]} == {True}


def test_status_tells_a_controller_that_is_gone(ready: World) -> None:
    """All pods are ready, and nobody comes in."""
    controller = ("-n", ingress.NAMESPACE)
    ready.kubectl(*controller, "scale", "deployment", ingress.CONTROLLER, "--replicas=0")
    try:
        # Complains when they were gone before it looked.
        ready.kubectl(*controller, "wait", "pod", "--all", "--for=delete", "--timeout=60s", check=False)
        found = status.collect(options(STACK, existing=False))
        shown = {item["name"]: item["why"] for item in found["endpoints"] if item["ready"] is False}
        assert set(shown) == {"fireedge", "oneflow", "onegate", "api"}
        assert all("controller" in why for why in shown.values())
        assert all(item["ready"] for item in found["pods"])
    finally:
        ready.kubectl(*controller, "scale", "deployment", ingress.CONTROLLER, "--replicas=1")
        ready.kubectl(*controller, "rollout", "status", f"deployment/{ingress.CONTROLLER}", "--timeout=90s")
    assert {item["ready"] for item in status.collect(options(STACK, existing=False))["endpoints"]} == {True}


@dataclass(frozen=True)
class Second:
    """A stack file of an operator's own, for a cluster that is already there."""

    lab: rehearsal.Lab
    options: rehearsal.Options

    def write(self, declared: Sequence[LabHost]) -> None:
        """With these hosts, that are cleaned when they go."""
        config = stackfile.lab_config(
            self.lab.instance, self.lab.images, declared, self.lab.repository, namespace="second", monitord_port=30500
        )
        own = {
            "opennebula:storage": config["opennebula:storage"] | {"retain": False},
            "opennebula:kubernetes": {"namespace": "second"},
            "opennebula:fleet": config["opennebula:fleet"] | {"onRemoval": "clean"},
        }
        stackfile.write(rehearsal.stack_file(OTHER), config | own)


@pytest.fixture(scope="module")
def second(ready: World) -> Iterator[Second]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KUBECONFIG", str(ready.lab.instance.kubeconfig))
        found = Second(ready.lab, options(OTHER, existing=True))
        found.write([])
        yield found
        found.write([])
        rehearsal.down(found.options)
        rehearsal.stack_file(OTHER).unlink()


def test_a_cluster_that_is_already_there(ready: World, second: Second) -> None:
    rows = ready.rows()
    assert rehearsal.up(second.options).changed > 20
    assert rehearsal.up(second.options).changed == 0
    found = status.collect(second.options)
    assert {item["name"]: item["ready"] for item in found["pods"]} == {"mariadb-0": True, "oned-0": True}
    assert found["hosts"] == []
    assert ready.rows() == rows, "two control planes in one cluster must not see each other"


def test_a_dead_host_stops_a_down_until_that_is_told_that_it_is_lost(
    ready: World, second: Second, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without retention, which takes hosts along. And then nothing is left of the namespace."""
    hosts.stop(INSTANCE, ["kvm-2"], forget=True)  # as another stack has prepared it
    host = ready.start_host("kvm-2", "kvm")
    try:
        second.write([host])
        key = host.private_key_path.read_text()
        rehearsal.open_stack(OTHER, throw_away=False).set_secret(stackfile.SSH_KEY, key)
        rehearsal.up(second.options)
        assert [item["state"] for item in status.collect(second.options)["hosts"]] == ["MONITORED"]
        hosts.stop(INSTANCE, ["kvm-2"])
        with pytest.raises(Incomplete, match="with OPENNEBULA_LOST=kvm-2 in its environment"):
            rehearsal.down(second.options)
        assert "second" in namespaces(ready), "oned is there as long as a host of it"
        monkeypatch.setenv("OPENNEBULA_LOST", "kvm-2")
        rehearsal.down(second.options)
        assert "second" not in namespaces(ready)
    finally:
        hosts.stop(INSTANCE, ["kvm-2"], forget=True)


def namespaces(world: World) -> set[str]:
    return {item["metadata"]["name"] for item in world.get("namespaces")["items"]}


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"CLUSTER": "mine"}, "CLUSTER=mine is unknown"),
        ({"CLUSTER": "existing", "KUBECONFIG": ""}, "needs KUBECONFIG"),
        ({"CLUSTER": "existing", "KUBECONFIG": "/nonexistent"}, "is no file"),
        ({"CLUSTER": "existing", "KUBECONFIG": "/etc/hosts"}, "needs STACK"),
        ({"CLUSTER": "existing", "KUBECONFIG": "/etc/hosts", "STACK": "nowhere"}, "Pulumi.nowhere.yaml does not exist"),
        ({"STACK": "prod"}, "STACK goes with CLUSTER=existing"),
        ({"OPENNEBULA_ROOT": "/nonexistent"}, "holds no usr/bin/oned"),
    ],
)
def test_wrong_calls_say_what_is_wrong(
    environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("CLUSTER", "KUBECONFIG", "STACK", "OPENNEBULA_ROOT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert command_line.main(["up"]) == 1
    assert words in capsys.readouterr().err


def test_the_passphrase_of_the_lab_is_private(ready: World) -> None:
    assert (STATE / "pulumi" / "passphrase").stat().st_mode & 0o077 == 0
