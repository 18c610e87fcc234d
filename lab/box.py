"""The box: one set of namespaces (network, mounts, processes, host name, IPC) that holds a whole lab.

Whatever is started through `Box.run`, `popen` and `spawn` lives inside and ends with the box: stopping it kills
process 1, and the kernel takes processes, mounts, interfaces and packet filter rules with it. The root namespace keeps
one veth interface with three routes while it runs. The box itself starts nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lab import cache, cgroups, kernel, network, process
from lab.errors import LabError, tail
from lab.paths import CACHE, PROJECT, STATE, Instance
from lab.process import Identity

NODE = "onelab"  # host name in the box, and the Kubernetes node's name

_INIT = Path(__file__).resolve().parent / "box_init.py"
_START_LIMIT = 20.0  # seconds
_LOCK_LIMIT = 600.0  # seconds; a start of the whole cluster holds the lock for as long as its own limits allow
_NAMESPACES = ("--net", "--mount", "--pid", "--uts", "--ipc")

# Joins the lab's cgroups, then becomes the command: arguments are a count, that many cgroup.procs files, the command.
_JOIN = 'n=$1; shift; while [ "$n" -gt 0 ]; do echo 0 >"$1"; shift; n=$((n - 1)); done; exec "$@"'
# The same for a daemon: detached, output appended to a log; prints the pid of what it left behind.
_DETACH = 'log=$1; shift; setsid "$@" </dev/null >>"$log" 2>&1 & echo $!'


@dataclass(frozen=True, kw_only=True)
class Status:
    running: bool
    pid: int | None
    processes: int


@dataclass(frozen=True)
class Box:
    """The box of one lab instance; values only, so that any process may hold one and act on the running box."""

    instance: Instance

    @property
    def _pid_file(self) -> Path:
        return self.instance.state / "box.json"

    @property
    def logs(self) -> Path:
        return self.instance.state / "logs"

    def lock(self, part: str = "") -> AbstractContextManager[object]:
        """One start or stop at a time for a lab, or a part of it; beside its state directory, which a stop removes."""
        return cache.locked(STATE / "lab" / f".{self.instance.name}{part}.lock", limit=_LOCK_LIMIT)

    def init(self) -> Identity | None:
        """Process 1 of the box as the root namespace knows it; None when the box does not run."""
        return process.load(self._pid_file)

    def status(self) -> Status:
        init = self.init()
        running = init is not None
        return Status(running=running, pid=init.pid if init else None, processes=len(cgroups.pids(self.instance)))

    def start(self) -> None:
        """Start the box, or complete one that was started half. Raises LabError."""
        with self.lock(".box"):
            init = self.init()
            if init is None:
                if (other := self.elsewhere()) is not None:
                    raise LabError(
                        f"the lab of another checkout is up: {other}",
                        cause="both would have the same addresses",
                        fix=f"make -C {other} down, then again",
                    )
                self._stop()  # whatever a killed start, or a deleted state directory, left
                kernel.require()
                network.check_free(self.instance)
                cache.remove_tree(self.logs)  # of the lab before
                self.logs.mkdir(parents=True)
                CACHE.mkdir(parents=True, exist_ok=True)
                cgroups.prepare(self.instance)
                init = self._launch()
                process.save(init, self._pid_file)
            network.connect(self.instance, init)

    def stop(self) -> None:
        """End everything in the box and remove what it left in the root namespace. Files are not touched."""
        with self.lock(".box"):
            self._stop()

    def elsewhere(self) -> Path | None:
        """The other checkout on this machine that has this lab up, if it is one that lasts."""
        if not self.instance.lasting:
            return None
        place = self._pid_file.relative_to(PROJECT)
        for words in cgroups.command_lines(self.instance):
            for project in (Path(word).parents[1] for word in words if word.endswith(f"/lab/{_INIT.name}")):
                if project != PROJECT and (project / place).exists():
                    return project
        return None

    def _stop(self) -> None:
        init = self.init()
        if init is not None:
            process.kill(init)
        elif self.elsewhere() is not None:
            return
        cgroups.kill_all(self.instance)
        network.disconnect(self.instance)
        cgroups.remove(self.instance)
        self._pid_file.unlink(missing_ok=True)

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        input: str | None = None,
        timeout: float = 60.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside and wait; it is killed at the limit (seconds). LabError if `check` and it fails."""
        command = self._command(argv, attached=True)
        try:
            done = subprocess.run(
                command,
                input=input,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                env=_environment(env),
            )
        except subprocess.TimeoutExpired as slow:
            raise LabError(f"`{_shown(argv)}` in the lab did not end in {timeout:.0f} s") from slow
        if check and done.returncode != 0:
            raise LabError(f"`{_shown(argv)}` in the lab failed ({done.returncode})", cause=done.stderr.strip()[-2000:])
        return done

    def popen(
        self,
        argv: Sequence[str | Path],
        *,
        stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command inside as a child of the caller: killing the returned process kills the command."""
        return subprocess.Popen(
            self._command(argv, attached=True), stdin=stdin, stdout=stdout, stderr=stderr, env=_environment(env)
        )

    def spawn(self, argv: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None) -> Identity:
        """Start a daemon inside that outlives the caller, its output appended to `log`. LabError if it does not."""
        log.parent.mkdir(parents=True, exist_ok=True)
        command = ["sh", "-c", _DETACH, "detach", str(log), *self._command(argv, attached=False)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=20, check=True, env=_environment(env))
        return _child_of(int(done.stdout), argv, log)

    def _command(self, argv: Sequence[str | Path], *, attached: bool) -> list[str]:
        init = self.init()
        if init is None:
            raise LabError(f"the lab {self.instance.name} does not run", fix="run `make up`")
        procs = [str(path) for path in cgroups.procs_files(self.instance)]
        command = ["sh", "-c", _JOIN, "join", str(len(procs)), *procs]
        command += ["nsenter", "--target", str(init.pid), *_NAMESPACES, "--"]
        if attached:  # nsenter stays outside and waits: whoever kills it means the command
            command += ["setpriv", "--pdeathsig", "KILL", "--"]
        return command + [str(argument) for argument in argv]

    def _launch(self) -> Identity:
        read, write = os.pipe()
        plan = {
            "name": NODE,
            "ready": write,
            "kept": [str(STATE.resolve()), str(CACHE.resolve())],
            "hosts": f"127.0.0.1 localhost\n{self.instance.node_ip} {NODE}\n",
            "resolv": f"nameserver {self.instance.dns_ip}\noptions timeout:2 attempts:2\n",
        }
        log = self.logs / "box.log"
        procs = [str(path) for path in cgroups.procs_files(self.instance)]
        inner = ["sh", "-c", _JOIN, "join", str(len(procs)), *procs]
        inner += ["unshare", *_NAMESPACES, "--fork", "--propagation", "private"]
        inner += ["--", sys.executable, "-I", "-S", str(_INIT), json.dumps(plan)]
        try:
            subprocess.run(
                ["sh", "-c", _DETACH, "detach", str(log), *inner],
                stdout=subprocess.DEVNULL,
                pass_fds=(write,),
                timeout=20,
                check=True,
            )
            os.close(write)
            return _await_ready(read, log)
        finally:
            os.close(read)


def _await_ready(read: int, log: Path) -> Identity:
    """The init sends its pid, then `ready` when its mounts are made, then closes; an early end means it failed."""
    os.set_blocking(read, False)
    deadline = time.monotonic() + _START_LIMIT
    answer = b""
    while not answer.endswith(b"ready"):
        try:
            piece = os.read(read, 100)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LabError(f"the box did not start in {_START_LIMIT:.0f} s", cause=tail(log)) from None
            time.sleep(0.01)
            continue
        if not piece:
            raise LabError(
                "the box cannot start",
                cause=tail(log),
                fix="the lab needs the right to make namespaces and mounts: root, outside of an unprivileged container",
            )
        answer += piece
    identity = process.identify(int(answer.split()[0]))
    if identity is None:
        raise LabError("the box ended right after its start", cause=tail(log))
    return identity


def _child_of(parent: int, argv: Sequence[str | Path], log: Path) -> Identity:
    """nsenter enters a process namespace by forking: its only child becomes the command, or ends if it cannot."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            entered = pids and Path(f"/proc/{pids[0]}/exe").readlink() != Path(f"/proc/{parent}/exe").readlink()
        except (FileNotFoundError, ProcessLookupError):
            break
        identity = process.identify(int(pids[0])) if entered else None
        if identity:
            return identity
        time.sleep(0.002)
    raise LabError(f"`{_shown(argv)}` did not start", cause=tail(log))


def _environment(env: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if env is None else dict(env)


def _shown(argv: Sequence[str | Path]) -> str:
    """A command for an error text: the program and its first words; long scripts are not repeated."""
    return " ".join(str(argument) for argument in argv)[:120]
