"""The providers in a real provider host, spoken to as the engine does; oned is a server on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import grpc
import pytest
from pulumi.runtime.rpc import UNKNOWN

from components.registration.client import HostState, Sample
from tests.lab.plugins.conftest import free_port
from tests.registration.engine import Engine, engine
from tests.registration.servers import PASSWORD, OnedServer

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIILnNqmqRsVnkvuI75v98QbFMcApb0ks4VBTFAT0qPJM"
KVM = {"name": "kvm-1", "im_mad": "kvm", "vm_mad": "kvm"}


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, OnedServer, Path]]:
    log = tmp_path_factory.mktemp("provider") / "stderr"
    server = OnedServer()
    with server.running() as url, engine(log) as running:
        running.configure(
            {
                "opennebula:api": {"url": url, "waitSeconds": 1, "readTimeout": 5, "requestsPerSecond": 1000},
                "opennebula:apiPassword": PASSWORD,
                "opennebula:hosts": [{"name": "kvm-1"}],
            }
        )
        yield running, server, log


@pytest.fixture
def provider(setup: tuple[Engine, OnedServer, Path]) -> Engine:
    return setup[0]


@pytest.fixture
def server(setup: tuple[Engine, OnedServer, Path]) -> OnedServer:
    setup[1].oned.rows.clear()
    setup[1].oned.calls.clear()
    return setup[1]


def test_the_life_of_a_host(provider: Engine, server: OnedServer) -> None:
    inputs, failures = provider.check("host", {**KVM, "labels": {"rack": 7.0}, "reserved_cpu": 100.0})
    assert failures == {}
    assert (inputs["labels"], inputs["reserved_cpu"]) == ({"RACK": "7"}, "100")
    host_id, outputs = provider.create("host", inputs)
    assert host_id == str(int(outputs["host_id"]))
    assert outputs == {**inputs, "host_id": outputs["host_id"]}
    row = server.oned.rows[int(host_id)]
    assert (row.attribute("RACK"), row.attribute("RESERVED_CPU")) == ("7", "100")

    assert provider.diff("host", outputs, inputs) == (False, [], True)
    changed = {**inputs, "labels": {"RACK": "8"}, "state": "disabled"}
    assert provider.diff("host", outputs, changed) == (True, [], True)
    updated = provider.update("host", host_id, outputs, changed)
    assert updated == {**changed, "host_id": outputs["host_id"]}, "an update returns everything, or outputs vanish"
    assert server.oned.rows[int(host_id)].state == HostState.DISABLED

    found, seen, seen_inputs = provider.read("host", host_id, updated)
    assert (found, seen, seen_inputs) == (host_id, updated, changed)

    server.oned.rows.clear()
    provider.delete("host", host_id, updated)


def test_a_refresh_shows_drift_as_a_difference(provider: Engine, server: OnedServer) -> None:
    inputs, _ = provider.check("host", {**KVM, "name": "drifting"})
    host_id, outputs = provider.create("host", inputs)
    server.oned.change(int(host_id), state=HostState.OFFLINE)
    provider.update("host", host_id, outputs, inputs)  # heals; and what this process wrote is read anew
    server.oned.change(int(host_id), state=HostState.OFFLINE)
    _, seen, seen_inputs = provider.read("host", host_id, outputs)
    assert seen_inputs["state"] == "offline"
    assert provider.diff("host", seen, inputs) == (True, [], True)


def test_a_refresh_shows_another_owner_and_an_update_refuses_it(provider: Engine, server: OnedServer) -> None:
    """What this stack has written is remembered apart: `owner` after a refresh is what oned has."""
    inputs, _ = provider.check("host", {**KVM, "name": "shared", "owner": "a/prod"})
    host_id, outputs = provider.create("host", inputs)
    assert outputs["marked"] == "a/prod"
    renamed = {**inputs, "owner": "a/renamed"}
    assert provider.diff("host", outputs, renamed) == (True, [], True)
    outputs = provider.update("host", host_id, outputs, renamed)  # the stack's own name may change
    assert outputs["marked"] == server.oned.rows[int(host_id)].attribute("MANAGED_BY") == "a/renamed"

    row = server.oned.rows[int(host_id)]
    server.oned.change(int(host_id), template={**row.template, "MANAGED_BY": "b/prod"})
    found, seen, seen_inputs = provider.read("host", host_id, outputs)
    assert (found, seen["owner"], seen["marked"]) == (host_id, "b/prod", "a/renamed")
    assert "marked" not in seen_inputs
    assert provider.diff("host", seen, renamed) == (True, [], True)
    with pytest.raises(grpc.RpcError, match=r"'shared' .*is not changed: it belongs to b/prod now.*stack is a/renamed"):
        provider.update("host", host_id, seen, renamed)
    with server.running() as url, engine() as later:
        later.configure({"opennebula:api": {"url": url, "requestsPerSecond": 1000}, "opennebula:apiPassword": PASSWORD})
        later.delete("host", host_id, seen)
        assert int(host_id) in server.oned.rows, "it is another stack's, also after a refresh"
        outputs = later.update("host", host_id, seen, {**renamed, "adopt": "always"})
        assert server.oned.rows[int(host_id)].attribute("MANAGED_BY") == "a/renamed"
        later.delete("host", host_id, outputs)
        assert int(host_id) not in server.oned.rows


def test_a_number_that_is_another_hosts_now_counts_as_gone(server: OnedServer) -> None:
    """A new database. A refresh must not learn the other's name, or the replacement would delete it."""
    outputs = {**KVM, "name": "kvm-5", "owner": "a/prod", "marked": "a/prod"}
    with server.running() as url:
        for name, mark, shown in (
            ("somebody-elses", "", False),
            ("somebody-elses", "b/prod", False),
            ("kvm-1", "a/prod", False),  # declared: another one of ours
            ("by-hand", "a/prod", True),  # ours, and renamed
        ):
            number = server.oned.insert(name, template={"IM_MAD": "kvm", "VM_MAD": "kvm", "MANAGED_BY": mark})
            with engine() as other:
                other.configure(
                    {
                        "opennebula:api": {"url": url, "requestsPerSecond": 1000},
                        "opennebula:apiPassword": PASSWORD,
                        "opennebula:hosts": [{"name": "kvm-1", "kind": "kvm"}, {"name": "kvm-5", "kind": "lxc"}],
                    }
                )
                found, seen, _ = other.read("host", str(number), {**outputs, "host_id": number})
                assert (found == str(number)) is shown, (name, mark)
                other.delete("host", str(number), {**outputs, "host_id": number})
                assert number in server.oned.rows
                if shown:
                    assert other.diff("host", seen, outputs)[1] == ["name"]
                    other.delete("host", str(number), seen)  # the first half of its replacement
                    assert number not in server.oned.rows
                server.oned.rows.clear()


