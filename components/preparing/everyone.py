"""One script on all hosts of the stack at once, with PLAN_NAME in front. The engine runs it for the whole fleet.

Each host over one connection of its own. Which hosts, the script and the way lie in the folder of the run, laid out by the
program right before (`workshop.py`). A host that fails stops no other; all that failed are named, each in the words of a
preparation.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from components.preparing.causes import Code
from components.preparing.preparation import Failed, Preparation
from components.preparing.values import Endpoint, Target, Way

EVERYONE_FILE = "everyone.json"
_AT_ONCE = 32
_LISTED = 50


def write(folder: str, script: str, targets: Sequence[tuple[str, Endpoint]]) -> None:
    """Put the work where `run` finds it, at once."""
    draft = os.path.join(folder, f".{EVERYONE_FILE}.{os.getpid()}")
    with open(draft, "w") as file:
        json.dump({"script": script, "targets": [(name, *endpoint) for name, endpoint in targets]}, file)
    os.replace(draft, os.path.join(folder, EVERYONE_FILE))


def run(folder: str, way: Way) -> int:
    """Exit code; prints how many hosts there are, and on standard error a line for each that failed.

    Raises OSError, which is FileNotFoundError where the folder holds nothing for it.
    """
    with open(os.path.join(folder, EVERYONE_FILE)) as file:
        work = json.load(file)
    os.unlink(file.name)
    targets = [Target(name, Endpoint(*endpoint), "") for name, *endpoint in work["targets"]]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        failed = [found for found in threads.map(partial(_one, folder, way, work["script"]), targets) if found]
    if failed:
        more = [f"… and {len(failed) - _LISTED} more"] if len(failed) > _LISTED else []
        print("\n".join([*more, *(line for line, _ in failed[:_LISTED])]), file=sys.stderr)
        return failed[0][1]
    print(json.dumps({"hosts": len(targets)}))
    return int(Code.DONE)


def _one(folder: str, way: Way, script: str, target: Target) -> tuple[str, int] | None:
    try:
        Preparation(folder, target, way, f"PLAN_NAME={shlex.quote(target.name)}\n{script}").run()
    except Failed as failed:
        return failed.lines(target.name)[-1], int(failed.cause.code)
    return None
