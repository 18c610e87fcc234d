"""The bench of hosts: its contenders do the same work, its looks find what is wrong, its table says what was not run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import xmlrpc.client
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.hosts import measure, operations, others, report, tools, work
from bench.hosts.__main__ import PARTS, chosen
from bench.hosts.arithmetic import exponent, middle, ratios, slope, waited
from bench.hosts.counter import counting
from bench.hosts.endpoints import Fleet, Host
from bench.hosts.oned import DISABLED, Oned, Row
from bench.hosts.plan import AIMS
from bench.hosts.run import beside_terraform, compare
from components.preparing.values import Endpoint


@pytest.fixture
def host(tmp_path: Path) -> Host:
    found = Host("bench-0", Endpoint("root", "127.0.0.1", 22, "ssh-ed25519 AAAA"), tmp_path / "root")
    work.forget([found])
    return found


def run(host: Host, script: str) -> str:
    environ = {"ONE_ROOT": str(host.root), "PATH": os.defpath}
    done = subprocess.run(
        ["sh", "-s"],
        input=script,
        env=environ,
        text=True,
        check=True,
        stdout=subprocess.PIPE,
        cwd=host.root.parent,
    )
    return done.stdout


def prepare(host: Host) -> str:
    return run(host, work.script())


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
    assert run(host, work.look()).split() == [step.path, "looked"]
    prepare(host)
    assert work.undone([host]) == []
    assert run(host, work.look()) == "looked\n"
    if step.text is not None:
        path.write_text("other\n")
        assert work.undone([host]) == ["bench-0"], "its text"
        assert run(host, work.look()).split() == [step.path, "looked"]
    assert work.undone([host], work.FIVE) == ([] if step.text is None or step not in work.FIVE else ["bench-0"])


def test_ansibles_tasks_do_the_same() -> None:
    (play,) = yaml.safe_load((Path(work.__file__).parent / "playbook.yaml").read_text())
    steps, five = [], []
    first, *tasks, last = play["tasks"]
    for task in tasks:
        made = task.get("ansible.builtin.file") or task["ansible.builtin.lineinfile"]
        assert made.get("state", "file") == ("file" if "line" in made else "directory")
        steps.append(work.Step(made["path"].removeprefix("{{ root }}/"), made["mode"], made.get("line")))
        five += steps[-1:] if task.get("tags") == ["five"] else []
    assert tuple(steps) == work.STEPS
    assert tuple(five) == work.FIVE and len(five) == 5
    assert "ansible.builtin.setup" in first, "which system: the script asks as well"
    assert last["tags"] == ["wait"] and last["ansible.builtin.command"] == "sleep {{ seconds }}"


def test_the_work_of_hosts_takes_as_long_as_it_is_told() -> None:
    assert "sleep" not in work.script()
    assert "\nsleep 1.5\n" in work.script(1.5)


@pytest.mark.parametrize(
    ("asked", "tags"),
    [
        ({}, ["--tags", "all", "--skip-tags", "wait"]),
        ({"seconds": 2.0}, ["--tags", "all,wait"]),
        ({"tags": "five"}, ["--tags", "five", "--skip-tags", "wait"]),
        ({"tags": "five", "seconds": 2.0}, ["--tags", "five,wait"]),
    ],
)
def test_ansible_waits_on_hosts_only_where_the_others_do(
    asked: dict[str, Any], tags: list[str], host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ansible-playbook"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/words\n')
    program.chmod(0o755)
    monkeypatch.setattr(tools, "python", lambda _requirement: tmp_path / "python")
    monkeypatch.setattr(others, "register", lambda *_: None)
    fleet = Fleet(tmp_path, [host], "KEY", tmp_path / "key")
    others.ansible(fleet, lambda: Oned("http://127.0.0.1:9/RPC2", "x:y"), tmp_path, forks=5, **asked)
    words = (tmp_path / "words").read_text().split()
    assert words[2:-1] == tags
    inventory = json.loads(Path(words[1]).read_text())
    seconds = asked.get("seconds", 0)
    assert inventory["all"]["vars"]["seconds"] == seconds
    assert (tmp_path / "script.sh").read_text() == work.script(seconds)


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
    monkeypatch.setattr(Oned, "rows", lambda _self: dict(enumerate(Row(name, 2, {}) for name in there)))
    assert Oned("http://127.0.0.1:9/RPC2", "x:y").wrong(declared) == wrong


def test_labels_and_what_was_disabled_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [
        Row("as declared", 2, {"RACK": "a", "HOSTNAME": "x"}),
        Row("relabelled", 2, {"RACK": "b"}),
        Row("bare", 2, {}),
        Row("disabled", DISABLED, {"RACK": "a"}),
    ]
    monkeypatch.setattr(Oned, "rows", lambda _self: dict(enumerate(there)))
    labels = {row.name: {"RACK": "a"} for row in there}
    assert Oned("http://127.0.0.1:9/RPC2", "x:y").unlike(labels) == ["bare", "disabled", "relabelled"]


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
    prepared: dict[str, Any] = {"state": 1, "resources": 2, "starts": [sample], "hosts": 7, "seconds": 1}
    prepared["samples"] = {
        name: [sample]
        for name in ("floor", "ours", "ours, tuned", "Ansible, forks 5", "Ansible, forks 5, five of the steps")
    }
    compare(prepared)
    each = {"create": sample, "no-op": sample, "destroy": sample}
    names = ("ours", "ours, tuned", "Terraform, parallelism 10", "Terraform, parallelism 100")
    seen = {"calls over 2 a host": 1, "connections": 8}
    results: dict[str, Any] = {
        "registration": {"100": dict.fromkeys(names, each), "1000": {"ours, no checkpoints": each}},
        "growth": 1.0,
        "oned": {"without": seen, "with labels": seen},
        "prepared": prepared,
        "operations": {"hosts": 7, "samples": dict.fromkeys(operations.TIMES, sample)},
        "memory": 0.1,
    }
    operations.compare(results["operations"])
    beside_terraform(results)
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
    assert ratios(walls, 4.0) == {"floor": 2.0, "Ansible, forks 5": 10.0}


@pytest.mark.parametrize(("count", "seconds", "most"), [(50, 1, 31.5), (64, 5, 37.5), (65, 5, 45.0), (50, 0, 30.0)])
def test_hosts_that_wait_do_so_in_waves(count: int, seconds: float, most: float) -> None:
    assert waited(count, 64, seconds) == most


def test_terraform_is_compared_at_the_default_of_each_and_tuned() -> None:
    walls = {"ours": 5.0, "ours, tuned": 4.0, "Terraform, parallelism 10": 100.0, "Terraform, parallelism 100": 16.0}
    results: dict[str, Any] = {"registration": {"100": {name: {"create": {"wall": it}} for name, it in walls.items()}}}
    beside_terraform(results)
    assert results["terraform"] == {"default to ours": 20.0, "ours to tuned": 0.25}
    del results["terraform"], results["registration"]["100"]["ours, tuned"]
    beside_terraform(results)
    assert "terraform" not in results


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
    assert lines["ours"] == ["24.0", "2.4", "1.0", "5.0", "3"]
    assert lines["floor"][:5] == ["10.0", "1.0", "0.4", "5.0", "1"]
    assert lines["ours, no hosts: the engine's start"] == ["4.0", "0.4", "0.2", "5.0", "1"]


def test_what_reaches_an_aim_from_below_is_told_as_such() -> None:
    results: dict[str, Any] = {"prepared": {"ratios": {"Ansible, forks 5": 9.9}}}
    (line,) = (line for line in report.table(results).splitlines() if line.startswith("Ansible forks 5, the same"))
    assert line.split()[-5:] == ["9.90", "≥", "10", "times", "MISSED"]
    results["prepared"]["ratios"]["Ansible, forks 5"] = 10.1
    (line,) = (line for line in report.table(results).splitlines() if line.startswith("Ansible forks 5, the same"))
    assert line.endswith("ok")


def test_what_is_quoted_of_terraform_gives_way_to_what_was_measured() -> None:
    each = {"create": {"wall": 4.0}}
    assert "Terraform provider 1.5.0" in report.table({"registration": {"100": {"ours": each}}})
    table = report.table({"registration": {"100": {"ours": each, "Terraform, parallelism 10": each}}})
    assert "Terraform provider 1.5.0" not in table
    assert "`onehost create` loop (quoted)" in table


def test_memory_is_counted_in_kib() -> None:
    before = measure._resident()
    held = bytearray(os.urandom(64 * 2**20))
    assert 60 * 1024 < measure._resident() - before < 80 * 1024
    assert held


@pytest.mark.parametrize(
    ("given", "parts"),
    [({}, PARTS[:-1]), ({"PARTS": ""}, PARTS[:-1]), ({"PARTS": "growth,ansible"}, ("growth", "ansible"))],
)
def test_without_a_choice_everything_runs_that_can(given: dict[str, str], parts: Sequence[str]) -> None:
    """make exports an empty PARTS."""
    assert PARTS[-1] == "terraform"
    assert chosen(given) == (parts, 100, 3, 0, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"PARTS": "growth,other"}, "PARTS=other is unknown; next: some of registration,"),
        ({"HOSTS": "many"}, "HOSTS, ROUNDS and B are numbers"),
        ({"ROUNDS": "0"}, "ROUNDS=0"),
        ({"B": "-1"}, "B=-1"),
        ({"B": "nan"}, "B=nan"),
        ({"PARTS": "terraform"}, "next: TERRAFORM=/path/to/terraform"),
        ({"TERRAFORM": "/bin/sh"}, "TERRAFORM_PROVIDER is missing"),
        ({"TERRAFORM": "/bin/sh", "TERRAFORM_PROVIDER": "/bin"}, "TERRAFORM_PROVIDER=/bin is no program"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_before_anything_starts(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        chosen(given)
