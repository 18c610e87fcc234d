"""Draining, maintenance, clusters and remote scripts on the stand-in's oned and its real drivers, with hosts on paper."""

from __future__ import annotations

import base64
import socket
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.registration.access import GivenCredential, UrlDialer
from components.registration.client import AdminState, HostState, LcmState, MachineRecord, VmState
from components.registration.cluster_inputs import ClusterSpec
from components.registration.cluster_reconcile import ClusterRegistrar
from components.registration.cluster_xmlrpc import XmlRpcClusters
from components.registration.drain import DrainMode, DrainPolicy
from components.registration.errors import ClusterInUse, ClusterTaken, FleetNotReady, HostInUse, NameTaken
from components.registration.lease import ProcessLocks
from components.registration.pool import Listing, Pool
from components.registration.readiness import Cadence, Expected, wait_for_fleet
from components.registration.reconcile import NO_DRAIN, Registrar
from components.registration.spec import AdoptPolicy, HostSpec
from components.registration.xmlrpc import Limits, XmlRpcClient
from lab.standins.opennebula.database import MariaDb
from lab.standins.opennebula.local import LocalOned
from tests.contract.endpoint import Endpoint
from tests.registration.paper_hosts import PaperHosts
from tests.registration.probes import probed

pytestmark = pytest.mark.database

MATCHING, ALWAYS = AdoptPolicy.MATCHING, AdoptPolicy.ALWAYS
LIVE = DrainPolicy(mode=DrainMode.LIVE, vm_limit=60, limit=120)
COLD = DrainPolicy(mode=DrainMode.COLD, vm_limit=60, limit=120)


class Zone:
    """One oned whose hosts are on paper."""

    def __init__(self, oned: LocalOned, paper: PaperHosts, database: MariaDb) -> None:
        self.oned, self.paper, self._database = oned, paper, database
        self.api = Endpoint(oned.endpoint, oned.session, own=True)
        self.client = XmlRpcClient(
            UrlDialer(oned.endpoint), GivenCredential(oned.session.partition(":")[2]), Limits(per_second=1000)
        )

    @property
    def rules(self) -> Registrar:
        """A new process's."""
        return Registrar(self.client, Pool(self.client), ProcessLocks())

    @property
    def cluster_rules(self) -> ClusterRegistrar:
        clusters = XmlRpcClusters(self.client)
        return ClusterRegistrar(clusters, Listing(clusters.all_clusters), ProcessLocks())

    def host(self, name: str, *, kind: str = "kvm", cluster: int = 0) -> int:
        host_id = self.client.allocate(name, kind, kind, cluster, within=5)
        self.until(lambda: self.client.host(host_id).state == HostState.MONITORED)
        return host_id

    def machine(self, host_id: int, *, cpu: str = "1", memory: int = 512, more: str = "") -> int:
        """A VM that runs on that host."""
        vm = int(self.api.ok("vm.allocate", f"CPU={cpu}\nMEMORY={memory}\n{more}", True))
        self.api.ok("vm.deploy", vm, host_id, False, -1)
        self.until(lambda: self.vm(vm).lcm_state == LcmState.RUNNING)
        return vm

    def vm(self, vm: int) -> MachineRecord:
        return self.client.vms((vm,))[0]

    def age_monitoring(self, seconds: int) -> None:
        """Give every monitoring record a twin that is so much older."""
        older = f"last_mon_time - {seconds}"
        stamps = "CONCAT('<TIMESTAMP>', {}, '</TIMESTAMP>')"
        self._database.sql(
            f"USE `{self._database.schema}`; INSERT INTO host_monitoring (hid, last_mon_time, body) SELECT hid, {older}, "
            f"REPLACE(body, {stamps.format('last_mon_time')}, {stamps.format(older)}) FROM host_monitoring;"
        )

    def push(self, host_id: int, kind: str, payload: str) -> None:
        """What the client of that host would send to onemonitord."""
        packed = base64.b64encode(zlib.compress(payload.encode())).decode()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            # The same second twice is in order; an earlier one is not.
            line = f"{kind} SUCCESS {host_id} {int(time.time())} {packed}"
            client.sendto(line.encode(), ("127.0.0.1", self.oned.monitor_port))

    def until(self, reached: Callable[[], bool]) -> None:
        limit = time.monotonic() + 40
        while not reached():
            if time.monotonic() > limit:
                pytest.fail(f"{self.oned.log()[-4000:]}\n{self.oned.monitor_log()[-2000:]}")
            time.sleep(0.05)


