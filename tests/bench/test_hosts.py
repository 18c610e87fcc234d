"""The bench of hosts: its contenders do the same work, its looks find what is wrong, its table says what was not run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.hosts import report, work
from bench.hosts.endpoints import Host
from bench.hosts.oned import Oned
from bench.hosts.plan import AIMS
from components.preparing.values import Endpoint


@pytest.fixture
def host(tmp_path: Path) -> Host:
    for path in work.FILES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    return Host("bench-0", Endpoint("root", "127.0.0.1", 22, "ssh-ed25519 AAAA"), tmp_path)


def test_the_script_does_what_is_looked_for(host: Host) -> None:
    assert work.undone([host]) == ["bench-0"]
    for _ in "ab":
        subprocess.run(["sh", "-s"], input=work.script(0), text=True, env={"ONE_ROOT": str(host.root)}, check=True)
        assert work.undone([host]) == []
    (host.root / "etc/one/node.conf").write_text("other\n")
    assert work.undone([host]) == ["bench-0"]
    work.forget([host])
    assert not (host.root / "etc/passwd").exists()


def test_ansibles_tasks_do_the_same() -> None:
    (play,) = yaml.safe_load((Path(work.__file__).parent / "playbook.yaml").read_text())
    files = {
        task["ansible.builtin.lineinfile"]["path"].removeprefix("{{ root }}/"): task["ansible.builtin.lineinfile"][
            "line"
        ]
        + "\n"
        for task in play["tasks"]
        if "ansible.builtin.lineinfile" in task
    }
    assert files == work.FILES


@pytest.mark.parametrize(
    ("there", "declared", "wrong"),
    [
        (["a", "b"], ["a", "b"], []),
        (["a"], ["a", "b"], ["b"]),
        (["a", "a"], ["a"], ["a"]),
        (["a", "foreign"], ["a"], ["foreign"]),
    ],
)
def test_the_look_at_oned(
    there: list[str], declared: list[str], wrong: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Oned, "hosts", lambda _self: dict(enumerate(there)))
    assert Oned("http://127.0.0.1:9/RPC2", "x:y").wrong(declared) == wrong


def test_the_table_tells_met_missed_and_not_run() -> None:
    sample = {"wall": 4.0, "cpu": 1.0, "memory": 1.0, "load": 0.1}
    results: dict[str, Any] = {
        "registration": {
            "100": {"ours": {"create": sample, "no-op": sample, "destroy": sample}},
            "1000": {"ours, no checkpoints": {"create": {**sample, "wall": 61.0}}},
        }
    }
    lines = report.table(results).splitlines()
    assert any(line.startswith("register 100, create") and line.endswith("ok") for line in lines)
    assert any(line.startswith("register 100, no-op") and line.endswith("MISSED") for line in lines)
    assert any(
        line.startswith("register 1,000, create") and "61.00" in line and line.endswith("MISSED") for line in lines
    )
    assert any(line.startswith("growth") and "not run" in line for line in lines)
    assert any("Terraform provider 1.5.0, default (quoted)" in line for line in lines)


def test_every_aim_is_a_path_of_its_own() -> None:
    assert len({aim.figure for aim in AIMS}) == len(AIMS)
