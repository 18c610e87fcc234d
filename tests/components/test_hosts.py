"""What the preparation of hosts says of the front-end; in which order hosts come and go, and what of them is declared."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from components.generated.keys import new_key_pair
from components.host_settings import FleetSettings
from components.hosts import Hosts, HostsArgs, front_end, script
from components.registration.resource import default_owner
from stacks.settings import ConfigError, parse
from tests.examples import config, host
from tests.graph import Graph, deploy

KEY = new_key_pair().public_key


class Nothing(pulumi.Resource):
    """Stands for oned, which these texts do not ask."""

    def __init__(self) -> None:
        pass


def args(**way_back: Any) -> HostsArgs:
    monitoring = {"address": "10.0.0.1", "port": 30424, "exposure": "nodePort"}
    settings = parse(config() | {"monitoring": json.dumps(monitoring), "wayBack": json.dumps(way_back)})
    return HostsArgs(
        hosts=settings.hosts,
        ssh=settings.ssh,
        packages=settings.packages,
        fleet=settings.fleet,
        version=settings.version,
        monitoring=settings.monitoring,
        way_back=settings.way_back,
        preparation=settings.preparation,
        private_key=None,
        oneadmin_public_key=KEY,
        frontend_name="front",
        frontend_host_public_key=KEY,
        oned=(Nothing(),),
        namespace_name="one",
    )


def test_without_the_way_back_the_key_is_pinned_and_no_address_given() -> None:
    assert front_end(args(), KEY) == (f"front {KEY}", None)
    text = script(args().hosts[0], args(), (KEY, KEY))
    assert "HostName" not in text and "  Port 22\n" in text


@pytest.mark.parametrize(("changes", "address"), [({}, "10.0.0.1"), ({"address": "10.0.0.7"}, "10.0.0.7")])
def test_hosts_reach_the_way_back_by_the_front_ends_name(changes: dict[str, str], address: str) -> None:
    given = args(enabled=True, port=30022, exposure="nodePort", **changes)
    assert front_end(given, KEY) == (f"[front]:30022 {KEY}", address)
    text = script(given.hosts[0], given, (KEY, KEY))
    assert f"Host front\n  HostName {address}\n  Port 30022\n  HostKeyAlias front\n" in text
    assert f"front {KEY.rsplit(maxsplit=len(KEY.split()) - 2)[0]}" in text


def lifecycle_graph(*entries: dict[str, Any], **changes: Any) -> Graph:
    def program() -> None:
        given = replace(
            args(), hosts=parse(config() | {"hosts": json.dumps(entries)}).hosts, oned=(_Oned(),), **changes
        )
        Hosts("hosts", given)

    return deploy(program)


class _Oned(pulumi.CustomResource):
    def __init__(self) -> None:
        super().__init__("test:index:Oned", "oned")


def test_oned_lets_go_of_a_host_before_anything_on_the_host_is_undone() -> None:
    """Deletion runs against the edges: first the Host, and only when it is gone the Command, whose delete script may run."""
    graph = lifecycle_graph(host("kvm-1", address="10.0.0.11"))
    assert "hosts-prepare-kvm-1" in graph.one("Host", "hosts-kvm-1").depends_on


def test_state_and_drain_reach_the_provider_and_the_fleets_stays_in_the_configuration() -> None:
    drain = {"mode": "live", "vmLimit": 60}
    graph = lifecycle_graph(
        host("kvm-1", address="10.0.0.11", state="maintenance", drain=drain), host("kvm-2", address="10.0.0.12")
    )
    first = graph.one("Host", "hosts-kvm-1").inputs
    assert (first["state"], first["drain"]) == ("maintenance", {"mode": "live", "vm_limit": 60, "limit": 1800})
    assert "drain" not in graph.one("Host", "hosts-kvm-2").inputs, "one place to change it, and a smaller state"
    assert [item["state"] for item in graph.one("FleetReady").inputs["hosts"]] == ["maintenance", "enabled"]


def test_an_owner_marks_every_host_of_the_stack() -> None:
    entry = host("kvm-1", address="10.0.0.11")
    assert lifecycle_graph(entry).one("Host", "hosts-kvm-1").inputs["owner"] == default_owner()
    assert default_owner() == f"{pulumi.get_project()}/{pulumi.get_stack()}"
    owned = lifecycle_graph(entry, fleet=FleetSettings(owner="team-a")).one("Host", "hosts-kvm-1")
    assert owned.inputs["owner"] == "team-a"


def test_a_host_itself_is_told_whose_it_is_and_whether_it_may_be_taken_over() -> None:
    def told(**changes: Any) -> str:
        given = replace(args(), **changes)
        return script(given.hosts[0], given, (KEY, KEY))

    assert f"PLAN_OWNERS={default_owner()}\nPLAN_TAKE_OVER=''\n" in told()
    assert f"PLAN_OWNERS='team-a\n{default_owner()}'\n" in told(fleet=FleetSettings(owner="team-a"))
    for policy, take_over in (("always", "yes"), ("refuse", "''")):
        hosts = (args().hosts[0].model_copy(update={"adopt": policy}),)
        assert f"PLAN_TAKE_OVER={take_over}\n" in told(hosts=hosts)


def test_remote_scripts_are_part_of_what_the_fleet_is_probed_for() -> None:
    graph = lifecycle_graph(host("kvm-1", address="10.0.0.11"), remotes="v1")
    assert graph.one("FleetReady").inputs["remotes"] == "v1"


def test_what_no_host_can_do_is_named_with_its_path() -> None:
    lxc, kvm = host("lxc-1", address="10.0.0.11"), host("kvm-1", address="10.0.0.12")
    live, short = {"mode": "live"}, {"mode": "cold", "vmLimit": 100, "limit": 50}
    with pytest.raises(ConfigError) as caught:
        parse(
            config()
            | {
                "hosts": json.dumps([{**lxc, "drain": live}, {**kvm, "drain": short}]),
                "fleet": json.dumps({"drain": {"limit": 10}}),
            }
        )
    assert [str(problem) for problem in caught.value.problems] == [
        "opennebula:fleet.drain.vmLimit: must not exceed limit (10 s)",
        "opennebula:hosts[0].drain.mode: containers cannot be migrated live; use cold or refuse",
        "opennebula:hosts[1].drain.vmLimit: must not exceed limit (50 s)",
    ]


def test_a_host_that_is_declared_is_not_lost() -> None:
    given = config() | {"hosts": json.dumps([host("kvm-1", address="10.0.0.11"), host("kvm-2", address="10.0.0.12")])}
    with pytest.raises(ConfigError) as caught:
        parse(given | {"fleet": json.dumps({"lost": ["gone", "kvm-2"]})})
    assert [str(problem) for problem in caught.value.problems] == [
        "opennebula:fleet.lost[1]: kvm-2 is declared, so it is not lost: take it out of the hosts if its machine is gone, "
        "else out of here"
    ]
    assert parse(given | {"fleet": json.dumps({"lost": ["gone"]})}).fleet.lost == ("gone",)
