"""By hand: `python -m lab.cluster up|down|status [instance]`, without Pulumi and without hypervisor hosts."""

from __future__ import annotations

import sys

from lab import cluster
from lab.box import Box
from lab.console import say
from lab.errors import LabError
from lab.paths import INSTANCES


def main(arguments: list[str]) -> int:
    action = arguments[0] if arguments else ""
    name = arguments[1] if len(arguments) > 1 else "lab"
    if action not in {"up", "down", "status"} or name not in INSTANCES:
        say(f"usage: python -m lab.cluster up|down|status [{'|'.join(INSTANCES)}]")
        return 2
    instance = INSTANCES[name]
    try:
        if action == "up":
            references = cluster.start(instance, phase=lambda what, seconds: say(f"  {seconds:5.1f} s  {what}"))
            print("\n".join([f"export KUBECONFIG={instance.kubeconfig}", *references.values()]))
        elif action == "down":
            cluster.stop(instance)
        else:
            print(Box(instance).status(), cluster.memory(instance))
    except LabError as failed:
        say(str(failed))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
