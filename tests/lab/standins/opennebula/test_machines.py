"""Machines on a host of its own: scheduled by oned's driver, deployed over SSH, kept true by monitoring."""

from __future__ import annotations

import base64
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from lab.standins.opennebula.local import LocalOned
from tests.contract.endpoint import Endpoint
from tests.lab.standins.opennebula.hypervisor import Hypervisor

pytestmark = [
    pytest.mark.database,
    pytest.mark.skipif(os.geteuid() != 0, reason="a host of its own needs namespaces and an overlay: run as root"),
]

ACTIVE, DONE, POWEROFF, PENDING, HOLD = "3", "6", "8", "1", "2"
RUNNING = "3"
TEMPLATE = 'CPU = 0.1\nMEMORY = 64\nCONTEXT = [ TOKEN = "YES", NETWORK = "YES", GREETING = "it\'s $NAME" ]\n'


@pytest.fixture
def host() -> Iterator[Hypervisor]:
    with tempfile.TemporaryDirectory(prefix="standin-machines-") as directory:
        hypervisor = Hypervisor(Path(directory) / "host", "kvm-1")
        yield hypervisor
        hypervisor.close()


@pytest.fixture
def zone(oned: LocalOned, host: Hypervisor) -> Iterator[LocalOned]:
    """An oned that monitors a host every second and schedules at once; the host is registered and monitored."""
    oned.environment["PATH"] = f"{host.client_path}:{os.environ['PATH']}"
    oned.oned_conf |= {
        "SCHED_MAX_WND_TIME": 0,
        "SCHED_RETRY_TIME": 1,
        "ONEGATE_ENDPOINT": "http://onegate.invalid:5030",
        "DATASTORE_LOCATION": "/var/lib/one/datastores",
    }
    oned.monitord_conf["PROBES_PERIOD"] = {
        "BEACON_HOST": 1, "SYSTEM_HOST": 60, "MONITOR_HOST": 5, "STATE_VM": 1, "EXEC_VM": 60, "MONITOR_VM": 1,
        "SYNC_STATE_VM": 2,
    }  # fmt: skip
    with oned:
        api = client(oned)
        oid = api.ok("host.allocate", host.name, "kvm", "kvm", -1)
        until(oned, lambda: api.xml("host.info", oid).findtext("STATE") == "2")
        yield oned


def client(oned: LocalOned) -> Endpoint:
    return Endpoint(oned.endpoint, oned.session, own=True)


