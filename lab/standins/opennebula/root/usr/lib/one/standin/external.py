"""Drivers that run scripts: the words between oned and them, and a base for those of the stand-in.

oned writes `<ACTION>  <id> <payload>`; a driver answers `<ACTION> <SUCCESS|FAILURE> <id> <info>` and `LOG <severity> <id>
<text>`. A script's stderr is logged line by line, and when it fails it is the info as well, without line ends.
Source: OpenNebula 7.4.0 include/{Message,ProtocolMessages}.h, src/mad/ruby/{OpenNebulaDriver,DriverExecHelper}.rb.
"""

from __future__ import annotations

import queue
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SUCCESS: Final = "SUCCESS"
FAILURE: Final = "FAILURE"
_SEVERITIES: Final = {"ERROR": "E", "WARN": "W", "INFO": "I", "DEBUG": "D"}
_LOG_LINE: Final = re.compile(r"^(ERROR|INFO|WARN|DEBUG):\s*(.*)$")
_NOT_STARTED: Final = 127

Action = Callable[[int, list[str]], None]


@dataclass(frozen=True)
class Said:
    """A line of a driver."""

    kind: str
    status: str
    oid: int
    info: str

    @classmethod
    def of(cls, line: str) -> Said:
        """:raises ValueError: for a line that is no message."""
        words = line.rstrip("\n").split(None, 3)
        if len(words) < 3:
            raise ValueError(f"undefined message: {line!r}")
        oid = int(words[2]) if words[2].lstrip("-").isdigit() else -1
        return cls(words[0], words[1], oid, words[3] if len(words) > 3 else "")


def request(kind: str, oid: int, payload: str) -> str:
    """A line to a driver; without a status there are two blanks, as the real one writes it."""
    return f"{kind}  {oid} {payload}\n"


@dataclass(frozen=True)
class Result:
    """How a script ended."""

    code: int
    output: str
    errors: str

    @property
    def answer(self) -> tuple[str, str]:
        """Result and info."""
        if self.code == 0:
            return SUCCESS, self.output.strip().replace("\n", " ") or "-"
        told = "".join(line.strip() for line in self.errors.splitlines() if not _LOG_LINE.match(line.strip()))
        return FAILURE, told or "-"


class ScriptDriver:
    """Reads requests from stdin, carries out what is in `actions` on `threads` threads, answers on stdout."""

    def __init__(self, threads: int = 15) -> None:
        self.actions: dict[str, Action] = {}
        self._work: queue.Queue[tuple[Action, int, list[str]]] = queue.Queue()
        self._stdout = threading.Lock()
        for _ in range(max(threads, 1)):
            threading.Thread(target=self._loop, daemon=True).start()

    def serve(self) -> None:
        """Until FINALIZE or the end of stdin."""
        for line in sys.stdin:
            words = line.split()
            if not words:
                continue
            if words[0] == "INIT":
                self.say("INIT", SUCCESS, 0, "")
            elif words[0] == "FINALIZE":
                return
            elif words[0] in self.actions:
                oid = int(words[1]) if len(words) > 1 and words[1].lstrip("-").isdigit() else 0
                self._work.put((self.actions[words[0]], oid, words[2:]))

    def say(self, kind: str, result: str, oid: int, info: str) -> None:
        with self._stdout:
            sys.stdout.write(f"{kind} {result} {oid} {info}".rstrip() + "\n")
            sys.stdout.flush()

    def log(self, oid: int, text: str) -> None:
        for line in text.strip().splitlines():
            match = _LOG_LINE.match(line.strip())
            severity, shown = (_SEVERITIES[match[1]], match[2]) if match else ("I", line.strip())
            self.say("LOG", severity, oid, shown)

    def run(self, oid: int, command: Sequence[str | Path], stdin: str = "", timeout: float | None = None) -> Result:
        """A command's end; one that fails is logged."""
        words = [str(word) for word in command]
        try:
            done = subprocess.run(
                words, input=stdin, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
            )
            result = Result(done.returncode, done.stdout, done.stderr)
        except subprocess.TimeoutExpired:
            result = Result(255, "", f"Timeout executing {shlex.join(words)}")
        except OSError as error:
            result = Result(_NOT_STARTED, "", f"{words[0]}: {error.strerror}")
        if result.code != 0:
            self.log(oid, f"Command execution failed (exit code: {result.code}): {shlex.join(words)}")
        self.log(oid, result.errors)
        return result

    def _loop(self) -> None:
        while True:
            action, oid, words = self._work.get()
            try:
                action(oid, words)
            except Exception as error:  # a driver outlives a request that it cannot carry out
                self.log(oid, f"ERROR: {type(error).__name__}: {error}")


def options(arguments: Sequence[str], short: str, long: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Options and the rest of a driver's arguments, which oned passes as one word."""
    import getopt

    words = [word for argument in arguments for word in shlex.split(argument)]
    found, rest = getopt.gnu_getopt(words, short, list(long))
    return dict(found), rest
