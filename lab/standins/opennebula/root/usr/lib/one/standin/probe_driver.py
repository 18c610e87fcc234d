"""one_im_ssh: starts and stops the probe client of a host over SSH.

Every start copies the whole remotes tree first (`rsync --delete`, no version is looked at), then gives the monitor's
configuration as XML to `run_monitord_client` on stdin; its stdout is the answer. `ssh` and `rsync` come from PATH and
run as the user of oned. Source: OpenNebula 7.4.0 src/im_mad/im_exec/one_im_exec.rb, src/mad/ruby/HostSyncManager.rb.
"""

from __future__ import annotations

import getopt
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from standin.locations import Locations, remote_scripts
from standin.messages import FAILURE, SUCCESS, Message, MessageError, read

_MISSING_SCRIPT: Final = 42
_RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Result:
    """How a command ended; `cause` is for people."""

    code: int
    output: str
    cause: str


@dataclass(frozen=True)
class Action:
    """What onemonitord asks for, as its XML says."""

    kind: str
    oid: int
    name: str
    im_mad: str
    stdin: str

    @classmethod
    def of(cls, message: Message) -> Action:
        """:raises ValueError: for a payload that is no action."""
        try:
            root = ElementTree.fromstring(message.payload)
        except ElementTree.ParseError as error:
            raise ValueError(str(error)) from None
        host, configuration = root.find("HOST"), root.find("MONITOR_CONFIGURATION")
        if host is None or configuration is None:
            raise ValueError("HOST or MONITOR_CONFIGURATION missing")
        ElementTree.SubElement(configuration, "HOST_ID").text = str(message.oid)
        return cls(
            message.kind,
            message.oid,
            host.findtext("NAME") or "",
            host.findtext("IM_MAD") or "",
            ElementTree.tostring(configuration, encoding="unicode"),
        )


class ProbeDriver:
    """Carries out actions on `threads` threads and answers on stdout. `timeout` is in seconds, 0 for none."""

    def __init__(self, locations: Locations, *, threads: int, retries: int, timeout: int) -> None:
        self._local = locations.remotes
        self._remote = remote_scripts(locations.var / "config")
        self._retries = retries
        self._timeout = timeout or None
        self._actions: queue.Queue[Action] = queue.Queue()
        self._stdout = threading.Lock()
        for _ in range(threads):
            threading.Thread(target=self._work, daemon=True).start()

    def serve(self) -> None:
        """Until FINALIZE or the end of stdin."""
        for line in sys.stdin:
            word = line.split(None, 1)[0] if line.strip() else ""
            if word == "INIT":
                self._write("INIT SUCCESS\n")
            elif word == "FINALIZE":
                return
            elif word in ("START_MONITOR", "STOP_MONITOR"):
                self._accept(line)

    def _accept(self, line: str) -> None:
        oid, kind = -1, line.split(None, 1)[0]
        try:
            message = read(line, timestamp=True)
            oid = message.oid
            self._actions.put(Action.of(message))
        except (MessageError, ValueError) as error:
            self._answer(kind, FAILURE, oid, str(error))

    def _work(self) -> None:
        while True:
            action = self._actions.get()
            result = (
                self._start(action) if action.kind == "START_MONITOR" else self._script(action, "stop_monitord_client")
            )
            if result.code == 0:
                self._answer(action.kind, SUCCESS, action.oid, result.output)
            else:
                self._answer(action.kind, FAILURE, action.oid, result.cause or "-")

    def _start(self, action: Action) -> Result:
        made = self._run(["ssh", "-n", action.name, f"mkdir -p {shlex.quote(self._remote)}"], "", action.oid)
        if made.code == 0:
            made = self._run(
                ["rsync", "-LRaz", "--delete", ".", f"{action.name}:{self._remote}/"], "", action.oid, cwd=self._local
            )
        if made.code != 0:
            return Result(made.code, "", f"Could not update remotes: {made.cause}")
        return self._script(action, "run_monitord_client")

    def _script(self, action: Action, name: str) -> Result:
        path = f"{self._remote}/im/{name}"
        words = " ".join(shlex.quote(word) for word in (path, action.im_mad, str(action.oid), action.name))
        command = f"if [ -x {shlex.quote(path)} ]; then {words}; else exit {_MISSING_SCRIPT}; fi"
        for attempt in range(self._retries + 1):
            if attempt:
                time.sleep(_RETRY_SECONDS)
            result = self._run(["ssh", action.name, command], action.stdin, action.oid)
            if result.code == 0:
                break
        return result

    def _run(self, command: Sequence[str], stdin: str, oid: int, cwd: Path | None = None) -> Result:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            result = Result(255, "", f"{command[0]}: {error.strerror}")
        else:
            try:
                output, errors = process.communicate(stdin, timeout=self._timeout)
                result = Result(process.returncode, output, errors.strip() or output.strip())
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                result = Result(255, "", f"Timeout executing {shlex.join(command)}")
        if result.code != 0:
            self._say(oid, f"Command execution failed (exit code: {result.code}): {shlex.join(command)}")
            for line in result.cause.splitlines():
                self._say(oid, line)
        return result

    def _say(self, oid: int, text: str) -> None:
        self._answer("LOG", "E", oid, text)

    def _answer(self, kind: str, status: str, oid: int, payload: str) -> None:
        self._write(Message(kind, status, oid, payload).line(timestamp=True))

    def _write(self, line: str) -> None:
        with self._stdout:
            sys.stdout.write(line)
            sys.stdout.flush()


def run() -> None:
    """Entry point of /usr/lib/one/mads/one_im_ssh."""
    words = [word for argument in sys.argv[1:] for word in argument.split(" ") if word]
    options = dict(getopt.getopt(words, "r:t:w:lc", ["retries=", "threads=", "timeout=", "local", "force-copy"])[0])

    def number(short: str, long: str, default: int) -> int:
        return int(options.get(short) or options.get(long) or default)

    ProbeDriver(
        Locations.from_environment(),
        threads=number("-t", "--threads", 15),
        retries=number("-r", "--retries", 0),
        timeout=number("-w", "--timeout", 0),
    ).serve()
    os._exit(0)
