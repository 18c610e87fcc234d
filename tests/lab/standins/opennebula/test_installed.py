"""The tree where the packages put it, run as an image runs it: user 9869, no privileges, `/usr/bin/oned -f`, key in
an agent.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.standins.opennebula.database import MariaDb, free_port
from lab.standins.opennebula.loopback import ROOT
from tests.contract.endpoint import Endpoint
from tests.lab.standins.opennebula.boxes import Box
from tests.lab.standins.opennebula.hypervisor import Hypervisor

pytestmark = [
    pytest.mark.database,
    pytest.mark.skipif(os.geteuid() != 0, reason="a machine of its own needs namespaces and an overlay: run as root"),
]

_PREPARE = """
echo 'oneadmin:x:9869:9869::/var/lib/one:/bin/sh' >>/etc/passwd
echo 'oneadmin:x:9869:' >>/etc/group
install -d -m 700 /var/log/one /run/one /run/one/ssh-socks /run/lock/one
install -d -m 700 /var/lib/one/.one /var/lib/one/.ssh /var/lib/one/datastores
test -e /var/lock || ln -s /run/lock /var/lock
echo 'oneadmin:installed' >/var/lib/one/.one/one_auth
chmod 600 /var/lib/one/.one/one_auth
chown -R 9869:9869 /etc/one /var/lib/one /var/log/one /run/one /run/lock/one
"""
_START = """
umask 077
eval "$(ssh-agent -a /run/one/ssh-agent.sock)" >/dev/null
ssh-add -q /var/lib/one/key && rm /var/lib/one/key
PATH=/usr/lib/one/sh/override:/usr/bin:/bin:/usr/sbin:/sbin HOME=/var/lib/one exec /usr/bin/oned -f
"""


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="standin-installed-") as directory:
        yield Path(directory)


@pytest.fixture
def host(base: Path) -> Iterator[Hypervisor]:
    hypervisor = Hypervisor(base / "host", "kvm-1")
    yield hypervisor
    hypervisor.close()


@pytest.fixture
def machine(base: Path) -> Iterator[Box]:
    box = Box(base / "control", "control")
    tree = subprocess.run(["tar", "-C", str(ROOT), "-cf", "-", "."], capture_output=True, check=True).stdout
    subprocess.run(
        box.command("tar", "-C", "/", "--no-overwrite-dir", "--no-same-owner", "-xf", "-"), input=tree, check=True
    )
    box.sh(_PREPARE)
    yield box
    box.close()


def test_oned_as_installed_monitors_a_host(machine: Box, host: Hypervisor, database: MariaDb) -> None:
    port, monitor_port = free_port(), free_port()
    oned_conf = machine.read("/etc/one/oned.conf").replace("PORT           = 2633", f"PORT = {port}")
    oned_conf = oned_conf.replace("-p 2101 -l 2102", f"-p {free_port()} -l {free_port()}")
    settings = (
        f'DB = [ BACKEND = "mysql", SERVER = "127.0.0.1", PORT = {database.port}, USER = "{database.user}",\n'
        f'  PASSWD = "{database.password}", DB_NAME = "{database.schema}", CONNECTIONS = 2 ]\nHOSTNAME = "control"\n'
    )
    machine.write("/etc/one/oned.conf", settings + oned_conf, owner="oneadmin")
    monitord_conf = machine.read("/etc/one/monitord.conf")
    for shipped, ours in (('"::"', '"127.0.0.1"'), ("4124", str(monitor_port)), ("= 120", "= 1")):
        assert shipped in monitord_conf
        monitord_conf = monitord_conf.replace(shipped, ours)
    machine.write("/etc/one/monitord.conf", monitord_conf, owner="oneadmin")
    client = host.client_path
    config = (client / "config").read_text().replace(str(client / "known_hosts"), "/etc/known")
    config = "\n".join(line for line in config.splitlines() if "Identit" not in line)
    machine.write("/etc/known", (client / "known_hosts").read_text())
    machine.write(
        "/var/lib/one/.ssh/config",
        f"{config}\n  ControlPath /run/one/ssh-socks/%C\n  ControlPersist 5s\n",
        mode="600",
        owner="oneadmin",
    )
    machine.write("/var/lib/one/key", (client / "id").read_text(), mode="600", owner="oneadmin")
    machine.spawn(
        "setpriv", "--reuid=9869", "--regid=9869", "--clear-groups", "--no-new-privs", "--bounding-set=-all",
        "--inh-caps=-all", "sh", "-euc", _START, log="/run/oned.out",
    )  # fmt: skip
    api = Endpoint(f"http://127.0.0.1:{port}/RPC2", "oneadmin:installed", own=True)
    _until(lambda: api.ok("system.version") == "7.4.0", machine)
    oid = api.ok("host.allocate", "kvm-1", "kvm", "kvm", -1)
    _until(lambda: api.xml("host.info", oid).findtext("STATE") == "2", machine)

    def rows() -> int:
        return len(list(api.xml("host.monitoring", oid)))

    _until(lambda: rows() > 2, machine)
    assert "Starting OpenNebula 7.4.0 rehearsal stand-in" in machine.read("/var/log/one/oned.log")
    assert "Start monitor success, host: 0" in machine.read("/var/log/one/monitor.log")
    assert "SCRIPTS_REMOTE_DIR=/var/tmp/one" in machine.read("/var/lib/one/config")
    assert machine.sh("ls /run/lock/one") == "one\n"
    assert machine.sh("ls /run/one/ssh-socks") != ""  # connections are shared, through the ssh that comes first on PATH
    machine.sh("kill -TERM $(pgrep -u 9869 -f '/usr/bin/oned -f')")
    _until(lambda: machine.sh("ls /run/lock/one") == "", machine)
    assert "All modules finalized, exiting." in machine.read("/var/log/one/oned.log")


def test_a_user_without_a_password_entry_cannot_boot_it(machine: Box, database: MariaDb) -> None:
    settings = (
        f'DB = [ BACKEND = "mysql", SERVER = "127.0.0.1", PORT = {database.port}, USER = "{database.user}",\n'
        f'  PASSWD = "{database.password}", DB_NAME = "{database.schema}" ]\n'
        'LOG = [ SYSTEM = "std" ]\nHOSTNAME = "control"\n'
    )
    machine.write("/etc/one/oned.conf", settings + machine.read("/etc/one/oned.conf"))
    machine.sh("sed -i /9869/d /etc/passwd")
    user = ("setpriv", "--reuid=9869", "--regid=9869", "--clear-groups", "env", "HOME=/var/lib/one")
    result = machine.run(*user, "/usr/bin/oned", "-f", check=False)
    assert result.returncode == 255
    assert "Error reading one_auth: No matching password record for user" in result.stderr


def _until(reached: object, machine: Box) -> None:
    assert callable(reached)
    deadline = time.monotonic() + 30
    while True:
        try:
            if reached():
                return
        except OSError:
            pass  # not listening yet
        if time.monotonic() > deadline:
            pytest.fail(machine.sh("tail -n 40 /run/oned.out /var/log/one/*", check=False))
        time.sleep(0.1)
