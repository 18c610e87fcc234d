"""Logins by a directory, declared datastores and the way back, all switched on in one deployed control plane.

The directory is Debian's slapd on the hosts' bridge, reached with StartTLS through oned's network policy. The way back is
used as the transfer drivers of `local` use it: from a host with oned's agent lent to it, and from oned to itself and on
to a host.
"""

from __future__ import annotations

import io
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any
from xml.etree import ElementTree

import pytest

from components import naming
from components.generated.keys import new_key_pair
from components.registration.datastore_client import DatastoreRecord
from components.registration.datastore_xmlrpc import XmlRpcDatastores
from lab import hosts, ldap
from lab.engine.stack import ProgramStack
from lab.errors import LabError
from lab.ldap import LdapInfo
from lab.paths import PROJECT, STATE
from lab.rehearsal import stack_file
from policy import declared as table
from policy.declared import Configuration
from tests.engine.conftest import INSTANCE, STACK, World
from tests.engine.matrix import LIMIT, matrix
from tests.engine.reachability import Party, namespaces
from tests.engine.test_1_lifecycle import changed_pods, pods_by_daemon
from tests.engine.test_4_secrets import Watcher, assert_clean
from tests.engine.test_6_reachability import LAB_PORTS, SWITCHES, live_policies, write
from tests.engine.way_back import FRONTEND, LEND, from_host, run_in_oned
from tests.engine.web import Refused, Site

pytestmark = pytest.mark.engine

