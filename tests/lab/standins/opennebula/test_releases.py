"""The same tree as 6.10: its versions, files, datastores, and the scheduler as a daemon of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.standins.opennebula.local import LocalOned
from tests.contract.endpoint import Endpoint

pytestmark = pytest.mark.database
INTERNAL = 0x2000


@pytest.fixture
def old(oned: LocalOned) -> Iterator[LocalOned]:
    oned.environment["ONE_STANDIN_VERSION"] = "6.10"
    with oned:
        yield oned


def daemon(oned: LocalOned, **more: str) -> subprocess.Popen[bytes]:
    conf = oned.directory / "etc" / "sched.conf"
    ours = f'ONE_XMLRPC = "{oned.endpoint}"\nSCHED_INTERVAL = 1\n'
    conf.write_text(ours + conf.read_text())
    return subprocess.Popen(
        [oned.directory / "bin" / "mm_sched"],
        env={
            **os.environ,
            "ONE_LOCATION": str(oned.directory),
            "ONE_AUTH": str(oned.auth / "one_auth"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **oned.environment,
            **more,
        },
        stderr=subprocess.PIPE,
    )


def test_what_a_client_and_a_first_boot_see(old: LocalOned) -> None:
    api = Endpoint(old.endpoint, old.session, own=True)
    assert api.ok("system.version") == "6.10.5"
    assert sorted(path.name for path in old.auth.iterdir()) == [
        "one_auth", "one_key", "oneflow_auth", "onegate_auth", "sunstone_auth",
    ]  # fmt: skip
    assert api.xml("zone.info", 0).findtext("TEMPLATE/ENDPOINT_GRPC") is None
    assert [api.xml("datastore.info", oid).findtext("TM_MAD") for oid in (0, 1, 2)] == ["ssh", "ssh", "ssh"]
    answer = api.call("datastore.allocate", "NAME = a\nTYPE = SYSTEM_DS\nTM_MAD = local", -1)
    assert answer[1:3] == ['[one.datastore.allocate] TM_MAD named "local" is not defined in oned.conf', INTERNAL]
    assert "Scheduler Manager" not in old.log()  # SCHED_MAD of the file is a line that 6.10 does not know


def test_machines_wait_for_the_daemon_which_says_why_they_wait(old: LocalOned) -> None:
    api = Endpoint(old.endpoint, old.session, own=True)
    oid = api.ok("vm.allocate", "CPU = 1\nMEMORY = 64", False)
    process = daemon(old)
    log = old.directory / "var" / "sched.log"
    try:
        for _ in range(200):
            said = api.xml("vm.info", oid).findtext("USER_TEMPLATE/SCHED_MESSAGE")
            if said is not None:
                break
            subprocess.run(["sleep", "0.1"], check=True)
        assert said == "Cannot dispatch VM: No hosts enabled to run VMs"
    finally:
        process.terminate()
        assert process.wait(20) == 0
    assert "Scheduler Stopped" in log.read_text()


def test_the_daemon_needs_a_credential_and_its_release(oned: LocalOned, tmp_path: Path) -> None:
    without = daemon(oned, ONE_STANDIN_VERSION="6.10", ONE_AUTH=str(tmp_path / "nowhere"))
    assert without.wait(20) == 255
    assert without.stderr is not None
    assert "Could not open file" in without.stderr.read().decode()
    newer = daemon(oned)
    assert newer.wait(20) == 255