def test_the_machine_of_a_host_that_is_another_stacks_is_not_cleaned(server: OnedServer) -> None:
    """Its login leads nowhere: whoever tried would fail."""
    props = {**KVM, "name": "old", "owner": "a", "marked": "a", "login": "root@127.0.0.1:1", "host_key": KEY}
    with server.running() as url, engine() as other:
        other.configure(
            {
                "opennebula:api": {"url": url, "requestsPerSecond": 1000},
                "opennebula:apiPassword": PASSWORD,
                "opennebula:fleet": {"onRemoval": "uninstall"},
            }
        )
        taken = server.oned.insert("old", template={"IM_MAD": "kvm", "VM_MAD": "kvm", "MANAGED_BY": "b"})
        for number in (taken, 4711):  # taken over, and registered anew in another database
            other.delete("host", str(number), {**props, "host_id": number})
        server.oned.change(taken, name="else")
        other.delete("host", str(taken), {**props, "host_id": taken})
        assert taken in server.oned.rows
        with pytest.raises(grpc.RpcError, match="has left oned"):
            other.delete("host", "4711", {**props, "host_id": 4711})


def test_a_refresh_of_many_hosts_by_all_threads_is_one_call(server: OnedServer) -> None:
    ids = {server.oned.insert(f"many-{number}"): f"many-{number}" for number in range(60)}
    with server.running() as url, engine() as other:
        other.configure({"opennebula:api": {"url": url, "requestsPerSecond": 1000}, "opennebula:apiPassword": PASSWORD})
        with ThreadPoolExecutor(16) as callers:
            found = callers.map(
                lambda number: other.read("host", str(number), {**KVM, "name": ids[number], "host_id": number})[0],
                ids,
            )
            assert list(found) == [str(number) for number in ids]
    assert server.oned.counted() == {"hosts": 1}