@pytest.fixture(scope="module")
def database() -> Iterator[tuple[Path, MariaDb]]:
    with tempfile.TemporaryDirectory(prefix="drain-") as directory:
        base = Path(directory)
        base.chmod(0o755)
        with MariaDb(base / "mariadb") as server:
            yield base, server


@pytest.fixture(scope="module")
def _zone(database: tuple[Path, MariaDb]) -> Iterator[Zone]:
    base, server = database
    oned = LocalOned(base / "one", server)
    oned.monitord_conf.update({"MONITORING_INTERVAL_HOST": 3600, "MANAGER_TIMER": 1})
    paper = PaperHosts(oned)
    with oned:
        yield Zone(oned, paper, server)


@pytest.fixture
def zone(_zone: Zone) -> Iterator[Zone]:
    yield _zone
    for row in _zone.client.hosts():
        for vm in row.vms:
            _zone.api.call("vm.recover", vm, 3)
    _zone.until(lambda: not any(row.vms for row in _zone.client.hosts()))
    for row in _zone.client.hosts():
        _zone.client.delete(row.id)
    for cluster in _zone.client.clusters():
        if cluster.id >= 100:
            _zone.api.call("cluster.delete", cluster.id)
    for path in _zone.paper.directory.glob("*.*"):
        path.unlink()


def test_live_migration_empties_a_host_before_it_goes(zone: Zone) -> None:
    old, new = zone.host("old"), zone.host("new")
    vms = [zone.machine(old) for _ in range(3)]
    zone.rules.remove(old, "old", LIVE)
    assert [row.name for row in zone.client.hosts()] == ["new"]
    assert zone.client.host(new).vms == tuple(vms)
    assert all(zone.vm(vm).host_id == new and zone.vm(vm).lcm_state == LcmState.RUNNING for vm in vms)
    assert zone.paper.log().count("old migrate") == 3


def test_cold_migration_shuts_down_moves_and_boots(zone: Zone) -> None:
    old, new = zone.host("old"), zone.host("new")
    running, resting = zone.machine(old), zone.machine(old)
    zone.api.ok("vm.action", "poweroff", resting)
    zone.until(lambda: zone.vm(resting).state == VmState.POWEROFF)
    zone.rules.remove(old, "old", COLD)
    assert zone.client.host(new).vms == (running, resting)
    assert zone.vm(running).state_name == "RUNNING"
    assert zone.vm(resting).state_name == "POWEROFF"
    history = zone.api.xml("vm.info", running).findall("HISTORY_RECORDS/HISTORY")
    assert [stay.findtext("HID") for stay in history] == [str(old), str(new)]


def test_the_list_names_what_runs_and_nothing_is_touched(zone: Zone) -> None:
    old = zone.host("old")
    vm = zone.machine(old, more='NAME="web"\n')
    with pytest.raises(HostInUse, match=rf"1 VM runs on it\n  {vm} web \(RUNNING\)\. Next: `onevm list"):
        zone.rules.remove(old, "old", NO_DRAIN)
    assert zone.client.host(old).state == HostState.MONITORED


def test_what_does_not_fit_stays_and_the_rest_is_gone(zone: Zone) -> None:
    old, new = zone.host("old"), zone.host("new")
    big, small = zone.machine(old, cpu="7"), zone.machine(old, cpu="2")
    with pytest.raises(HostInUse, match="none of 1 other enabled hosts"):
        zone.rules.remove(old, "old", LIVE)
    assert zone.client.host(new).vms == (big,)
    assert zone.client.host(old).vms == (small,)
    assert zone.client.host(old).state == HostState.DISABLED


def test_a_migration_that_the_host_refuses_leaves_the_vm_running_where_it_was(zone: Zone) -> None:
    old, _ = zone.host("old"), zone.host("new")
    vm = zone.machine(old)
    zone.paper.break_("old", "migrate", "error: unable to connect to server at 'new:49152'")
    with pytest.raises(HostInUse, match=r"its migration failed: .*unable to connect"):
        zone.rules.remove(old, "old", LIVE)
    assert zone.vm(vm).state_name == "RUNNING"
    zone.paper.mend("old", "migrate")
    zone.rules.remove(old, "old", LIVE)
    assert zone.vm(vm).state_name == "RUNNING"


