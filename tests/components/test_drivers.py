"""Driver files: only what is set, whole vectors, safe in the shell, symbols for Ruby."""

from __future__ import annotations

import subprocess
from typing import Any

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
    settings = DriverSettings(kvm=KvmSettings(virtiofsd="/usr/libexec/virtiofsd"))
    found = dict(problems(settings, Version.V6_10))
    assert set(found) == {"kvm.virtiofsd"}
    assert all("OpenNebula 6.10 does not know" in text for text in found.values())
    assert list(problems(settings, Version.V7_4)) == []


@pytest.mark.parametrize("version", list(Version))
def test_both_releases_read_a_default_for_the_queues_of_nics(version: Version) -> None:
    settings = DriverSettings(kvm_exec=KvmExecSettings(nic=KvmNic(virtio_queues="4")))
    assert list(problems(settings, version)) == []
    assert kvm_exec_entries(settings.kvm_exec, version) == {"NIC": {"MODEL": "virtio", "VIRTIO_QUEUES": "4"}}
    whole = DriverSettings(kvm_exec=KvmExecSettings(raw={"NIC": {"MODEL": "e1000", "VIRTIO_QUEUES": "4"}}))
    assert list(dict(problems(whole, version))) == ["kvmExec.raw.NIC"], "typed, whatever the release"


def test_raw_keys_that_fight() -> None:
    settings = DriverSettings(
        kvm=KvmSettings(raw={"VIRSH_TIMEOUT": "3"}), kvm_exec=KvmExecSettings(raw={"OS": {"ARCH": "aarch64"}})
    )
    found = dict(problems(settings, Version.V7_4))
    assert found["kvm.raw.VIRSH_TIMEOUT"].endswith("set drivers.kvm.virshTimeout instead")
    assert found["kvmExec.raw.OS"].endswith("set drivers.kvmExec.os instead")
    swallowing = DriverSettings(kvm_exec=KvmExecSettings(raw={"RAW": "x\\"}))
    assert "backslash" in dict(problems(swallowing, Version.V7_4))["kvmExec.raw.RAW"]
    typed = DriverSettings(kvm_exec=KvmExecSettings(emulator="x\\"))
    assert "backslash" in dict(problems(typed, Version.V7_4))["kvmExec.emulator"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("PATH", "does not know PATH in kvmrc"),
        ("LD_PRELOAD", "does not know LD_PRELOAD in kvmrc"),
        ("LANG", "cannot be changed"),
        ("QEMU_PROTOCOLL", "Is QEMU_PROTOCOL meant?"),
        ("OVMF_NVRAM", "set drivers.kvm.ovmfNvram instead"),
    ],
)
def test_a_variable_that_no_script_is_given_is_refused(name: str, words: str) -> None:
    found = dict(problems(DriverSettings(kvm=KvmSettings(raw={name: "x"})), Version.V7_4))
    assert list(found) == [f"kvm.raw.{name}"] and words in found[f"kvm.raw.{name}"]


@pytest.mark.parametrize(
    ("raw", "path", "words"),
    [
        ({"FOO": "x"}, "FOO", "does not know FOO in vmm_exec_kvm.conf"),
        ({"PATH": "x"}, "PATH", "does not know PATH"),
        ({"VCPU": 2}, "VCPU", "set drivers.kvmExec.vcpu instead"),
        ({"CPU_MODEL": {"MODEL": "x"}}, "CPU_MODEL", "set drivers.kvmExec.cpuModel instead"),
        ({"VIDEO": "vga"}, "VIDEO", "is a vector"),
        ({"VIDEO": {"COLOUR": "x"}}, "VIDEO.COLOUR", "does not know COLOUR in VIDEO of vmm_exec_kvm.conf"),
        ({"OS": {"FIRMWARE": "x"}}, "OS", "needs its whole vector"),
        ({"RAW": {"A": "x"}}, "RAW", "is a plain value"),
    ],
)
def test_a_default_that_the_driver_does_not_read_is_refused(raw: dict[str, Any], path: str, words: str) -> None:
    found = dict(problems(DriverSettings(kvm_exec=KvmExecSettings(raw=raw)), Version.V7_4))
    assert list(found) == [f"kvmExec.raw.{path}"] and words in found[f"kvmExec.raw.{path}"]


def test_raw_keys_by_release() -> None:
    settings = DriverSettings(
        kvm=KvmSettings(raw={"DEFAULT_ATTACH_VIRTIO_BLK_IOTHREAD": "1", "DEFAULT_ATTACH_READ_IOPS_SEC": "9"}),
        kvm_exec=KvmExecSettings(raw={"Q35_NUMA_PCIE": "YES", "VIDEO": {"TYPE": "virtio"}}),
    )
    assert list(problems(settings, Version.V7_4)) == []
    old = dict(problems(settings, Version.V6_10))
    assert set(old) == {"kvm.raw.DEFAULT_ATTACH_VIRTIO_BLK_IOTHREAD", "kvmExec.raw.Q35_NUMA_PCIE"}
    assert all("OpenNebula 6.10 does not know" in text for text in old.values())


def test_further_mount_options_of_containers() -> None:
    settings = LxcSettings(raw={"dev_ext4": "noatime"})
    assert list(problems(DriverSettings(lxc=settings), Version.V7_4)) == []
    options = yaml.safe_load(lxcrc(settings))[":mountopts"]
    assert (options[":dev_ext4"], options[":dev_xfs"]) == ("noatime", "nouuid")
    wrong = LxcSettings(raw={"dev_xfs": "x", "id_map": "0", "width": "3"})
    found = dict(problems(DriverSettings(lxc=wrong), Version.V7_4))
    assert found["lxc.raw.dev_xfs"].endswith("set drivers.lxc.devXfs instead")
    assert found["lxc.raw.width"].endswith("set drivers.lxc.consoleWidth instead")
    assert "no key of lxcrc's mountopts" in found["lxc.raw.id_map"]


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