def test_registration_by_all_threads_keeps_to_two_calls_a_host(server: OnedServer) -> None:
    with server.running() as url, engine() as other:
        other.configure({"opennebula:api": {"url": url, "requestsPerSecond": 1000}, "opennebula:apiPassword": PASSWORD})
        with ThreadPoolExecutor(16) as callers:
            made = list(
                callers.map(lambda number: other.create("host", {**KVM, "name": f"new-{number}"})[0], range(40))
            )
    assert len(set(made)) == 40
    assert len(server.oned.calls) <= 2 * 40 + 5
    assert server.most_at_once <= 4


def test_hosts_with_labels_cost_their_two_writes_and_a_quarter_of_a_list(server: OnedServer) -> None:
    """The provider host serves four at once, and each must see its own name, and its labels, in a list asked for later."""
    with server.running() as url, engine() as other:
        other.configure({"opennebula:api": {"url": url, "requestsPerSecond": 1000}, "opennebula:apiPassword": PASSWORD})
        with ThreadPoolExecutor(16) as callers:
            labels = {"RACK": "r1", "ROW": "7"}
            made = list(
                callers.map(
                    lambda number: other.create("host", {**KVM, "name": f"new-{number}", "labels": labels})[0],
                    range(80),
                )
            )
    counted = server.oned.counted()
    assert (counted["allocate"], counted["update"], counted["host"]) == (80, 80, 0)
    assert counted["hosts"] <= 80 / 4 + 5, counted
    assert all(server.oned.rows[int(host_id)].attribute("RACK") == "r1" for host_id in made)
    assert all(server.oned.rows[int(host_id)].attribute("IM_MAD") == "kvm" for host_id in made), "merged"


def test_a_changed_trigger_or_remote_scripts_probe_every_host_again(provider: Engine, server: OnedServer) -> None:
    host_id = server.oned.insert("kvm-1", state=HostState.MONITORED)
    server.oned.samples = [Sample(host_id=host_id, timestamp=stamp) for stamp in (100, 103, 160)]
    news = {"hosts": [{"name": "kvm-1", "id": host_id}], "limit_seconds": 0.2, "poll_seconds": 0.1, "remotes": "a"}
    inputs, _ = provider.check("fleet", news)
    for change in ({"remotes": "b"}, {"trigger": "b"}):
        other, _ = provider.check("fleet", {**news, **change})
        assert provider.diff("fleet", inputs, other)[0] is True
        server.oned.change(host_id, state=HostState.MONITORED)
        server.oned.calls.clear()
        with pytest.raises(grpc.RpcError, match="1 of 1 enabled hosts are not monitored"):
            provider.update("fleet", "fleet", inputs, other)
        assert [call[2] for call in server.oned.calls if call[0] == "set_state"] == ["offline", "enabled"]


def test_a_host_that_was_missing_is_probed_again_and_no_other(provider: Engine, server: OnedServer) -> None:
    """While it could not be prepared, remote scripts or monitoring may have changed for all others."""
    ids = [server.oned.insert(name, state=HostState.MONITORED) for name in ("kvm-1", "kvm-2")]
    server.oned.samples = [Sample(host_id=id_, timestamp=stamp) for id_ in ids for stamp in (100, 103)]
    hosts = [{"name": f"kvm-{number}", "id": id_} for number, id_ in enumerate(ids, 1)]
    limits = {"limit_seconds": 0.2, "poll_seconds": 0.1, "remotes": "a"}
    (without, _), (whole, _) = (provider.check("fleet", {"hosts": some, **limits}) for some in (hosts[:1], hosts))
    with pytest.raises(grpc.RpcError, match="1 of 2 enabled hosts are not monitored"):
        provider.update("fleet", "fleet", without, whole)
    assert {call[1] for call in server.oned.calls if call[0] == "set_state"} == {ids[1]}


