"""The whole program, `__main__.py` itself, on the dev and prod configuration: rules that must hold for the graph."""

from __future__ import annotations

import base64
import json
import re
import runpy
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.generated.keys import new_key_pair
from components.host_settings import way
from components.manifests import content_hash
from components.preparing.values import Target
from policy.rules import violations
from stacks.control_plane import FIELD_MANAGER
from stacks.secrets import SECRETS
from stacks.settings import ConfigError, parse
from tests.examples import host
from tests.graph import Graph, Record, deploy, reveal
from tests.openpgp_key import ARMORED, FINGERPRINT

ROOT = Path(__file__).resolve().parents[2]
KEY = new_key_pair().private_key


def stack_config(name: str) -> dict[str, str]:
    """The values of Pulumi.<name>.yaml as the engine hands them over, with what an operator must fill in."""
    values: dict[str, Any] = yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text())["config"]
    if "opennebula:packages" in values:
        # The example cannot carry a real repository key.
        values["opennebula:packages"] |= {"key": ARMORED, "fingerprint": FINGERPRINT}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    return texts | ({"opennebula:sshPrivateKey": KEY} if values.get("opennebula:hosts") else {})


def run(config: dict[str, str], failing: Collection[str] = ()) -> Graph:
    secrets = [f"opennebula:{key}" for key in SECRETS]
    return deploy(
        lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"),
        config=config,
        secret_keys=secrets,
        failing=failing,
    )


@cache
def graph(name: str) -> Graph:
    return run(config_of(name))


def config_of(name: str) -> dict[str, str]:
    """Of an example: a tracked stack file's, or one of the two that stand here."""
    made = {"lab": lab_like, "lts": lts_like}
    return made[name]() if name in made else stack_config(name)


def lab_like() -> dict[str, str]:
    """dev with two hosts, as the lab has it."""
    prod = stack_config("prod")
    return stack_config("dev") | {
        "opennebula:hosts": json.dumps([host("kvm-1", address="198.51.100.5"), host("lxc-1", address="198.51.100.6")]),
        "opennebula:packages": prod["opennebula:packages"],
        "opennebula:network": prod["opennebula:network"],
        "opennebula:sshPrivateKey": KEY,
    }


def lts_like() -> dict[str, str]:
    """The same with 6.10: every daemon that it has, the ones that people see behind an ingress."""
    daemons = ("oned", "fireedge", "oneflow", "onegate", "sunstone")
    images = {name: f"registry.example/one/{name}:6.10.5" for name in daemons}
    values = {
        "images": {**images, "mariadb": "docker.io/library/mariadb:10.11.14"},
        "onegate": {
            "enabled": True,
            "exposure": "loadBalancer",
            "address": "192.0.2.11",
            "vmNetworks": ["100.64.0.0/16"],
        },
        "sunstone": {"enabled": True, "publicFireedgeUrl": "https://cloud.example.com"},
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "controllerNamespace": "ingress-nginx",
            "tls": {"kind": "certManager", "clusterIssuer": "letsencrypt"},
            "hosts": {"fireedge": "cloud.example.com", "sunstone": "classic.example.com"},
        },
    }
    texts = {f"opennebula:{key}": json.dumps(value) for key, value in values.items()}
    return lab_like() | {"opennebula:version": "6.10"} | texts


stacks = pytest.mark.parametrize("name", ["dev", "prod", "lab", "lts"])


@stacks
def test_every_rule_holds(name: str) -> None:
    found = [line for r in graph(name).records for line in violations(r.type, r.name, reveal(dict(r.inputs)))]
    assert found == []


@stacks
def test_kubernetes_objects_go_through_the_one_explicit_provider(name: str) -> None:
    records = [r for r in graph(name).records if r.type.startswith("kubernetes:")]
    assert records
    assert {r.provider.split("::")[-2] for r in records} == {"cluster"}


@stacks
def test_no_secret_reaches_a_config_map_or_an_environment(name: str) -> None:
    for record in graph(name).records:
        if record.kind in ("ConfigMap", "StatefulSet"):
            assert "Secret(" not in repr(dict(record.inputs)), record.name
            assert "PRIVATE" not in repr(reveal(dict(record.inputs)))
            assert "generated-" not in repr(reveal(dict(record.inputs)))


@stacks
def test_configuration_that_is_named_by_its_content_is_never_deleted(name: str) -> None:
    """A way back to the configuration of before must find it, also after an update that failed."""
    maps = graph(name).all("ConfigMap")
    hashed = [
        record for record in maps if re.search(r"-[0-9a-f]{10}$", reveal(dict(record.inputs))["metadata"]["name"])
    ]
    assert len(hashed) >= 4
    assert [record.name for record in hashed if not record.retained] == []


