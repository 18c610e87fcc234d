"""Inputs of Datastore: one form, faults by input, what replaces and what does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies
from pulumi.runtime.rpc import UNKNOWN

from components.registration import datastore_inputs as inputs
from components.registration.datastore_names import datastore_name_problem
from components.registration.template import render
from tests.registration.engine import Engine, engine

IMAGE = {"name": "fast", "type": "image", "ds_mad": "fs", "tm_mad": "local"}
SYSTEM = {"name": "disks", "type": "system", "tm_mad": "local"}


def faults(props: dict[str, Any]) -> dict[str, str]:
    return dict(inputs.datastore_problems(props, inputs.normal_datastore(props)))


@pytest.mark.parametrize("props", [IMAGE, SYSTEM, {**SYSTEM, "enabled": False}, {**IMAGE, "name": "two words, é"}])
def test_good_inputs(props: dict[str, Any]) -> None:
    assert faults(props) == {}
    normal = inputs.normal_datastore(props)
    assert inputs.normal_datastore(normal) == normal
    assert inputs.datastore_props(inputs.datastore_spec(normal)) | {"adopt": "matching"} == normal


@pytest.mark.parametrize(
    ("props", "faulty"),
    [
        ({}, {"name", "type", "tm_mad", "ds_mad"}),
        ({**IMAGE, "name": "a:b"}, {"name"}),
        ({**IMAGE, "name": "x" * 129}, {"name"}),
        ({**IMAGE, "name": " a"}, {"name"}),
        ({**IMAGE, "type": "backup"}, {"type"}),
        ({**IMAGE, "ds_mad": ""}, {"ds_mad"}),
        ({**SYSTEM, "ds_mad": "fs"}, {"ds_mad"}),
        ({**IMAGE, "tm_mad": "a b"}, {"tm_mad"}),
        ({**IMAGE, "clusters": []}, {"clusters"}),
        ({**IMAGE, "clusters": [""]}, {"clusters"}),
        ({**IMAGE, "clusters": "default"}, {"clusters"}),
        ({**IMAGE, "enabled": False}, {"enabled"}),
        ({**SYSTEM, "enabled": "yes"}, {"enabled"}),
        ({**IMAGE, "adopt": "true"}, {"adopt"}),
        ({**IMAGE, "attributes": {"TM_MAD": "x"}}, {"attributes.TM_MAD"}),
        ({**IMAGE, "attributes": {"nfs_auto_enable": "YES"}}, {"attributes.NFS_AUTO_ENABLE"}),
        ({**IMAGE, "attributes": {"CLONE_TARGET_SSH": "SYSTEM"}}, {"attributes.CLONE_TARGET_SSH"}),
        ({**IMAGE, "attributes": {"A": "two\nlines"}}, {"attributes.A"}),
        ({**IMAGE, "attributes": {"A B": "x"}}, {"attributes.A B"}),
        ({**IMAGE, "attributes": {"a": "x", "A": "y"}}, {"attributes"}),
        ({**IMAGE, "attributes": "x"}, {"attributes"}),
    ],
)
def test_faults_name_the_input(props: dict[str, Any], faulty: set[str]) -> None:
    assert faults(props).keys() == faulty


def test_a_refused_driver_option_says_why() -> None:
    assert "sudo" in faults({**IMAGE, "attributes": {"NFS_AUTO_ENABLE": "YES"}})["attributes.NFS_AUTO_ENABLE"]


@given(name=strategies.text(max_size=140))
def test_a_name_that_passes_travels_unchanged(name: str) -> None:
    if datastore_name_problem(name) is None:
        assert render({"NAME": name}) == f'NAME="{name}"\n'
        assert len(name.encode()) <= 128


@pytest.fixture(scope="module")
def provider() -> Any:
    with engine() as running:
        running.configure({"opennebula:api": {"url": "http://127.0.0.1:1/RPC2"}, "opennebula:apiPassword": "x-x-x-x"})
        yield running


def test_through_the_engines_property_bags(provider: Engine) -> None:
    props = {**IMAGE, "attributes": {"limit_mb": 5.0}, "clusters": ["b", "a", "b"]}
    normal, failures = provider.check("datastore", props)
    assert failures == {}
    assert (normal["attributes"], normal["clusters"], normal["enabled"]) == ({"LIMIT_MB": "5"}, ["a", "b"], True)
    assert provider.diff("datastore", {**normal, "datastore_id": 100}, normal, "100") == (False, [], True)


@pytest.mark.parametrize(
    ("change", "replaces", "first_boots"),
    [
        ({"tm_mad": "shared"}, ["tm_mad"], []),
        ({"ds_mad": "ceph"}, ["ds_mad"], []),
        ({"type": "file"}, ["type"], ["type"]),
        ({"name": "other"}, [], []),
        ({"clusters": ["x"]}, [], []),
        ({"attributes": {"A": "b"}}, [], []),
        ({"tm_mad": UNKNOWN}, ["tm_mad"], []),
        ({"attributes": {"COMPATIBLE_SYS_DS": UNKNOWN}}, [], []),
    ],
)
def test_what_replaces(provider: Engine, change: dict[str, Any], replaces: list[str], first_boots: list[str]) -> None:
    normal, _ = provider.check("datastore", IMAGE)
    assert provider.diff("datastore", normal, {**normal, **change}, "100") == (True, replaces, True)
    assert provider.diff("datastore", normal, {**normal, **change}, "1") == (True, first_boots, True)


def test_another_policy_alone_is_no_change(provider: Engine) -> None:
    normal, _ = provider.check("datastore", IMAGE)
    assert provider.diff("datastore", normal, {**normal, "adopt": "always"}, "100") == (False, [], True)


def test_unknown_values_are_not_checked(provider: Engine) -> None:
    unknown = {**IMAGE, "type": UNKNOWN, "ds_mad": UNKNOWN, "clusters": [UNKNOWN], "attributes": {"A": UNKNOWN}}
    assert provider.check("datastore", unknown)[1] == {}
