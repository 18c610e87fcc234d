"""`python -m components.preparing FOLDER`: prepare one host over one SSH connection. The engine runs it for each host, and once
for all of them (`everyone.py`).

What to do is in the environment (`values.Target`), how to get there in FOLDER (`values.Way`), the script beside it.
Prints the host's system and version, one JSON object. On failure the exit code is a `causes.Code`, and the last line on standard
error is `one-…: <host>: <what>: <cause>; next: <command>`.
"""

from __future__ import annotations

import os
import sys

from components.preparing import everyone
from components.preparing.causes import Cause, Code
from components.preparing.preparation import Failed, Preparation, this_machine
from components.preparing.values import EVERYONE, Target, Way


def main(folder: str) -> int:
    """See the module."""
    if os.environ.get(EVERYONE):
        return _everyone(folder)
    target = Target.read(os.environ)
    try:
        print(Preparation(folder, target, _way(folder)).run())
    except Failed as failed:
        print("\n".join(failed.lines(target.name)), file=sys.stderr)
        return int(failed.cause.code)
    return int(Code.DONE)


def _everyone(folder: str) -> int:
    """The same for all hosts, with one script."""
    try:
        return everyone.run(folder, _way(folder))
    except FileNotFoundError:
        failed = _nothing(folder)
    except OSError as error:
        failed = this_machine(error)
    except Failed as error:
        failed = error
    print("\n".join(failed.lines("all hosts")), file=sys.stderr)
    return int(failed.cause.code)


def _way(folder: str) -> Way:
    try:
        return Way.read(folder)
    except FileNotFoundError:
        raise _nothing(folder) from None
    except OSError as error:
        raise this_machine(error) from error


def _nothing(folder: str) -> Failed:
    text = f"{folder} holds nothing of a run: another directory, or an engine without resource hooks"
    return Failed(Cause(Code.HERE, text, "run `pulumi up` in the project's directory, 3.255 or newer"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
