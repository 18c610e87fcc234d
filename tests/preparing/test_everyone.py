"""One script on all hosts at once over real SSH: who fails is named and stops nobody."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from components.preparing import everyone
from components.preparing.causes import Code
from components.preparing.values import EVERYONE, Endpoint
from tests.lab.plugins.conftest import Sshd
from tests.preparing.conftest import Bench, endpoint
from tests.preparing.test_preparation import another_key, nobody


def tell(bench: Bench, script: str, targets: list[tuple[str, Endpoint]]) -> subprocess.CompletedProcess[str]:
    """The command of the fleet, as the engine runs it."""
    bench.folder.mkdir(parents=True, exist_ok=True)
    bench.way().write(str(bench.folder))
    everyone.write(str(bench.folder), script, targets)
    return again(bench)


def again(bench: Bench) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "components/preparing/run.sh", "test"],
        cwd=bench.place,
        env={key: value for key, value in os.environ.items() if key != "SSH_AUTH_SOCK"} | {EVERYONE: "digest"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_each_host_gets_the_script_with_its_own_name(
    bench: Bench, host: Sshd, start_sshd: Callable[..., Sshd], tmp_path: Path
) -> None:
    targets = [(f"kvm-{number}", endpoint(host)) for number in range(8)]
    done = tell(bench, f'echo "$PLAN_NAME" >>{tmp_path}/seen\n', targets)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", '{"hosts": 8}\n')
    assert sorted((tmp_path / "seen").read_text().split()) == sorted(name for name, _ in targets)
    assert [path.name for path in bench.folder.iterdir()] == ["way.json"]


def test_all_that_failed_are_named_and_the_others_done(bench: Bench, host: Sshd, tmp_path: Path) -> None:
    script = (
        f'echo "$PLAN_NAME" >>{tmp_path}/seen\n[ "$PLAN_NAME" != full ] || {{ echo "one-bootstrap: $PLAN_NAME: peers: '
        'no room; next: make room" >&2; exit 1; }\n'
    )
    at = endpoint(host)
    strange = endpoint(host, host_key=another_key())
    done = tell(bench, script, [("good", at), ("dead", nobody()), ("full", at), ("strange", strange), ("fine", at)])
    assert done.returncode == Code.UNREACHABLE
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and all("; next: " in line for line in lines)
    assert lines[0].startswith("one-prepare: dead: unreachable: ")
    assert lines[1] == "one-bootstrap: full: peers: no room; next: make room"
    assert lines[2].startswith("one-prepare: strange: host key: ")
    assert sorted((tmp_path / "seen").read_text().split()) == ["fine", "full", "good"]


def test_what_fails_here_for_one_host_loses_nothing_of_the_others(bench: Bench, host: Sshd, tmp_path: Path) -> None:
    at, long = endpoint(host), "x" * 300  # no name of a directory
    done = tell(
        bench, f'echo "$PLAN_NAME" >>{tmp_path}/seen\n', [("good", at), (long, at), ("dead", nobody()), ("fine", at)]
    )
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == (Code.HERE, 2)
    assert (
        lines[0].startswith(f"one-prepare: {long}: here: this machine fails: ")
        and "File name too long; next: " in lines[0]
    )
    assert lines[1].startswith("one-prepare: dead: unreachable: ")
    assert sorted((tmp_path / "seen").read_text().split()) == ["fine", "good"]


def test_what_fails_here_for_all_is_told_in_one_line(bench: Bench, host: Sshd) -> None:
    bench.folder.mkdir(parents=True)
    bench.way().write(str(bench.folder))
    (bench.folder / everyone.EVERYONE_FILE).mkdir()
    done = again(bench)
    assert done.returncode == Code.HERE
    assert done.stderr.splitlines() == [
        f"one-prepare: all hosts: here: this machine fails: .state/prepare/test/{everyone.EVERYONE_FILE}: Is a directory"
        "; next: mend that where pulumi runs"
    ]


def test_without_a_run_of_the_program_it_says_so(bench: Bench, host: Sshd) -> None:
    tell(bench, "true\n", [("kvm-1", endpoint(host))])
    done = again(bench)
    assert done.returncode == Code.HERE
    assert "holds nothing of a run" in done.stderr and "; next: " in done.stderr
