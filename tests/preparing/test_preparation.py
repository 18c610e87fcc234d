"""A host prepared over real SSH: what comes back, what is refused, and how long anything may take."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest

from components.preparing.agent import Agent, AgentError
from components.preparing.causes import Code, fingerprint
from components.preparing.values import Endpoint, Target
from tests.lab.plugins.conftest import Sshd, free_port
from tests.preparing.conftest import Bench, endpoint

FACTS = 'echo "one-bootstrap: checks"; echo \'{"host": "kvm-1", "os": "debian 12", "version": "7.4.0-1"}\'\n'


def another_key() -> str:
    return asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()


def test_the_script_runs_and_its_facts_come_back(bench: Bench, host: Sshd, tmp_path: Path) -> None:
    done = bench.prepare(host, f"cat >{tmp_path}/seen <<'E'\n{'x' * 200_000}\nE\n{FACTS}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '{"os":"debian 12","version":"7.4.0-1"}\n'
    assert (tmp_path / "seen").stat().st_size == 200_001


def test_nothing_is_left_but_the_way(bench: Bench, host: Sshd) -> None:
    bench.prepare(host, FACTS)
    bench.prepare(host, "exit 1\n")
    assert [path.name for path in bench.folder.iterdir()] == ["way.json"]


def test_one_connection_a_host(bench: Bench, host: Sshd) -> None:
    with Proxy(host.port) as proxy:
        assert bench.prepare(endpoint(host, port=proxy.port), FACTS).returncode == 0
        assert proxy.connections == 1
    assert host.log.read_text().count("Accepted publickey") == 1


@pytest.mark.parametrize("bastion", [False, True])
def test_another_host_key_is_refused_before_the_login(
    bench: Bench, host: Sshd, start_sshd: Callable[..., Sshd], bastion: bool
) -> None:
    wrong = another_key()
    jump = start_sshd()
    if bastion:
        done = bench.prepare(host, FACTS, bastion=endpoint(jump, host_key=wrong))
        asked = jump
    else:
        done = bench.prepare(endpoint(host, host_key=wrong), FACTS)
        asked = host
    assert done.returncode == Code.HOST_KEY
    line = done.stderr.splitlines()[-1]
    assert line.startswith("one-prepare: kvm-1: host key: ") and "host key mismatch" in line and "; next: " in line
    assert fingerprint(asked.host_key) in line and fingerprint(wrong) in line
    assert ("the bastion" in line) == bastion
    assert "Accepted" not in asked.log.read_text()


def test_a_key_of_another_type_is_refused(bench: Bench, start_sshd: Callable[..., Sshd]) -> None:
    other = start_sshd("ecdsa-sha2-nistp256")
    done = bench.prepare(endpoint(other, host_key=another_key()), FACTS)
    assert done.returncode == Code.HOST_KEY
    assert "no key of the pinned type (ecdsa-sha2-nistp256)" in done.stderr


def test_an_rsa_pin_is_taken(bench: Bench, start_sshd: Callable[..., Sshd]) -> None:
    """By SHA-2, as OpenSSH has it since 8.8."""
    assert bench.prepare(start_sshd("ssh-rsa"), FACTS).returncode == 0


def test_the_users_own_known_hosts_and_config_count_for_nothing(bench: Bench, host: Sshd, tmp_path: Path) -> None:
    home = tmp_path / "home/.ssh"
    home.mkdir(parents=True)
    (home / "known_hosts").write_text(f"[127.0.0.1]:{host.port} {host.host_key}\n")
    (home / "config").write_text("Host *\n  StrictHostKeyChecking no\n  ProxyCommand false\n")
    bench.environ = {"HOME": str(tmp_path / "home")}
    assert bench.prepare(host, FACTS).returncode == 0
    assert bench.prepare(endpoint(host, host_key=another_key()), FACTS).returncode == Code.HOST_KEY


def test_a_login_that_is_refused_is_tried_once(bench: Bench, host: Sshd) -> None:
    stranger = Agent(asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode())
    done = bench.prepare(host, FACTS, agent=stranger.socket, attempts=3)
    stranger.close()
    assert done.returncode == Code.LOGIN
    assert "login refused" in done.stderr and "authorized_keys" in done.stderr and "attempts" not in done.stderr


def test_a_dead_host_is_tried_so_often_and_no_more(bench: Bench) -> None:
    done = bench.prepare(nobody(), FACTS, attempts=2)
    assert done.returncode == Code.UNREACHABLE
    assert "connection refused" in done.stderr and "(2 attempts)" in done.stderr


def test_the_clock_is_told_anew_with_each_attempt(bench: Bench, host: Sshd, tmp_path: Path) -> None:
    """Attempts and their pauses, and the wait for a bastion's slot, take longer than clocks may differ."""
    with Proxy(host.port, refuses=2) as proxy:
        began = int(time.time())
        command = f"date +%s >{tmp_path}/here; echo @NOW@ >{tmp_path}/told; exec sh -s"
        done = bench.prepare(endpoint(host, port=proxy.port), FACTS, attempts=3, command=command)
        assert (done.returncode, proxy.connections) == (0, 3), done.stderr
    here, told = (int((tmp_path / name).read_text()) for name in ("here", "told"))
    assert here - began >= 3, "two pauses"
    assert here - told <= 1


