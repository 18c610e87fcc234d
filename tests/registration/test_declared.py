"""Release or removal: what a deleted Host resource means is read from the configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.registration import names
from components.registration.declared import Declared
from components.registration.drain import DrainMode, DrainPolicy
from components.registration.spec import HostSpec


def declared(hosts: Any, storage: Any = None) -> Declared:
    texts = {names.CONFIG_HOSTS: json.dumps(hosts), names.CONFIG_STORAGE: json.dumps(storage) if storage else None}
    return Declared.read(texts.get)


def spec(name: str, driver: str) -> HostSpec:
    return HostSpec(name=name, im_mad=driver, vm_mad=driver)


HOSTS = [
    {"name": "kvm-1", "kind": "kvm"},
    {"name": "q-1", "kind": "kvm", "driver": "qemu"},
    {"name": "lxc-1", "kind": "lxc"},
]


@pytest.mark.parametrize(
    ("host", "kept"),
    [
        (spec("kvm-1", "kvm"), True),  # destroy of the stack
        (spec("lxc-1", "lxc"), True),
        (spec("q-1", "qemu"), True),
        (spec("kvm-2", "kvm"), False),  # left the configuration
        (spec("kvm-1", "qemu"), False),  # replaced by other drivers
        (spec("lxc-1", "kvm"), False),
    ],
)
def test_a_declared_host_stays_registered(host: HostSpec, kept: bool) -> None:
    assert declared(HOSTS).keeps(host) is kept


def test_without_retention_everything_goes() -> None:
    assert not declared(HOSTS, {"retain": False}).keeps(spec("kvm-1", "kvm"))
    assert declared(HOSTS, {"retain": True}).keeps(spec("kvm-1", "kvm"))


@pytest.mark.parametrize("text", [None, "", "nonsense", "[1, {}]", "{}"])
def test_an_unreadable_configuration_declares_nothing(text: str | None) -> None:
    assert not Declared.read({names.CONFIG_HOSTS: text}.get).keeps(spec("kvm-1", "kvm"))


def test_a_destroy_is_told_from_a_removal_whatever_is_retained() -> None:
    assert declared(HOSTS, {"retain": False}).declares(spec("kvm-1", "kvm"))
    assert not declared(HOSTS).declares(spec("kvm-2", "kvm"))
    assert not declared(HOSTS).leaves("kvm-1")
    assert declared(HOSTS).leaves("kvm-2")


@pytest.mark.parametrize(
    ("fleet", "drain"),
    [
        (None, DrainPolicy()),
        ({"wait": 5}, DrainPolicy()),
        ({"drain": {"mode": "live"}}, DrainPolicy(mode=DrainMode.LIVE)),
        (
            {"drain": {"mode": "cold", "vmLimit": 5, "limit": 9}},
            DrainPolicy(mode=DrainMode.COLD, vm_limit=5, limit=9),
        ),
        ({"drain": {"mode": "anything"}}, DrainPolicy()),
        ({"drain": {"mode": "live", "limit": "long"}}, DrainPolicy()),
        ({"drain": "live"}, DrainPolicy()),
    ],
)
def test_how_the_fleet_is_drained_and_nothing_moves_that_cannot_be_read(fleet: Any, drain: DrainPolicy) -> None:
    assert Declared.read({names.CONFIG_FLEET: json.dumps(fleet)}.get).drain == drain
