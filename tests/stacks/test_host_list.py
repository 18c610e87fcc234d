"""Hosts from groups and pins: the same settings as hosts written one by one, and every mistake at its own place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.generated.keys import new_key_pair
from components.host_groups import numbers
from components.registration import names
from components.registration.declared import Declared
from components.registration.spec import HostSpec
from stacks.settings import ConfigError, StackSettings, parse
from tests.examples import HOST_KEY, config, host

OTHER_KEY = new_key_pair().public_key
RACK = {"kind": "kvm", "members": "kvm-[001-003]", "addresses": "10.0.0.21", "cluster": "prod", "labels": {"RACK": "a"}}


def pins(*hosts: str, key: str = HOST_KEY) -> str:
    return "".join(f"{name} {key}\n" for name in hosts)


def values(files: dict[str, str] | None = None, **changes: Any) -> tuple[dict[str, str], Any]:
    found = config() | {"hosts": "[]"}
    for key, value in changes.items():
        found[key] = value if isinstance(value, str) else json.dumps(value)

    def read(path: str) -> str:
        if files is None or path not in files:
            raise FileNotFoundError(path)
        return files[path]

    return found, read


def settings(files: dict[str, str] | None = None, **changes: Any) -> StackSettings:
    return parse(*values(files, **changes))


def problems(files: dict[str, str] | None = None, **changes: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        settings(files, **changes)
    found: dict[str, str] = {}
    for problem in caught.value.problems:
        found[problem.path] = f"{found[problem.path]}\n{problem.text}" if problem.path in found else problem.text
    return found


FILE = {"pins/a": pins("kvm-001", "kvm-002", "kvm-003")}


def test_a_group_is_the_hosts_that_somebody_would_have_written() -> None:
    written = [
        host(name, address=f"10.0.0.{21 + number}", cluster="prod", labels={"RACK": "a"})
        for number, name in enumerate(numbers("kvm-[001-003]"))
    ]
    by_group = settings(FILE, hostGroups={"a": RACK}, hostKeysFile="pins/a")
    assert by_group.hosts == settings(hosts=written).hosts


def test_hosts_come_first_then_the_groups_in_their_order() -> None:
    found = settings(
        FILE | {"pins/a": FILE["pins/a"] + pins("lxc-1")},
        hosts=[host("kvm-9", address="10.0.0.9")],
        hostGroups={"z": RACK, "b": {"kind": "lxc", "members": "lxc-1", "addresses": "10.0.0.40"}},
        hostKeysFile="pins/a",
    )
    assert [item.name for item in found.hosts] == ["kvm-9", "kvm-001", "kvm-002", "kvm-003", "lxc-1"]


def test_pins_come_from_the_entry_the_map_and_the_file() -> None:
    group = RACK | {"overrides": {"kvm-002": {"hostKey": OTHER_KEY}}}
    found = settings(
        {"p": pins("10.0.0.23")}, hostGroups={"a": group}, hostKeys={"kvm-001": HOST_KEY}, hostKeysFile="p"
    )
    assert [item.host_key for item in found.hosts] == [HOST_KEY, OTHER_KEY, HOST_KEY]


def test_a_single_host_is_pinned_by_the_file_too() -> None:
    entry = host("kvm-1", address="10.0.0.5", port=2222)
    del entry["hostKey"]
    found = settings({"p": pins("[10.0.0.5]:2222")}, hosts=[entry], hostKeysFile="p")
    assert found.hosts[0].host_key == HOST_KEY


def test_missing_pins_are_named_in_one_line_with_the_way_to_get_them() -> None:
    group = RACK | {"members": "kvm-[001-120]", "addresses": "10.0.0.21"}
    found = problems(FILE, hostGroups={"a": group}, hostKeysFile="pins/a", hosts=[{"name": "x-1", "kind": "kvm"}])
    assert "117 of its hosts have no pinned key: kvm-[004-120]; make pin GROUP=a" in found["hostGroups.a"]
    assert "make pin HOST='x-1'" in found["hosts[0].hostKey"]


def test_a_pin_that_contradicts_the_file_is_told() -> None:
    found = problems({"p": pins("kvm-1", key=OTHER_KEY)}, hosts=[host("kvm-1", address="10.0.0.5")], hostKeysFile="p")
    assert "another ssh-ed25519 key in p" in found["hosts[0].hostKey"]


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"hostKeysFile": "pins/none"}, "hostKeysFile", "does not exist; make it with: make pin"),
        ({"hostKeysFile": "bad"}, "hostKeysFile", "bad:1: a hashed name"),
        ({"hostKeys": ["a"]}, "hostKeys", "must be a mapping"),
        ({"hostKeys": {"kvm-001": "nonsense"}}, "hostKeys.kvm-001", "one public key"),
        ({"hostKeys": {"kvm-999": HOST_KEY}}, "hostKeys.kvm-999", "names no host"),
    ],
)
def test_what_is_wrong_with_pins(changes: dict[str, Any], path: str, words: str) -> None:
    found = problems({"bad": f"|1|a|b {HOST_KEY}"}, **({"hostGroups": {"a": RACK}} | changes))
    assert words in found[path]


def test_a_broken_pin_file_does_not_make_every_host_a_problem() -> None:
    single = {"name": "x-1", "kind": "kvm", "address": "10.0.0.90"}
    assert set(problems({}, hostGroups={"a": RACK}, hosts=[single], hostKeysFile="p")) == {"hostKeysFile"}


def test_mistakes_are_told_once_and_where_they_were_written() -> None:
    group = RACK | {"port": "22", "colour": "red", "labels": {"RACK": "a", "NAME": "x"}}
    group["overrides"] = {"kvm-002": {"state": "broken", "labels": {"low": "x"}}}
    found = problems(FILE, hostGroups={"a": group}, hostKeysFile="pins/a", typo={"a": 1})
    assert "integer" in found["hostGroups.a.port"]
    assert "unknown key" in found["hostGroups.a.colour"]
    assert "hostGroups.a.overrides.kvm-002.state" in found
    assert "hostGroups.a.overrides.kvm-002.labels.low" in found
    assert "typo" in found
    assert not any(path.startswith("hosts[") for path in found)
    assert all("\n" not in text for text in found.values())


def test_an_unknown_kind_is_told_at_the_group() -> None:
    assert problems(FILE, hostGroups={"a": RACK | {"kind": "xen"}}, hostKeysFile="pins/a")["hostGroups.a"] == (
        "kind must be kvm or lxc"
    )


def test_rules_of_two_values_find_the_group_as_well() -> None:
    found = problems(
        {"p": pins(*numbers("kvm-[001-120]"))},
        hostGroups={"a": RACK | {"members": "kvm-[001-120]", "addresses": "10.0.0.250", "labels": {"NAME": "x"}}},
        hostKeysFile="p",
    )
    assert "more like these" in found["hostGroups.a.addresses"]
    assert found["hostGroups.a.addresses"].count("\n") == 5
    assert "hostGroups.a.labels.NAME" in found


def test_each_host_once_across_hosts_and_groups() -> None:
    found = problems(
        FILE,
        hosts=[host("KVM-001", address="10.0.0.22")],
        hostGroups={"a": RACK, "b": RACK | {"addresses": "10.0.0.23"}},
        hostKeysFile="pins/a",
    )
    assert "kvm-001 is already hosts[0]; each host once" in found["hostGroups.a.members"]
    assert "10.0.0.22 is already hosts[0]" in found["hostGroups.a.addresses"]
    assert "kvm-[002-003] are already hostGroups.a.members" in found["hostGroups.b.members"]
    assert "10.0.0.23 is already hostGroups.a.addresses" in found["hostGroups.b.addresses"]


def test_one_machine_under_two_names_is_told_whichever_of_them_has_the_address() -> None:
    plain, aliased = host("kvm-1.example.com"), host("kvm1", address="KVM-1.example.com")
    found = problems(hosts=[plain, aliased])
    assert found["hosts[1].address"] == "KVM-1.example.com is already hosts[0].name; each host once"
    found = problems(hosts=[aliased, plain])
    assert found["hosts[1].name"] == "kvm-1.example.com is already hosts[0].address; each host once"
    group = {"kind": "kvm", "members": "kvm-[001-003]"}
    found = problems(FILE, hosts=[host("x-1", address="kvm-002")], hostGroups={"a": group}, hostKeysFile="pins/a")
    assert found["hostGroups.a.members"] == "kvm-002 is already hosts[0].address; each host once"
    assert settings(hosts=[plain, aliased | {"port": 2222}]), "another port behind one address is another machine"
    found = problems(hosts=[plain, plain])
    assert found == {"hosts[1].name": "kvm-1.example.com is already hosts[0]; each host once"}


def test_a_thousand_hosts_in_one_group() -> None:
    group = {"kind": "kvm", "members": "kvm-[0001-1000]", "addresses": "10.0.0.0/16"}
    found = settings(
        {"p": pins(*numbers("kvm-[0001-1000]"))},
        hostGroups={"a": group},
        hostKeysFile="p",
        network={"hypervisors": ["10.0.0.0/16"]},
    )
    assert len(found.hosts) == 1000
    assert found.hosts[-1].address == "10.0.3.232"


def test_the_provider_knows_who_is_declared_by_a_group() -> None:
    """A destroy keeps hosts that are still declared; a host that left its group is removed."""
    group = {"kind": "kvm", "members": "kvm-[1-2]", "overrides": {"kvm-2": {"driver": "qemu"}}}
    declared = Declared.read({names.CONFIG_HOST_GROUPS: json.dumps({"a": group})}.get)
    kept = [("kvm-1", "kvm"), ("kvm-2", "qemu"), ("kvm-2", "kvm"), ("kvm-3", "kvm")]
    assert [declared.keeps(HostSpec(name=name, im_mad=driver, vm_mad=driver)) for name, driver in kept] == [
        True,
        True,
        False,
        False,
    ]
