"""Hosts that leave: listed VMs, live and cold migrations over real SSH from host to host, a preparation taken back.

The drivers' scripts run as they do in production: oned's pod lends its agent to a host, and the host goes on to the other one by
the pinned keys that the program has given it. A machine here is a process of its own on the host (see test_7_flows).
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from components.registration.client import AdminState, LcmState, MachineRecord, VmState
from components.registration.xmlrpc import new_id
from lab import hosts, rehearsal
from lab.engine.stack import ProgramStack
from lab.errors import LabError
from lab.hosts import LabHost
from tests.engine.conftest import INSTANCE, World

pytestmark = pytest.mark.engine

OFF = {f"opennebula:{part}": {"enabled": False} for part in ("fireedge", "oneflow", "onegate", "ingress", "hem")}
FLEET = {"wait": 180, "poll": 1, "reprobe": 10}
SSH = {"user": "deploy", "dialTimeout": 2, "dialAttempts": 1}
LEND = "-o ForwardAgent=yes -o ControlMaster=no -o ControlPath=none"
OURS = (
    "grep -rls 'opennebula control plane' /etc /var/lib/one || true; ls -d /var/tmp/one /var/tmp/one_db /tmp/one-monitord-* "
    "/var/lib/one/.ssh/*_hypervisors /var/lib/one/.ssh/known_hosts_control_plane /var/lib/one-bootstrap.* "
    "/etc/apt/sources.list.d/opennebula.list /etc/apt/keyrings/opennebula.gpg 2>/dev/null || true; "
    "pgrep -u oneadmin -f monitord-client || true; dpkg-query -W -f '${db:Status-Abbrev}' opennebula-node-kvm | grep ^ii || true"
)


@dataclass
class Fleet:
    """Three hosts, and a machine that is sent around."""

    world: World
    hosts: dict[str, LabHost]
    machine: int = -1

    def stack(self, *names: str, **fleet: Any) -> ProgramStack:
        """The stack with these hosts, without the web daemons."""
        changes = {**OFF, "opennebula:ssh": SSH, "opennebula:fleet": {**FLEET, **fleet}}
        return self.world.stack(changes, [self.hosts[name] for name in names])

    def vm(self) -> MachineRecord:
        found: MachineRecord = self.world.oned().vms((self.machine,))[0]
        return found

    def runs_on(self, name: str) -> bool:
        vm = self.vm()
        return (vm.state, vm.lcm_state, vm.host_id) == (VmState.ACTIVE, LcmState.RUNNING, self.world.rows()[name])

    def on_host(self, name: str, command: str) -> str:
        argv = [*hosts.inside(INSTANCE, name), "sh", "-euc", command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout

    def process(self, name: str) -> bool:
        """Whether the machine's process lives on that host."""
        found = f"kill -0 $(cat /var/tmp/one_db/machines/{self.machine}.pid) 2>/dev/null && echo yes || true"
        return self.on_host(name, found) == "yes\n"


def until(condition: Callable[[], bool], what: str, limit: float = 60) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.3)


@pytest.fixture(scope="module")
def fleet(world: World) -> Iterator[Fleet]:
    """kvm-2 is the host that leaves; the machine runs there, with something on its disk."""
    started = [*world.hosts, world.start_host("kvm-2", "kvm")]
    made = Fleet(world, {host.name: host for host in started})
    made.stack("kvm-1", "kvm-2", "lxc-1").up()
    oned, rows = world.oned(), world.rows()
    made.machine = oned.call(
        "", "vm.allocate", 'NAME = "web"\nCPU = 0.1\nMEMORY = 32', True, convert=new_id, writes=True
    )
    oned.write("", "vm.deploy", made.machine, rows["kvm-2"], False, -1, "")
    until(lambda: made.runs_on("kvm-2"), "the machine does not run")
    made.on_host("kvm-2", f"echo precious >/var/lib/one/datastores/0/{made.machine}/disk.7")
    yield made
    hosts.start_hosts(INSTANCE, dict(rehearsal.HOSTS))
    if made.machine >= 0:
        oned.call("", "vm.recover", made.machine, 3, -1, convert=lambda _answer: None)
        until(lambda: made.vm().state == VmState.DONE, "the machine does not end")
    world.stack(OFF).up()
    hosts.stop(INSTANCE, ["kvm-2"], forget=True)