PINNED = "/var/lib/one/.ssh/known_hosts_control_plane"
CEPH_SECRET = "6f1a2b3c-4d5e-4f60-8172-93a4b5c6d7e8"  # the UUID of a libvirt secret: a name, no key
DATASTORES: list[dict[str, Any]] = [
    {"name": "default", "type": "image", "kind": "local", "limitMb": 4000},
    {"name": "fast", "type": "system", "kind": "local"},
    {"name": "images", "type": "image", "kind": "local", "compatibleSystem": ["fast"], "limitTransferBw": "50M"},
    {"name": "share", "type": "image", "kind": "nfs", "transfer": "qcow2"},
    {"name": "kernels", "type": "file", "kind": "nfs"},
    {
        "name": "rbd",
        "type": "image",
        "kind": "ceph",
        "bridgeList": ["kvm-1"],
        "cephHost": ["192.0.2.7"],
        "cephSecret": CEPH_SECRET,
    },
]
DRIVERS = {"kvm": {"shutdownTimeout": 61}, "lxc": {"consoleWidth": 801}, "network": {"vlanMtu": 9000}}
# Below the remote scripts' directory on every host, a line each.
ON_HOSTS = {
    "etc/vmm/kvm/kvmrc": "export SHUTDOWN_TIMEOUT=61",
    "etc/vmm/lxc/lxcrc": "  :width: 801",
    "etc/vnm/OpenNebulaNetwork.conf": ":vlan_mtu: 9000",
}
OWN = frozenset(entry["name"] for entry in DATASTORES) - {"default"}


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What the first up left behind."""

    world: World
    directory: LdapInfo
    markers: dict[str, str]
    printed: str
    watcher: Watcher

    def changes(self, datastores: list[dict[str, Any]] | None = None, **ldap_server: Any) -> dict[str, Any]:
        """The configuration of this module, with some settings of the directory server replaced."""
        return changes(self.world, self.directory, DATASTORES if datastores is None else datastores, **ldap_server)

    def datastores(self) -> dict[str, DatastoreRecord]:
        """What oned has, by name."""
        return {record.name: record for record in self.rows.datastores()}

    @property
    def rows(self) -> XmlRpcDatastores:
        return XmlRpcDatastores(self.world.oned())


def changes(world: World, directory: LdapInfo, datastores: list[dict[str, Any]], **ldap_server: Any) -> dict[str, Any]:
    """Config values by full key."""
    server = {
        "name": "main",
        "host": directory.ip,
        "ca": directory.ca,
        "user": directory.user,
        "base": directory.base,
        "userField": "uid",
        "groupAdminGroupDn": directory.admin_group,
        "timeout": 2,
    }
    return {
        "opennebula:authentication": {
            "default": "ldap",
            "sessionExpiration": 0,  # each login asks the directory
            "ldap": {"check": True, "checkSeconds": 2, "servers": [{**server, **ldap_server}]},
        },
        "opennebula:datastores": datastores,
        "opennebula:drivers": DRIVERS,
        "opennebula:scheduler": {"drs": {"predictive": 0.25}},
    }


def keep_password(world: World, changed: dict[str, Any], password: str) -> ProgramStack:
    """The stack with the bind password set as the documentation says."""
    stack = world.stack(changed)
    stack.set_secret("opennebula:ldapPasswords.main", password, path=True)
    return stack


@pytest.fixture(scope="module")
def directory(world: World) -> Iterator[LdapInfo]:
    yield ldap.start(world.lab.instance)
    ldap.stop(world.lab.instance)


@pytest.fixture(scope="module")
def deployed(world: World, directory: LdapInfo) -> Iterator[Deployed]:
    """All of it at once, watched for secrets in the open."""
    host_key = new_key_pair().private_key
    markers = {
        "ldapPasswords": directory.password,
        "frontendHostKey": host_key.splitlines()[2],
        **{f"{name}'s password": password for name, password in directory.people.items()},
    }
    stack = keep_password(world, changes(world, directory, DATASTORES), directory.password)
    stack.set_secret("opennebula:frontendHostKey", host_key)
    watcher = Watcher(markers)
    printed = io.StringIO()
    watcher.start()
    try:
        with redirect_stderr(printed), redirect_stdout(printed):
            stack.up()
            stack.preview()
    finally:
        watcher.stop()
    try:
        yield Deployed(world=world, directory=directory, markers=markers, printed=printed.getvalue(), watcher=watcher)
    finally:
        stack_file(STACK).unlink(missing_ok=True)  # its passwords are for a server that nobody declares


@pytest.fixture(scope="module")
def oneadmin(deployed: Deployed) -> Site:
    """The API behind the ingress, with TLS."""
    import base64

    found = deployed.world.get("secret", naming.ONEADMIN_SECRET)["data"][naming.ONE_AUTH_KEY]
    return Site(INSTANCE, "api", login=base64.b64decode(found).decode().strip())


def person(directory: LdapInfo, name: str, password: str | None = None) -> Site:
    return Site(INSTANCE, "api", login=f"{name}:{directory.people[name] if password is None else password}")


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.3)


def lets_in(site: Site) -> bool:
    try:
        site.call("user.info", -1)
    except Refused:
        return False
    return True


def asked(site: Site, name: str, number: int = -1) -> ElementTree.Element:
    """What oned says of one object."""
    return ElementTree.fromstring(site.call(name, number))  # noqa: S314  (the API under test)


def groups_of(site: Site) -> set[str]:
    return {str(each.text) for each in asked(site, "user.info").iterfind("GROUPS/ID")}


# The directory


@pytest.fixture(scope="module")
def cloud(deployed: Deployed, oneadmin: Site) -> str:
    """Id of the group that the directory's `cloud` is mapped to; made before anybody logs in."""
    number = oneadmin.call("group.allocate", "cloud")
    oneadmin.call("group.update", number, f'GROUP_DN = "{deployed.directory.group}"', 1)
    return str(number)


def test_people_of_the_directory_log_in_and_get_their_groups(deployed: Deployed, oneadmin: Site, cloud: str) -> None:
    people = deployed.directory
    watcher = Watcher(deployed.markers)  # what people type must not become an argument of a driver either
    watcher.start()
    with pytest.raises(Refused, match="authenticated"):
        person(people, "alice", "wrong").call("user.info", -1)
    for name, groups in {"alice": {cloud}, "bob": {cloud}, "carol": {"1"}}.items():
        assert groups_of(person(people, name)) == groups, name
        assert not lets_in(person(people, name, people.people[name] + "x")), "a password is remembered by its beginning"
    watcher.stop()
    assert watcher.looks > 20 and watcher.found == set()
    alice = asked(person(people, "alice"), "user.info")
    assert alice.findtext("AUTH_DRIVER") == "ldap"
    group = asked(oneadmin, "group.info", int(cloud))
    assert [each.text for each in group.iterfind("ADMINS/ID")] == [alice.findtext("ID")]