def test_a_removal_drains_as_the_host_says_or_as_the_fleet_is_set_now(server: OnedServer) -> None:
    def vms() -> tuple[int, int]:
        server.oned.rows.clear()
        old = server.oned.insert("old", state=HostState.MONITORED)
        server.oned.insert("new", state=HostState.MONITORED, free_cpu=900, free_memory=10**6)
        return old, server.oned.run_machine(old)

    base = {"opennebula:api": {"requestsPerSecond": 1000}, "opennebula:apiPassword": PASSWORD}
    live = {"mode": "live", "vm_limit": 60.0, "limit": 60.0}
    with server.running() as url:
        for fleet, drain, hosts, moved in (
            ({}, None, [], None),
            ({"drain": {"mode": "live"}}, None, [], True),
            ({"drain": {"mode": "cold", "vmLimit": 5, "limit": 9}}, None, [], False),
            ({"drain": {"mode": "cold"}}, live, [], True),
            ({"drain": {"mode": "live"}}, {**live, "mode": "refuse"}, [], None),
            # The whole stack goes: nowhere to go to.
            ({"drain": {"mode": "live"}}, live, [{"name": "old", "kind": "kvm"}], None),
        ):
            old, vm = vms()
            server.oned.calls.clear()
            with engine() as other:
                config = {"opennebula:fleet": fleet, "opennebula:hosts": hosts, "opennebula:storage": {"retain": False}}
                other.configure({**base, **config, "opennebula:api": {"url": url, "requestsPerSecond": 1000}})
                props = {**KVM, "name": "old", "host_id": old, **({"drain": drain} if drain else {})}
                if moved is None:
                    with pytest.raises(grpc.RpcError, match="1 VM runs on it"):
                        other.delete("host", str(old), props)
                else:
                    other.delete("host", str(old), props)
            assert [call[1:] for call in server.oned.calls if call[0] == "migrate"] == (
                [] if moved is None else [(vm, old + 1, moved)]
            )
            assert (old in server.oned.rows) is (moved is None)


def test_a_host_that_has_left_oned_and_does_not_answer_is_told_until_it_is_said_to_be_lost(server: OnedServer) -> None:
    host_id = server.oned.insert("old")
    login = f"root@127.0.0.1:{free_port()}"
    props = {**KVM, "name": "old", "host_id": host_id, "login": login, "host_key": KEY}
    with server.running() as url:
        base = {
            "opennebula:api": {"url": url, "requestsPerSecond": 1000},
            "opennebula:apiPassword": PASSWORD,
            "opennebula:sshPrivateKey": asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode(),
            "opennebula:ssh": {"dialAttempts": 1, "dialTimeout": 1},
        }
        with engine() as other:
            other.configure({**base, "opennebula:fleet": {"onRemoval": "clean"}})
            for _ in range(2):  # oned has forgotten it with the first, and what is undone is still told with the second
                with pytest.raises(
                    grpc.RpcError, match=r"'old' has left oned.*connection refused.*fleet\.lost"
                ) as caught:
                    other.delete("host", str(host_id), props)
                assert "PRIVATE KEY" not in str(caught.value)
                assert host_id not in server.oned.rows
        with engine() as other:
            other.configure({**base, "opennebula:fleet": {"onRemoval": "clean", "lost": ["old"]}})
            other.delete("host", str(host_id), props)


def test_a_host_that_stays_or_comes_back_with_another_driver_is_not_asked(server: OnedServer) -> None:
    """Its login leads nowhere: whoever tried would fail."""
    props = {**KVM, "name": "old", "login": "root@127.0.0.1:1", "host_key": KEY}
    with server.running() as url:
        base = {"opennebula:api": {"url": url, "requestsPerSecond": 1000}, "opennebula:apiPassword": PASSWORD}
        for hosts, stays in (
            ([{"name": "old", "kind": "kvm"}], True),  # destroy, and data is retained
            ([{"name": "old", "kind": "lxc"}], False),
            ([{"name": "new", "address": "127.0.0.1", "port": 1, "kind": "kvm"}], False),
        ):
            host_id = server.oned.insert("old")
            with engine() as other:
                other.configure({**base, "opennebula:fleet": {"onRemoval": "uninstall"}, "opennebula:hosts": hosts})
                other.delete("host", str(host_id), {**props, "host_id": host_id})
            assert (host_id in server.oned.rows) is stays
            server.oned.rows.clear()


def test_where_a_host_is_reached_travels_through_the_state(provider: Engine, server: OnedServer) -> None:
    more = {"login": "deploy@192.0.2.7:22", "host_key": KEY, "on_removal": "clean"}
    inputs, failures = provider.check("host", {**KVM, "name": "reached", **more})
    assert failures == {} and more.items() <= inputs.items()
    host_id, outputs = provider.create("host", inputs)
    assert provider.read("host", host_id, outputs)[1:] == (outputs, inputs)
    assert provider.diff("host", outputs, {**inputs, "on_removal": "keep"}) == (True, [], True)
    _, failures = provider.check("host", {**KVM, "login": "nobody", "on_removal": "burn"})
    assert failures.keys() == {"login", "on_removal"}