def test_a_transfer_that_breaks_off_keeps_the_host(zone: Zone) -> None:
    old, new = zone.host("old"), zone.host("new")
    vm = zone.machine(old)
    zone.paper.break_("old", "other", "tar: no space left on device")
    with pytest.raises(HostInUse, match=rf"PROLOG_MIGRATE_FAILURE.*onevm recover --retry {vm}"):
        zone.rules.remove(old, "old", COLD)
    assert {row.name for row in zone.client.hosts()} == {"old", "new"}
    zone.paper.mend("old", "other")
    zone.api.ok("vm.recover", vm, 2)
    zone.until(lambda: zone.vm(vm).lcm_state == LcmState.RUNNING)
    assert zone.vm(vm).host_id == new


def test_a_machine_with_a_console_gets_a_port_of_its_own_until_it_ends(zone: Zone) -> None:
    host = zone.host("shown")

    def port(vm: int) -> str | None:
        return zone.api.xml("vm.info", vm).findtext("TEMPLATE/GRAPHICS/PORT")

    plain, first = zone.machine(host), zone.machine(host, more='GRAPHICS = [ TYPE = "vnc" ]')
    assert (port(plain), port(first)) == (None, str(5900 + first))
    taken = int(zone.api.ok("vm.allocate", f'CPU=1\nMEMORY=64\nGRAPHICS = [ PORT = "{5900 + first}" ]', True))
    answer = zone.api.call("vm.deploy", taken, host, False, -1)
    assert answer[1:3] == ["[one.vm.deploy] Requested VNC port already assigned to a VM", 0x800]
    zone.api.ok("vm.action", "terminate-hard", taken)
    asked = zone.machine(host, more=f'GRAPHICS = [ TYPE = "vnc", PORT = "{5900 + first + 2}" ]')
    last = zone.machine(host, more='GRAPHICS = [ TYPE = "vnc" ]')
    assert (port(asked), port(last)) == (str(5902 + first), "5900" if last == first + 2 else str(5900 + last))
    zone.api.ok("vm.action", "terminate-hard", first)
    zone.until(lambda: zone.vm(first).state == VmState.DONE)
    assert port(first) is None
    again = zone.machine(host, more=f'GRAPHICS = [ TYPE = "vnc", PORT = "{5900 + first}" ]')
    assert port(again) == str(5900 + first)


def test_maintenance_and_back(zone: Zone) -> None:
    plain = HostSpec(name="old", im_mad="kvm", vm_mad="kvm")
    closed = HostSpec(name="old", im_mad="kvm", vm_mad="kvm", state=AdminState.MAINTENANCE)
    old, new = zone.host("old"), zone.host("new")
    vm = zone.machine(old)
    zone.rules.update(old, plain, closed, LIVE)
    assert closed.as_seen(zone.client.host(old)) == closed
    assert zone.client.host(new).vms == (vm,)
    zone.rules.update(old, closed, plain)
    zone.until(lambda: zone.client.host(old).state == HostState.MONITORED)


def test_a_host_that_is_enabled_again_gets_the_remote_scripts_anew(zone: Zone) -> None:
    plain = HostSpec(name="old", im_mad="kvm", vm_mad="kvm")
    closed = HostSpec(name="old", im_mad="kvm", vm_mad="kvm", state=AdminState.DISABLED)
    old = zone.host("old")
    zone.rules.update(old, plain, closed)
    (zone.oned.directory / "var/remotes/marker").write_text("v2")
    zone.rules.update(old, closed, plain)
    zone.until(lambda: "old copy v2" in zone.paper.log())


def test_a_change_of_remote_scripts_reaches_every_host_and_those_that_fail_are_named(zone: Zone) -> None:
    fleet = [Expected(id=zone.host(name), name=name) for name in ("one", "two", "three")]
    (zone.oned.directory / "var/remotes/marker").write_text("v3")
    zone.paper.break_("two", "copy", "rsync: write failed: No space left on device (28)")
    cadence = Cadence(limit=8, poll=0.2, reprobe=60, interval=3600, monitor_log="monitor.log")
    zone.age_monitoring(60)  # the hosts have been monitored for a while
    with pytest.raises(FleetNotReady) as caught:
        wait_for_fleet(zone.client, fleet, cadence, stale=[host.id for host in fleet])
    text = str(caught.value)
    assert "two (id" in text
    assert "ERROR" in text.partition("two (id")[2].splitlines()[0]
    assert {"one copy v3", "two copy v3", "three copy v3"} <= set(zone.paper.log())