@stacks
def test_same_settings_same_graph(name: str) -> None:
    def shape(found: Graph) -> list[tuple[str, str, str]]:
        return sorted((r.type, r.name, json.dumps(dict(r.inputs), default=repr, sort_keys=True)) for r in found.records)

    assert shape(graph(name)) == shape(run(config_of(name)))


@stacks
def test_logical_names_start_with_their_components(name: str) -> None:
    for record in graph(name).records:
        if (
            record.parent
            and record.parent not in ("opennebula", "opennebula-test")
            and record.type != "pulumi:providers:kubernetes"
        ):
            assert record.name.startswith(f"{record.parent}-"), record


def prepared(found: Graph) -> list[Record]:
    """The Commands of single hosts."""
    return [command for command in found.all("Command") if command.name != "hosts-peers"]


def test_two_resources_a_host_and_one_connection() -> None:
    found = graph("prod")
    assert len(prepared(found)) == len(found.all("Host")) == 3
    assert len(found.all("FleetReady")) == 1


def test_hosts_are_made_known_to_each_other_once_all_are_registered() -> None:
    """By one resource, so that a new host shows as one more change and not as one of every other host."""
    found = graph("prod")
    peers = found.one("Command", "hosts-peers")
    # And so prepared: each Host waits for its own Command. Not named here again, as every name stands in the state.
    assert {item.name for item in found.all("Host")} <= set(peers.depends_on)
    assert not {command.name for command in prepared(found)} & set(peers.depends_on)
    assert set(peers.inputs) == {"create", "environment", "logging"}
    assert [(name, len(value)) for name, value in peers.inputs["environment"].items()] == [("ONE_EVERYONE", 64)]
    assert peers.hooks == ("hosts-peers",)
    config = stack_config("prod")
    groups = json.loads(config["opennebula:hostGroups"])
    groups["rack-a"]["addresses"] = "198.51.100.41/24"
    changed = run(config | {"opennebula:hostGroups": json.dumps(groups)})
    assert changed.one("Command", "hosts-peers").inputs != peers.inputs


GONE = "hosts-kvm-01.example.com"


@pytest.mark.parametrize("failing", [GONE, GONE.replace("hosts-", "hosts-prepare-")])
def test_a_host_that_fails_keeps_no_other_from_what_concerns_all(failing: str) -> None:
    names = {item.name for item in graph("prod").all("Host")}
    assert GONE in names and len(names) > 2
    found = run(config_of("prod"), [failing])
    peers, ready = found.one("Command", "hosts-peers"), found.one("FleetReady")
    assert {host["name"] for host in ready.inputs["hosts"]} == {name.removeprefix("hosts-") for name in names - {GONE}}
    for waiting in (peers, ready):
        # What depends on a resource that failed is left out by the engine.
        assert set(waiting.depends_on) & names == names - {GONE}
        assert "hosts-oned" in waiting.depends_on
    assert peers.inputs != graph("prod").one("Command", "hosts-peers").inputs, "the others only are told"


def test_without_oned_nothing_is_asked_of_all_hosts() -> None:
    found = run(config_of("prod"), ["hosts-oned"])
    assert not [record.name for record in found.records if record.name in ("hosts-peers", "hosts-monitored")]


def test_the_preparation_of_an_offline_host_is_left_for_later() -> None:
    """It may be switched off, and a run must not fail for that; its registration is kept true."""
    config = lab_like()
    first, *rest = json.loads(config["opennebula:hosts"])
    found = run(config | {"opennebula:hosts": json.dumps([{**first, "state": "offline"}, *rest])})
    ignored = {command.name: set(command.ignored) for command in prepared(found)}
    own = found.one("Command", f"hosts-prepare-{first['name']}")
    assert ignored.pop(own.name) == set(own.inputs) - {"logging"}
    assert set().union(*ignored.values()) == set()
    assert found.one("Host", f"hosts-{first['name']}").ignored == ()


def test_a_list_of_hosts_in_another_order_is_no_change_for_them() -> None:
    config = lab_like()
    turned = json.dumps(json.loads(config["opennebula:hosts"])[::-1])
    assert turned != config["opennebula:hosts"]
    before, after = (
        found.one("Command", "hosts-peers") for found in (graph("lab"), run(config | {"opennebula:hosts": turned}))
    )
    assert after.inputs == before.inputs


def test_preparing_hosts_waits_for_neither_database_nor_oned() -> None:
    found = graph("prod")
    for command in prepared(found):
        assert set(command.depends_on) <= {"ssh-oneadmin", "ssh-frontend-host"}


