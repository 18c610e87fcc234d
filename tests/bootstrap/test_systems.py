"""The table of systems: what is refused and why, what the script gets of it, and the page made from it."""

from __future__ import annotations

from typing import Any

import pytest

from components.bootstrap.script import render
from components.bootstrap.systems import BY_KEY, RELEASES, SYSTEMS, Family, Libvirt, supported, why_not
from tests.bootstrap.evidence import GROUND, TABLE, table
from tests.bootstrap.examples import plan


def test_the_page_is_that_of_the_table() -> None:
    assert TABLE.read_text() == table(), "run: python -m tests.bootstrap.evidence"
    assert set(GROUND) <= set(BY_KEY)


def test_each_system_stands_once_and_has_a_release() -> None:
    assert len(BY_KEY) == len(SYSTEMS)
    for system in SYSTEMS:
        assert set(system.lxc) <= set(system.kvm) <= set(RELEASES)
        assert system.kvm


@pytest.mark.parametrize(
    ("key", "release", "kind", "reason"),
    [
        ("debian:11", "7.4", "kvm", "OpenNebula 7.4 has no kvm packages for Debian 11 (but 6.10 has)"),
        ("ubuntu:26.04", "6.10", "lxc", "(but 7.4 has)"),
        (
            "rhel:9",
            "7.4",
            "lxc",
            "OpenNebula 7.4 has no lxc packages for Red Hat Enterprise Linux 9; lxc hosts may be: ",
        ),
        ("sles:15", "7.4", "lxc", "no lxc packages"),
        ("sles:15", "6.10", "kvm", "(but 7.4 has)"),
        ("opensuse-leap:15", "7.4", "kvm", "opensuse-leap:15 is no system that OpenNebula 7.4 has packages for"),
    ],
)
def test_pairs_without_packages_are_refused_with_what_there_is(key: str, release: str, kind: Any, reason: str) -> None:
    assert reason in (why_not(key, release, kind) or "")
    with pytest.raises(ValueError, match="packages"):
        plan(os=key, version=release, kind=kind)


def test_what_is_supported_is_not_refused() -> None:
    for release in RELEASES:
        for kind in ("kvm", "lxc"):
            for system in supported(release, kind):
                assert why_not(system.key, release, kind) is None


def test_libvirts_shape_follows_family_and_release() -> None:
    assert BY_KEY["debian:13"].libvirt("7.4") is Libvirt.MONOLITHIC
    assert BY_KEY["almalinux:9"].libvirt("7.4") is Libvirt.MODULAR
    assert BY_KEY["almalinux:9"].libvirt("6.10") is Libvirt.MONOLITHIC
    assert BY_KEY["sles:15"].libvirt("7.4") is Libvirt.MODULAR


def test_the_script_carries_the_systems_that_it_may_meet() -> None:
    script = render(plan(kind="lxc"))
    assert "almalinux:9 redhat AlmaLinux/9/{arch} modular" in script
    assert "rocky:9 " not in script
    assert "zypper" not in script  # no SUSE has LXC
    assert plan(kind="lxc").families == (Family.DEBIAN, Family.REDHAT)
    assert "almalinux" not in render(plan(os="debian:12")).split("set -eu")[0]
