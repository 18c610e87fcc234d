"""`python -m lab up|refresh|status|down|secret|unlock`: what the Makefile calls. Reads its options from the environment.

CLUSTER=existing  leave the lab out: KUBECONFIG's cluster and the stack's own file
STACK=NAME        with CLUSTER=existing, the stack
HOSTS=20          so many lab hosts
VERSION=6.10      the lab rehearses that release
OPENNEBULA_ROOT   images and packages from an installed OpenNebula instead of the stand-ins
JSON=1            status as JSON
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

from components.host_groups import fold
from lab import rehearsal, status
from lab.errors import Incomplete, LabError


def main(arguments: list[str]) -> int:
    """Exit code: 0 done, 1 failed with a message, 2 wrong call."""
    commands = {
        "up": _up,
        "refresh": rehearsal.refresh,
        "status": _status,
        "down": rehearsal.down,
        "unlock": rehearsal.unlock,
        "secret": rehearsal.secret,
    }
    if len(arguments) != 1 or arguments[0] not in commands:
        print(f"usage: python -m lab {'|'.join(commands)}", file=sys.stderr)
        return 2
    try:
        commands[arguments[0]](rehearsal.Options.from_environment(os.environ))
    except LabError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        if error.filename is None:
            raise  # of a system call: no file of another user's
        closed = LabError(
            f"{error.filename}: {error.strerror}",
            cause="it belongs to another user: what the lab makes is root's, and the rest is of whoever ran it first",
            fix="run the same command as that user, or with sudo",
        )
        print(f"\nerror: {closed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; what was done stays done. Next: make up, or make down", file=sys.stderr)
        return 130
    return 0


def _up(options: rehearsal.Options) -> None:
    try:
        rehearsal.up(options)
    except Incomplete:
        # What is there works: people want to see it beside what failed.
        with contextlib.suppress(LabError):
            print(status.table(status.collect(options)))
        raise
    found = status.collect(options)
    print(status.table(found))
    if missing := [host["name"] for host in found["hosts"] if host["state"] == status.MISSING]:
        raise LabError(
            f"not in oned though declared: {fold(missing)}",
            cause="somebody deleted or renamed them; an up goes by what the state knows",
            fix="make refresh, then make up, with the same variables",
        )


def _status(options: rehearsal.Options) -> None:
    found = status.collect(options)
    print(json.dumps(found) if os.environ.get("JSON") == "1" else status.table(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
