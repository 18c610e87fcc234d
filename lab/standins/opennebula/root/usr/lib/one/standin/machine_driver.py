"""one_vmm_exec: carries out what oned wants of a machine, with a script of the host's own over SSH.

The scripts are those that monitoring copied to the host, `<SCRIPTS_REMOTE_DIR>/vmm/<kvm|lxc>/`. DEPLOY first writes the
machine's XML to its directory there; the answer is the machine's name on the host. Source: OpenNebula 7.4.0
src/vmm_mad/exec/one_vmm_exec.rb.
"""

from __future__ import annotations

import base64
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Final
from xml.etree import ElementTree

from standin.external import FAILURE, Result, ScriptDriver, options
from standin.locations import Locations, remote_scripts

_NO_SCRIPT: Final = 42
# Action -> script, and which values of the request are its arguments.
_SCRIPTS: Final = {
    "DEPLOY": ("deploy", ("REMOTE_DEPLOYMENT_FILE", "HOST")),
    "RESTORE": ("restore", ("REMOTE_DEPLOYMENT_FILE", "HOST", "DEPLOY_ID")),
    "SHUTDOWN": ("shutdown", ("DEPLOY_ID", "HOST")),
    "CANCEL": ("cancel", ("DEPLOY_ID", "HOST")),
    "MIGRATE": ("migrate", ("DEPLOY_ID", "MIGR_HOST", "HOST", "REMOTE_DEPLOYMENT_FILE")),
    "SAVE": ("save", ("DEPLOY_ID", "CHECKPOINT_FILE", "HOST")),
    "REBOOT": ("reboot", ("DEPLOY_ID", "HOST")),
    "RESET": ("reset", ("DEPLOY_ID", "HOST")),
}
# What goes on from the host to another one gets the agent (the default of --delegate; ssh_stream.rb).
_DELEGATED: Final = ("migrate",)
_LENT: Final = ("-o", "ForwardAgent=yes", "-o", "ControlMaster=no", "-o", "ControlPath=none")


@dataclass(frozen=True)
class _Request:
    values: dict[str, str]
    machine: str

    @classmethod
    def of(cls, packed: str) -> _Request:
        root = ElementTree.fromstring(base64.b64decode(packed))
        vm = root.find("VM")
        if vm is None:
            raise ValueError("no VM in the request")
        return cls(
            {child.tag: child.text or "" for child in root if child.tag != "VM"},
            ElementTree.tostring(vm, encoding="unicode"),
        )


class MachineDriver(ScriptDriver):
    """`hypervisor` is the directory of its scripts."""

    def __init__(self, hypervisor: str, remote: str, threads: int) -> None:
        super().__init__(threads)
        self._scripts = f"{remote}/vmm/{hypervisor}"
        for action in _SCRIPTS:
            self.actions[action] = partial(self._carry_out, action)
        self.actions["CLEANUP"] = self._clean_up

    def _carry_out(self, action: str, oid: int, words: list[str]) -> None:
        wanted = _Request.of("".join(words))
        script, names = _SCRIPTS[action]
        if action in ("DEPLOY", "RESTORE"):
            target = shlex.quote(wanted.values["REMOTE_DEPLOYMENT_FILE"])
            written = self._ssh(oid, wanted, f"mkdir -p $(dirname {target}) && cat > {target}", wanted.machine)
            if written.code != 0:
                self.say(action, FAILURE, oid, written.answer[1])
                return
        arguments = [wanted.values[name] for name in names]
        result = self._script(oid, wanted, script, arguments)
        outcome, info = result.answer
        ended = "Successfully execute" if result.code == 0 else "Failed to execute"
        self.log(oid, f"{ended} virtualization driver operation: {script}.")
        self.say(action, outcome, oid, info)

    def _clean_up(self, oid: int, words: list[str]) -> None:
        wanted = _Request.of("".join(words))
        self._script(oid, wanted, "cancel", [wanted.values["DEPLOY_ID"], wanted.values["HOST"]])
        directory = str(PurePosixPath(wanted.values["REMOTE_DEPLOYMENT_FILE"]).parent)
        self._ssh(oid, wanted, f"rm -rf {shlex.quote(directory)}", "")
        self.say("CLEANUP", "SUCCESS", oid, "-")

    def _script(self, oid: int, wanted: _Request, script: str, arguments: list[str]) -> Result:
        path = shlex.quote(f"{self._scripts}/{script}")
        words = " ".join(shlex.quote(each) for each in [*arguments, str(oid), wanted.values["HOST"]])
        command = f"if [ -x {path} ]; then {path} {words}; else exit {_NO_SCRIPT}; fi"
        return self._ssh(oid, wanted, command, wanted.machine, _LENT if script in _DELEGATED else ())

    def _ssh(self, oid: int, wanted: _Request, command: str, stdin: str, options: Sequence[str] = ()) -> Result:
        return self.run(oid, ["ssh", *options, wanted.values["HOST"], command], stdin)


def run() -> None:
    """Entry point of /usr/lib/one/mads/one_vmm_exec."""
    found, rest = options(
        sys.argv[1:],
        "t:r:w:l:s:pi",
        ["threads=", "retries=", "timeout=", "local=", "shell=", "parallel", "interactive"],
    )
    if len(rest) != 1:
        print("usage: one_vmm_exec [options] <hypervisor>", file=sys.stderr or sys.stdout)
        os._exit(255)
    remote = remote_scripts(Locations.from_environment().var / "config")
    MachineDriver(rest[0], remote, int(found.get("-t") or found.get("--threads") or 15)).serve()
    os._exit(0)
