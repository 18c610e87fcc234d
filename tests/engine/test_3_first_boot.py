"""oned's container killed at random moments of its first boot: the pod heals by itself, the hosts are registered once.

Every round starts from an empty database and an empty home, as a first boot does, and kills with SIGKILL at a moment
drawn anew in each run. oned's bootstrap takes a fraction of a second; the stand-in can stretch it, so that most kills fall
into it. What each kill hit is recorded, and enough of them must have hit a half-made database.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from lab import cgroups
from lab.errors import LabError
from tests.engine.conftest import World

pytestmark = pytest.mark.engine

ROUNDS = 10
STRETCH = 60  # milliseconds after every step of the stand-in's bootstrap
BOOT_SECONDS = 4.0  # kills fall between the container's start and this
HALF_MADE = 3  # of the ten kills, so many at least must have found a database without its two users


@dataclass(frozen=True)
class Kill:
    """One kill and what the database held just after it."""

    moment: float
    tables: int
    users: int


@pytest.fixture(scope="module")
def ready(world: World) -> Iterator[World]:
    world.core().up()
    world.kubectl("set", "env", "statefulset/oned", "-c", "oned", f"ONE_STANDIN_SLOW_BOOT={STRETCH}")
    yield world
    world.kubectl("set", "env", "statefulset/oned", "-c", "oned", "ONE_STANDIN_SLOW_BOOT-")
    world.kubectl("rollout", "status", "statefulset/oned", "--timeout=120s")


@pytest.fixture(scope="module")
def kills() -> list[Kill]:
    return []


def sql(world: World, statement: str) -> str:
    """A statement as the database's own administrator."""
    client = ["mariadb", "--socket=/run/mysqld/mysqld.sock", "-N", "-e", statement]
    return world.kubectl("exec", "mariadb-0", "--", *client).strip()


def database_state(world: World) -> tuple[int, int]:
    """Tables and users of oned's schema."""
    count = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema='opennebula'"
    tables = int(sql(world, count))
    if sql(world, f"{count} AND table_name='user_pool'") != "1":
        return tables, 0
    try:
        return tables, int(sql(world, "SELECT COUNT(*) FROM opennebula.user_pool"))
    except LabError as error:
        # The next start is quick: it drops what it finds without users, maybe between these questions.
        if "ERROR 1146" not in str(error):
            raise
        return tables, 0


def wait_for(world: World, what: str, condition: Callable[[], bool], limit: float = 120.0) -> None:
    """Poll a condition; AssertionError with oned's log at the limit."""
    deadline = time.monotonic() + limit
    while not condition():
        log = world.kubectl("logs", "oned-0", "-c", "oned", "--tail=20", check=False)
        assert time.monotonic() < deadline, f"{what} not within {limit} s\n{log}"
        time.sleep(0.2)


def oned_process(world: World) -> int | None:
    """Pid, in the root namespace, of the oned container's process 1. Only of this lab: another one is never touched."""
    command = ["pgrep", "-f", "tini -- /usr/local/libexec/one/oned-start"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    own = cgroups.pids(world.lab.instance)
    pids = [int(pid) for pid in found if int(pid) in own]
    return max(pids) if pids else None


def erase(world: World) -> None:
    """Back to before the first boot: no pod, an empty schema, an empty home."""
    world.kubectl("scale", "statefulset", "oned", "--replicas=0")
    wait_for(world, "end of the pod", lambda: "oned-0" not in world.kubectl("get", "pods", "-o", "name"))
    sql(world, "DROP DATABASE IF EXISTS opennebula; CREATE DATABASE opennebula")
    volume = world.get("pvc", "one-home")["spec"]["volumeName"]
    spec = world.get("pv", volume)["spec"]
    path = (spec.get("local") or spec.get("hostPath"))["path"]
    subprocess.run(["find", path, "-mindepth", "1", "-delete"], check=True, timeout=60)


def all_ready(world: World) -> bool:
    """Whether oned's pod is there and every container of it is ready."""
    pods = world.get("pods", "-l", "app.kubernetes.io/name=oned")["items"]
    statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", [])]
    return bool(statuses) and all(status["ready"] for status in statuses)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_kill_during_the_first_boot_heals_by_itself(ready: World, kills: list[Kill], round_: int) -> None:
    world = ready
    moment = random.uniform(0.0, BOOT_SECONDS)  # noqa: S311 a moment in time, no secret
    erase(world)
    world.kubectl("scale", "statefulset", "oned", "--replicas=1")
    wait_for(world, "the oned container", lambda: oned_process(world) is not None)
    time.sleep(moment)
    pid = oned_process(world)
    assert pid is not None
    subprocess.run(["kill", "-KILL", str(pid)], check=True)
    kill = Kill(moment, *database_state(world))
    kills.append(kill)
    print(f"round {round_}: {kill}")
    wait_for(world, f"recovery from {kill}", lambda: all_ready(world) and world.restarts_of("oned-0", "oned") >= 1)
    users = sql(world, "SELECT oid, name FROM opennebula.user_pool ORDER BY oid")
    assert users.split() == ["0", "oneadmin", "1", "serveradmin"], kill
    # The database is new, so the hosts of the round before are gone: a refresh sees it, an up registers each once.
    stack = world.core()
    stack.refresh()
    stack.up()
    assert set(world.rows()) == {"kvm-1", "lxc-1"}, kill


def test_enough_kills_hit_a_half_made_database(kills: list[Kill]) -> None:
    """Else the rounds above proved little."""
    assert len(kills) == ROUNDS
    assert sum(kill.users < 2 for kill in kills) >= HALF_MADE, kills


def test_after_the_kills_the_hosts_are_monitored(ready: World) -> None:
    assert {record.state_name for record in ready.oned().hosts()} == {"MONITORED"}
    assert ready.core().up().changed == 0


def test_no_host_reports_under_a_number_that_it_had_before(ready: World) -> None:
    """Every round numbered them anew, in either order: one that is left over would be taken for the other host."""
    numbers = {record.name: str(record.id) for record in ready.oned().hosts()}
    own = cgroups.pids(ready.lab.instance)
    listed = subprocess.run(["pgrep", "-af", "monitord-client.rb"], capture_output=True, text=True, check=False).stdout
    running = [line.split()[-2:] for line in listed.splitlines() if int(line.split()[0]) in own]
    assert {name for _number, name in running} == set(numbers)
    assert [client for client in running if client[0] != numbers[client[1]]] == []


def test_a_lost_database_is_refused_with_the_reason(ready: World) -> None:
    """An empty database beside a home that served another one: never bury lost data under a new first boot."""
    world = ready
    sql(world, "RENAME TABLE opennebula.user_pool TO mysql.kept_user_pool")
    world.kubectl("delete", "pod", "oned-0", "--wait=true")
    wait_for(
        world,
        "the refusal",
        lambda: "Restore the database from a backup" in world.kubectl("logs", "oned-0", "-c", "oned", check=False),
    )
    sql(world, "RENAME TABLE mysql.kept_user_pool TO opennebula.user_pool")
    world.kubectl("delete", "pod", "oned-0", "--wait=true")
    wait_for(world, "recovery", lambda: all_ready(world))
    assert set(world.rows()) == {"kvm-1", "lxc-1"}
