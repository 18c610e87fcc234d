"""Everything slow that the engine tests need, built into the cache: `python -m tests.builds`.

Nothing here is started. What is in the cache already costs nothing. `make test` runs it beside the fast tests, which leave a
core idle; without it the first engine tests would build the same things, each when it needs them.
"""

from __future__ import annotations

import sys

from components.domain import Version
from lab import host_root, images, packages, repository
from lab.console import say
from lab.engine.install import ensure_engine
from lab.errors import LabError
from lab.toolchain import TOOLS, tool


def main() -> int:
    """0 when everything is there."""
    try:
        packages.require_root()
        ensure_engine()
        for name in TOOLS:
            tool(name)
        for program in packages.UNPACKED:
            packages.system_program(program)
        host_root.ensure_root()
        for version in Version:
            images.ensure_images(version=version)
            repository.ensure_repository(None, version=version)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    say("all builds are in the cache")
    return 0


if __name__ == "__main__":
    sys.exit(main())
