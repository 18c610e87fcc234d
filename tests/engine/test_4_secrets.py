"""Markers in every secret: after everything that the program does, they are nowhere but in Secrets and encrypted state.

Looked at are the state with its backups and history, the engine's and the lab's logs, traces, what a run prints, every
object of the namespace that is no Secret, pod logs, arguments and environments of all processes of this machine while the
program runs, and the hosts' files. Not looked at is oned's home volume: OpenNebula itself keeps its credential files there.
"""

from __future__ import annotations

import base64
import io
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from components.generated.keys import new_key_pair, new_monitor_key_pair
from lab import ca
from lab.errors import LabError
from lab.paths import PROJECT, STATE
from tests.engine.conftest import STACK, World

pytestmark = pytest.mark.engine

PASSWORDS = {
    "oneadminPassword": "MARKERoneadmin1a2b3c",
    "serveradminPassword": "MARKERserveradmin4d5e",
    "databasePassword": "MARKERdatabase6f7g8h",
    "fireedgeKey": "3a7e11c0ffee4b1d9e5500aa77bb33dd",
}


def forms(marker: str) -> tuple[bytes, ...]:
    """As it is, and as base64 of any text that it stands in."""
    raw = marker.encode()
    inside = [base64.b64encode(b"x" * before + raw)[4 if before else 0 : -4] for before in range(3)]
    return raw, *inside


