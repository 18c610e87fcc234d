"""Normalising and checking of inputs, for anything the engine may send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies
from pulumi.output import Unknown

from components.registration.client import AdminState
from components.registration.inputs import (
    adopt_policy,
    changed,
    host_problems,
    host_props,
    host_spec,
    is_unknown,
    normal_host,
)
from components.registration.names import host_name_problem
from components.registration.spec import AdoptPolicy, HostSpec
from components.registration.template import render

KVM: dict[str, Any] = {"name": "kvm-1", "im_mad": "kvm", "vm_mad": "kvm"}

SPECS = strategies.builds(
    HostSpec,
    name=strategies.from_regex(r"[a-z0-9]([a-z0-9._-]{0,40}[a-z0-9])", fullmatch=True),
    im_mad=strategies.sampled_from(["kvm", "lxc", "qemu"]),
    vm_mad=strategies.sampled_from(["kvm", "lxc", "qemu"]),
    cluster=strategies.sampled_from(["default", "prod"]),
    labels=strategies.dictionaries(
        strategies.sampled_from(["RACK", "ROOM"]), strategies.sampled_from(["1", 'a "b"', ""])
    ),
    reserved_cpu=strategies.none() | strategies.sampled_from(["100", "-50%", ""]),
    reserved_memory=strategies.none() | strategies.integers(-(2**40), 2**40).map(str),
    state=strategies.sampled_from(list(AdminState)),
    owner=strategies.none() | strategies.sampled_from(["team-a"]),
)


@given(SPECS)
def test_a_declared_host_survives_the_trip_through_the_engine(spec: HostSpec) -> None:
    props = host_props(spec)
    assert host_spec(props) == spec
    assert normal_host(props) == {**props, "adopt": "matching"}
    assert host_problems(props, normal_host(props)) == []
    assert changed(normal_host(props), normal_host(normal_host(props)), tuple(props)) == []


ANYTHING = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.floats() | strategies.text() | strategies.builds(Unknown),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["name", "im_mad", "vm_mad", "cluster", "labels", "reserved_cpu", "state", "adopt", "owner"]


@settings(max_examples=500)
@given(strategies.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, ANYTHING)))
def test_no_input_makes_check_raise_and_what_passes_can_be_written(props: dict[str, Any]) -> None:
    normal = normal_host(props)
    if host_problems(props, normal) or is_unknown(normal):
        return
    spec = host_spec(normal)
    render(spec.attributes())
    assert host_name_problem(spec.name) is None
    adopt_policy(normal)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("a", "1 characters"),
        ("a" * 64, "64 characters"),
        ("-ab", "must not start with '-'"),
        ("ab.", "must not end with '.'"),
        ("fe80::1", "IPv6"),
        ("häst", "only letters"),
        ("a b", "only letters"),
        ("ab\n", "only letters"),
    ],
)
def test_names_that_oned_refuses(name: str, fault: str) -> None:
    ((key, problem),) = host_problems({**KVM, "name": name}, normal_host({**KVM, "name": name}))
    assert key == "name"
    assert fault in problem


@pytest.mark.parametrize("name", ["ab", "a" * 63, "kvm_1.example.org", "192.0.2.1", "0a"])
def test_names_that_oned_takes(name: str) -> None:
    assert host_name_problem(name) is None


@pytest.mark.parametrize(
    ("extra", "key"),
    [
        ({"labels": {"rack": "1", "RACK": "2"}}, "labels"),
        ({"labels": ["RACK"]}, "labels"),
        ({"labels": {"RACK": True}}, "labels.RACK"),
        ({"labels": {"reserved_cpu": "5"}}, "labels.RESERVED_CPU"),
        ({"labels": {"managed_by": "me"}}, "labels.MANAGED_BY"),
        ({"reserved_cpu": "lots"}, "reserved_cpu"),
        ({"reserved_memory": 1.5e300}, "reserved_memory"),
        ({"cluster": ""}, "cluster"),
        ({"owner": "a\nb"}, "owner"),
        ({"state": 7}, "state"),
    ],
)
def test_other_faults_name_the_input(extra: dict[str, Any], key: str) -> None:
    problems = host_problems({**KVM, **extra}, normal_host({**KVM, **extra}))
    assert [name for name, _ in problems] == ([] if key == "reserved_memory" else [key])


@pytest.mark.parametrize(("given_", "text"), [(100.0, "100"), (-5, "-5"), (2.5, "2.5"), ("10%", "10%"), (0.0, "0")])
def test_numbers_become_what_an_operator_would_write(given_: object, text: str) -> None:
    assert normal_host({**KVM, "reserved_cpu": given_})["reserved_cpu"] == text


def test_the_default_policy_takes_over_what_matches() -> None:
    assert adopt_policy(normal_host(KVM)) is AdoptPolicy.MATCHING