def test_sunstone_takes_the_directorys_password(deployed: Deployed) -> None:
    site = Site(INSTANCE, naming.FIREEDGE)
    password = deployed.directory.people["bob"]
    assert site.ask("POST", "/fireedge/api/auth", {"user": "bob", "token": f"{password}x"}).status == 401
    assert site.ask("POST", "/fireedge/api/auth", {"user": "bob", "token": password}).status == 200
    assert site.ask("GET", "/fireedge/api/user/info").json["data"]["USER"]["NAME"] == "bob"


def test_nobody_logs_in_without_the_edge_to_the_directory(deployed: Deployed, tmp_path: Any) -> None:
    """And with nothing else missing: it is that rule of oned's policy which lets the packets through."""
    (policy,) = (each for each in live_policies(deployed.world) if each["metadata"]["name"] == naming.ONED)
    block = {"ipBlock": {"cidr": f"{deployed.directory.ip}/32"}}
    rules = [rule for rule in policy["spec"]["egress"] if rule["to"] != [block]]
    assert len(rules) == len(policy["spec"]["egress"]) - 1
    closed = {**policy, "spec": {**policy["spec"], "egress": rules}}
    alice = person(deployed.directory, "alice")
    assert lets_in(alice)
    try:
        deployed.world.kubectl("replace", "-f", write(tmp_path / "closed.json", closed))
        until(lambda: not lets_in(alice), "the login does not need the edge")
    finally:
        deployed.world.kubectl("replace", "-f", write(tmp_path / "open.json", policy))
    until(lambda: lets_in(alice), "the login does not come back")


def test_packets_pass_along_the_edges_of_this_configuration_alone(deployed: Deployed) -> None:
    """oned to the directory and the hosts to the way back, besides what is always there."""
    world = deployed.world
    address = IPv4Address(deployed.directory.ip)
    directory = Party(name="directory", address=address, namespace=namespaces(world.lab.instance)[address])
    configuration = Configuration(parts=frozenset(), switches=SWITCHES, ports=LAB_PORTS)
    machines = {host.name: host.ip for host in world.hosts}
    found = matrix(world.lab.instance, world.kubectl, machines, configuration, {table.LDAP: (directory,)})
    assert found.differences() == []
    assert found.predicted(live_policies(world)) == found.expected
    assert found.unlike(live_policies(world)) == []


# Datastores


def test_datastores_are_rows_with_the_ids_that_oned_gives(deployed: Deployed) -> None:
    found = deployed.datastores()
    assert {name: found[name].id for name in ("system", "default", "files")} == {"system": 0, "default": 1, "files": 2}
    assert {found[name].id for name in OWN} == set(range(100, 100 + len(OWN)))
    kinds = {name: (record.type, record.ds_mad, record.tm_mad) for name, record in found.items() if name in OWN}
    assert kinds == {
        "fast": ("system", "", "local"),
        "images": ("image", "fs", "local"),
        "share": ("image", "fs", "qcow2"),
        "kernels": ("file", "fs", "shared"),
        "rbd": ("image", "ceph", "ceph"),
    }
    assert found["default"].attribute("LIMIT_MB") == "4000"
    assert found["images"].attribute("COMPATIBLE_SYS_DS") == str(found["fast"].id)
    assert found["rbd"].attribute("BRIDGE_LIST") == "kvm-1"
    assert found["rbd"].attribute("CEPH_SECRET") == CEPH_SECRET


def test_up_again_changes_nothing(deployed: Deployed) -> None:
    outcome = deployed.world.stack(deployed.changes()).up()
    assert outcome.changed == 0, outcome.changes