class Watcher(threading.Thread):
    """Reads arguments and environments of all processes, over and over, until told to stop."""

    def __init__(self, markers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.markers = {name: forms(text) for name, text in markers.items()}
        self.found: set[str] = set()
        self.looks = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(0.02):
            self.looks += 1
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    self._look(process)

    def _look(self, process: Path) -> None:
        for part in ("cmdline", "environ"):
            try:
                content = (process / part).read_bytes()
            except OSError:
                continue  # ended meanwhile
            for name, several in self.markers.items():
                if any(form in content for form in several):
                    self.found.add(f"{name} in {part} of {process.name}: {content[:60]!r}")

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@pytest.fixture(scope="module")
def run(world: World) -> tuple[dict[str, str], str, Watcher]:
    """Preview with new markers, up, refresh, a failing up, up again: markers, all that was printed, what the watcher saw."""
    keys = {name: new_key_pair().private_key for name in ("oneadminSshKey", "frontendHostKey")}
    keys["monitorKey"] = new_monitor_key_pair().private_key
    stack = world.stack()
    for name, value in (PASSWORDS | keys).items():
        stack.set_secret(f"opennebula:{name}", value)
    given = {
        "sshPrivateKey": world.hosts[0].private_key_path.read_text(),
        "ingressKey": ca.ensure(world.lab.instance).key,
    }
    # The middle of a key's text: the first and last lines are the same in all of them.
    markers = PASSWORDS | {name: value.splitlines()[2] for name, value in (keys | given).items()}
    watcher = Watcher(markers)
    printed = io.StringIO()
    watcher.start()
    try:
        with redirect_stderr(printed), redirect_stdout(printed):
            print(stack.preview().text)
            stack.up()
            stack.refresh()
            try:
                images = {
                    "oned": "localhost/onelab/no:1",
                    "mariadb": world.lab.images["mariadb"],
                    "pullPolicy": "Never",
                }
                # Without the web daemons: these images name none of theirs.
                world.core({"opennebula:images": images}).up()
            except LabError as error:
                print(error)
            else:
                pytest.fail("an up with an image that does not exist must fail")
            world.stack().up()
    finally:
        watcher.stop()
    return markers, printed.getvalue(), watcher


def assert_clean(markers: dict[str, str], text: bytes, where: str) -> None:
    for name, marker in markers.items():
        for form in forms(marker):
            assert form not in text, f"{name} stands in clear or as base64 in {where}"


def test_the_markers_are_really_in_use(world: World, run: tuple[dict[str, str], str, Watcher]) -> None:
    """Else nothing below would prove anything."""
    markers = run[0]
    secrets = world.get("secrets")["items"]
    content = b"".join(base64.b64decode(value) for item in secrets for value in item.get("data", {}).values())
    # The deployer's own, and the way back's, which this stack does not run.
    for name in markers.keys() - {"sshPrivateKey", "frontendHostKey"}:
        assert markers[name].encode() in content, name
    assert {record.state_name for record in world.oned().hosts()} == {"MONITORED"}


def test_arguments_and_environments(run: tuple[dict[str, str], str, Watcher]) -> None:
    watcher = run[2]
    assert watcher.looks > 50
    assert watcher.found == set()


def test_output(run: tuple[dict[str, str], str, Watcher]) -> None:
    assert "FAILED" in run[1]
    assert "[secret]" in run[1], "the preview names what changes"
    assert_clean(run[0], run[1].encode(), "what a run prints")


def test_state_backups_history_logs_and_traces(world: World, run: tuple[dict[str, str], str, Watcher]) -> None:
    places = [STATE / "pulumi", STATE / "prepare", world.lab.instance.state / "logs", world.lab.instance.state / "etc"]
    looked = 0
    for place in places:
        for path in place.rglob("*"):
            if path.is_file() and not path.is_symlink():
                looked += 1
                assert_clean(run[0], path.read_bytes(), str(path.relative_to(STATE)))
    assert looked > 20
    assert_clean(run[0], (PROJECT / f"Pulumi.{STACK}.yaml").read_bytes(), "the stack's file")


def test_objects_that_are_no_secrets(world: World, run: tuple[dict[str, str], str, Watcher]) -> None:
    kinds = "configmaps,pods,statefulsets,deployments,replicasets,services,ingresses,serviceaccounts,events"
    kinds += ",controllerrevisions,persistentvolumeclaims,networkpolicies"
    assert_clean(run[0], world.kubectl("get", kinds, "-o", "yaml").encode(), kinds)


def test_pod_logs(world: World, run: tuple[dict[str, str], str, Watcher]) -> None:
    looked = set()
    for pod in world.get("pods")["items"]:
        name = pod["metadata"]["name"]
        for container in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]):
            text = world.kubectl("logs", name, "-c", container["name"])
            assert_clean(run[0], text.encode(), f"the log of {name}/{container['name']}")
            looked.add(container["name"])
    assert {
        "prepare",
        "ssh-agent",
        "oned",
        "keeper",
        "hem",
        "way-back",
        "mariadb",
        "fireedge",
        "guacd",
        "hosts-file",
        "oneflow",
        "onegate",
    } == looked
    for log in ("monitor.log", "oned.log"):
        text = world.kubectl(
            "exec", "oned-0", "-c", "oned", "--", "sh", "-c", f"cat /var/log/one/{log} 2>/dev/null || true"
        )
        assert_clean(run[0], text.encode(), log)


def test_the_configuration_that_oned_reports(world: World, run: tuple[dict[str, str], str, Watcher]) -> None:
    text = world.kubectl("exec", "oned-0", "-c", "oned", "--", "cat", "/var/lib/one/config")
    assert_clean(run[0], text.encode(), "/var/lib/one/config")


def test_hosts_hold_no_private_key(world: World, run: tuple[dict[str, str], str, Watcher]) -> None:
    for host in world.hosts:
        upper = world.lab.instance.state / "hosts" / host.name / "upper"
        for path in upper.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 2**20:
                assert_clean(run[0], path.read_bytes(), f"{host.name}:{path.relative_to(upper)}")


@pytest.fixture(scope="module", autouse=True)
def back_to_generated(world: World) -> object:
    """The stack file without the markers, for whatever runs later."""
    yield
    from lab.rehearsal import stack_file

    stack_file(STACK).unlink(missing_ok=True)
    world.stack().up()
