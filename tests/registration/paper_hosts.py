"""Hosts on paper for the stand-in's oned: an `ssh` and an `rsync` on its PATH that answer as a host would, and note it.

So probes, remote scripts and machines of any number of hosts go through oned's real drivers without a machine behind them:
a probe start is answered with capacity, deploying prints the machine's name, everything else succeeds. `break_` makes one
kind of command fail on one host, as often as it comes.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab.standins.opennebula.local import LocalOned

_SSH = """#!/bin/sh
# ssh of a host on paper: ssh [-n] [-o OPTION]... HOST COMMAND
if [ "$1" = -n ]; then shift; fi
while [ "$1" = -o ]; do shift 2; done
host=$1 paper={directory}
shift
case "$*" in
*run_monitord_client*) what=probe ;;
*stop_monitord_client*) what=stop ;;
*/vmm/*) what=$(echo "$*" | sed -n 's:.*/vmm/[a-z]*/\\([a-z]*\\).*:\\1:p') ;;
*) what=other ;;
esac
[ "$what" = probe ] || [ -t 0 ] || cat >/dev/null
echo "$host $what" >>"$paper/log"
if [ -e "$paper/$host.$what" ]; then
    cat "$paper/$host.$what" >&2
    exit 1
fi
case $what in
probe)
    cat >/dev/null
    system=$(base64 -w0 "$paper/system")
    numbers=$(base64 -w0 "$paper/numbers")
    said="<SYSTEM_HOST>$system</SYSTEM_HOST><MONITOR_HOST>$numbers</MONITOR_HOST>"
    echo "<MONITOR_MESSAGES>$said<TIMESTAMP>$(date +%s)</TIMESTAMP></MONITOR_MESSAGES>"
    ;;
deploy | restore) echo "one-$(echo "$*" | sed -n 's:.*/\\([0-9]*\\)/deployment.*:\\1:p')" ;;
esac
"""
_RSYNC = """#!/bin/sh
# rsync to a host on paper: the last argument is HOST:DIRECTORY
for last in "$@"; do :; done
host=${{last%%:*}} paper={directory}
echo "$host copy $(cat marker 2>/dev/null)" >>"$paper/log"
if [ -e "$paper/$host.copy" ]; then
    cat "$paper/$host.copy" >&2
    exit 12
fi
"""


class PaperHosts:
    """All hosts that `oned` reaches. CPU is in hundredths of a core, memory in KiB."""

    def __init__(self, oned: LocalOned, *, cpu: int = 800, memory: int = 8 * 1024 * 1024) -> None:
        self._directory = oned.directory / "paper"
        self._directory.mkdir()
        for name, text in (("ssh", _SSH), ("rsync", _RSYNC)):
            path = self._directory / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.format(directory=self._directory))
            path.chmod(0o755)
        (self._directory / "log").touch()
        self.say(cpu=cpu, memory=memory)
        oned.environment["PATH"] = f"{self._directory / 'bin'}:{os.environ['PATH']}"

    def say(self, *, cpu: int, memory: int, more: str = "") -> None:
        """What the next probe start is answered with."""
        (self._directory / "system").write_text(
            f'HYPERVISOR=kvm\nTOTALCPU={cpu}\nTOTALMEMORY={memory}\nARCH="x86_64"\n{more}\n'
        )
        (self._directory / "numbers").write_text(f"FREECPU={cpu}\nFREEMEMORY={memory}\nUSEDCPU=0\nUSEDMEMORY=0\n")

    def break_(self, host: str, what: str, why: str) -> None:
        """`what`: probe, stop, copy, other, or a script of vmm: deploy, migrate, shutdown…"""
        (self._directory / f"{host}.{what}").write_text(f"{why}\n")

    def mend(self, host: str, what: str) -> None:
        (self._directory / f"{host}.{what}").unlink()

    def log(self) -> list[str]:
        """`HOST WHAT` of every command so far."""
        return (self._directory / "log").read_text().splitlines()

    @property
    def directory(self) -> Path:
        return self._directory
