"""Monitoring for real: SSH, rsync and the Ruby client on a host of its own, reports over UDP and TCP on loopback.

Every prerequisite of a host is taken away once, to see that its absence is noticed and that the host heals when it is
back.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.standins.opennebula.database import MariaDb, free_port
from lab.standins.opennebula.local import LocalOned
from tests.contract.endpoint import Endpoint
from tests.lab.standins.opennebula.hypervisor import LOAD_PATHS, Hypervisor

pytestmark = [
    pytest.mark.database,
    pytest.mark.skipif(os.geteuid() != 0, reason="a host of its own needs namespaces and an overlay: run as root"),
]

ERROR, MONITORED, DISABLED, OFFLINE = "3", "2", "4", "8"
INTERVAL = 3  # seconds until a silent host is probed again
PERIODS: dict[str, str | int] = {
    "BEACON_HOST": 1,
    "SYSTEM_HOST": 2,
    "MONITOR_HOST": 1,
    "STATE_VM": 1,
    "EXEC_VM": 5,
    "MONITOR_VM": 5,
    "SYNC_STATE_VM": 1,
}


class Zone:
    """One oned, one host, and the questions the tests ask."""

    def __init__(self, oned: LocalOned, host: Hypervisor) -> None:
        self.oned = oned
        self.host = host
        self.api = Endpoint(oned.endpoint, oned.session, own=True)

    def register(self, driver: str = "kvm") -> int:
        oid = int(self.api.ok("host.allocate", self.host.name, driver, driver, -1))
        self.api.later(lambda: self.api.call("host.delete", oid))
        return oid

    def state(self, oid: int) -> str | None:
        return self.api.xml("host.info", oid).findtext("STATE")

    def error(self, oid: int) -> str:
        return self.api.xml("host.info", oid).findtext("TEMPLATE/ERROR") or ""

    def stamp(self, oid: int) -> int:
        rows = self.api.xml("hostpool.monitoring", 0).iterfind("MONITORING")
        return max((int(row.findtext("TIMESTAMP") or 0) for row in rows if row.findtext("ID") == str(oid)), default=0)

    def until(self, reached: Callable[[], bool], what: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline:
                pytest.fail(
                    f"not {what} after {seconds} s:\n{self.oned.monitor_log()[-3000:]}\n{self.oned.log()[-1500:]}"
                )
            time.sleep(0.1)

    def until_state(self, oid: int, state: str) -> None:
        self.until(lambda: self.state(oid) == state, f"in state {state}")


def configure(oned: LocalOned, host: Hypervisor) -> None:
    oned.environment["PATH"] = f"{host.client_path}:{os.environ['PATH']}"
    oned.oned_conf["DATASTORE_LOCATION"] = "/var/lib/one/datastores"
    oned.monitord_conf.update({"PROBES_PERIOD": PERIODS, "MONITORING_INTERVAL_HOST": INTERVAL, "MANAGER_TIMER": 1})
    oned.shipped["monitord.conf"] = oned.shipped["monitord.conf"].replace("-r 3 -t 15", "-r 0 -t 2")  # no second tries


@pytest.fixture(scope="module")
def host() -> Iterator[Hypervisor]:
    with tempfile.TemporaryDirectory(prefix="standin-host-") as directory:
        hypervisor = Hypervisor(Path(directory), "kvm-1")
        yield hypervisor
        hypervisor.close()


@pytest.fixture(scope="module")
def _zone(host: Hypervisor, _server: MariaDb) -> Iterator[Zone]:
    _server.forget()
    with tempfile.TemporaryDirectory(prefix="standin-one-") as directory:
        oned = LocalOned(Path(directory) / "one", _server)
        configure(oned, host)
        with oned:
            yield Zone(oned, host)


@pytest.fixture
def zone(_zone: Zone) -> Iterator[Zone]:
    yield _zone
    _zone.api.clean()


def test_a_host_is_monitored_and_reports_go_on(zone: Zone) -> None:
    oid = zone.register()
    zone.until_state(oid, MONITORED)
    body = zone.api.xml("host.info", oid)
    template = {child.tag: child.text for child in body.find("TEMPLATE") or ()}
    assert (template["HOSTNAME"], template["HYPERVISOR"], template["VERSION"]) == ("kvm-1", "kvm", "7.4.0")
    assert int(body.findtext("HOST_SHARE/MAX_CPU") or 0) == int(template["TOTALCPU"] or 0) > 0
    first = zone.stamp(oid)
    zone.until(lambda: zone.stamp(oid) > first + 1, "reporting by itself")
    assert int(zone.api.xml("host.info", oid).findtext("MONITORING/CAPACITY/FREE_MEMORY") or 0) > 0
    assert zone.oned.monitor_log().count(f"Monitoring host kvm-1({oid})") == 1


def test_what_the_client_leaves_on_the_host(zone: Zone) -> None:
    oid = zone.register()
    zone.until_state(oid, MONITORED)
    zone.until(lambda: zone.host.client_running(oid), "running")
    listing = zone.host.box.sh(
        f"cd /var/tmp/one_db; find . -type f | sort; stat -c %U config; ls -s /tmp/one-monitord-{oid}.error"
    )
    assert "./.monitor_client.pid\n./config\n./etc/monitord.conf\n" in listing
    assert listing.endswith(f"oneadmin\n0 /tmp/one-monitord-{oid}.error\n")
    assert f"<HOST_ID>{oid}</HOST_ID>" in zone.host.box.read("/var/tmp/one_db/config")
    pid = zone.host.box.read(f"/tmp/one-monitord-{oid}.pid")
    assert "monitord-client.rb" in zone.host.box.read(f"/proc/{pid}/cmdline")


def test_the_remotes_tree_is_made_equal_at_every_probe_start(zone: Zone) -> None:
    zone.host.as_oneadmin("mkdir -p /var/tmp/one; touch /var/tmp/one/mine")
    oid = zone.register()
    zone.until_state(oid, MONITORED)
    assert zone.host.box.sh("ls /var/tmp/one; test ! -L /var/tmp/one/im/kvm.d/monitord-client.rb") == (
        "VERSION\nauth\ndatastore\netc\nim\nscheduler\ntm\nvmm\n"
    )


def test_offline_ends_the_client_and_enabling_starts_it(zone: Zone) -> None:
    oid = zone.register()
    zone.until(lambda: zone.host.client_running(oid), "running")
    zone.until_state(oid, MONITORED)
    zone.api.ok("host.status", oid, 2)
    zone.until(lambda: not zone.host.client_running(oid), "stopped")
    assert (zone.state(oid), zone.api.xml("host.info", oid).findtext("HOST_SHARE/MAX_CPU")) == (OFFLINE, "0")
    zone.api.ok("host.status", oid, 0)
    zone.until_state(oid, MONITORED)


def test_disabled_hosts_keep_reporting_and_are_back_at_once(zone: Zone) -> None:
    oid = zone.register()
    zone.until_state(oid, MONITORED)
    zone.api.ok("host.status", oid, 1)
    before = zone.stamp(oid)
    zone.until(lambda: zone.stamp(oid) > before + 1, "reporting")
    assert zone.state(oid) == DISABLED
    zone.api.ok("host.status", oid, 0)
    assert zone.state(oid) == MONITORED


def test_deleting_a_host_ends_its_client(zone: Zone) -> None:
    oid = zone.register()
    zone.until_state(oid, MONITORED)
    zone.until(lambda: zone.host.client_running(oid), "running")
    zone.api.ok("host.delete", oid)
    zone.until(lambda: not zone.host.client_running(oid), "stopped")


def test_a_client_that_dies_is_started_again(zone: Zone) -> None:
    oid = zone.register()
    zone.until_state(oid, MONITORED)
    zone.until(lambda: zone.host.client_running(oid), "running")
    zone.host.box.sh(f"kill -9 $(cat /tmp/one-monitord-{oid}.pid)")
    zone.until(lambda: zone.oned.monitor_log().count(f"Monitoring host kvm-1({oid})") == 2, "probed again")
    zone.until(lambda: zone.host.client_running(oid), "running again")


@pytest.mark.parametrize(
    ("take_away", "give_back", "cause"),
    [
        (f"mv {LOAD_PATHS} /x", f"mv /x {LOAD_PATHS}", "cannot load such file -- load_opennebula_paths"),
        ("chown root /var/tmp/one_db", "chown 9869 /var/tmp/one_db", "Permission denied"),
        ("mv /usr/bin/lspci /x", "mv /x /usr/bin/lspci", "No such file or directory - lspci"),
        ("mv /usr/bin/ruby /x", "mv /x /usr/bin/ruby", "ruby"),
        ("mv /usr/bin/rsync /x", "mv /x /usr/bin/rsync", "rsync"),
        ("mv /var/lib/one/.ssh /x", "mv /x /var/lib/one/.ssh", "Permission denied (publickey)"),
        (
            "sed -i 's/^oneadmin:\\*/oneadmin:!/' /etc/shadow",
            "sed -i 's/^oneadmin:!/oneadmin:*/' /etc/shadow",
            "Permission denied (publickey)",
        ),
    ],
)
def test_prerequisites_of_a_host(zone: Zone, take_away: str, give_back: str, cause: str) -> None:
    zone.host.box.sh(take_away)
    try:
        oid = zone.register()
        zone.until_state(oid, ERROR)
        assert cause in zone.oned.monitor_log()
        assert f"Start monitor failed for host {oid}: " in zone.oned.monitor_log()
        assert f"Error monitoring Host kvm-1 ({oid}): " in zone.error(oid)
        assert cause not in zone.error(oid)  # oned is not told the cause of a failed start
    finally:
        zone.host.box.sh(give_back)
    zone.until_state(oid, MONITORED)
    assert zone.error(oid) == ""


def test_a_probe_that_fails_later_names_its_cause_in_the_host(zone: Zone) -> None:
    oid = zone.register()
    zone.until_state(oid, MONITORED)
    zone.host.box.sh("mv /usr/bin/lspci /x")
    try:
        zone.until_state(oid, ERROR)
        assert "Error executing pci.sh: No such file or directory - lspci" in zone.error(oid)
    finally:
        zone.host.box.sh("mv /x /usr/bin/lspci")
    zone.until_state(oid, MONITORED)


def test_lxc_is_asked_through_sudo(zone: Zone) -> None:
    zone.host.box.sh("mv /etc/sudoers.d/oneadmin /x")
    try:
        oid = zone.register("lxc")
        zone.until_state(oid, ERROR)
        assert "sudo: a password is required" in zone.oned.monitor_log()
    finally:
        zone.host.box.sh("mv /x /etc/sudoers.d/oneadmin")
    zone.until_state(oid, MONITORED)
    assert zone.api.xml("host.info", oid).findtext("TEMPLATE/HYPERVISOR") == "lxc"


def test_a_changed_host_key_is_not_trusted(zone: Zone) -> None:
    known = zone.host.client_path / "known_hosts"
    kept = known.read_text()
    other = zone.host.client_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    known.write_text(f"{kept.split()[0]} {other.with_suffix('.pub').read_text()}")
    try:
        oid = zone.register()
        zone.until_state(oid, ERROR)
        assert "Host key verification failed." in zone.oned.monitor_log()
    finally:
        known.write_text(kept)
        other.unlink()
    zone.until_state(oid, MONITORED)


def test_monitored_proves_nothing_about_the_way_back(host: Hypervisor, database: MariaDb, tmp_path: Path) -> None:
    """The SSH answer alone makes a host MONITORED; where reports do not arrive, it is probed again and again
    instead.
    """
    oned = LocalOned(tmp_path / "one", database)
    configure(oned, host)
    oned.monitord_conf["NETWORK"] = {
        "ADDRESS": "127.0.0.1", "MONITOR_ADDRESS": "127.0.0.2", "PORT": free_port(), "THREADS": 1,
    }  # fmt: skip
    with oned:
        zone = Zone(oned, host)
        oid = zone.register()
        try:
            zone.until_state(oid, MONITORED)
            zone.until(lambda: oned.monitor_log().count(f"Monitoring host kvm-1({oid})") >= 3, "probed three times")
            assert zone.state(oid) == MONITORED
        finally:
            zone.api.ok("host.delete", oid)
            zone.until(lambda: not host.client_running(oid), "stopped")


def test_a_database_that_goes_away_for_a_while(zone: Zone, _server: MariaDb) -> None:
    oid = zone.register()
    zone.until_state(oid, MONITORED)
    _server.stop()
    try:
        assert zone.api.call("hostpool.info")[1:3] == [
            "[one.hostpool.info] User couldn't be authenticated, aborting call.",
            0x100,
        ]
        zone.until(lambda: "Unable to write monitoring to DB" in zone.oned.monitor_log(), "losing a report")
    finally:
        _server.start()
    first = zone.stamp(oid)
    zone.until(lambda: zone.stamp(oid) > first + 1, "reporting again")
    assert zone.state(oid) == MONITORED


@pytest.mark.parametrize("matching", [True, False])
def test_encrypted_reports_to_the_ssh_clients_address(
    host: Hypervisor, database: MariaDb, tmp_path: Path, *, matching: bool
) -> None:
    keys = [tmp_path / "private.pem", tmp_path / "other.pem"]
    for key in keys:
        subprocess.run(["openssl", "genrsa", "-out", key, "1024"], check=True, capture_output=True)
    public = tmp_path / "public.pem"
    command = ["openssl", "rsa", "-in", str(keys[0]), "-RSAPublicKey_out", "-out", str(public)]
    subprocess.run(command, check=True, capture_output=True)
    oned = LocalOned(tmp_path / "one", database)
    configure(oned, host)
    oned.monitord_conf["NETWORK"] = {
        "ADDRESS": "0.0.0.0",
        "MONITOR_ADDRESS": "auto",
        "PORT": oned.monitor_port,
        "THREADS": 1,
        "PUBKEY": str(public),
        "PRIKEY": str(keys[0] if matching else keys[1]),
    }
    with oned:
        zone = Zone(oned, host)
        oid = zone.register()
        try:
            zone.until_state(oid, MONITORED)
            first = zone.stamp(oid)
            if matching:
                zone.until(lambda: zone.stamp(oid) > first + 1, "reporting by itself")
            else:  # what cannot be decrypted is taken as it is, and is no report
                zone.until_state(oid, ERROR)
                assert "Error parsing monitor information" in zone.error(oid)
        finally:
            zone.api.ok("host.delete", oid)
            zone.until(lambda: not host.client_running(oid), "stopped")
