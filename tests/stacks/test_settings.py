"""The configuration: what is accepted, and that every mistake is one clear line with its path."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.domain import _OWN_NAMES, nowhere
from components.generated.keys import new_key_pair
from stacks.host_list import PROJECT, SOURCES
from stacks.mistakes import UNIONS
from stacks.reference import table
from stacks.settings import ConfigError, StackSettings, parse, passphrase_problems
from tests.examples import HOST_KEY, config, host


def problems(**changes: Any) -> dict[str, str]:
    """Path → text of all problems of the example config with some keys changed; None takes a key out."""
    values = config()
    for key, value in changes.items():
        if value is None:
            values.pop(key)
        else:
            values[key] = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(ConfigError) as caught:
        parse(values)
    return {problem.path: problem.text for problem in caught.value.problems}


def test_the_example_is_accepted() -> None:
    settings = parse(config())
    assert [item.name for item in settings.hosts] == ["kvm-1", "lxc-1"]
    assert settings.storage.retain


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(Exception, match="frozen"):
        parse(config()).storage.retain = False  # type: ignore[misc]


def test_every_mistake_is_reported_at_once() -> None:
    found = problems(
        typo={"a": 1},
        database={"backend": "sqlite"},
        hosts=[host("kvm-1", hostKey="nonsense"), host("kvm-1", kind="xen"), {"name": "x-1", "kind": "lxc"}],
        oneadminPassword="with blank",
    )
    assert {
        "typo",
        "database.backend",
        "hosts[0].hostKey",
        "hosts[1].name",
        "hosts[1]",
        "hosts[2].hostKey",
        "oneadminPassword",
    } <= set(found)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fe80::1", "IPv6"),
        ("-bad", "starts or ends"),
        ("bad.", "starts or ends"),
        ("a", "2 to 63"),
        ("a" * 64, "2 to 63"),
        ("two words", "letters, digits"),
        ("semi;colon", "letters, digits"),
    ],
)
def test_names_that_oned_refuses(name: str, words: str) -> None:
    assert words in problems(hosts=[host(name)])["hosts[0].name"]


def test_a_host_without_a_pinned_key_is_refused() -> None:
    item = host("kvm-1")
    del item["hostKey"]
    found = problems(hosts=[item])
    assert list(found) == ["hosts[0].hostKey"]
    assert "make pin HOST='kvm-1'" in found["hosts[0].hostKey"]


def test_a_bastion_without_a_pinned_key_is_refused() -> None:
    def said(**more: Any) -> str:
        return problems(ssh={"bastion": {"host": "jump.example", **more}})["ssh.bastion.hostKey"]

    assert said() == "is required: make pin HOST='jump.example' (without STACK) prints it for review"
    assert "HOST='jump.example' PORT=2022 " in said(port=2022)


@pytest.mark.parametrize("field", ["name", "address"])
def test_each_host_once(field: str) -> None:
    items = [host("kvm-1", address="10.0.0.1"), host("kvm-2", address="10.0.0.2")]
    items[1][field] = items[0][field]
    found = problems(hosts=items, network={"hypervisors": ["10.0.0.0/24"]})
    assert "already hosts[0]" in found[f"hosts[1].{field}"]


def test_names_that_differ_in_case_are_one_host() -> None:
    assert "already hosts[0]" in problems(hosts=[host("kvm-1"), host("KVM-1")])["hosts[1].name"]


def test_sqlite_is_refused_with_the_reason() -> None:
    assert "SQLite" in problems(database={"backend": "sqlite"})["database.backend"]


def test_wrong_types_are_not_guessed_at() -> None:
    assert "integer" in problems(oned={"maxConnections": "64"})["oned.maxConnections"]
    assert "boolean" in problems(storage={"retain": "yes"})["storage.retain"]
    assert "structured" in problems(storage="yes")["storage"]


def test_unknown_keys_inside_sections() -> None:
    assert "unknown key" in problems(monitoring={"address": "10.0.0.1", "prot": 4124})["monitoring.prot"]


def test_what_listens_in_a_pod_listens_to_everybody() -> None:
    for address in ("127.0.0.1", "192.0.2.10"):
        assert "monitoring.listen" in problems(monitoring={"address": "10.0.0.1", "listen": address})
    values = config() | {"monitoring": json.dumps({"address": "10.0.0.1", "listen": "::"})}
    assert parse(values).monitoring.listen == "::"


def test_a_node_port_is_the_listening_port() -> None:
    found = problems(monitoring={"address": "10.0.0.1", "exposure": "nodePort", "port": 4124})
    assert "30000 to 32767" in found["monitoring.port"]


def test_raw_keys_may_not_fight_typed_ones() -> None:
    assert "typed" in problems(oned={"raw": {"DB": {"BACKEND": "sqlite"}}})["oned.raw.DB"]
    assert (
        "typed"
        in problems(monitoring={"address": "10.0.0.1", "raw": {"NETWORK": {"PORT": 1}}})["monitoring.raw.NETWORK"]
    )


def test_raw_values_cannot_break_out_of_the_grammar() -> None:
    assert "oned.raw" in " ".join(problems(oned={"raw": {"RPC_LOG": "YES]]>"}}))


def test_an_image_without_a_version_is_refused() -> None:
    for image in ("mariadb", "registry.example/mariadb", "registry.example/mariadb:latest"):
        assert "images.mariadb" in problems(images={"oned": "r.example/oned:1", "mariadb": image})


def test_hosts_need_packages_networks_and_a_key() -> None:
    found = problems(packages=None, network=None, sshPrivateKey=None)
    assert {"packages", "network.hypervisors", "sshPrivateKey"} <= set(found)


def test_a_host_outside_the_declared_networks_is_refused() -> None:
    found = problems(network={"hypervisors": ["192.0.2.0/24"]}, hosts=[host("kvm-1", address="10.9.9.9")])
    assert "10.9.9.9" in found["hosts[0].address"]


def test_a_key_with_another_fingerprint_is_refused_before_anything_is_touched() -> None:
    packages = json.loads(config()["packages"]) | {"fingerprint": "A" * 40}
    assert "fingerprint" in problems(packages=packages)["packages"]


def test_secret_values_are_never_quoted() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(config() | {"oneadminPassword": "hunter2 hunter2", "sshPrivateKey": "MARKER-KEY"})
    assert "hunter2" not in str(caught.value)
    assert "MARKER-KEY" not in str(caught.value)


def test_own_keys_must_be_usable() -> None:
    good = new_key_pair().private_key
    parse(config() | {"oneadminSshKey": good})
    assert "OpenSSH private key" in problems(oneadminSshKey="ssh-ed25519 AAAA")["oneadminSshKey"]


def test_an_empty_passphrase_is_refused(tmp_path: Any) -> None:
    empty = tmp_path / "passphrase"
    empty.write_text("\n")
    assert passphrase_problems({"PULUMI_CONFIG_PASSPHRASE": ""})
    assert passphrase_problems({"PULUMI_CONFIG_PASSPHRASE": " \t\n"})
    assert passphrase_problems({"PULUMI_CONFIG_PASSPHRASE_FILE": str(empty)})
    assert not passphrase_problems({"PULUMI_CONFIG_PASSPHRASE": "a"})
    assert not passphrase_problems({"PULUMI_CONFIG_PASSPHRASE": "a", "PULUMI_CONFIG_PASSPHRASE_FILE": str(empty)})
    empty.write_text("a good one\n")
    both = {"PULUMI_CONFIG_PASSPHRASE": "", "PULUMI_CONFIG_PASSPHRASE_FILE": str(empty)}
    assert "PULUMI_CONFIG_PASSPHRASE is empty" in str(passphrase_problems(both)), "the engine takes it before the file"
    assert not passphrase_problems({"PULUMI_CONFIG_PASSPHRASE_FILE": str(empty)})
    assert not passphrase_problems({})


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_keys = st.sampled_from([*(str(field.alias) for field in StackSettings.model_fields.values()), *SOURCES]) | st.text(
    min_size=1, max_size=12
)


@given(st.dictionaries(_keys, _json, max_size=4))
def test_any_configuration_is_settings_or_clear_errors(changes: dict[str, Any]) -> None:
    values = config() | {key: json.dumps(value) for key, value in changes.items()}
    try:
        assert isinstance(parse(values), StackSettings)
    except ConfigError as error:
        assert all(problem.path and problem.text for problem in error.problems)
        assert "\n" not in "".join(problem.text for problem in error.problems)


@pytest.mark.parametrize(
    "name", ["localhost", "LocalHost", "localhost.localdomain", "ip6-localhost", "a.localhost", "127.0.0.1", "0.0.0.0"]
)
def test_a_host_is_not_named_as_everybody_names_himself(name: str) -> None:
    host = {"name": name, "kind": "kvm", "hostKey": HOST_KEY, "address": "10.0.0.5"}
    assert "oned's pod would find itself there" in problems(hosts=[host])["hosts[0].name"]
    parse(config() | {"hosts": json.dumps([host | {"name": f"{name}.example"}])})


@pytest.mark.parametrize(
    "address", ["10.0.0.256", "10.0.0", "10.1.2.3.4", "10.0.0.011", "0x0a000001", "10.0.0.0x5", "kvm.example.0X", "12"]
)
def test_what_programs_take_for_a_number_is_no_address(address: str) -> None:
    """A resolver reads 10.0.0 as 10.0.0.0, and 0x0a000001 as 10.0.0.1, before it asks anybody."""
    found = problems(hosts=[host("kvm-1", address=address)], monitoring={"address": address})
    assert "ends in a number" in found["hosts[0].address"]
    assert "ends in a number" in found["monitoring.address"]
    found = problems(hosts=[host(address)])
    assert "ends in a number" in found["hosts[0].name"], "without an address the name is it"
    parse(config() | {"hosts": json.dumps([host(address, address="10.0.0.5")])})


@pytest.mark.parametrize("address", ["10.0.0.5", "kvm-1", "kvm1.example", "1.kvm.example", "10.0.0.5.example", "0xkvm"])
def test_addresses_and_names_of_hosts_are_accepted(address: str) -> None:
    parse(config() | {"hosts": json.dumps([host("kvm-1", address=address)])})


@pytest.mark.parametrize("address", ["localhost", "LocalHost", "a.localhost", "ip6-loopback", "127.0.0.1", "0.0.0.0"])
def test_a_host_is_not_where_everybody_finds_himself(address: str) -> None:
    found = problems(hosts=[host("kvm-1", address=address)], network={"hypervisors": ["0.0.0.0/1"]})
    assert "whoever" in found["hosts[0].address"]


@given(st.text(min_size=1, max_size=70))
def test_a_host_name_is_accepted_or_refused_as_oned_does(name: str) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    good = 2 <= len(name) <= 63 and set(name) <= allowed and name[0] not in "-._" and name[-1] not in "-._"
    good = good and not nowhere(name) and name.lower() not in _OWN_NAMES
    try:
        parse(
            config()
            | {"hosts": json.dumps([{"name": name, "kind": "kvm", "hostKey": HOST_KEY, "address": "10.0.0.5"}])}
        )
        accepted = True
    except ConfigError:
        accepted = False
    assert accepted == good


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("database", {"bufferPool": "500m"}, "database.bufferPool"),
        ("monitoring", {"address": "10.0.0.1", "port": 2633}, "monitoring.port"),
        ("monitoring", {"address": "0.0.0.0"}, "monitoring.address"),
        ("monitoring", {"address": "10.0.0.1", "hostInterval": 60}, "monitoring.hostInterval"),
        ("hosts", [host("kvm-1", address="fe80::1")], "hosts[0].address"),
        ("hosts", [host("kvm-1", address="10.0.0.5", labels={"IM_MAD": "x"})], "hosts[0].labels.IM_MAD"),
        ("hosts", [host("kvm-1", address="10.0.0.5", labels={"NAME": "x"})], "hosts[0].labels.NAME"),
        ("hosts", [host("kvm-1", address="10.0.0.5", adopt="maybe")], "hosts[0].adopt"),
    ],
)
def test_values_that_could_not_work_are_refused(key: str, value: Any, path: str) -> None:
    assert path in problems(**{key: value})


def test_machines_behind_one_address_differ_by_port() -> None:
    entries = [host("kvm-1", address="10.0.0.5"), host("kvm-2", address="10.0.0.5", port=2222)]
    assert len(parse(config() | {"hosts": json.dumps(entries)}).hosts) == 2


def test_the_provider_has_the_same_defaults_as_the_settings() -> None:
    """It parses the same keys in a process of its own."""
    from components.registration.xmlrpc import Limits

    ours, theirs = parse(config()).api, Limits()
    assert (ours.connect_timeout, ours.read_timeout, ours.wait_seconds) == (theirs.connect, theirs.read, theirs.wait)
    assert (ours.max_connections, ours.requests_per_second) == (theirs.connections, theirs.per_second)


def test_a_damaged_or_old_pin_is_refused_with_the_way_out() -> None:
    for key in ("ssh-rsa AAAAB3NzaC1yc2E=", "ssh-dss AAAAB3NzaC1kc3M="):
        assert "ssh-keyscan" in problems(hosts=[host("kvm-1", hostKey=key)])["hosts[0].hostKey"]


def lts(**changes: Any) -> dict[str, str]:
    """The example with 6.10 and its Sunstone."""
    images = json.loads(config()["images"].replace("7.4.0", "6.10.5"))
    images["sunstone"] = "registry.example/one/sunstone:6.10.5"
    values: dict[str, Any] = {"images": images, "sunstone": {"enabled": True}, **changes}
    texts = {key: json.dumps(value) for key, value in values.items() if value is not None}
    return {"version": "6.10", **texts}


def test_sunstone_comes_with_6_10_when_it_is_asked_for() -> None:
    assert parse(config() | lts()).sunstone.enabled
    assert not parse(config() | lts(sunstone=None)).sunstone.enabled


def test_sunstone_with_7_4_is_refused_by_the_name_of_the_version() -> None:
    images = json.loads(config()["images"]) | {"sunstone": "registry.example/one/sunstone:6.10.5"}
    found = problems(**(lts(images=images) | {"version": "7.4"}))
    assert set(found) == {"sunstone.enabled", "images.sunstone"}
    assert "7.4" in found["sunstone.enabled"] and "FireEdge" in found["sunstone.enabled"]


def test_sunstone_needs_an_image_and_its_own_file_is_typed_first() -> None:
    without = json.loads(config()["images"])
    assert "images.sunstone" in problems(**lts(images=without))
    assert "sunstone.raw.port" in problems(**lts(sunstone={"enabled": True, "raw": {"port": 80}}))


def test_a_host_name_for_a_sunstone_that_does_not_run_is_refused() -> None:
    ingress = {
        "enabled": True,
        "className": "nginx",
        "controllerNamespace": "ingress-nginx",
        "tls": {"kind": "certManager", "clusterIssuer": "letsencrypt"},
        "hosts": {"sunstone": "classic.example"},
    }
    parse(config() | lts(ingress=ingress))
    assert "ingress.hosts.sunstone" in problems(version="6.10", ingress=ingress)


def test_several_fireedges_and_a_controller_without_sessions_do_not_go_together() -> None:
    ingress = {
        "enabled": True,
        "className": "gce",
        "controllerNetworks": ["35.191.0.0/16"],
        "tls": {"kind": "secret", "name": "one-tls"},
        "hosts": {"fireedge": "cloud.example"},
    }
    assert parse(config() | {"ingress": json.dumps(ingress)}).fireedge.replicas == 1
    assert set(problems(ingress=ingress, fireedge={"replicas": 2})) == {"ingress.controllerKeepsSessions"}
    assert set(problems(ingress=ingress | {"className": "edge"})) == {"ingress.controller"}


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("scheduler", {"threads": 4}, "scheduler.threads"),
        ("monitoring", {"address": "10.0.0.1", "probes": {"execVm": 5}}, "monitoring.probes.execVm"),
        ("oned", {"raw": {"LOG_RESULT_LENGTH": 10}}, "oned.raw.LOG_RESULT_LENGTH"),
    ],
)
def test_what_only_7_4_knows_is_refused_with_6_10(key: str, value: Any, path: str) -> None:
    found = problems(**lts(**{key: value}))
    assert "6.10" in found[path]


def test_what_only_6_10_knows_is_refused_with_7_4() -> None:
    assert "7.4" in problems(scheduler={"interval": 20})["scheduler.interval"]
    assert parse(config() | lts(scheduler={"interval": 20})).scheduler.interval == 20


# A value whose `kind` decides which keys it has


def test_the_unions_are_those_of_the_models() -> None:
    found = dict(re.findall(r"^\| `([^`]+)\.kind` \| [^|]+ \| ([^|]+) \|$", table(), re.MULTILINE))
    assert {path: tuple(re.split(", | or ", text)) for path, text in found.items()} == UNIONS


def test_a_problem_below_a_kind_has_the_path_that_stands_in_the_file() -> None:
    tls = {"kind": "certManager", "issuer": "a", "secretName": "-"}
    assert "ingress.tls.secretName" in problems(ingress={"tls": tls})
    assert problems(ingress={"tls": {"kind": "secret"}})["ingress.tls.name"] == "is required"
    ceph = {"name": "a", "type": "image", "kind": "ceph", "bridgeList": ["kvm-1"], "cephHost": ["10.0.0.9"]}
    assert problems(datastores=[ceph])["datastores[0].cephSecret"] == "is required"


def test_a_key_that_is_spelled_like_a_kind_is_a_key() -> None:
    local = {"name": "a", "type": "image", "kind": "local"}
    found = problems(datastores=[local | {"local": 1, "ceph": 1}], ingress={"tls": {"kind": "inline", "secret": "x"}})
    assert {"datastores[0].local", "datastores[0].ceph", "ingress.tls.secret"} <= set(found)


def test_a_wrong_kind_is_told_the_right_ones() -> None:
    item = {"name": "a", "type": "image"}
    found = problems(
        hosts=[host("kvm-1", kind="xen")],
        datastores=[item | {"kind": "zfs"}, item],
        ingress={"tls": {"kind": "Secret"}},
    )
    assert found["hosts[0]"] == "kind must be kvm or lxc"
    assert found["datastores[0]"] == "kind must be local, nfs or ceph"
    assert found["datastores[1]"] == "needs kind: local, kind: nfs or kind: ceph"
    assert found["ingress.tls"] == "kind must be secret, certManager or inline"


def test_a_release_without_quotes_is_told_as_what_yaml_makes_of_it() -> None:
    # 6.10 without quotes reaches the program as 6.1.
    assert problems(version="6.1") == {"version": "must be in quotes, '6.10': without them YAML reads the number 6.1"}


def test_the_repositorys_key_is_named() -> None:
    example = yaml.safe_load((PROJECT / "Pulumi.prod.yaml").read_text())["config"]["opennebula:packages"]
    assert problems(packages=example)["packages.key"].startswith("is still the example's text; put")
    damaged = json.loads(config()["packages"])
    damaged["key"] = damaged["key"].replace("\n=", "\n=BBBB", 1)
    assert "damaged" in problems(packages=damaged)["packages.key"]
