"""one_tm: runs transfer scripts, files with one line a step, each a script of the datastore's driver.

`MKDIR`, `CONTEXT` and `DELETE` are all that a machine without disks needs; the first line that fails ends the transfer.
A driver that `-d` does not name is refused. Source: OpenNebula 7.4.0 src/tm_mad/one_tm.rb.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from standin.external import FAILURE, SUCCESS, ScriptDriver, options
from standin.locations import Locations


class TransferDriver(ScriptDriver):
    """`drivers` are the transfer drivers that may be used."""

    def __init__(self, scripts: Path, drivers: list[str], threads: int) -> None:
        super().__init__(threads)
        self._scripts = scripts
        self._drivers = drivers
        self.actions["TRANSFER"] = self._transfer

    def _transfer(self, oid: int, words: list[str]) -> None:
        try:
            lines = Path(words[0]).read_text().splitlines()
        except OSError as error:
            self.say("TRANSFER", FAILURE, oid, f"Transfer file '{words[0]}' does not exist: {error.strerror}")
            return
        for line in lines:
            command, driver, *arguments = shlex.split(line)
            if driver not in self._drivers:
                self.say("TRANSFER", FAILURE, oid, f"Transfer Driver '{driver}' not available")
                return
            script = self._scripts / driver / command.lower()
            result = self.run(oid, [script, *arguments])
            if result.code != 0:
                self.say("TRANSFER", FAILURE, oid, result.answer[1])
                return
        self.say("TRANSFER", SUCCESS, oid, "-")


def run() -> None:
    """Entry point of /usr/lib/one/mads/one_tm."""
    found, _ = options(sys.argv[1:], "t:d:w:", ["threads=", "drivers=", "timeout="])
    named = found.get("-d") or found.get("--drivers")
    scripts = Locations.from_environment().remotes / "tm"
    drivers = named.split(",") if named else [path.name for path in scripts.iterdir() if path.is_dir()]
    TransferDriver(scripts, drivers, int(found.get("-t") or found.get("--threads") or 15)).serve()
    os._exit(0)
