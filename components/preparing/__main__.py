"""`python -m components.preparing FOLDER`: prepare one host over one SSH connection. The engine runs it for each host.

What to do is in the environment (`values.Target`), how to get there in FOLDER (`values.Way`), the script beside it.
Prints the host's system and version, one JSON object. On failure the exit code is a `causes.Code`, and the last line on standard
error is `one-…: <host>: <what>: <cause>; next: <command>`.
"""

from __future__ import annotations

import os
import sys

from components.preparing.causes import Cause, Code
from components.preparing.preparation import Failed, Preparation
from components.preparing.values import Target, Way


def main(folder: str) -> int:
    """See the module."""
    target = Target.read(os.environ)
    try:
        print(Preparation(folder, target, _way(folder)).run())
    except Failed as failed:
        print("\n".join(failed.lines(target.name)), file=sys.stderr)
        return int(failed.cause.code)
    return int(Code.DONE)


def _way(folder: str) -> Way:
    try:
        return Way.read(folder)
    except FileNotFoundError:
        text = f"{folder} holds nothing of a run: another directory, or an engine without resource hooks"
        raise Failed(Cause(Code.HERE, text, "run `pulumi up` in the project's directory, 3.255 or newer")) from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
