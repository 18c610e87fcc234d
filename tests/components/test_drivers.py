"""Driver files: only what is set, whole vectors, safe in the shell, symbols for Ruby."""

from __future__ import annotations

import subprocess

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.domain import Version
from components.drivers import (
    DriverSettings,
    KvmDisk,
    KvmExecSettings,
    KvmGraphics,
    KvmNic,
    KvmSettings,
    LxcSettings,
    kvm_exec_entries,
    kvmrc,
    lxcrc,
    problems,
)


@pytest.mark.parametrize("version", list(Version))
def test_nothing_set_nothing_written(version: Version) -> None:
    settings = DriverSettings()
    assert kvm_exec_entries(settings.kvm_exec, version) == {}
    assert kvmrc(settings.kvm) == ""
    assert list(problems(settings, version)) == []


def test_one_key_of_a_vector_keeps_the_others_as_the_release_ships_them() -> None:
    settings = KvmExecSettings(disk=KvmDisk(cache="writeback"))
    shipped = {"DRIVER": "raw", "CACHE": "writeback", "DISCARD": "unmap"}
    assert kvm_exec_entries(settings, Version.V6_10) == {"DISK": shipped}
    assert kvm_exec_entries(settings, Version.V7_4) == {"DISK": {**shipped, "UID_MAP": "100000", "GID_MAP": "100000"}}


def test_consoles_listen_where_the_control_plane_reaches_them() -> None:
    entries = kvm_exec_entries(KvmExecSettings(graphics=KvmGraphics()), Version.V7_4)
    assert entries == {"GRAPHICS": {"TYPE": "vnc", "LISTEN": "0.0.0.0", "RANDOM_PASSWD": "yes"}}


def test_what_6_10_does_not_know() -> None:
    settings = DriverSettings(
        kvm_exec=KvmExecSettings(nic=KvmNic(virtio_queues="4")), kvm=KvmSettings(virtiofsd="/usr/libexec/virtiofsd")
    )
    found = dict(problems(settings, Version.V6_10))
    assert set(found) == {"kvmExec.nic.virtioQueues", "kvm.virtiofsd"}
    assert all("OpenNebula 6.10 does not know" in text for text in found.values())
    assert list(problems(settings, Version.V7_4)) == []


def test_raw_keys_that_fight() -> None:
    settings = DriverSettings(
        kvm=KvmSettings(raw={"VIRSH_TIMEOUT": "3"}), kvm_exec=KvmExecSettings(raw={"OS": {"ARCH": "aarch64"}})
    )
    found = dict(problems(settings, Version.V7_4))
    assert "typed" in found["kvm.raw.VIRSH_TIMEOUT"]
    assert "MACHINE" in found["kvmExec.raw.OS"]
    swallowing = DriverSettings(kvm_exec=KvmExecSettings(raw={"EMULATOR": "x\\"}))
    assert "backslash" in dict(problems(swallowing, Version.V7_4))["kvmExec.raw.EMULATOR"]
    typed = DriverSettings(kvm_exec=KvmExecSettings(emulator="x\\"))
    assert "backslash" in dict(problems(typed, Version.V7_4))["kvmExec.emulator"]


@given(value=st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_the_shell_reads_what_was_written(value: str) -> None:
    text = "export MIGRATE_OPTIONS=shipped\n\n" + kvmrc(KvmSettings(migrate_options=value))
    command = ["sh", "-eu", "-c", f'{text}\nprintf %s "$MIGRATE_OPTIONS"']
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == value


def test_lxcrc_is_whole() -> None:
    found = yaml.safe_load(lxcrc(LxcSettings(console_timeout=60)))
    assert found[":vnc"] == {":command": "sudo lxc-console", ":width": 800, ":height": 600, ":timeout": 60}
    assert set(found) == {":vnc", ":datastore_location", ":default_lxc_config", ":mountopts"}
    assert found[":mountopts"][":mountpoint"] == "media/one-disk.$id"
