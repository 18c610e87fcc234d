"""`make test` after lint: `python -m tests.run`, or with a word, one of its parts: `fast`, `engine`.

Each part is two processes side by side, as most of the time is waiting: for the stand-ins' daemons and for all else; for the one
deployed stack and for instances of their own. Their lines are told apart by a word in front. The slow builds run beside
the fast tests. A part runs whatever became of the one before, so that one run tells everything.
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
STANDINS = "tests/lab/standins"
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
        """Its exit code; 124, after ending it, when the limit passed; 128 and the signal's number when one ended it."""
        try:
            code = self._child.wait(max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            print(f"{' '.join(self._words)}: not done after {self._limit:.0f} s", file=sys.stderr)
            self.end()
            code = 124
        self._reader.join(10)
        return code if code >= 0 else 128 - code

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
    """One pytest over the project. A report of an earlier run must not speak for this one."""
    (REPORTS / report).unlink(missing_ok=True)
    words = ("pytest", "-m", marks, "--durations=10", f"--junitxml={REPORTS / report}", *more)
    return Run(words, limit=TESTS_LIMIT, before=before)


def both(marks: str, paths: Sequence[str], *more: str, reports: tuple[str, str], words: tuple[str, str]) -> int:
    """The tests of `paths`, and beside them all others; each to its end, also when the other fails."""
    ignore = [f"--ignore-glob={PROJECT / path}" for path in paths]
    sides = (
        pytest(marks, reports[0], *more, *paths, before=f"{words[0]} |"),
        pytest(marks, reports[1], *more, *ignore, before=f"{words[1]} |"),
    )
    try:
        return max([side.wait() for side in sides])
    finally:
        for side in sides:
            side.end()


def fast() -> int:
    return both("not engine", [STANDINS], reports=summary.FAST, words=("stand-ins", "others   "))


def engine() -> int:
    deployed = sorted(str(path.relative_to(PROJECT)) for path in PROJECT.glob(DEPLOYED))
    return both("engine", deployed, "-vv", reports=summary.ENGINE, words=("stack", "parts"))


def everything() -> int:
    """All parts, and the counts."""
    log = REPORTS / "builds.log"
    builds = Run(["tests.builds"], limit=BUILDS_LIMIT, log=log)
    try:
        codes = [fast(), builds.wait()]
        if codes[1]:
            print(f"the builds failed:\n{tail(log)}", file=sys.stderr)
    finally:
        builds.end()
    codes.append(engine())
    return summary.main() or max(codes)


PARTS = {"fast": fast, "engine": engine}


def main(arguments: Sequence[str]) -> int:
    """0 when all went well."""
    if len(arguments) > 1 or (arguments and arguments[0] not in PARTS):
        print(f"usage: python -m tests.run [{'|'.join(PARTS)}]", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        # Also where a shell has told its background jobs to ignore the first: both end the children, fixtures included.
        signal.signal(number, signal.default_int_handler)
    return PARTS[arguments[0]]() if arguments else everything()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
