"""An operator's day on the real engine, cluster and hosts: up, again, change, add, remove, drift, destroy, up again."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator

import pytest

from components import naming
from components.registration.client import AdminState
from stacks.control_plane import FIELD_MANAGER
from tests.engine.conftest import NAMESPACE, World

pytestmark = pytest.mark.engine

DAEMONS = {naming.MARIADB, naming.ONED, naming.FIREEDGE, naming.ONEFLOW, naming.ONEGATE}


def pods_by_daemon(world: World) -> dict[str, set[str]]:
    """Uids of the living pods of each daemon."""
    found: dict[str, set[str]] = {}
    for pod in world.get("pods")["items"]:
        if "deletionTimestamp" not in pod["metadata"]:
            found.setdefault(pod["metadata"]["labels"]["app.kubernetes.io/name"], set()).add(pod["metadata"]["uid"])
    return found


def changed_pods(before: dict[str, set[str]], after: dict[str, set[str]]) -> set[str]:
    """Daemons whose pods are not the same as before."""
    return {daemon for daemon in before.keys() | after.keys() if before.get(daemon) != after.get(daemon)}


@pytest.fixture(scope="module")
def ids(world: World) -> dict[str, int]:
    """Ids after the first up, which the whole day must keep."""
    outcome = world.stack().up()
    assert outcome.changed > 20
    assert set(outcome.outputs["hosts"]) == {"kvm-1", "lxc-1"}
    return world.rows()


def test_both_hosts_are_monitored_and_pushes_arrive(world: World, ids: dict[str, int]) -> None:
    assert set(ids) == {"kvm-1", "lxc-1"}
    records = {record.name: record for record in world.oned().hosts()}
    assert {record.state_name for record in records.values()} == {"MONITORED"}
    assert (records["kvm-1"].vm_mad, records["lxc-1"].vm_mad) == ("kvm", "lxc")


def test_preparing_hosts_ran_beside_the_database_and_oned(world: World, ids: dict[str, int]) -> None:
    """By the phase trace of the first up, not by eye."""
    from lab.paths import STATE

    steps = json.loads((STATE / "pulumi" / "traces" / "labtest-up.json").read_text())["steps"]
    by_name = {step["name"]: step for step in steps}
    prepared = [by_name[f"hosts-prepare-{name}"] for name in ids]
    for service in ("mariadb-statefulset", "oned-statefulset"):
        assert all(step["began"] < by_name[service]["ended"] for step in prepared)
    assert all(by_name[f"hosts-{name}"]["began"] >= by_name["oned-statefulset"]["ended"] for name in ids)


def test_pods_are_admitted_under_restricted_and_have_no_token(world: World, ids: dict[str, int]) -> None:
    labels = world.get("namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    events = world.get("events")["items"]
    assert [event["message"] for event in events if "violates PodSecurity" in event.get("message", "")] == []
    pods = world.get("pods")["items"]
    assert {pod["metadata"]["labels"]["app.kubernetes.io/name"] for pod in pods} == DAEMONS
    for pod in pods:
        mounts = [
            mount["mountPath"]
            for container in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"])
            for mount in container.get("volumeMounts", [])
        ]
        assert not any("serviceaccount" in path for path in mounts)
        for container in pod["spec"]["containers"]:
            command = [
                "exec",
                pod["metadata"]["name"],
                "-c",
                container["name"],
                "--",
                "ls",
                "/run/secrets",
                "/var/run/secrets",
            ]
            assert "kubernetes.io" not in world.kubectl(*command, check=False)


def test_up_again_changes_nothing(world: World, ids: dict[str, int]) -> None:
    outcome = world.stack().up()
    assert outcome.changed == 0, outcome.changes
    assert world.rows() == ids


def test_a_preview_shows_the_changed_line_of_a_file_and_no_secret(world: World, ids: dict[str, int]) -> None:
    """Old and new value as a person reads them before an up, and nothing is touched by looking."""
    before = world.restarts()
    text = world.stack({"opennebula:oned": {"logLevel": 4}}).preview().text
    changed = [
        line.split() for line in text.splitlines() if line.strip().startswith(("-", "+")) and "DEBUG_LEVEL" in line
    ]
    assert sorted(changed) == [["+", "DEBUG_LEVEL", "=", '"4",'], ["-", "DEBUG_LEVEL", "=", '"3",']], text
    found = list(secret_texts(world))
    assert len(found) > 3
    assert [name for name, secret in found if secret in text] == []
    assert world.restarts() == before


def test_one_changed_field_changes_one_resource(world: World, ids: dict[str, int]) -> None:
    before = world.restarts()
    hosts = host_entries(world)
    hosts[0]["labels"] = {"RACK": 'a "1"'}
    outcome = world.stack({"opennebula:hosts": hosts}).up()
    assert outcome.changed == 1, outcome.changes
    assert world.oned().host(ids["kvm-1"]).attribute("RACK") == 'a "1"'
    assert world.restarts() == before


def test_a_config_change_of_oned_restarts_oned_alone(world: World, ids: dict[str, int]) -> None:
    before = pods_by_daemon(world)
    world.stack({"opennebula:oned": {"logLevel": 4}}).up()
    assert changed_pods(before, pods_by_daemon(world)) == {naming.ONED}
    assert 'DEBUG_LEVEL = "4"' in world.kubectl("exec", "oned-0", "-c", "oned", "--", "cat", "/etc/one/oned.conf")
    assert world.rows() == ids
    world.stack().up()


def test_a_config_change_of_the_hook_manager_starts_it_anew_in_the_pod_of_oned(
    world: World, ids: dict[str, int]
) -> None:
    """It is a process of that pod, of which nobody else notices anything: no restart, and never out of its Service."""

    def manager(*command: str) -> str:
        return world.kubectl("exec", "oned-0", "-c", "hem", "--", *command)

    def starts() -> int:
        return world.kubectl("logs", "oned-0", "-c", "hem").count("Loading Hooks...")

    def ready_since() -> str:
        conditions = world.get("pod", "oned-0")["status"]["conditions"]
        (found,) = [each["lastTransitionTime"] for each in conditions if each["type"] == "Ready"]
        return str(found)

    before = (world.restarts(), ready_since())
    started = starts()
    outcome = world.stack({"opennebula:hem": {"concurrency": 3}}).up()
    assert outcome.changes.get("update") == outcome.changed == 2, "the file, and the wait until it is taken"
    assert ":concurrency: 3\n" in manager("cat", "/etc/one/onehem-server.conf")
    assert manager("cat", "/run/one/hem-taken") == manager("cat", "/etc/one/onehem-server.conf")
    assert starts() == started + 1
    assert (world.restarts(), ready_since()) == before
    assert world.rows() == ids


@pytest.mark.parametrize(
    ("daemon", "setting"),
    [
        (naming.FIREEDGE, {"opennebula:fireedge": {"logLevel": 3}}),
        (naming.ONEFLOW, {"opennebula:oneflow": {"logLevel": 3}}),
    ],
)
def test_a_config_change_of_a_web_daemon_restarts_it_alone(
    world: World, ids: dict[str, int], daemon: str, setting: dict[str, object]
) -> None:
    world.stack().up()
    before = pods_by_daemon(world)
    assert set(before) == DAEMONS
    world.stack(setting).up()
    assert changed_pods(before, pods_by_daemon(world)) == {daemon}


def test_a_host_added_and_removed_touches_nothing_else(world: World, ids: dict[str, int]) -> None:
    world.stack().up()
    before = world.restarts()
    added = world.start_host("kvm-2", "kvm")
    world.stack(hosts=[*world.hosts, added]).up()
    rows = world.rows()
    assert set(rows) == {"kvm-1", "kvm-2", "lxc-1"}
    assert {record.state_name for record in world.oned().hosts()} == {"MONITORED"}
    outcome = world.stack().up()
    assert outcome.changes.get("delete") == 2  # the preparation and the registration
    assert world.rows() == ids
    assert world.restarts() == before


def test_refresh_sees_what_was_changed_behind_its_back_and_up_mends_it(world: World, ids: dict[str, int]) -> None:
    oned = world.oned()
    oned.set_state(ids["lxc-1"], AdminState.DISABLED)
    world.kubectl("label", "service", naming.ONED, "app.kubernetes.io/part-of=somebody-else", "--overwrite")
    stack = world.stack()
    seen = stack.refresh()
    assert seen.changes.get("update", 0) >= 2, seen.changes
    mended = stack.up()
    assert mended.changes.get("update", 0) >= 2, mended.changes
    assert oned.host(ids["lxc-1"]).admin_state is AdminState.ENABLED
    labels = world.get("service", naming.ONED)["metadata"]["labels"]
    assert labels["app.kubernetes.io/part-of"] == "opennebula"
    assert world.stack().up().changed == 0


def test_refresh_on_an_untouched_world_sees_nothing(world: World, ids: dict[str, int]) -> None:
    stack = world.stack()
    assert stack.refresh().changed == 0
    assert stack.up().changed == 0


def test_a_host_deleted_behind_its_back_is_registered_again(world: World, ids: dict[str, int]) -> None:
    world.oned().delete(ids["lxc-1"])
    stack = world.stack()
    stack.refresh()
    stack.up()
    assert set(world.rows()) == set(ids)
    ids["lxc-1"] = world.rows()["lxc-1"]


def test_the_bootstrap_is_really_there(world: World, ids: dict[str, int], inside: Callable[[str], list[str]]) -> None:
    for name in ids:
        shell = "id -u oneadmin; id -g oneadmin; ls /etc/sudoers.d; ls /var/tmp/one"
        done = subprocess.run(
            [*inside(name), "sh", "-c", shell], capture_output=True, text=True, timeout=30, check=True
        )
        assert done.stdout.splitlines()[:2] == ["9869", "9869"]
        assert "opennebula" in done.stdout


def test_destroy_keeps_the_data_and_up_finds_it_again(world: World, ids: dict[str, int]) -> None:
    claims = {item["metadata"]["name"]: item["spec"]["volumeName"] for item in world.get("pvc")["items"]}
    assert len(claims) == 4
    world.stack().destroy()
    assert world.get("pods")["items"] == []
    assert {item["metadata"]["name"]: item["spec"]["volumeName"] for item in world.get("pvc")["items"]} == claims
    world.stack().up()
    assert world.rows() == ids
    assert world.stack().up().changed == 0


def test_a_lost_state_is_healed_by_adoption(world: World, ids: dict[str, int]) -> None:
    from lab.paths import STATE

    (state,) = (STATE / "pulumi").glob("backend/.pulumi/stacks/opennebula/labtest.json")
    state.unlink()
    world.stack().up()
    assert world.rows() == ids
    assert world.stack().up().changed == 0
    # One owner of the fields: with two, nothing could ever be taken out of an object again.
    listed = world.kubectl("get", "statefulset", "oned", "--show-managed-fields", "-o", "json")
    fields = json.loads(listed)["metadata"]["managedFields"]
    assert [owner["manager"] for owner in fields if owner["operation"] == "Apply"] == [FIELD_MANAGER]


def secret_texts(world: World) -> Iterator[tuple[str, str]]:
    """(where, text) of what stands in the namespace's Secrets, certificates aside; of keys a line from their middle."""
    for item in world.get("secrets")["items"]:
        for key, encoded in item.get("data", {}).items():
            lines = base64.b64decode(encoded).decode(errors="replace").strip().splitlines() or [""]
            text = lines[len(lines) // 2].rpartition(":")[2].strip()
            if len(text) >= 16 and "CERTIFICATE" not in lines[0]:
                yield f"{item['metadata']['name']}/{key}", text


def host_entries(world: World) -> list[dict[str, object]]:
    """The hosts section as the lab writes it."""
    from lab import stackfile

    config = stackfile.lab_config(world.lab.instance, world.lab.images, world.hosts, world.lab.repository)
    entries: list[dict[str, object]] = config["opennebula:hosts"]
    return entries