def test_what_was_changed_behind_the_stacks_back_shows_and_is_mended(deployed: Deployed) -> None:
    before = deployed.datastores()
    deployed.rows.update(before["images"].id, {"LIMIT_TRANSFER_BW": "1K", "SAFE_DIRS": "/"})
    deployed.rows.enable(before["fast"].id, False)
    deployed.rows.delete(before["share"].id)
    stack = deployed.world.stack(deployed.changes())
    seen = stack.refresh()
    assert (seen.changes.get("update"), seen.changes.get("delete")) == (2, 1), seen.changes
    mended = stack.up()
    assert (mended.changes.get("update"), mended.changes.get("create")) == (2, 1), mended.changes
    after = deployed.datastores()
    assert after["images"].attribute("SAFE_DIRS") == "/var/tmp"
    assert after["images"].attribute("LIMIT_TRANSFER_BW") == "50M"
    assert after["fast"].enabled
    kept = OWN - {"share"}
    assert {name: after[name].id for name in kept} == {name: before[name].id for name in kept}
    assert after["share"].id == 100 + len(OWN), "oned gives no id twice"


# Remote scripts


@pytest.mark.parametrize("file", ON_HOSTS)
def test_the_drivers_files_reach_hosts_that_were_there_before(
    deployed: Deployed, inside: Callable[[str], list[str]], file: str
) -> None:
    """The hosts were registered with the files as shipped; the up that changed these has them copied again."""
    for host in ("kvm-1", "lxc-1"):
        command = [*inside(host), "cat", f"/var/tmp/one/{file}"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        assert ON_HOSTS[file] in found.stdout.splitlines(), f"{host}: {found.stdout}"


# The way back


def test_a_host_runs_commands_on_the_front_end_by_its_name(deployed: Deployed) -> None:
    done = from_host(deployed.world, FRONTEND, "id -un; cat /proc/1/comm; ls /var/lib/one")
    assert done.returncode == 0, done.stderr
    user, first, *rest = done.stdout.split()
    assert (user, first) == ("oneadmin", "tini")
    assert {"datastores", "remotes", "vms"} <= set(rest)


def test_a_disk_goes_to_a_host_as_local_transfers_it(deployed: Deployed, inside: Callable[[str], list[str]]) -> None:
    """qcow2: the host fetches it. raw: oned's ssh to itself sends it on to the host."""
    world, place = deployed.world, "/var/lib/one/datastores/wayback"
    made = run_in_oned(world, "sh", "-euc", f"mkdir -p {place}; head -c 3000000 /dev/urandom >{place}/disk")
    assert made.returncode == 0, made.stderr
    try:
        wanted = run_in_oned(world, "sha256sum", f"{place}/disk").stdout.split()[0]
        target = from_host(world, "-n", FRONTEND, "true", then=f"&& mkdir -p {place}")
        assert target.returncode == 0, target.stderr
        remote = f"tar -C {place} --transform='flags=r;s|disk|fetched|' -cSf - disk"
        fetched = from_host(world, "-n", FRONTEND, remote, then=f"| tar -xSf - -C {place}")
        assert fetched.returncode == 0, fetched.stderr
        script = f"set -e -o pipefail\ntar -C {place} --transform='flags=r;s|disk|sent|' -cSf - disk | "
        script += f"ssh kvm-1 'tar -xSf - -C {place}'\n"
        sent = run_in_oned(world, *LEND, FRONTEND, "bash -s", text=script)
        assert sent.returncode == 0, sent.stderr
        sums = subprocess.run(
            [*inside("kvm-1"), "sha256sum", f"{place}/fetched", f"{place}/sent"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert [line.split()[0] for line in sums.stdout.splitlines()] == [wanted, wanted]
    finally:
        run_in_oned(world, "rm", "-rf", place)
        subprocess.run([*inside("kvm-1"), "rm", "-rf", place], timeout=30, check=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-tt", FRONTEND, "true"), "PTY allocation request failed"),
        (("-W", "127.0.0.1:2633", FRONTEND), "administratively prohibited"),
        (("-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22", FRONTEND, "true"), "forwarding failed"),
        (("-o", "IdentityAgent=none", FRONTEND, "true"), "Permission denied (publickey)"),
        (("-l", "root", FRONTEND, "true"), "Permission denied (publickey)"),
        (("-A", FRONTEND, "ssh-add -l"), "Could not open a connection to your authentication agent"),
        (("-A", FRONTEND, "SSH_AUTH_SOCK=/run/one/ssh-agent.sock ssh-add -l"), "Error connecting to agent"),
        ((FRONTEND, "ls /var/lib/one/.one"), "No such file or directory"),
        ((FRONTEND, "ls /etc/one/oned.conf /run/secrets/one/oneadmin"), "No such file or directory"),
    ],
)
def test_a_host_gets_nothing_else(deployed: Deployed, arguments: tuple[str, ...], words: str) -> None:
    done = from_host(deployed.world, *arguments)
    assert words in done.stderr, (done.returncode, done.stdout, done.stderr)
    assert done.returncode != 0 or "PTY" in words


def test_a_front_end_with_another_key_is_refused(deployed: Deployed) -> None:
    """The pinned key decides: the hosts trust nobody on first use."""

    def on_host(script: str) -> None:
        argv = [*hosts.inside(INSTANCE, "kvm-1"), "sh", "-euc", script]
        subprocess.run(argv, capture_output=True, timeout=30, check=True)

    other = new_key_pair().public_key
    on_host(f"cp -p {PINNED} {PINNED}.kept; printf '%s %s\\n' \"$(cut -d' ' -f1 {PINNED})\" '{other}' >{PINNED}")
    try:
        done = from_host(deployed.world, FRONTEND, "true")
        assert done.returncode == 255
        assert "Host key verification failed" in done.stderr
    finally:
        on_host(f"mv -f {PINNED}.kept {PINNED}")
    assert from_host(deployed.world, FRONTEND, "true").returncode == 0


# Secrets


def test_the_new_secrets_are_in_secrets_and_nowhere_else(deployed: Deployed) -> None:
    import base64

    world, markers = deployed.world, deployed.markers
    secrets = world.get("secrets")["items"]
    content = b"".join(base64.b64decode(value) for item in secrets for value in item.get("data", {}).values())
    for name in ("ldapPasswords", "frontendHostKey"):
        assert markers[name].encode() in content, f"{name} is not in use: nothing here would prove anything"
    assert deployed.watcher.looks > 50
    assert deployed.watcher.found == set()
    assert_clean(markers, deployed.printed.encode(), "what a run prints")
    for place in (STATE / "pulumi", world.lab.instance.state / "logs", world.lab.instance.state / "etc"):
        for path in place.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert_clean(markers, path.read_bytes(), str(path.relative_to(STATE)))
    assert_clean(markers, (PROJECT / f"Pulumi.{STACK}.yaml").read_bytes(), "the stack's file")
    kinds = "configmaps,pods,statefulsets,deployments,services,events,controllerrevisions,networkpolicies"
    assert_clean(markers, world.kubectl("get", kinds, "-o", "yaml").encode(), kinds)
    looked = set()
    for pod in world.get("pods")["items"]:
        name = pod["metadata"]["name"]
        for container in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]):
            text = world.kubectl("logs", name, "-c", container["name"])
            assert_clean(markers, text.encode(), f"the log of {name}/{container['name']}")
            looked.add(container["name"])
    assert {"oned", "way-back", "fireedge"} <= looked
    for file in ("/var/log/one/oned.log", "/var/lib/one/config", "/etc/one/oned.conf"):
        text = run_in_oned(world, "cat", file).stdout
        assert_clean(markers, text.encode(), file)