def nobody() -> Endpoint:
    """Where no sshd listens."""
    return Endpoint("root", "127.0.0.1", free_port(), another_key())


def test_a_peer_that_accepts_and_says_nothing(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at = nobody()._replace(port=silent.getsockname()[1])
        began = time.monotonic()
        done = bench.prepare(at, FACTS, connect=1, login=4)
    assert done.returncode == Code.UNREACHABLE
    assert "no answer within" in done.stderr
    assert time.monotonic() - began < 30


def test_the_limit_of_a_login_ends_the_hop_to_the_bastion_too(bench: Bench, host: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        jump = nobody()._replace(port=silent.getsockname()[1])
        done = bench.prepare(host, FACTS, bastion=jump, connect=40, login=2)
    assert done.returncode == Code.UNREACHABLE and "no answer within 2 s" in done.stderr
    assert time.monotonic() - began < 30, "not the hop's own limit"


def test_a_peer_that_falls_silent_during_the_script(bench: Bench, host: Sshd, tmp_path: Path) -> None:
    """A proxy that stops moving bytes in both directions: what a dead route looks like from here."""
    with Proxy(host.port) as proxy:
        script = f"echo 'one-bootstrap: package'; sleep 1; touch {tmp_path}/there; sleep 15\n"
        process = bench.start(endpoint(host, port=proxy.port), script, silence=4)
        wait_for((tmp_path / "there").exists)
        proxy.mute()
        _, err = process.communicate(timeout=60)
    assert process.returncode == Code.LOST
    assert "was lost" in err and "run it again" in err


def test_a_connection_that_is_cut(bench: Bench, host: Sshd) -> None:
    done = bench.prepare(host, "echo 'one-bootstrap: package'\nkill -9 $(ps -o ppid= $PPID)\nsleep 5\n")
    assert done.returncode == Code.LOST
    assert "was lost during package" in done.stderr


def test_a_step_that_fails_speaks_for_itself(bench: Bench, host: Sshd) -> None:
    done = bench.prepare(host, "echo hint >&2; echo 'one-bootstrap: kvm-1: apt: held; next: wait' >&2; exit 1\n")
    assert done.returncode == Code.SCRIPT
    assert done.stderr.splitlines() == ["hint", "one-bootstrap: kvm-1: apt: held; next: wait"]


def test_a_script_that_dies_without_a_word(bench: Bench, host: Sshd) -> None:
    done = bench.prepare(host, "echo 'one-bootstrap: package'; exit 9\n")
    assert done.returncode == Code.SCRIPT
    assert "one-prepare: kvm-1: script: the script ended with code 9 during package; next: " in done.stderr


def test_a_changed_script_does_not_run(bench: Bench, host: Sshd, tmp_path: Path) -> None:
    done = bench.prepare(host, f"touch {tmp_path}/ran\n", digest="0" * 64)
    assert done.returncode == Code.HERE
    assert not (tmp_path / "ran").exists()


def test_without_a_run_of_the_program(bench: Bench, host: Sshd) -> None:
    bench.prepare(host, FACTS)
    environ = {**os.environ, **Target("kvm-1", endpoint(host), "0" * 64).environment()}
    done = subprocess.run(
        ["sh", "components/preparing/run.sh", "other"],
        cwd=bench.place,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Code.HERE
    assert "one-prepare: kvm-1: here: .state/prepare/other holds nothing of a run" in done.stderr


def full(bench: Bench) -> list[str]:
    """The command where this machine has no room: files can be opened and not written."""
    return ["sh", "-c", "ulimit -f 0; exec sh components/preparing/run.sh test"]


def test_a_full_disk_here_is_told_as_one(bench: Bench, host: Sshd) -> None:
    """Not a traceback, which the engine would show in place of a cause."""
    done = bench.prepare(host, FACTS, run=full(bench))
    assert done.returncode == Code.HERE
    assert done.stderr.splitlines() == [
        "one-prepare: kvm-1: here: this machine fails: File too large; next: mend that where pulumi runs"
    ]
    assert [path.name for path in bench.folder.iterdir()] == ["way.json"]


def test_what_cannot_be_read_is_named(bench: Bench, host: Sshd) -> None:
    (bench.place / ".state/prepare").mkdir(parents=True)
    (bench.place / ".state/prepare/slots").touch()  # no directory
    done = bench.prepare(host, FACTS, bastion=endpoint(host))
    assert done.returncode == Code.HERE
    assert ".state/prepare/slots: File exists; next: mend that" in done.stderr


def test_no_ssh(bench: Bench, host: Sshd, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sh", "python3"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or "")
    bench.environ = {"PATH": f"{tmp_path}/bin"}
    done = bench.prepare(host, FACTS)
    assert done.returncode == Code.HERE and "no ssh on this machine" in done.stderr


def test_no_agent(bench: Bench, host: Sshd) -> None:
    done = bench.prepare(host, FACTS, agent="")
    assert done.returncode == Code.HERE and "SSH_AUTH_SOCK is not set" in done.stderr
    bench.environ = {"SSH_AUTH_SOCK": bench.agent}
    assert bench.prepare(host, FACTS, agent="").returncode == 0


def test_through_a_bastion(bench: Bench, host: Sshd, start_sshd: Callable[..., Sshd]) -> None:
    jump = start_sshd()
    done = bench.prepare(host, FACTS, bastion=endpoint(jump))
    assert (done.returncode, done.stderr) == (0, "")
    assert jump.log.read_text().count("Accepted publickey") == 1


def test_a_dead_host_behind_a_bastion_is_not_the_bastions_fault(bench: Bench, host: Sshd) -> None:
    done = bench.prepare(nobody(), FACTS, bastion=endpoint(host))
    assert done.returncode == Code.UNREACHABLE
    assert "cannot reach" in done.stderr and "onnection refused" in done.stderr


def test_a_bastion_is_never_asked_for_more_logins_than_it_may(
    bench: Bench, host: Sshd, start_sshd: Callable[..., Sshd]
) -> None:
    """sshd drops every login beyond the second that is under way; with two slots for eight hosts none is dropped."""
    jump = start_sshd("ssh-ed25519", "MaxStartups 2:100:2")
    running = [bench.start(host, f"{FACTS}: {n}\n", bastion=endpoint(jump), handshakes=2) for n in range(8)]
    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in running]
    assert ended == [("", 0)] * 8
    assert "MaxStartups" not in jump.log.read_text()


def test_a_slot_is_for_the_login_and_not_for_the_script(
    bench: Bench, host: Sshd, start_sshd: Callable[..., Sshd], tmp_path: Path
) -> None:
    """The first script ends only when the second has run, which gets the only slot after it."""
    jump = start_sshd()
    scripts = (
        f"touch {tmp_path}/first; while ! test -e {tmp_path}/second; do sleep 0.1; done; {FACTS}",
        f"touch {tmp_path}/second; {FACTS}",
    )
    first = bench.start(host, scripts[0], bastion=endpoint(jump), handshakes=1)
    wait_for((tmp_path / "first").exists)
    second = bench.prepare(host, scripts[1], bastion=endpoint(jump), handshakes=1)
    assert (second.returncode, first.wait(30)) == (0, 0)


def test_a_dead_bastion_is_asked_by_few(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        jump = nobody()._replace(port=silent.getsockname()[1])
        running = [
            bench.start(nobody(), f"{FACTS}: {n}\n", bastion=jump, handshakes=1, connect=2, login=5) for n in range(6)
        ]
        ended = [(process.communicate(timeout=60)[1], process.returncode) for process in running]
    assert {code for _, code in ended} == {Code.UNREACHABLE}
    assert sum("seen by another host's attempt" in err for err, _ in ended) == 5


def test_ssh_ends_with_the_engine(bench: Bench, host: Sshd, tmp_path: Path) -> None:
    """A killed preparation leaves no ssh that goes on working."""
    process = bench.start(host, f"echo $$ >{tmp_path}/pid; sleep 30\n")
    wait_for((tmp_path / "pid").exists)
    config = f"{bench.folder.relative_to(bench.place)}/run.{process.pid}.kvm-1/config"
    assert processes_with(config)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not processes_with(config), 10)  # the script's own limit would end it after 20


def test_the_key_is_in_no_argument_environment_or_file(
    host: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at where it would be: in the process that reads it, before it goes on as the real one."""
    for name in ("ssh-add", "ssh-agent"):
        real = shutil.which(name)
        spy = tmp_path / "bin" / name
        spy.parent.mkdir(exist_ok=True)
        spy.write_text(f'#!/bin/sh\ncat /proc/$$/cmdline /proc/$$/environ >>{tmp_path}/seen\nexec {real} "$@"\n')
        spy.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    made = Agent(host.private_key)
    listed = subprocess.run(
        ["ssh-add", "-L"], env={**os.environ, "SSH_AUTH_SOCK": made.socket}, capture_output=True, check=True
    )
    assert listed.stdout.startswith(b"ssh-ed25519 ")
    assert [path.name for path in Path(made.socket).parent.iterdir()] == ["agent"]
    made.close()
    assert not Path(made.socket).parent.exists()
    seen = (tmp_path / "seen").read_bytes()
    assert b"ssh-add" in seen and b"ssh-agent" in seen
    assert host.private_key.splitlines()[2].encode() not in seen


def test_a_key_that_ssh_cannot_read_is_not_repeated() -> None:
    with pytest.raises(AgentError) as caught:
        Agent("-----BEGIN OPENSSH PRIVATE KEY-----\nMARKER\n-----END OPENSSH PRIVATE KEY-----\n")
    assert "MARKER" not in str(caught.value)


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def processes_with(word: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


class Proxy:
    """Forwards TCP connections until it is told to fall silent; they stay open. The first ones may be cut at once."""

    def __init__(self, to: int, refuses: int = 0) -> None:
        self._to, self._refuses, self._muted = to, refuses, threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._open: list[socket.socket] = []
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._server, *self._open):
            each.close()

    def mute(self) -> None:
        self._muted.set()

    def _serve(self) -> None:
        while True:
            try:
                here, _ = self._server.accept()
            except OSError:
                return  # closed
            self.connections += 1
            if self.connections <= self._refuses:
                here.close()
                continue
            there = socket.create_connection(("127.0.0.1", self._to))
            self._open += [here, there]
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=self._move, args=(source, sink), daemon=True).start()

    def _move(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if not self._muted.is_set():
                    sink.sendall(data)
        except OSError:
            return
