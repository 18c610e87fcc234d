"""The bench of hosts: its contenders do the same work, its looks find what is wrong, its table says what was not run."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import xmlrpc.client
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.hosts import measure, report, work
from bench.hosts.__main__ import PARTS, chosen, compare
from bench.hosts.arithmetic import exponent, middle, ratios, slope
from bench.hosts.counter import counting
from bench.hosts.endpoints import Host
from bench.hosts.oned import Oned
from bench.hosts.plan import AIMS
from components.preparing.values import Endpoint


@pytest.fixture
def host(tmp_path: Path) -> Host:
    found = Host("bench-0", Endpoint("root", "127.0.0.1", 22, "ssh-ed25519 AAAA"), tmp_path / "root")
    work.forget([found])
    return found


def prepare(host: Host) -> str:
    environ = {"ONE_ROOT": str(host.root), "PATH": os.defpath}
    done = subprocess.run(
        ["sh", "-s"],
        input=work.script(),
        env=environ,
        text=True,
        check=True,
        stdout=subprocess.PIPE,
        cwd=host.root.parent,
    )
    return done.stdout


def test_the_script_does_what_is_looked_for(host: Host) -> None:
    assert work.undone([host]) == ["bench-0"]
    for _ in "ab":
        assert "os" in json.loads(prepare(host))
        assert work.undone([host]) == []
    work.forget([host])
    assert not (host.root / "etc/passwd").exists()
    assert (host.root / "etc/sudoers.d").is_dir(), "a fresh machine has it"


@pytest.mark.parametrize("step", work.STEPS)
def test_every_step_is_looked_at(host: Host, step: work.Step) -> None:
    prepare(host)
    path = host.root / step.path
    path.chmod(0o777)
    assert work.undone([host]) == ["bench-0"], "its mode"
    prepare(host)
    assert work.undone([host]) == []
    if step.text is not None:
        path.write_text("other\n")
        assert work.undone([host]) == ["bench-0"], "its text"
    assert work.undone([host], work.FIVE) == ([] if step.text is None or step not in work.FIVE else ["bench-0"])


def test_ansibles_tasks_do_the_same() -> None:
    (play,) = yaml.safe_load((Path(work.__file__).parent / "playbook.yaml").read_text())
    steps, five = [], []
    for task in play["tasks"][1:]:
        made = task.get("ansible.builtin.file") or task["ansible.builtin.lineinfile"]
        assert made.get("state", "file") == ("file" if "line" in made else "directory")
        steps.append(work.Step(made["path"].removeprefix("{{ root }}/"), made["mode"], made.get("line")))
        five += steps[-1:] if task.get("tags") == ["five"] else []
    assert tuple(steps) == work.STEPS
    assert tuple(five) == work.FIVE and len(five) == 5
    assert "ansible.builtin.setup" in play["tasks"][0], "which system: the script asks as well"


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


def test_every_aim_but_one_of_a_missing_part_is_found_where_a_run_puts_it() -> None:
    """A path that nothing writes to would say `not run` for ever."""
    sample = {"wall": 1.0, "cpu": 1.0, "memory": 1.0, "load": 0.1}
    prepared: dict[str, Any] = {"state": 1, "resources": 2, "starts": [sample]}
    prepared["samples"] = {
        name: [sample] for name in ("floor", "ours", "Ansible, forks 5", "Ansible, forks 5, five of the steps")
    }
    compare(prepared)
    operations = {"create": sample, "no-op": sample, "destroy": sample}
    results = {
        "registration": {"100": {"ours": operations}, "1000": {"ours, no checkpoints": operations}},
        "growth": 1.0,
        "oned": {"calls over 2 a host": 1, "connections": 8},
        "prepared": prepared,
        "memory": 0.1,
    }
    assert [aim.what for aim in AIMS if report.figure(results, aim.figure) is None] == []


def test_the_middle_of_rounds() -> None:
    rounds = [{"wall": wall, "cpu": cpu} for wall, cpu in ((3.0, 9.0), (1.0, 7.0), (2.0, 8.0))]
    assert middle(rounds) == {"wall": 2.0, "cpu": 8.0, "walls": [3.0, 1.0, 2.0]}


@pytest.mark.parametrize(("seconds", "power"), [(16.0, 1.0), (2.0, 0.0), (128.0, 2.0)])
def test_growth_is_the_power_of_the_number_of_hosts(seconds: float, power: float) -> None:
    assert exponent(50, 2.0, 400, seconds) == pytest.approx(power)


def test_each_further_host() -> None:
    assert slope(100, 200.0, 1000, 650.0) == pytest.approx(0.5)


def test_the_engines_start_counts_beside_others_and_not_beside_the_floor() -> None:
    walls = {"floor": 10.0, "ours": 30.0, "ours, tuned": 24.0, "Ansible, forks 5": 240.0}
    assert ratios(walls, 4.0) == {"floor": 2.0, "Ansible, forks 5": 0.1}


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = xmlrpc.client.dumps(("x",), methodresponse=True).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def test_calls_and_connections_are_counted_whoever_makes_them() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with counting(server.server_port) as (url, counter):
            # Kept open: each proxy has a connection, and the first one makes all its calls on it.
            clients = [xmlrpc.client.ServerProxy(url) for _ in range(3)]
            for client in [clients[0], *clients]:
                assert client.one.host.info("x" * 70_000) == "x"
            assert (counter.calls, counter.most) == (4, 3)
        server.shutdown()


def test_the_table_tells_what_each_contender_took_beside_the_floor() -> None:
    sample = {"wall": 10.0, "cpu": 5.0, "memory": 1.0, "load": 0.1}
    prepared: dict[str, Any] = {"hosts": 7, "starts": [{**sample, "wall": 4.0}]}
    prepared["samples"] = {"floor": [sample], "ours": [{**sample, "wall": wall} for wall in (20.0, 24.0, 40.0)]}
    compare(prepared)
    lines = {line[:50].rstrip(): line[50:].split() for line in report.table({"prepared": prepared}).splitlines()}
    assert lines["7 hosts prepared and registered"][0] == "seconds"
    assert lines["ours"] == ["24.0", "2.4", "5.0", "3"]
    assert lines["floor"][:4] == ["10.0", "1.0", "5.0", "1"]
    assert lines["ours, no hosts: the engine's start"] == ["4.0", "0.4", "5.0", "1"]


def test_memory_is_counted_in_kib() -> None:
    before = measure._resident()
    held = bytearray(os.urandom(64 * 2**20))
    assert 60 * 1024 < measure._resident() - before < 80 * 1024
    assert held


@pytest.mark.parametrize(("given", "parts"), [(None, PARTS), ("", PARTS), ("growth,ansible", ["growth", "ansible"])])
def test_without_a_choice_everything_runs(
    given: str | None, parts: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """make exports an empty PARTS."""
    monkeypatch.delenv("PARTS", raising=False)
    if given is not None:
        monkeypatch.setenv("PARTS", given)
    assert chosen() == parts