def test_registering_waits_for_the_host_and_for_oned() -> None:
    found = graph("prod")
    for item in found.all("Host"):
        name = item.name.removeprefix("hosts-")
        # No more than that: every name stands in the state of every host.
        assert set(item.depends_on) == {f"hosts-prepare-{name}", "hosts-oned"}
    kept = kept_for_oned(found)
    assert {"oned-statefulset", "mariadb-statefulset", "namespace-allow-dns"} <= kept
    assert kept <= set(found.one("OnedReady").depends_on)


def kept_for_oned(found: Graph) -> set[str]:
    """What oned needs to answer a call. A destroy keeps what a failed resource depends on, and nothing else."""
    parents = {"oned", "mariadb", "namespace"}
    return {record.name for record in found.records if record.parent in parents and record.custom}


def test_the_daemons_start_side_by_side() -> None:
    found = graph("prod")
    workloads = [record for kind in ("StatefulSet", "Deployment") for record in found.all(kind)]
    names = {record.name for record in workloads}
    assert len(names) == 5
    assert {record.name: set(record.depends_on) & names for record in workloads} == {name: set() for name in names}


def test_every_connection_is_pinned_also_the_bastion() -> None:
    settings = parse(
        {key.removeprefix("opennebula:"): text for key, text in stack_config("prod").items()},
    )
    bastion = way(settings.ssh).bastion
    assert bastion is not None and bastion.host_key.startswith("ssh-")
    for command in prepared(graph("prod")):
        assert Target.read(command.inputs["environment"]).endpoint.host_key.startswith("ssh-")


def test_commands_hold_no_secret_and_no_script() -> None:
    """The key goes to an agent, the script to a file; the state gets a digest that changes when the script does."""
    for command in prepared(graph("prod")):
        assert command.type == "command:local:Command"
        assert set(command.inputs) == {"create", "environment", "logging"}
        text = json.dumps(dict(command.inputs), default=repr)
        assert "PRIVATE" not in text and "Secret(" not in text
        assert len(text) < 400
        assert command.inputs["logging"] == "none"
        assert command.hooks == ("hosts-prepare",)


def test_a_new_bastion_or_limit_touches_no_host() -> None:
    """How hosts are reached is no property of theirs."""
    config = stack_config("prod")
    ssh = json.loads(config["opennebula:ssh"])
    ssh |= {"dialTimeout": 9, "bastion": ssh["bastion"] | {"host": "other.example.com"}}

    def commands(found: Graph) -> dict[str, dict[str, Any]]:
        return {command.name: dict(command.inputs) for command in found.all("Command")}

    assert commands(run(config | {"opennebula:ssh": json.dumps(ssh)})) == commands(graph("prod"))


def test_host_resources_carry_no_secret_and_no_code() -> None:
    for item in graph("prod").all("Host"):
        assert "Secret(" not in repr(dict(item.inputs))
        reference = base64.b64decode(item.inputs["__provider"])
        assert b"components.registration.provider" in reference and len(reference) < 120


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_every_object_has_the_one_field_manager(stack: str) -> None:
    objects = [item for item in graph(stack).records if item.type.startswith("kubernetes:")]
    assert len(objects) > 20
    for item in objects:
        assert item.inputs["metadata"]["annotations"]["pulumi.com/patchFieldManager"] == FIELD_MANAGER, item.name


def test_oned_knows_the_hosts_by_their_pins() -> None:
    files = graph("prod").one("ConfigMap", "oned-known-hosts").inputs["data"]
    assert files["known_hosts"].count("ssh-ed25519") == 3
    assert "HostName 198.51.100.11" in files["hosts.conf"]


def test_consoles_find_the_hosts_at_their_addresses() -> None:
    lines = graph("prod").one("ConfigMap", "oned-known-hosts").inputs["data"]["etc-hosts"].splitlines()
    assert lines[:2] == ["127.0.0.1 localhost", "::1 localhost"]
    assert lines[2:] == [
        "198.51.100.11 kvm-01.example.com",
        "198.51.100.12 kvm-02.example.com",
        "198.51.100.21 lxc-01.example.com",
    ]


def oned_containers(name: str) -> set[str]:
    spec = graph(name).one("StatefulSet", "oned-statefulset").inputs["spec"]["template"]["spec"]
    return {each["name"] for each in spec["containers"]}


def test_the_scheduler_is_a_container_of_6_10_and_a_driver_of_7_4() -> None:
    assert "scheduler" in oned_containers("lts")
    assert "scheduler" not in oned_containers("lab")
    found = conf_texts("lts")
    assert "SCHED_INTERVAL" not in found["sched.conf"]  # left out: the release's own
    assert 'ONE_XMLRPC = "http://localhost:2633/RPC2"' in found["sched.conf"]
    assert "sched.conf" not in conf_texts("lab")


