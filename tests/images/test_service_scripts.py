"""The entrypoints of FireEdge, OneFlow and OneGate, run as they are but for their paths, with a daemon made for each case."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

IMAGES = Path(__file__).resolve().parents[2] / "images"
PATHS = {
    "/usr/local/libexec/one": "scripts",
    "/var/lib/one": "home",
    "/var/log/one": "log",
    "/dev/termination-log": "termination-log",
}
DAEMONS = {"fireedge": "sunstone_auth", "oneflow": "oneflow_auth", "onegate": "onegate_auth"}
KEY = "0123456789abcdefABCDEF0123456789"
PATIENCE = 30.0  # seconds until a condition that must come true counts as never

# The daemon is whatever the case wrote to `daemon`; OneFlow's wait is the real one.
RUNTIME = """#!/bin/sh
case $1 in
*/wait-for-oned.rb) exec {ruby} "$@" ;;
esac
echo "started ${{0##*/}} $*"
. "$FAKE/daemon"
"""


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for something that must happen; how long it takes is nobody's business."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


@dataclass
class Pod:
    """A directory that stands for the pod's file system, and the entrypoint running in it."""

    root: Path
    process: subprocess.Popen[bytes] | None = None
    settings: dict[str, str] = field(default_factory=dict)

    def daemon(self, script: str) -> None:
        """What the daemon does: sh, with `log` as a function that appends a line to a file below the log directory."""
        log = f'log() {{ printf "%s\\n" "$2" >>"{self.root}/log/$1"; }}\n'
        (self.root / "daemon").write_text(log + script)

    def start(self, name: str) -> None:
        for script in (IMAGES / name, IMAGES / "service"):
            for file in script.iterdir():
                text = file.read_text()
                for path, directory in PATHS.items():
                    text = text.replace(path, str(self.root / directory))
                (self.root / "scripts" / file.name).write_text(text)
        environment = {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "FAKE": str(self.root),
            "LOG_PERIOD_SECONDS": "0.1",
            **self.settings,
        }
        with (self.root / "out").open("wb") as out:
            self.process = subprocess.Popen(
                ["sh", str(self.root / "scripts/start")],
                env=environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def end(self) -> int:
        """The exit code, once it has ended."""
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def terminate(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def said(self, text: str) -> None:
        until(lambda: text in self.out, f"{text!r} on standard output, which has {self.out!r}")

    @property
    def left_behind(self) -> bool:
        """Whether a process of the entrypoint outlives it."""
        assert self.process is not None
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    @property
    def out(self) -> str:
        return (self.root / "out").read_text()

    def lines(self, start: str) -> list[str]:
        return [line for line in self.out.splitlines() if line.startswith(start)]

    @property
    def logs(self) -> set[str]:
        return {str(path.relative_to(self.root / "log")) for path in (self.root / "log").rglob("*.log")}


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    for name in ("scripts", "home/.one", "log", "bin"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("ruby", "node"):
        (tmp_path / "bin" / name).write_text(RUNTIME.format(ruby=shutil.which("ruby")))
        (tmp_path / "bin" / name).chmod(0o755)
    for auth in DAEMONS.values():
        (tmp_path / "home/.one" / auth).write_text("serveradmin:chosen\n")
    (tmp_path / "home/.one/fireedge_key").write_text(KEY)
    found = Pod(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as oned:
        host, port = oned.getsockname()
        found.settings |= {"ONED_HOST": host, "ONED_PORT": str(port), "ONED_WAIT_SECONDS": "20"}
        yield found
    if found.process is not None and found.process.poll() is None:
        os.killpg(found.process.pid, signal.SIGKILL)
        found.process.wait()


@pytest.mark.parametrize("name", DAEMONS)
def test_the_real_program_is_started_and_its_code_is_the_containers(pod: Pod, name: str) -> None:
    pod.daemon("exit 7")
    pod.start(name)
    assert pod.end() == 7
    program = {
        "fireedge": "node /usr/lib/one/fireedge/dist/index.js",
        "oneflow": "ruby /usr/lib/one/oneflow/oneflow-server.rb",
        "onegate": "ruby /usr/lib/one/onegate/onegate-server.rb",
    }[name]
    assert pod.lines("started") == [f"started {program}"]


@pytest.mark.parametrize("content", [None, "", "serveradmin\n", "serveradmin:\n"])
@pytest.mark.parametrize("name", DAEMONS)
def test_without_a_credential_nothing_starts(pod: Pod, name: str, content: str | None) -> None:
    auth = pod.root / "home/.one" / DAEMONS[name]
    auth.unlink() if content is None else auth.write_text(content)
    pod.daemon("exit 0")
    pod.start(name)
    assert pod.end() == 1
    assert pod.lines("started") == []
    assert DAEMONS[name] in (pod.root / "termination-log").read_text()


@pytest.mark.parametrize("key", [None, "", KEY[:-1], KEY + "\n", KEY + "0", KEY[:-1] + "g"])
def test_a_key_that_is_not_32_hex_digits_is_refused(pod: Pod, key: str | None) -> None:
    path = pod.root / "home/.one/fireedge_key"
    path.unlink() if key is None else path.write_text(key)
    pod.daemon("exit 0")
    pod.start("fireedge")
    assert pod.end() == 1
    assert "32 hexadecimal digits" in (pod.root / "termination-log").read_text()
    assert KEY[:-1] not in pod.out


@pytest.mark.parametrize("name", DAEMONS)
def test_every_line_is_streamed_to_the_last(pod: Pod, name: str) -> None:
    pod.daemon(f"for i in 1 2 3 4 5 6 7 8 9; do log {name}.log line-$i; done; exit 0")
    pod.start(name)
    assert pod.end() == 0
    assert pod.lines("line-") == [f"line-{number}" for number in range(1, 10)]
    assert not pod.left_behind, "the container's end would cut off what still streams"


def test_a_restart_does_not_stream_the_old_log_again(pod: Pod) -> None:
    (pod.root / "log/fireedge.log").write_text("old\n")
    (pod.root / "log/fireedge3.log").write_text("old\n")
    pod.daemon("log fireedge.log new; exit 0")
    pod.start("fireedge")
    assert pod.end() == 0
    assert pod.lines("old") == [] and pod.lines("new") == ["new"]
    assert pod.logs == {"fireedge.log"}


@pytest.mark.parametrize("name", DAEMONS)
def test_sigterm_reaches_the_daemon_and_its_last_words_come_out(pod: Pod, name: str) -> None:
    pod.daemon(f"trap 'log {name}.log goodbye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    pod.start(name)
    pod.said("up")
    assert pod.terminate() == 0
    assert pod.lines("goodbye") == ["goodbye"]


def test_a_daemon_that_dies_of_sigterm_ended_well(pod: Pod) -> None:
    pod.daemon("echo up; exec sleep 1000")
    pod.start("onegate")
    pod.said("up")
    assert pod.terminate() == 0


def test_a_daemon_that_ignores_sigterm_is_killed(pod: Pod) -> None:
    pod.settings["STOP_SECONDS"] = "1"
    pod.daemon("trap '' TERM; echo up; while :; do sleep 0.05; done")
    pod.start("onegate")
    pod.said("up")
    assert pod.terminate() == 137


def test_a_daemon_killed_from_outside_is_a_failure(pod: Pod) -> None:
    pod.daemon("kill -KILL $$")
    pod.start("onegate")
    assert pod.end() == 137


def test_a_grown_log_is_emptied_and_nothing_is_streamed_twice(pod: Pod) -> None:
    pod.settings["LOG_LIMIT_BYTES"] = "2000"
    pod.daemon(
        f"""
        for round in 1 2 3; do
            # One write, so that the limit is passed at once and not in the middle.
            log onegate.log "$(for i in 0 1 2 3 4 5 6 7 8 9; do printf 'line-%s-%s-%0500d\\n' $round $i 0; done)"
            until [ ! -s "{pod.root}/log/onegate.log" ]; do sleep 0.02; done
        done
        log onegate.log line-last
        exit 0
        """
    )
    pod.start("onegate")
    assert pod.end() == 0
    lines = pod.lines("line-")
    assert len(lines) == len(set(lines))
    assert lines[-1] == "line-last"
    assert (pod.root / "log/onegate.log").read_text() == "line-last\n"


def test_fireedges_next_log_file_is_followed_and_the_old_one_removed(pod: Pod) -> None:
    pod.daemon(
        f"""
        log fireedge.log line-0
        for i in 1 2 3; do
            log fireedge$i.log line-$i
            until [ ! -e "{pod.root}/log/fireedge$((i - 1)).log" ] && [ ! -e "{pod.root}/log/fireedge.log" ]; do sleep 0.02; done
        done
        log fireedge3.log line-4
        exit 0
        """
    )
    pod.start("fireedge")
    assert pod.end() == 0
    assert pod.lines("line-") == [f"line-{number}" for number in range(5)]
    assert pod.logs == {"fireedge3.log"}


def test_oneflows_logs_a_service_are_bounded_oldest_first(pod: Pod) -> None:
    pod.settings["LOGS_LIMIT_KIB"] = "300"
    pod.daemon(
        f"""
        for i in 1 2 3 4 5 6 7 8; do
            log oneflow/$i.log "$(printf '%0100000d' 0)"
            touch -d "2026-01-0$i" "{pod.root}/log/oneflow/$i.log"
        done
        until [ "$(du -sk "{pod.root}/log" | cut -f 1)" -le 300 ]; do sleep 0.02; done
        exit 0
        """
    )
    pod.start("oneflow")
    assert pod.end() == 0
    left = {name for name in pod.logs if name.startswith("oneflow/")}
    assert left, "it takes no more than it must"
    assert left == {f"oneflow/{number}.log" for number in range(9 - len(left), 9)}


def test_oneflow_waits_until_oned_answers(pod: Pod) -> None:
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        pod.settings["ONED_PORT"] = str(late.getsockname()[1])
        pod.daemon("exit 0")
        pod.start("oneflow")
        pod.said("waiting for oned at 127.0.0.1")
        assert pod.lines("started") == []
        late.listen()
        accepting = threading.Thread(target=late.accept, daemon=True)
        accepting.start()
        assert pod.end() == 0
    assert len(pod.lines("started")) == 1


def test_oneflow_gives_up_with_the_reason(pod: Pod) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        pod.settings |= {"ONED_PORT": str(closed.getsockname()[1]), "ONED_WAIT_SECONDS": "1"}
        pod.daemon("exit 0")
        pod.start("oneflow")
        assert pod.end() == 1
    assert "did not answer within 1 s" in (pod.root / "termination-log").read_text()
    assert pod.lines("started") == []


def test_a_waiting_oneflow_ends_on_sigterm(pod: Pod) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        pod.settings |= {"ONED_PORT": str(closed.getsockname()[1]), "ONED_WAIT_SECONDS": "1000"}
        pod.daemon("exit 0")
        pod.start("oneflow")
        pod.said("waiting for oned")
        assert pod.terminate() == 0
    assert pod.lines("started") == []


def test_the_entrypoints_are_executable() -> None:
    for name in DAEMONS:
        assert os.access(IMAGES / name / "start", os.X_OK)
