"""The resources on a recorded graph: what the engine is told."""

from __future__ import annotations

import base64
import functools

import pulumi

from components.registration.resource import FleetHost, FleetReady, FleetReadyArgs, Host, HostArgs
from tests.graph import Secret, deploy


def fleet() -> None:
    hosts = {
        name: Host(
            name,
            HostArgs(
                name=name,
                im_mad=driver,
                vm_mad=driver,
                labels={"RACK": pulumi.Output.from_input("r1")},
                reserved_cpu=100,
            ),
        )
        for name, driver in (("kvm-1", "kvm"), ("lxc-1", "lxc"))
    }
    FleetReady(
        "ready",
        FleetReadyArgs(
            hosts=[FleetHost(name=host.name, id=host.id, state=host.state) for host in hosts.values()],
            trigger="v1",
            monitoring_interval_seconds=60,
        ),
    )


def test_hosts_and_the_wait_for_them() -> None:
    graph = deploy(fleet)
    host = graph.one("Host", "lxc-1")
    assert host.type == "pulumi-python:dynamic/opennebula:Host"
    assert host.inputs["im_mad"] == "lxc"
    assert host.inputs["labels"] == {"RACK": "r1"}
    assert host.inputs["reserved_cpu"] == 100
    ready = graph.one("FleetReady")
    assert [entry["id"] for entry in ready.inputs["hosts"]] == ["kvm-1-id", "lxc-1-id"]
    assert set(ready.depends_on) >= {"kvm-1", "lxc-1"}, "the data edge orders the wait after the registration"
    assert ready.inputs["monitoring_interval_seconds"] == 60


def test_no_secret_and_no_code_is_handed_over() -> None:
    for record in deploy(fleet).records:
        provider = record.inputs["__provider"]
        assert not isinstance(provider, Secret)
        assert len(base64.b64decode(provider)) < 90
        assert not any(isinstance(value, Secret) for value in record.inputs.values())


def test_outputs_can_be_read_by_the_program() -> None:
    """Declared and seeded, as pulumi #2931 and #6678 require."""
    seen: dict[str, object] = {}

    def program() -> None:
        host = Host("kvm-1", HostArgs(name="kvm-1", im_mad="kvm", vm_mad="kvm"))
        ready = FleetReady("ready", FleetReadyArgs(hosts=[]))
        outputs = {"name": host.name, "host_id": host.host_id, "owner": host.owner, "states": ready.states}
        for name, output in outputs.items():
            output.apply(functools.partial(seen.__setitem__, name))

    deploy(program)
    assert seen.keys() == {"name", "host_id", "owner", "states"}
    assert (seen["name"], seen["owner"]) == ("kvm-1", "opennebula/test")