def test_hosts_know_each_other_by_pinned_keys_and_let_nobody_else_pose(fleet: Fleet) -> None:
    """With the agent lent from oned's pod, as the drivers do it; without it there is no key that another host would take."""

    def hop(options: str) -> str:
        inner = "ssh -o BatchMode=yes kvm-2 hostname 2>&1 || true"
        command = ["exec", "oned-0", "-c", "oned", "--", "sh", "-c", f'ssh {options} kvm-1 "{inner}"']
        return fleet.world.kubectl(*command).strip()

    assert hop(LEND) == "kvm-2"
    assert "Permission denied" in hop("-o ControlMaster=no -o ControlPath=none")
    known = "/var/lib/one/.ssh/known_hosts_hypervisors"
    before = fleet.on_host("kvm-1", f"cat {known}")
    wrong = before.replace(
        fleet.hosts["kvm-2"].host_key_public.split()[1], fleet.hosts["lxc-1"].host_key_public.split()[1]
    )
    assert wrong != before
    try:
        fleet.on_host("kvm-1", f"cat >{known} <<'E'\n{wrong}E\n")
        assert "Host key verification failed" in hop(LEND)
    finally:
        fleet.on_host("kvm-1", f"cat >{known} <<'E'\n{before}E\n")
    assert fleet.on_host("kvm-1", "ls -A /var/lib/one/.ssh | grep -x known_hosts || true") == "", "trusted on first use"


def test_a_host_with_a_machine_stops_its_removal_with_the_list(fleet: Fleet) -> None:
    row = fleet.world.rows()["kvm-2"]
    with pytest.raises(LabError) as caught:
        fleet.stack("kvm-1", "lxc-1").up()
    text = str(caught.value)
    assert f"host 'kvm-2' (id {row}) is not removed: 1 VM runs on it" in text
    assert f"{fleet.machine} web (RUNNING)" in text and "drain.mode" in text
    assert fleet.runs_on("kvm-2") and fleet.process("kvm-2")
    assert fleet.world.oned().host(row).admin_state is AdminState.ENABLED, "nothing was touched"


def test_live_the_machine_moves_and_the_host_leaves_with_nothing_of_ours_on_it(fleet: Fleet) -> None:
    assert len(fleet.on_host("kvm-2", OURS).splitlines()) > 8
    fleet.stack("kvm-1", "lxc-1", drain={"mode": "live", "vmLimit": 60, "limit": 120}, onRemoval="uninstall").up()
    assert set(fleet.world.rows()) == {"kvm-1", "lxc-1"}
    assert fleet.runs_on("kvm-1") and fleet.process("kvm-1")
    assert fleet.on_host("kvm-1", f"cat /var/lib/one/datastores/0/{fleet.machine}/disk.7") == "precious\n"
    assert fleet.on_host("kvm-2", OURS) == ""
    assert "kvm-2" not in fleet.on_host("kvm-1", "cat /var/lib/one/.ssh/config_hypervisors")
    fleet.on_host("kvm-2", "command -v virsh >/dev/null; test -d /var/lib/one/datastores")


def test_cold_to_a_host_that_is_prepared_again_in_the_same_run(fleet: Fleet) -> None:
    drain = {"mode": "cold", "vmLimit": 60, "limit": 120}
    fleet.stack("kvm-2", "lxc-1", drain=drain).up()
    assert set(fleet.world.rows()) == {"kvm-2", "lxc-1"}
    until(lambda: fleet.runs_on("kvm-2"), "the machine does not run again")
    assert fleet.process("kvm-2") and not fleet.process("kvm-1")
    assert fleet.on_host("kvm-2", f"cat /var/lib/one/datastores/0/{fleet.machine}/disk.7") == "precious\n"
    assert fleet.on_host("kvm-1", f"ls /var/lib/one/datastores/0/{fleet.machine} 2>&1 || true").startswith(
        "ls: cannot access"
    )
    assert "/var/tmp/one" in fleet.on_host("kvm-1", OURS), "kept is kept"


def test_a_dead_host_is_told_until_it_is_said_to_be_lost(fleet: Fleet) -> None:
    hosts.stop(INSTANCE, ["lxc-1"])
    with pytest.raises(LabError) as caught:
        fleet.stack("kvm-2", onRemoval="clean").up()
    text = str(caught.value)
    assert "host 'lxc-1' has left oned, but what was prepared on it is still there" in text
    assert "add lxc-1 to opennebula:fleet.lost" in text
    assert set(fleet.world.rows()) == {"kvm-2"}
    outcome = fleet.stack("kvm-2", onRemoval="clean", lost=["lxc-1"]).up()
    assert outcome.changes.get("delete") == 2, outcome.changes
    assert fleet.runs_on("kvm-2")