# Changes


def test_the_optimizers_file_is_where_oneds_driver_reads_it(deployed: Deployed) -> None:
    found = run_in_oned(deployed.world, "cat", "/etc/one/schedulers/one_drs.conf")
    assert "PREDICTIVE: 0.25" in found.stdout.splitlines(), found.stderr


@pytest.mark.parametrize(
    ("password", "server", "words"),
    [
        ("not-this-one", {}, "refuses cn=reader,dc=lab,dc=test: wrong name or wrong password"),
        (None, {"host": str(INSTANCE.hypervisors[9])}, "authentication.ldap.servers[0].host"),
        (None, {"group": f"cn=gone,{ldap.BASE}"}, "has no entry cn=gone"),
    ],
)
def test_a_directory_that_cannot_work_is_refused_before_anything_is_touched(
    deployed: Deployed, password: str | None, server: dict[str, Any], words: str
) -> None:
    restarts = deployed.world.restarts()
    try:
        stack = keep_password(deployed.world, deployed.changes(**server), password or deployed.directory.password)
        with pytest.raises(LabError) as caught:
            stack.up()
        assert words in str(caught.value) and "nothing was touched" in str(caught.value)
        assert "not-this-one" not in str(caught.value)
        assert deployed.world.restarts() == restarts
    finally:
        keep_password(deployed.world, deployed.changes(), deployed.directory.password)


