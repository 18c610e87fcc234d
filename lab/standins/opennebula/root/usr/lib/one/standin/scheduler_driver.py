"""one_sched: runs the placement script of the configured scheduler.

Stops at once when the directory of the placer or the optimizer is missing. Source: OpenNebula 7.4.0
src/schedm_mad/one_sched.rb.
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

from standin.external import ScriptDriver, options
from standin.locations import Locations


class SchedulerDriver(ScriptDriver):
    """:raises RuntimeError: for a scheduler that is not installed."""

    def __init__(self, scripts: Path, placer: str, optimizer: str, threads: int) -> None:
        for role, name in (("place", placer), ("optimize", optimizer)):
            if not (scripts / name).is_dir():
                raise RuntimeError(f"Scheduler {role} {name} not avialable")
        super().__init__(threads)
        self._place = scripts / placer / "place"
        self._optimize = scripts / optimizer / "optimize"
        self.actions["PLACE"] = lambda _oid, words: self._run("PLACE", 0, [self._place], words)
        self.actions["OPTIMIZE"] = lambda oid, words: self._run("OPTIMIZE", oid, [self._optimize, str(oid)], words)

    def _run(self, action: str, oid: int, command: list[str | Path], words: list[str]) -> None:
        result, info = self.run(oid, command, "".join(words)).answer
        self.say(action, result, oid, base64.b64encode(info.encode()).decode())

    def log(self, oid: int, text: str) -> None:
        """What a scheduler says goes to its own rank_sched.log; oned hears of failures only, in base64."""
        for line in text.strip().splitlines():
            self.say("LOG", "E", oid, base64.b64encode(line.encode()).decode())


def run() -> None:
    """Entry point of /usr/lib/one/mads/one_sched."""
    found, _ = options(sys.argv[1:], "t:p:o:", ["threads=", "placer=", "optimizer="])
    try:
        driver = SchedulerDriver(
            Locations.from_environment().remotes / "scheduler",
            found.get("-p") or found.get("--placer") or "rank",
            found.get("-o") or found.get("--optimizer") or "one_drs",
            int(found.get("-t") or found.get("--threads") or 1),
        )
    except RuntimeError as error:
        print(f"Error starting driver: {error}", file=sys.stderr or sys.stdout)
        os._exit(255)
    driver.serve()
    os._exit(0)
