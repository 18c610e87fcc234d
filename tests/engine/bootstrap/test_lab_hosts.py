"""The lab's hypervisor hosts: quick, separate, the same after a restart, and gone without a trace."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from lab import host_root, hosts
from lab.box import Box
from lab.errors import LabError
from tests.engine.bootstrap.bench import INSTANCE

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("packages")]


def _inside(name: str, command: str) -> str:
    argv = [*hosts.inside(INSTANCE, name), "sh", "-euc", command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout


def test_two_hosts_are_up_within_three_seconds_and_differ() -> None:
    began = time.monotonic()
    kvm, lxc = hosts.start_hosts(INSTANCE, {"kvm-1": "kvm", "lxc-1": "lxc"})
    assert time.monotonic() - began < 3
    assert (kvm.ip, lxc.ip) == ("10.126.0.11", "10.126.0.12")
    assert kvm.host_key_public != lxc.host_key_public
    _inside("kvm-1", "touch /only-here")
    assert "only-here" not in _inside("lxc-1", "ls /")
    assert [_inside(name, "uname -n").strip() for name in ("kvm-1", "lxc-1")] == ["kvm-1", "lxc-1"]
    assert "lxc-1" in _inside("kvm-1", "getent hosts lxc-1")
    assert "sshd" not in _inside("kvm-1", "ps -o comm= -p 1")


def test_a_second_start_finds_them_running() -> None:
    first = hosts.start_hosts(INSTANCE, {"kvm-1": "kvm"})
    before = _inside("kvm-1", "stat -c %Y /proc/1")
    assert hosts.start_hosts(INSTANCE, {"kvm-1": "kvm"}) == first
    assert _inside("kvm-1", "stat -c %Y /proc/1") == before


def test_a_restarted_host_is_reachable_at_once_with_its_files_and_key() -> None:
    first = hosts.start_hosts(INSTANCE, {"kvm-1": "kvm"})
    _inside("kvm-1", "echo kept >/etc/kept")
    hosts.stop(INSTANCE, ["kvm-1"])
    began = time.monotonic()
    assert hosts.start_hosts(INSTANCE, {"kvm-1": "kvm"}) == first
    assert time.monotonic() - began < 3
    assert _inside("kvm-1", "cat /etc/kept") == "kept\n"


def test_one_host_comes_and_goes_without_the_others_losing_their_gateway() -> None:
    hosts.start_hosts(INSTANCE, {"kvm-1": "kvm", "lxc-1": "lxc"})
    before = Box(INSTANCE).run(["cat", "/sys/class/net/hv0/address"]).stdout
    hosts.stop(INSTANCE, ["kvm-1"])
    assert Box(INSTANCE).run(["cat", "/sys/class/net/hv0/address"]).stdout == before
    hosts.start_hosts(INSTANCE, {"kvm-1": "kvm", "kvm-2": "kvm"})
    assert Box(INSTANCE).run(["cat", "/sys/class/net/hv0/address"]).stdout == before
    hosts.stop(INSTANCE, ["kvm-2"], forget=True)


def test_a_forgotten_host_starts_from_nothing_and_frees_its_address() -> None:
    (first,) = hosts.start_hosts(INSTANCE, {"new-1": "kvm"})
    _inside("new-1", "touch /etc/kept")
    hosts.stop(INSTANCE, ["new-1"], forget=True)
    (other,) = hosts.start_hosts(INSTANCE, {"new-2": "lxc"})
    assert other.ip == first.ip
    assert "kept" not in _inside("new-2", "ls /etc")
    hosts.stop(INSTANCE, ["new-2"], forget=True)


def test_a_host_does_not_change_its_kind() -> None:
    hosts.start_hosts(INSTANCE, {"kvm-1": "kvm"})
    with pytest.raises(LabError, match="kvm-1 is a kvm host, not lxc"):
        hosts.start_hosts(INSTANCE, {"kvm-1": "lxc"})


def test_a_stopped_host_says_so() -> None:
    hosts.start_hosts(INSTANCE, {"kvm-9": "kvm"})
    hosts.stop(INSTANCE, ["kvm-9"], forget=True)
    with pytest.raises(LabError, match="kvm-9 does not run"):
        hosts.inside(INSTANCE, "kvm-9")


def test_no_service_runs_but_the_ssh_server() -> None:
    hosts.start_hosts(INSTANCE, {"kvm-1": "kvm"})
    running = {line.split(":")[0] for line in _inside("kvm-1", "ps -eo comm=").splitlines()}
    assert running <= {"tini", "sshd", "sh", "ps"}
    assert _inside("kvm-1", "/usr/sbin/policy-rc.d libvirtd start || echo $?") == "101\n"


def test_a_host_keeps_the_root_it_was_made_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.start_hosts(INSTANCE, {"kvm-1": "kvm"})
    hosts.stop(INSTANCE, ["kvm-1"])
    monkeypatch.setattr(host_root, "ensure_root", lambda: tmp_path)  # what a changed recipe makes
    hosts.start_hosts(INSTANCE, {"kvm-1": "kvm"})
    hosts.stop(INSTANCE, ["kvm-1"])
    link = INSTANCE.state / "hosts" / "kvm-1" / "lower"
    link.unlink()
    link.symlink_to(tmp_path / "removed")
    with pytest.raises(LabError, match="the file system under the host kvm-1 is gone"):
        hosts.start_hosts(INSTANCE, {"kvm-1": "kvm"})
    hosts.stop(INSTANCE, ["kvm-1"], forget=True)