def test_a_change_of_remote_scripts_reaches_disabled_hosts_too_and_leaves_them_disabled(zone: Zone) -> None:
    off = zone.host("off")
    busy = zone.machine(off)
    spec = HostSpec(name="off", im_mad="kvm", vm_mad="kvm")
    zone.rules.update(off, spec, replace(spec, state=AdminState.DISABLED))
    (zone.oned.directory / "var/remotes/marker").write_text("v4")
    wait_for_fleet(zone.client, [Expected(id=off, name="off", state=AdminState.DISABLED)], Cadence(), stale=[off])
    zone.until(lambda: "off copy v4" in zone.paper.log())
    assert zone.client.host(off).state == HostState.DISABLED
    assert zone.vm(busy).lcm_state == LcmState.RUNNING


class Counting(XmlRpcClient):
    """Notes the calls."""

    def __init__(self, zone: Zone) -> None:
        password = zone.oned.session.partition(":")[2]
        super().__init__(UrlDialer(zone.oned.endpoint), GivenCredential(password), Limits(per_second=10_000))
        self.calls: Counter[str] = Counter()

    def call(self, what: str, method: str, *args: Any, **more: Any) -> Any:
        self.calls[method] += 1
        return super().call(what, method, *args, **more)


def refreshed(zone: Zone, declared: dict[int, HostSpec]) -> tuple[dict[int, HostSpec | None], Counter[str]]:
    """What a refresh shows of these hosts, by the four threads of a provider of its own; and its calls."""
    client = Counting(zone)
    rules = Registrar(client, Pool(client), ProcessLocks())

    def look(host_id: int) -> HostSpec | None:
        record = rules.observe(host_id)
        return None if record is None else declared[host_id].as_seen(record)

    with ThreadPoolExecutor(4) as threads:
        return dict(zip(declared, threads.map(look, declared), strict=True)), client.calls


def fleet(zone: Zone) -> dict[int, HostSpec]:
    """Twelve hosts with everything that can be declared, by id."""
    cluster_id = zone.cluster_rules.register(ClusterSpec(name="prod"), ALWAYS)
    assert cluster_id >= 100
    states = [AdminState.ENABLED] * 9 + [AdminState.DISABLED, AdminState.MAINTENANCE, AdminState.OFFLINE]
    specs = [
        HostSpec(
            name=f"h-{number}",
            im_mad="kvm",
            vm_mad="kvm",
            cluster="prod" if number % 2 else "default",
            labels={"RACK": f"r{number}", "ARCHIVE": "yes"},
            reserved_cpu="10%",
            reserved_memory="-1024",
            state=state,
            owner="stack-a",
        )
        for number, state in enumerate(states)
    ]
    rules = zone.rules
    declared = {rules.register(spec, MATCHING): spec for spec in specs}
    enabled = [number for number, spec in declared.items() if spec.state is AdminState.ENABLED]
    zone.until(lambda: all(zone.client.host(number).state == HostState.MONITORED for number in enabled))
    return declared


def test_fifty_rounds_of_monitoring_are_never_a_difference(zone: Zone) -> None:
    declared = fleet(zone)
    watched = next(iter(declared))
    for number in range(50):
        for host_id, spec in declared.items():
            zone.push(host_id, "SYSTEM_HOST", probed(spec.name, number))
            zone.push(host_id, "MONITOR_HOST", f"FREECPU={number}\nFREEMEMORY={number}\nUSEDCPU=1\nUSEDMEMORY=1\n")
            if number % 10 == 3:
                packed = base64.b64encode(zlib.compress(b"probe failed")).decode()
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    line = f"MONITOR_HOST FAILURE {host_id} {int(time.time())} {packed}"
                    client.sendto(line.encode(), ("127.0.0.1", zone.oned.monitor_port))
        zone.until(lambda: zone.client.host(watched).attribute("VERSION") == f"7.4.{number}")  # noqa: B023
        seen, calls = refreshed(zone, declared)
        assert seen == declared
        assert calls == {"hostpool.info": 1}