def test_drain_and_maintenance_travel_through_the_state(provider: Engine, server: OnedServer) -> None:
    drain = {"mode": "live", "vm_limit": 60, "limit": 120}
    inputs, failures = provider.check("host", {**KVM, "name": "closed", "state": "maintenance", "drain": drain})
    assert failures == {}
    host_id, outputs = provider.create("host", inputs)
    assert server.oned.rows[int(host_id)].state == HostState.DISABLED
    assert provider.diff("host", outputs, inputs) == (False, [], True)
    assert provider.read("host", host_id, outputs)[1:] == (outputs, inputs)
    assert provider.diff("host", outputs, {**inputs, "drain": {**drain, "mode": "cold"}}) == (True, [], True)
    _, failures = provider.check("host", {**KVM, "drain": {"mode": "hot", "vm_limit": 0, "limit": "long"}})
    assert failures.keys() == {"drain.mode", "drain.vm_limit", "drain.limit"}
    _, failures = provider.check("host", {**KVM, "drain": "live"})
    assert failures.keys() == {"drain"}


def test_a_host_that_is_gone_is_read_as_gone(provider: Engine, server: OnedServer) -> None:
    assert provider.read("host", "4711", {**KVM, "host_id": 4711}) == ("", {}, {})


@pytest.mark.parametrize(("key", "value"), [("name", "kvm-9"), ("im_mad", "lxc"), ("vm_mad", "lxc")])
def test_another_name_or_driver_replaces_and_deletes_first(provider: Engine, key: str, value: str) -> None:
    inputs, _ = provider.check("host", KVM)
    assert provider.diff("host", {**inputs, "host_id": 0}, {**inputs, key: value}) == (True, [key], True)


def test_unknown_values_are_respected(provider: Engine) -> None:
    """A preview: nothing is checked that is not known, nothing is lost, and the difference is assumed."""
    inputs, failures = provider.check("host", {**KVM, "cluster": UNKNOWN, "labels": {"RACK": UNKNOWN}})
    assert failures == {}
    assert inputs["cluster"] not in ("default", None)
    known, _ = provider.check("host", KVM)
    changes, replaces, _ = provider.diff("host", known, {**known, "cluster": UNKNOWN})
    assert (changes, replaces) == (True, [])
    changes, replaces, _ = provider.diff("host", known, {**known, "name": UNKNOWN})
    assert (changes, replaces) == (True, ["name"])
    inputs, failures = provider.check("fleet", {"hosts": [{"name": "kvm-1", "id": UNKNOWN}], "limit_seconds": UNKNOWN})
    assert failures == {}


def test_refused_inputs_name_the_input(provider: Engine) -> None:
    _, failures = provider.check(
        "host",
        {
            "name": "fe80::1",
            "im_mad": "k vm",
            "state": "on",
            "labels": {"VM_MAD": "x", "A": "two\nlines"},
            "adopt": "?",
        },
    )
    assert failures.keys() == {"name", "im_mad", "vm_mad", "state", "labels.VM_MAD", "labels.A", "adopt"}
    assert "IPv6" in failures["name"]
    assert failures["vm_mad"] == "is missing"


def test_check_and_diff_ask_nobody(provider: Engine, server: OnedServer) -> None:
    before = server.requests
    inputs, _ = provider.check("host", KVM)
    provider.diff("host", inputs, {**inputs, "state": "offline"})
    provider.diff("fleet", {"hosts": []}, {"hosts": [{"name": "a", "id": 1.0}]})
    assert server.requests == before


