"""The operations after the first create: their order, and that no time counts whose end is not what it should be."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from bench.hosts import endpoints, killed, operations, others, work
from bench.hosts.endpoints import Fleet, Host
from bench.hosts.oned import Oned
from bench.hosts.ours import Failure
from bench.hosts.run import Bench, nowhere
from lab.standins.opennebula.database import free_port
from lab.standins.opennebula.local import LocalOned
from tests.bench.paper_oned import PaperOned, paper_oned

COUNT = 20


class World:
    """Paper for oned, the hosts and our stack. `faults` names what it does wrong."""

    def __init__(self, oned: PaperOned, faults: set[str]) -> None:
        self.oned, self.faults = oned, faults
        self.prepared: set[str] = set()
        self.dead: set[str] = set()
        self.done: list[str] = []

    def ours(self, **_how: Any) -> PaperStack:
        return PaperStack(self)

    def asked(self, _fleet: Fleet, _place: Path, names: Sequence[str]) -> list[str]:
        return [name for name in names if name not in self.prepared]

    def kill(self, _stack: object, hosts: Sequence[Host], _enough: object, **declared: Any) -> None:
        half = hosts[: len(hosts) // 2] if "all before the kill" not in self.faults else hosts
        PaperStack(self).up(half, **declared)


class PaperStack:
    """Ours, as it should be."""

    def __init__(self, world: World) -> None:
        self._world, self._oned = world, world.oned
        self._known: set[str] = set()

    def up(self, hosts: Sequence[Host], *, labels: Any, key: str, seconds: float) -> Mapping[str, int]:
        world = self._world
        world.done.append("up")
        there = {name for name, _, _ in self._oned.hosts.values()}
        if "made anew" in world.faults and world.done[-2:] == ["unlock", "up"]:
            self._oned.hosts.clear()
            there = set()
        created = 0
        for host in (host for host in hosts if host.name not in world.dead):
            created += 2 * (host.name not in self._known)
            if host.name not in there:
                self._oned.add(host.name)
            host_id = self._oned.id_of(host.name)
            if "heals nothing" not in world.faults or host.name not in self._known:
                self._oned.hosts[host_id] = (host.name, 2, dict(labels[host.name]))
            if "forgets one" not in world.faults or host.name != hosts[0].name:
                world.prepared.add(host.name)
            self._known.add(host.name)
        return {"create": created, "same": 1, **({"update": 1} if "touches others" in world.faults else {})}

    def failing_up(self, hosts: Sequence[Host], **declared: Any) -> Failure:
        self.up(hosts, **declared)
        named = sorted(self._world.dead)[1 if "names not all" in self._world.faults else 0 :]
        return Failure(
            named, "code: 255\nDiagnostics:\n" + "\n".join(f"hosts-prepare-{name}: failed" for name in named)
        )

    def refresh(self) -> Mapping[str, int]:
        gone = self._known - {name for name, _, _ in self._oned.hosts.values()}
        odd = [row for row in self._oned.hosts.values() if row[1] != 2 or row[2]["RACK"] == "by hand"]
        return {"delete": len(gone), "update": len(odd) - ("sees not all" in self._world.faults)}

    def unlock(self) -> None:
        self._world.done.append("unlock")

    def destroy(self) -> None:
        self._oned.hosts.clear()


class PaperFleet(Fleet):
    world: World

    def listen(self, *, gone: Sequence[str] = (), hung: Sequence[str] = ()) -> None:  # type: ignore[override]
        assert not set(gone) & set(hung)
        self.world.dead = {*gone, *hung}
        assert len(self.world.dead) in (0, COUNT // 20)

    def stop(self) -> None:
        self.world.done.append("stopped")


@pytest.fixture
def oned() -> Iterator[PaperOned]:
    with paper_oned() as served:
        yield served


Run = Callable[[set[str]], Bench]


@pytest.fixture
def run(oned: PaperOned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def measured(faults: set[str]) -> Bench:
        world = World(oned, faults)
        fleet = PaperFleet(tmp_path, nowhere(COUNT + 1), "KEY", tmp_path / "key")
        fleet.world = world
        monkeypatch.setattr(operations, "Ours", world.ours)
        monkeypatch.setattr(endpoints, "start", lambda _place, count: fleet if count == COUNT + 1 else None)
        monkeypatch.setattr(others, "undone", world.asked)
        monkeypatch.setattr(work, "forget", lambda _hosts: world.prepared.clear())
        monkeypatch.setattr(killed, "kill", world.kill)
        bench = Bench(tmp_path, cast(LocalOned, oned), 1)
        try:
            operations.operations(bench, COUNT)
        finally:
            assert world.done[-1] == "stopped"
        return bench

    return measured


def test_every_operation_is_measured_in_its_order(run: Run, oned: PaperOned) -> None:
    found = run(set()).results["operations"]
    assert tuple(found["samples"]) == operations.TIMES
    assert found["hosts"] == COUNT
    assert found["at the kill"] == COUNT / 2
    assert oned.hosts == {}, "nothing is left for what comes next"


def test_what_went_wrong_on_the_way_is_set_beside_a_plain_create() -> None:
    walls = {operations.CREATE: 20.0, operations.DEAD: 36.5, operations.RESUME: 11.0}
    found: dict[str, Any] = {"samples": {what: {"wall": wall} for what, wall in walls.items()}}
    operations.compare(found)
    assert (found["resume to create"], found["dead over create"]) == (0.55, 16.5)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("forgets one", "create: not prepared: bench-0000"),
        ("heals nothing", "labels or states are not as declared: bench-0003"),
        ("sees not all", "a refresh after drift of 2 hosts, 0 of them deleted, saw"),
        ("names not all", "failed for , dead are bench-0007"),
        ("touches others", "touched others as well"),
        ("all before the kill", "nothing left to resume"),
        ("made anew", "made anew"),
    ],
)
def test_what_ends_wrong_does_not_count(run: Run, fault: str, said: str) -> None:
    with pytest.raises(RuntimeError, match=said):
        run({fault})


def test_drift_is_of_every_kind_and_the_deleted_are_told(oned: PaperOned) -> None:
    hosts = nowhere(4)
    for host in hosts:
        oned.add(host.name, {"RACK": "r0", "OTHER": "stays"})
    assert operations.drift(Oned(oned.endpoint, oned.session), hosts) == [hosts[2]]
    left = {name: (state, labels["RACK"], labels["OTHER"]) for name, state, labels in oned.hosts.values()}
    assert left == {
        "bench-0000": (2, "by hand", "stays"),
        "bench-0001": (4, "r0", "stays"),
        "bench-0003": (2, "by hand", "stays"),
    }


@pytest.mark.parametrize(("count", "some"), [(1, ["bench-0000"]), (24, ["bench-0003", "bench-0013", "bench-0023"])])
def test_a_tenth_is_never_nobody(count: int, some: list[str]) -> None:
    assert [host.name for host in operations.tenth(nowhere(count))] == some


@pytest.mark.parametrize(
    ("names", "said", "wrong"),
    [
        (["a", "b"], "a b c\nDiagnostics:\n a: no b: no", ""),
        (["a"], "Diagnostics:\n a: no", "failed for a, dead are a, b"),
        (["a", "b"], "a b\nDiagnostics:\n a: no", "did not name b"),
        (["a", "b"], "Diagnostics:\n a: no b: no c: no", "named c, which are well"),
    ],
)
def test_a_run_names_the_dead_and_nobody_else(names: list[str], said: str, wrong: str) -> None:
    assert operations.unnamed(Failure(names, said), ["b", "a"], ["c"]) == wrong


def test_hosts_that_are_gone_refuse_and_hung_ones_say_nothing(tmp_path: Path) -> None:
    """By real ssh to real sshds; whoever answers shows by ssh what was done."""
    fleet = endpoints.start(tmp_path / "fleet", 3, free_port())
    try:
        work.forget(fleet.hosts)
        names = [host.name for host in fleet.hosts]
        assert others.undone(fleet, tmp_path, names) == names
        others.floor(fleet, lambda: cast(Oned, _Nobody()), tmp_path)
        assert others.undone(fleet, tmp_path, names) == []
        assert work.undone(fleet.hosts) == []
        (fleet.hosts[2].root / work.STEPS[-1].path).unlink()
        assert others.undone(fleet, tmp_path, names) == names[2:]
        assert others.undone(fleet, tmp_path, names[:2]) == []
        fleet.listen(gone=names[:1], hung=names[1:2])
        known = others.known_hosts(fleet, tmp_path)
        said = [answer(others.ssh(fleet, known, host, "ConnectTimeout=2")) for host in fleet.hosts]
        assert "Connection refused" in said[0]
        assert "timed out" in said[1]
        assert said[2] == ""
    finally:
        fleet.stop()


def answer(ssh: list[str]) -> str:
    return subprocess.run([*ssh, "true"], capture_output=True, text=True, check=False, timeout=30).stderr


class _Nobody:
    def hosts(self) -> dict[int, str]:
        return {}

    def call(self, *_words: object) -> int:
        return 0