def test_drift_of_each_kind_is_seen_and_of_nothing_else(zone: Zone) -> None:
    declared = fleet(zone)
    ids = list(declared)
    api = zone.api
    api.ok("host.status", ids[0], 1)
    api.ok("cluster.addhost", 0, ids[1])
    api.ok("host.update", ids[2], 'RACK = "by hand"', 1)
    api.ok("host.update", ids[3], 'RESERVED_CPU = ""', 1)
    api.ok("host.update", ids[4], 'VM_MAD = "qemu"', 1)
    api.ok("host.rename", ids[5], "renamed")
    api.ok("host.delete", ids[6])
    api.ok("host.delete", ids[7])
    again = int(api.ok("host.allocate", declared[ids[7]].name, "kvm", "kvm", 0))
    api.ok("host.update", ids[8], 'NOTE = "somebody else\'s"', 1)
    vm = int(api.ok("vm.allocate", "CPU=1\nMEMORY=64", True))
    api.ok("vm.deploy", vm, ids[10], False, -1)
    seen, calls = refreshed(zone, declared)
    different = {
        field: (getattr(was, field), getattr(seen[number], field))
        for number, was in declared.items()
        if seen[number] not in (None, was)
        for field in ("name", "cluster", "labels", "reserved_cpu", "vm_mad", "state")
        if getattr(seen[number], field) != getattr(was, field) and (field != "state" or number == ids[0])
    }
    assert different == {
        "state": (AdminState.ENABLED, AdminState.DISABLED),
        "cluster": ("prod", "default"),
        "labels": (declared[ids[2]].labels, {"RACK": "by hand", "ARCHIVE": "yes"}),
        "reserved_cpu": ("10%", ""),
        "vm_mad": ("kvm", "qemu"),
        "name": ("h-5", "renamed"),
    }
    assert [number for number in ids if seen[number] is None] == [ids[6], ids[7]]
    assert seen[ids[8]] == declared[ids[8]]
    maintained = seen[ids[10]]
    assert maintained is not None
    assert maintained.state is AdminState.DISABLED, "a VM came to it: the next run empties it again"
    assert calls == {"hostpool.info": 1, "host.info": 2}, "those that are gone are asked for by id"
    # Deleted and re-created by hand, in another cluster: the next run finds the new id by the name, and takes it over if told.
    with pytest.raises(NameTaken, match=r"bears no mark of this stack .* it is in cluster 'default'"):
        zone.rules.register(declared[ids[7]], MATCHING)
    assert zone.rules.register(declared[ids[7]], ALWAYS) == again


def test_the_life_of_a_cluster(zone: Zone) -> None:
    spec = ClusterSpec(name="prod", attributes={"RESERVED_CPU": "10%", "RACK": 'say "hi"'})
    cluster_id = zone.cluster_rules.register(spec, ALWAYS)
    record = zone.cluster_rules.observe(cluster_id, "prod")
    assert record is not None
    assert spec.as_seen(record) == spec
    assert zone.cluster_rules.register(spec, ALWAYS) == cluster_id
    with pytest.raises(ClusterTaken):
        zone.cluster_rules.register(spec, AdoptPolicy.REFUSE)
    host_id = zone.rules.register(HostSpec(name="kvm-1", im_mad="kvm", vm_mad="kvm", cluster="prod"), MATCHING)
    with pytest.raises(ClusterInUse, match=rf"1 hosts \(ids {host_id}\)"):
        zone.cluster_rules.remove(cluster_id, "prod")
    after = ClusterSpec(name="prod", attributes={"RACK": "r2"})
    zone.api.ok("cluster.rename", cluster_id, "by-hand")
    zone.cluster_rules.update(cluster_id, replace(spec, name="by-hand"), after)
    record = zone.cluster_rules.observe(cluster_id, "prod")
    assert record is not None
    assert (record.name, record.attribute("RACK"), record.attribute("RESERVED_CPU")) == ("prod", "r2", "")
    assert record.hosts == (host_id,)
    zone.rules.remove(host_id, "kvm-1")
    zone.cluster_rules.remove(cluster_id, "prod")
    assert zone.cluster_rules.observe(cluster_id, "prod") is None