def test_the_fleet_is_waited_for_and_an_unchanged_one_is_not(provider: Engine, server: OnedServer) -> None:
    """A host that this process has registered is not probed a second time."""
    first = int(provider.create("host", {**KVM, "name": "fresh"})[0])
    server.oned.change(first, state=HostState.MONITORED)
    second = server.oned.insert("dark", state=HostState.OFFLINE)
    server.oned.samples = [Sample(host_id=first, timestamp=100), Sample(host_id=first, timestamp=103)]
    news = {
        "hosts": [{"name": "fresh", "id": float(first)}, {"name": "dark", "id": str(second), "state": "offline"}],
        "limit_seconds": 20.0,
        "poll_seconds": 0.1,
    }
    inputs, failures = provider.check("fleet", news)
    assert failures == {}
    id_, outputs = provider.create("fleet", inputs)
    assert (id_, outputs["states"]) == ("fleet", {"fresh": "MONITORED", "dark": "OFFLINE"})
    assert provider.diff("fleet", outputs, inputs)[0] is False
    longer, _ = provider.check("fleet", {**news, "limit_seconds": 99})
    assert provider.diff("fleet", outputs, longer)[0] is False
    for change in ({"trigger": "x"}, {"hosts": news["hosts"][:1]}):  # type: ignore[index]
        other, _ = provider.check("fleet", {**news, **change})
        assert provider.diff("fleet", outputs, other)[0] is True
    assert provider.update("fleet", id_, outputs, longer)["limit_seconds"] == 99
    assert provider.read("fleet", id_, outputs)[1] == outputs
    provider.delete("fleet", id_, outputs)


def test_fleet_inputs_that_cannot_be(provider: Engine) -> None:
    hosts = [{"name": "a", "id": "x"}, {"name": "b", "id": 1, "state": "on"}]
    _, failures = provider.check("fleet", {"hosts": hosts, "poll_seconds": 0.0, "limit_seconds": "long"})
    assert failures.keys() == {"hosts[0].id", "hosts[1].state", "poll_seconds", "limit_seconds"}


def test_an_error_is_one_message_without_traceback_or_credential(
    provider: Engine, server: OnedServer, setup: tuple[Engine, OnedServer, Path]
) -> None:
    server.instead = lambda method: (
        [False, f"refused for oneadmin:{PASSWORD}", 0x2000, -1, -1] if "pool" in method else None
    )
    try:
        with pytest.raises(grpc.RpcError) as caught:
            provider.create("host", {**KVM, "name": "leak"})
    finally:
        server.instead = lambda _method: None
    text = _details(caught.value)
    assert "list the hosts: refused for [secret]" in text
    assert "\n" not in text
    shown = setup[2].read_text()
    assert PASSWORD not in text + shown
    assert "Traceback" not in shown


def test_many_lines_only_where_there_are_many_hosts(provider: Engine, server: OnedServer) -> None:
    ids = [server.oned.insert(f"h-{number}", state=HostState.ERROR, error="no route") for number in range(2)]
    hosts = [{"name": f"h-{number}", "id": host_id} for number, host_id in enumerate(ids)]
    with pytest.raises(grpc.RpcError) as caught:
        provider.create("fleet", {"hosts": hosts, "limit_seconds": 0.2, "poll_seconds": 0.1, "reprobe_seconds": 60})
    text = _details(caught.value)
    assert "2 of 2 enabled hosts are not monitored after 0 s" in text
    assert text.count("\n  h-") == 2


def _details(error: grpc.RpcError) -> str:
    assert isinstance(error, grpc.Call)
    return str(error.details())


def test_wrong_settings_are_named_for_every_operation(provider: Engine) -> None:
    for config, message in (
        ({"opennebula:api": "not json"}, "opennebula:api: is not JSON text"),
        ({"opennebula:api": {"readTimeout": -1}}, "opennebula:api.readTimeout: must be a number above 0"),
        ({"opennebula:kubernetes": {"namespace": 3}}, "opennebula:kubernetes.namespace: must be text"),
        ({"opennebula:kubernetes": []}, "opennebula:kubernetes: must be a group of settings"),
    ):
        with engine() as other:
            other.configure(config)
            with pytest.raises(grpc.RpcError) as caught:
                other.check("host", KVM)
            assert message in _details(caught.value)


def test_configure_connects_to_nothing_and_a_dead_oned_is_one_error(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/RPC2"
    with engine(tmp_path / "stderr") as other:
        other.configure({"opennebula:api": {"url": url, "waitSeconds": 0.5}, "opennebula:apiPassword": PASSWORD})
        assert other.check("host", KVM)[1] == {}
        with pytest.raises(grpc.RpcError) as caught:
            other.create("host", KVM)
        details = _details(caught.value)
    assert "cannot connect to 127.0.0.1" in details
    assert "Next: `curl -v" in details