def conf_texts(name: str) -> dict[str, str]:
    """Text of every configuration file of the graph, by file name."""
    found: dict[str, str] = {}
    for record in graph(name).records:
        if record.kind in ("ConfigMap", "Secret"):
            inputs = reveal(dict(record.inputs))
            found |= inputs.get("data") or {}
            found |= inputs.get("stringData") or {}
    return found


def test_files_of_6_10_hold_nothing_that_only_7_4_reads() -> None:
    old, new = conf_texts("lts"), conf_texts("lab")
    for name, key in (("monitord.conf", "EXEC_VM"), ("oned.conf", "MASTER_ONED_GRPC")):
        assert key in new[name]
        assert key not in old[name]
    assert ":server:" not in old["onegate-server.conf"]


def test_sunstone_is_there_with_6_10_at_its_own_port_and_behind_the_ingress() -> None:
    found = graph("lts")
    ports = {port["name"]: port["port"] for port in found.one("Service", "sunstone-service").inputs["spec"]["ports"]}
    assert ports == {"http": 9869, "novnc": 29876}
    assert conf_texts("lts")["sunstone-server.conf"].count(":port: 9869") == 1
    backends = [
        path["backend"]["service"]
        for record in found.all("Ingress")
        for rule in record.inputs.get("spec", {}).get("rules", ())
        for path in rule["http"]["paths"]
    ]
    assert sorted(each["name"] for each in backends) == ["fireedge", "sunstone"]
    assert not [
        record for name in ("dev", "prod", "lab") for record in graph(name).records if "sunstone" in record.name
    ]


def test_a_fleet_is_proved_anew_by_what_its_own_release_reads() -> None:
    """The trigger is of the text and the key that onemonitord gets; the text differs between the releases."""
    keys = graph("lab").one("Secret", "oned-monitord-keys").inputs["stringData"]
    public = reveal(keys)["public.pem"]
    triggers = {name: graph(name).one("FleetReady").inputs["trigger"] for name in ("lab", "lts")}
    assert triggers["lab"] == content_hash(conf_texts("lab")["monitord.conf"], public)
    assert triggers["lts"] == content_hash(conf_texts("lts")["monitord.conf"], public)


def test_declared_clusters_come_before_what_is_in_them() -> None:
    values = lab_like()
    hosts = json.loads(values["opennebula:hosts"])
    hosts[0]["cluster"] = "prod"
    values |= {
        "opennebula:hosts": json.dumps(hosts),
        "opennebula:clusters": json.dumps([{"name": "prod", "reservedCpu": 10}]),
        "opennebula:datastores": json.dumps(
            [{"name": "fast", "kind": "local", "type": "image", "clusters": ["prod", "default"]}]
        ),
        "opennebula:wayBack": json.dumps({"enabled": True, "address": "192.0.2.12"}),
    }
    recorded = run(values)
    assert recorded.one("Cluster", "clusters-prod").inputs["attributes"] == {"RESERVED_CPU": "10"}
    assert "clusters-prod" in recorded.one("Host", "hosts-kvm-1").depends_on
    assert "clusters-prod" not in recorded.one("Host", "hosts-lxc-1").depends_on
    assert "clusters-prod" in recorded.one("Datastore", "datastores-fast").depends_on
    for made in (recorded.one("Cluster"), recorded.one("Datastore"), recorded.one("OnedReady")):
        assert kept_for_oned(recorded) <= set(made.depends_on), made.name


def test_what_changes_the_remote_scripts_probes_the_fleet_again_and_nothing_else_does() -> None:
    def remotes(**changes: Any) -> str:
        texts = {f"opennebula:{key}": json.dumps(value) for key, value in changes.items()}
        return str(run(lab_like() | texts).one("FleetReady").inputs["remotes"])

    images = json.loads(lab_like()["opennebula:images"])
    usual = remotes()
    others = [
        remotes(images=images | {"oned": "registry.example/one/oned:7.4.1"}),
        remotes(drivers={"kvm": {"shutdownTimeout": 99}}),
        remotes(drivers={"lxc": {}}),
        remotes(drivers={"network": {}}),
        remotes(drivers={"network": {"vxlanMtu": 9000}}),
    ]
    assert len({usual, *others}) == 6
    assert remotes(images=images | {"fireedge": "registry.example/one/fireedge:x"}) == usual
    assert remotes(drivers={"kvmExec": {"features": {"hyperv": "yes"}}}) == usual


def test_a_mistake_stops_before_the_first_resource() -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        run(stack_config("dev") | {"opennebula:hots": "[]"})


def test_a_secret_in_clear_is_refused() -> None:
    with pytest.raises(ConfigError, match="stands in clear"):
        deploy(
            lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"),
            config=stack_config("prod"),
            secret_keys=[],
        )


def test_an_empty_passphrase_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    with pytest.raises(ConfigError, match="passphrase"):
        run(stack_config("dev"))
