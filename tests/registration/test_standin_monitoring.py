"""FleetReady on real monitoring: SSH, rsync, the Ruby client and UDP pushes, with the push path open and then blocked."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from components.registration.access import GivenCredential, UrlDialer
from components.registration.client import HostState
from components.registration.errors import FleetNotReady
from components.registration.readiness import Cadence, Expected, wait_for_fleet
from components.registration.xmlrpc import Limits, XmlRpcClient
from lab.standins.opennebula.database import MariaDb
from lab.standins.opennebula.local import LocalOned
from tests.lab.standins.opennebula.hypervisor import Hypervisor

pytestmark = [
    pytest.mark.database,
    pytest.mark.skipif(os.geteuid() != 0, reason="a host of its own needs namespaces and an overlay: run as root"),
]

INTERVAL = 5
CADENCE = Cadence(limit=20, poll=0.5, reprobe=2, interval=INTERVAL, push_target="127.0.0.1")
PERIODS: dict[str, str | int] = {
    "BEACON_HOST": 1, "SYSTEM_HOST": 600, "MONITOR_HOST": 1, "STATE_VM": 1, "EXEC_VM": 5, "MONITOR_VM": 5, "SYNC_STATE_VM": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fleet-ready-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(scope="module")
def host(base: Path) -> Iterator[Hypervisor]:
    hypervisor = Hypervisor(base, "kvm-1")
    yield hypervisor
    hypervisor.close()


@contextmanager
def zone(base: Path, host: Hypervisor, *, push_to: str) -> Iterator[XmlRpcClient]:
    with tempfile.TemporaryDirectory(dir=base) as directory:
        Path(directory).chmod(0o755)
        with MariaDb(Path(directory) / "mariadb") as database:
            oned = LocalOned(Path(directory) / "one", database)
            oned.environment["PATH"] = f"{host.client_path}:{os.environ['PATH']}"
            oned.oned_conf["DATASTORE_LOCATION"] = "/var/lib/one/datastores"
            oned.monitord_conf.update(
                {"PROBES_PERIOD": PERIODS, "MONITORING_INTERVAL_HOST": INTERVAL, "MANAGER_TIMER": 1}
            )
            network = dict(oned.monitord_conf["NETWORK"])  # type: ignore[arg-type]
            oned.monitord_conf["NETWORK"] = {**network, "MONITOR_ADDRESS": push_to}
            with oned:
                yield XmlRpcClient(
                    UrlDialer(oned.endpoint), GivenCredential(oned.session.partition(":")[2]), Limits(per_second=1000)
                )


def test_pushes_make_a_fleet_ready(base: Path, host: Hypervisor, caplog: pytest.LogCaptureFixture) -> None:
    with zone(base, host, push_to="127.0.0.1") as client:
        host_id = client.allocate("kvm-1", "kvm", "kvm", 0, within=5)
        fleet = [Expected(id=host_id, name="kvm-1")]
        with caplog.at_level(logging.WARNING):
            assert wait_for_fleet(client, fleet, CADENCE) == {"kvm-1": "MONITORED"}
        assert "probing it again" not in caplog.text
        client.delete(host_id)


def test_ssh_answers_alone_do_not(base: Path, host: Hypervisor) -> None:
    """The host pushes to an address where nobody listens; oned calls it MONITORED all the same."""
    with zone(base, host, push_to="127.0.0.9") as client:
        host_id = client.allocate("kvm-1", "kvm", "kvm", 0, within=5)
        with pytest.raises(FleetNotReady, match="MONITORED, but its answer over SSH arrived and nothing is pushed"):
            wait_for_fleet(client, [Expected(id=host_id, name="kvm-1")], CADENCE)
        assert client.host(host_id).state == HostState.MONITORED
        client.delete(host_id)
