"""`make test` after lint: `python -m tests.run`, or with a word, one of its parts: `fast`, `engine`.

The slow builds run beside the fast tests, which use one core. The engine tests run as two processes side by side, as most
of their time is waiting for pods and hosts: those that share the one deployed stack, and all others, which have instances
of their own. Their lines are told apart by a word in front.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from lab.errors import tail
from lab.paths import PROJECT, STATE
from tests import summary

REPORTS = STATE / "tests"
BUILDS_LIMIT = 3000  # seconds; 20 CPU-minutes on two busy cores
TESTS_LIMIT = 4800  # seconds for one pytest
DEPLOYED = "tests/engine/test_*.py"


class Run:
    """One child process with a limit. Its lines go to standard output, or to `log` when there is one."""

    def __init__(self, words: Sequence[str], *, limit: float, before: str = "", log: Path | None = None) -> None:
        self._deadline = time.monotonic() + limit
        self._limit = limit
        self._words = words
        self._before = before
        self._log: IO[str] | None = None
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._log = log.open("w")
        out = self._log if self._log is not None else subprocess.PIPE if before else None
        self._child = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT if out else None,
            text=True,
        )
        self._reader = threading.Thread(target=self._tell, daemon=True)
        self._reader.start()

    def wait(self) -> int:
        """Its exit code; 124, after ending it, when the limit passed."""
        try:
            code = self._child.wait(max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            print(f"{' '.join(self._words)}: not done after {self._limit:.0f} s", file=sys.stderr)
            self.end()
            code = 124
        self._reader.join(10)
        return code

    def end(self) -> None:
        """End it if it is still at work; pytest takes down what its fixtures started."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
            try:
                self._child.wait(120)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        if self._log is not None:
            self._log.close()

    def _tell(self) -> None:
        for line in self._child.stdout or ():
            print(f"{self._before} {line}", end="", flush=True)


def pytest(marks: str, report: str, *more: str, before: str = "") -> Run:
    """One pytest over the project."""
    words = ("pytest", "-m", marks, "--durations=10", f"--junitxml={REPORTS / report}", *more)
    return Run(words, limit=TESTS_LIMIT, before=before)


def fast() -> int:
    return pytest("not engine", summary.FAST).wait()


def engine() -> int:
    """Both sides to their end, also when one fails."""
    deployed = sorted(str(path.relative_to(PROJECT)) for path in PROJECT.glob(DEPLOYED))
    sides = (
        pytest("engine", summary.DEPLOYED, "-vv", *deployed, before="stack |"),
        pytest("engine", summary.PARTS, "-vv", f"--ignore-glob={PROJECT / DEPLOYED}", before="parts |"),
    )
    try:
        return max(side.wait() for side in sides)
    finally:
        for side in sides:
            side.end()


def everything() -> int:
    """Stops at the first part that fails."""
    log = REPORTS / "builds.log"
    builds = Run(["tests.builds"], limit=BUILDS_LIMIT, log=log)
    try:
        if code := fast():
            return code
        if code := builds.wait():
            print(f"the builds failed:\n{tail(log)}", file=sys.stderr)
            return code
    finally:
        builds.end()
    return engine() or summary.main()


PARTS = {"fast": fast, "engine": engine}


def main(arguments: Sequence[str]) -> int:
    """The exit code of the first part that failed."""
    if len(arguments) > 1 or (arguments and arguments[0] not in PARTS):
        print(f"usage: python -m tests.run [{'|'.join(PARTS)}]", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        # Also where a shell has told its background jobs to ignore the first: both end the children, fixtures included.
        signal.signal(number, signal.default_int_handler)
    return PARTS[arguments[0]]() if arguments else everything()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
