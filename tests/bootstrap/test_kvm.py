"""When libvirt is made to read its configuration, and which of its units are at work; run by sh, without root or systemd."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from components.bootstrap.script import render
from tests.bootstrap.examples import plan

# as the stand-in of the engine tests, which has its state at a fixed place
_SYSTEMCTL = """\
unit=$(printf '%s\\n' "$@" | tail -n 1)
case $unit in *.*) ;; *) unit=$unit.service ;; esac
file=$PLACE/units/$unit
[ -f "$file" ] && read -r enabled active <"$file"
case $* in
    *is-active*) [ "${active:-}" = active ] ;;
    *is-enabled*) echo "${enabled:-not-found}" && [ "${enabled:-}" != disabled ] && [ -n "${enabled:-}" ] ;;
    *)
        echo "$*" >>"$PLACE/calls"
        [ -f "$file" ] || exit 5
        case $* in
            disable*) echo "disabled $active" >"$file" ;;
            enable\\ --now*) echo "enabled active" >"$file" ;;
            enable*) echo "enabled $active" >"$file" ;;
            restart*)
                echo "$enabled active" >"$file"
                rm -f "$PLACE/${unit%.service}.pid"
                echo 1 >"$PLACE/${unit%.service}.pid"
                ;;
        esac
        ;;
esac
"""
_BEFORE, _AFTER = 1_700_000_000, 1_700_000_100


class _Host:
    """One with these units, and a libvirt that lets oneadmin in."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for name in ("tools", "units", "systemd/system", "libvirt"):
            (place / name).mkdir(parents=True)
        for name, text in (("systemctl", _SYSTEMCTL), ("virsh", "")):
            (place / "tools" / name).write_text(f"#!/bin/sh\nPLACE={place}\n{text}")
            (place / "tools" / name).chmod(0o755)
        self.written("qemu.conf", _BEFORE)

    def unit(self, name: str, state: str) -> None:
        (self.place / "units" / name).write_text(f"{state}\n")

    def written(self, name: str, when: int) -> None:
        file = self.place / (name if name.endswith(".pid") else f"libvirt/{name}")
        file.touch()
        os.utime(file, (when, when))

    def prepare(self, shape: str) -> list[str]:
        """What systemd was asked to change."""
        functions = render(plan()).removesuffix("main </dev/null\n").replace("/etc/libvirt", f"{self.place}/libvirt")
        script = (
            f"{functions}STEP=here\nPATH={self.place}/tools:$PATH; KVM_RUN={self.place}; LOG={self.place}/log; LIBVIRT={shape}\n"
            "kvm_answers() { :; }\nkvm\n"
        )
        (self.place / "calls").write_text("")
        subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=30, check=True)
        return (self.place / "calls").read_text().splitlines()


@pytest.fixture
def host(tmp_path: Path) -> _Host:
    return _Host(tmp_path)


@pytest.mark.parametrize("changed", ["qemu.conf", "libvirtd.conf"])
def test_a_daemon_that_lets_oneadmin_in_but_is_older_than_its_configuration_is_restarted_once(
    host: _Host, changed: str
) -> None:
    """Debian's package starts it before OpenNebula's writes the configuration, and lets in whoever is in its group."""
    host.unit("libvirtd.service", "enabled active")
    host.written("libvirtd.pid", _BEFORE)
    host.written(changed, _AFTER)
    assert host.prepare("monolithic") == ["restart libvirtd"]
    assert host.prepare("monolithic") == []


def test_one_that_has_read_its_configuration_is_left_alone(host: _Host) -> None:
    host.unit("libvirtd.service", "enabled active")
    host.written("libvirtd.conf", _BEFORE)
    host.written("libvirtd.pid", _AFTER)
    assert host.prepare("monolithic") == []


_SOCKETS = [
    f"{name}.socket"
    for name in ("virtqemud", "virtqemud-ro", "virtnetworkd", "virtnodedevd", "virtsecretd", "virtstoraged")
]


def test_sockets_that_are_enabled_but_not_at_work_are_started(host: _Host) -> None:
    """So a preset leaves them after an installation, until the next boot."""
    for name in _SOCKETS:
        host.unit(name, "enabled inactive")
    host.unit("virtnetworkd.service", "disabled active")  # a socket of one that runs cannot be started
    host.unit("virtnodedevd.socket", "disabled inactive")
    assert host.prepare("modular") == [f"enable --now {name}" for name in _SOCKETS if name != "virtnetworkd.socket"]
    assert host.prepare("modular") == []


def test_the_other_libvirt_is_not_there_after_the_next_boot(host: _Host) -> None:
    for name in _SOCKETS:
        host.unit(name, "enabled active")
    host.unit("libvirtd.service", "enabled inactive")
    host.unit("libvirtd.socket", "enabled inactive")
    host.unit("libvirtd-ro.socket", "static inactive")  # nobody can disable it
    assert host.prepare("modular") == ["disable libvirtd.service", "disable libvirtd.socket"]
    assert host.prepare("modular") == []


def test_nor_the_modular_one_beside_libvirtd(host: _Host) -> None:
    for name in _SOCKETS:
        host.unit(name, "enabled inactive")
    host.unit("libvirtd.service", "enabled active")
    for shape in ("modular", "monolithic"):  # what the table says, and what the host has chosen
        assert host.prepare(shape) == ([f"disable {name}" for name in _SOCKETS] if shape == "modular" else [])


def test_what_is_at_work_is_disabled_by_nobody(host: _Host) -> None:
    for name in _SOCKETS:
        host.unit(name, "enabled active")
    host.unit("libvirtd-admin.socket", "enabled active")
    assert host.prepare("modular") == []
