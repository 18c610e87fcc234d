"""A real box, without a cluster in it: what is inside stays inside, and nothing is left when it ends."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lab import cgroups, process
from lab.box import Box
from lab.errors import LabError
from lab.paths import PROJECT, Instance

pytestmark = pytest.mark.engine

INSTANCE = Instance(name="boxtest", index=20)


def outside() -> dict[str, str]:
    """What of the machine a box could change: interfaces, routes, mounts, packet filter, cgroups, sysctls."""

    def text(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout

    sysctls = ("kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "vm/panic_on_oom", "net/ipv4/ip_forward")
    found = {name: Path("/proc/sys", name).read_text() for name in sysctls}
    links = [line.split()[1] for line in text("ip", "-o", "link").splitlines()]
    found["links"] = " ".join(link for link in links if link.startswith(INSTANCE.uplink) or link.startswith("hv"))
    found["routes"] = "\n".join(
        line for line in text("ip", "route").splitlines() if f"10.{124 + INSTANCE.index}." in line
    )
    found["mounts"] = "\n".join(
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if INSTANCE.name in line
    )
    rules = text("iptables-save").splitlines()
    found["rules"] = "\n".join(line for line in rules if line.startswith("-A"))
    found["cgroups"] = " ".join(str(root) for root in cgroups.hierarchies() if (root / INSTANCE.cgroup).exists())
    return found


@pytest.fixture
def box() -> Iterator[Box]:
    made = Box(INSTANCE)
    made.stop()
    before = outside()
    made.start()
    yield made
    made.stop()
    assert outside() == before
    shutil.rmtree(INSTANCE.state, ignore_errors=True)


def test_a_second_start_changes_nothing(box: Box) -> None:
    first = box.init()
    box.start()
    assert box.init() == first is not None


def test_it_has_the_network_of_its_instance(box: Box) -> None:
    addresses = box.run(["ip", "-4", "-brief", "address"]).stdout
    assert f"{INSTANCE.node_ip}/22" in addresses
    assert f"{INSTANCE.box_ip}/30" in addresses
    assert "eth0" not in addresses


@pytest.mark.parametrize("address", [INSTANCE.box_ip, INSTANCE.node_ip])
def test_it_is_reached_through_the_uplink(box: Box, address: IPv4Address) -> None:
    server = "import socket; s = socket.create_server(('', 7000)); s.accept()[0].sendall(b'hello')"
    box.spawn([sys.executable, "-I", "-c", server], box.logs / "server.log")
    deadline = time.monotonic() + 10
    while True:
        try:
            with socket.create_connection((str(address), 7000), timeout=2) as connection:
                assert connection.recv(10) == b"hello"
                return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the server in the box does not listen"
            time.sleep(0.05)


def test_nothing_in_it_reaches_the_world(box: Box) -> None:
    done = box.run(["ip", "route", "get", "192.0.2.1"], check=False)
    assert done.returncode != 0
    assert "unreachable" in done.stderr


def test_the_machines_sysctls_are_paper_in_it(box: Box) -> None:
    before = Path("/proc/sys/kernel/panic").read_text()
    assert box.run(["cat", "/proc/sys/kernel/panic"]).stdout == "10\n"
    box.run(["sh", "-c", "echo 77 >/proc/sys/kernel/panic"], check=False)
    assert Path("/proc/sys/kernel/panic").read_text() == before


@pytest.mark.parametrize("place", ["/run", "/var/lib", "/var/log"])
def test_what_it_writes_to_fixed_paths_stays_in_it(box: Box, place: str) -> None:
    written = Path(place, "boxtest-file")
    box.run(["sh", "-c", f"echo in >{written}"])
    leaked = written.exists()
    written.unlink(missing_ok=True)
    assert not leaked


@pytest.fixture
def shared_mount(tmp_path: Path) -> Iterator[Path]:
    """A mount that spreads to namespaces made later, as every mount does on a machine with systemd."""
    place = tmp_path / "shared"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "boxtest", place], check=True, timeout=20)
    subprocess.run(["mount", "--make-shared", place], check=True, timeout=20)
    yield place
    subprocess.run(["umount", "--recursive", place], check=True, timeout=20)


def test_mounts_do_not_spread(shared_mount: Path, box: Box) -> None:
    (shared_mount / "inner").mkdir()
    box.run(["mount", "-t", "tmpfs", "boxtest", str(shared_mount / "inner")])
    assert "inner" in box.run(["cat", "/proc/self/mountinfo"]).stdout
    assert str(shared_mount / "inner") not in Path("/proc/self/mountinfo").read_text()


def test_state_shows_through(box: Box) -> None:
    file = INSTANCE.state / "shared"
    box.run(["sh", "-c", f"echo in >{file}"])
    assert file.read_text() == "in\n"


def test_a_failing_command_is_an_error_with_its_words(box: Box) -> None:
    with pytest.raises(LabError, match=r"failed \(3\)") as failed:
        box.run(["sh", "-c", "echo no such thing >&2; exit 3"])
    assert "no such thing" in failed.value.cause


def test_a_command_is_ended_at_its_limit(box: Box) -> None:
    with pytest.raises(LabError, match="did not end in 1 s"):
        box.run(["sleep", "61"], timeout=1)
    deadline = time.monotonic() + 5
    while "sleep 61" in box.run(["ps", "-eo", "stat,args"]).stdout.replace("Z", "") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [line for line in box.run(["ps", "-eo", "stat,args"]).stdout.splitlines() if "sleep 61" in line]


def test_a_daemon_outlives_its_starter_and_ends_with_the_box(box: Box) -> None:
    daemon = box.spawn(["sleep", "62"], box.logs / "sleep.log")
    assert daemon.alive
    assert daemon.pid in cgroups.pids(INSTANCE)
    box.stop()
    assert not daemon.alive
    assert not cgroups.pids(INSTANCE)


def test_a_daemon_that_cannot_start_is_an_error(box: Box) -> None:
    for _ in range(5):  # between its fork and its end it looks alive; a look at the wrong moment must not be believed
        with pytest.raises(LabError, match="no-such-program") as failed:
            box.spawn(["/no-such-program"], box.logs / "none.log")
        assert "No such file" in failed.value.cause


def test_a_deleted_state_directory_strands_nothing(box: Box) -> None:
    daemon = box.spawn(["sleep", "63"], box.logs / "sleep.log")
    shutil.rmtree(INSTANCE.state)
    assert box.init() is None
    box.start()
    assert not daemon.alive
    assert box.init() is not None


def test_a_killed_box_is_started_anew(box: Box) -> None:
    first = box.init()
    assert first is not None
    process.kill(first)
    assert box.init() is None
    box.start()
    second = box.init()
    assert second is not None
    assert second != first


def test_a_box_that_does_not_run_says_so() -> None:
    with pytest.raises(LabError, match="does not run"):
        Box(INSTANCE).run(["true"])


def test_two_starts_at_once_make_one_box(box: Box) -> None:
    box.stop()
    with ThreadPoolExecutor(max_workers=3) as pool:
        for started in [pool.submit(box.start) for _ in range(3)]:
            started.result(30)
    # Every process 1 of this instance, in whatever box: they all join its cgroup.
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in cgroups.pids(INSTANCE)]
    assert len([words for words in commands if words[1:3] == [b"-I", b"-S"]]) == 1


@pytest.fixture
def other(tmp_path: Path) -> Iterator[tuple[Path, Box]]:
    """Another checkout with the same lab, a lasting one: its directory, and our box. Its process 1 is on paper."""
    ours = Box(replace(INSTANCE, lasting=True))
    place = tmp_path / "other"
    first = place / "lab" / "box_init.py"
    first.parent.mkdir(parents=True)
    first.write_text("import time\ntime.sleep(60)\n")
    record = place / INSTANCE.state.relative_to(PROJECT) / "box.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    ours.stop()
    cgroups.prepare(INSTANCE)
    join = "".join(f"echo 0 >{path}; " for path in cgroups.procs_files(INSTANCE))
    command = ["sh", "-c", f'{join} exec "$@"', "join", sys.executable, "-I", "-S", str(first)]
    with subprocess.Popen(command) as running:
        limit = time.monotonic() + 20
        while not any(str(first) in words[:4] for words in cgroups.command_lines(INSTANCE)):
            assert time.monotonic() < limit
            time.sleep(0.01)
        yield place, ours
        assert running.poll() is None or not record.exists(), "a lab of somebody else was ended"
        running.kill()
    shutil.rmtree(place, ignore_errors=True)
    Box(INSTANCE).stop()


def test_the_lab_of_another_checkout_is_not_ended_by_a_start(other: tuple[Path, Box]) -> None:
    place, ours = other
    with pytest.raises(LabError, match=f"another checkout is up: {place}") as refused:
        ours.start()
    assert f"make -C {place} down" in refused.value.fix


def test_nor_by_a_stop(other: tuple[Path, Box]) -> None:
    other[1].stop()
    assert cgroups.pids(INSTANCE)


def test_a_checkout_that_was_deleted_holds_nothing(other: tuple[Path, Box]) -> None:
    place, ours = other
    shutil.rmtree(place)
    ours.start()
    assert ours.init() is not None
    ours.stop()