def test_a_change_of_the_directorys_settings_restarts_oned_alone(deployed: Deployed, cloud: str) -> None:
    people = deployed.directory
    assert lets_in(person(people, "carol"))
    before = pods_by_daemon(deployed.world)
    deployed.world.stack(deployed.changes(group=people.group)).up()
    assert changed_pods(before, pods_by_daemon(deployed.world)) == {naming.ONED}
    assert groups_of(person(people, "alice")) == {cloud}
    assert not lets_in(person(people, "carol")), "carol is not in the group that is now required"


def test_datastores_are_adopted_with_their_ids_when_the_state_forgot_them(deployed: Deployed) -> None:
    before = {name: record.id for name, record in deployed.datastores().items()}
    (file,) = (STATE / "pulumi").glob(f"backend/.pulumi/stacks/opennebula/{STACK}.json")
    state = json.loads(file.read_text())
    latest = state["checkpoint"]["latest"]
    kept = [each for each in latest["resources"] if not each["type"].endswith(":Datastore")]
    assert len(latest["resources"]) - len(kept) == len(DATASTORES)
    latest["resources"] = kept
    file.write_text(json.dumps(state))
    outcome = deployed.world.stack(deployed.changes(group=deployed.directory.group)).up()
    assert outcome.changes.get("create") == len(DATASTORES), outcome.changes
    assert {name: record.id for name, record in deployed.datastores().items()} == before


def test_only_an_empty_datastore_is_removed(deployed: Deployed, oneadmin: Site) -> None:
    number = deployed.datastores()["images"].id
    image = oneadmin.call("image.allocate", 'NAME = "kept"\nTYPE = "DATABLOCK"\nSIZE = "1"', number)
    left = [entry for entry in DATASTORES if entry["name"] not in ("images", "share")]
    with pytest.raises(LabError) as caught:
        deployed.world.stack(deployed.changes(left, group=deployed.directory.group)).up()
    assert "'images'" in str(caught.value) and f"ids {image}" in str(caught.value)
    assert "images" in deployed.datastores() and "share" not in deployed.datastores()
    oneadmin.call("image.delete", image)


def test_all_of_it_goes_away_again(deployed: Deployed, inside: Callable[[str], list[str]]) -> None:
    """The plain control plane is what is left, with oned's own datastores; without a way back the hosts know none."""
    stack_file(STACK).unlink()
    deployed.world.stack({"opennebula:wayBack": {"enabled": False}}).up()
    assert set(deployed.datastores()) == {"system", "default", "files"}
    (pod,) = (each for each in deployed.world.get("pods")["items"] if each["metadata"]["name"] == "oned-0")
    assert "way-back" not in {each["name"] for each in pod["spec"]["containers"]}
    assert from_host(deployed.world, FRONTEND, "true").returncode == 255
    assert not lets_in(person(deployed.directory, "alice")), "the driver is off"
    deployed.world.stack().up()
    assert from_host(deployed.world, FRONTEND, "true").returncode == 0
    assert deployed.world.stack().up().changed == 0