def until(oned: LocalOned, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not reached():
        if time.monotonic() > deadline:
            said = "\n".join(line for line in oned.log().splitlines() if "][ReM]" not in line)
            pytest.fail(f"{said[-6000:]}\n{oned.monitor_log()[-2000:]}")
        time.sleep(0.1)


def state(api: Endpoint, oid: int) -> tuple[str | None, str | None]:
    machine = api.xml("vm.info", oid)
    return machine.findtext("STATE"), machine.findtext("LCM_STATE")


def test_a_machine_from_request_to_end(zone: LocalOned, host: Hypervisor) -> None:
    api = client(zone)
    template = api.ok("template.allocate", f'NAME = "small"\n{TEMPLATE}')
    oid = api.ok("template.instantiate", template, "web", False, 'ROLE = "front"', False)
    until(zone, lambda: state(api, oid) == (ACTIVE, RUNNING))
    machine = api.xml("vm.info", oid)
    assert machine.findtext("NAME") == "web"
    assert machine.findtext("DEPLOY_ID") == f"one-{oid}"
    assert machine.findtext("USER_TEMPLATE/ROLE") == "front"
    record = machine.find("HISTORY_RECORDS/HISTORY")
    assert record is not None
    assert [record.findtext(tag) for tag in ("HOSTNAME", "HID", "CID", "VM_MAD", "TM_MAD", "DS_ID")] == [
        "kvm-1", "0", "0", "kvm", "local", "0",
    ]  # fmt: skip
    share = api.xml("host.info", 0)
    assert [share.findtext(f"HOST_SHARE/{name}") for name in ("RUNNING_VMS", "CPU_USAGE", "MEM_USAGE")] == [
        "1", "10", str(64 * 1024),
    ]  # fmt: skip
    assert (
        api.call("host.delete", 0)[1] == "[one.host.delete] Cannot delete host. Can not remove a host with running VMs"
    )

    context = host.box.read(f"/var/lib/one/datastores/0/{oid}/disk.0/context.sh")
    assert "GREETING='it'\\''s web'\n" in context
    assert "ONEGATE_ENDPOINT='http://onegate.invalid:5030'\n" in context
    assert f"VMID='{oid}'\n" in context
    token = host.box.read(f"/var/lib/one/datastores/0/{oid}/disk.0/token.txt").strip()
    password = api.xml("user.info", 0).findtext("TEMPLATE/TOKEN_PASSWORD") or ""
    assert opened(token, password) == f"{oid}:{machine.findtext('STIME')}"
    assert machine.findtext("TEMPLATE/CREATED_BY") == "0"

    until(zone, lambda: api.xml("vm.info", oid).findtext("MONITORING/MEMORY") is not None)
    assert host.as_oneadmin("pgrep -af '^one-|sleep' || true") != ""
    api.ok("vm.action", "terminate", oid)
    until(zone, lambda: state(api, oid) == (DONE, "0"))
    assert api.xml("host.info", 0).findtext("HOST_SHARE/RUNNING_VMS") == "0"
    assert host.box.run("test", "-e", f"/var/lib/one/datastores/0/{oid}", check=False).returncode == 1
    assert [each.findtext("ID") for each in api.xml("vmpool.infoextended", -2, -1, -1, -2)] == [str(oid)]
    assert list(api.xml("vmpool.info", -2, -1, -1, -1)) == []
    api.ok("host.delete", 0)


def test_a_machine_that_ends_by_itself_is_powered_off(zone: LocalOned, host: Hypervisor) -> None:
    api = client(zone)
    oid = api.ok("vm.allocate", TEMPLATE, False)
    until(zone, lambda: state(api, oid) == (ACTIVE, RUNNING))
    until(zone, lambda: f"VM id: {oid}, state: RUNNING" in zone.log())
    host.as_oneadmin(f"kill -9 $(cat /var/tmp/one_db/machines/{oid}.pid)")
    until(zone, lambda: state(api, oid) == (POWEROFF, "0"))
    api.ok("vm.action", "resume", oid)
    until(zone, lambda: state(api, oid) == (ACTIVE, RUNNING))
    api.ok("vm.action", "poweroff", oid)
    until(zone, lambda: state(api, oid) == (POWEROFF, "0"))
    api.ok("vm.action", "terminate-hard", oid)
    until(zone, lambda: state(api, oid)[0] == DONE)


def test_machines_that_cannot_be_placed_wait_and_say_why(zone: LocalOned) -> None:
    api = client(zone)
    big = api.ok("vm.allocate", "CPU = 9999\nMEMORY = 64", False)
    elsewhere = api.ok("vm.allocate", 'CPU = 0.1\nMEMORY = 64\nSCHED_REQUIREMENTS = "HYPERVISOR = lxc"', False)
    until(zone, lambda: api.xml("vm.info", elsewhere).findtext("USER_TEMPLATE/SCHED_MESSAGE") is not None)
    said = {oid: api.xml("vm.info", oid).findtext("USER_TEMPLATE/SCHED_MESSAGE") or "" for oid in (big, elsewhere)}
    assert said[big].endswith("Cannot dispatch VM: No host with enough capacity to deploy the VM")
    assert said[elsewhere].endswith("Cannot dispatch VM: No host meets SCHED_REQUIREMENTS")
    assert state(api, big) == (PENDING, "0")


def test_a_machine_whose_host_cannot_be_reached_fails_in_its_prolog(zone: LocalOned, host: Hypervisor) -> None:
    api = client(zone)
    held = api.ok("vm.allocate", TEMPLATE, True)
    assert state(api, held) == (HOLD, "0")
    host.box.sh("chmod 000 /var/lib/one/.ssh")
    api.ok("vm.deploy", held, 0, False, -1, "")
    until(zone, lambda: state(api, held) == (ACTIVE, "39"))
    assert "Error executing image transfer script" in (api.xml("vm.info", held).findtext("USER_TEMPLATE/ERROR") or "")
    host.box.sh("chmod 700 /var/lib/one/.ssh")
    api.ok("vm.recover", held, 2)
    until(zone, lambda: state(api, held) == (ACTIVE, RUNNING))


def opened(token: str, password: str) -> str:
    cipher = Cipher(algorithms.AES(password.encode()[:32]), modes.CBC(b"\0" * 16)).decryptor()
    plain = cipher.update(base64.b64decode(token)) + cipher.finalize()
    return plain[: -plain[-1]].decode()
