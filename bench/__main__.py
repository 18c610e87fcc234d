"""`make bench`: the main job from nothing, again, changed and away; with its phases, the machine's load and memory.

Everything is built before the clock starts (the cold run is measured by whoever has the patience: `time make up` with
ONELAB_CACHE at an empty directory). Figures are reported, never asserted: the machine decides them. ROUNDS=1 for one
round instead of three.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

from bench.changes import apply_each
from bench.figures import Figure, control_plane_up, starts, table
from bench.memory import watched
from lab import cluster, rehearsal
from lab.console import say
from lab.errors import LabError
from lab.paths import PROJECT, Instance

INSTANCE = Instance(name="bench", index=4)
STACK = "labbench"
ROUNDS = int(os.environ.get("ROUNDS") or 3)


def one_round() -> dict[str, Any]:
    """From nothing to both hosts monitored, a no-op, a change of each daemon, a destroy."""
    rehearsal.stop_lab(INSTANCE, STACK)
    load = os.getloadavg()
    phases = rehearsal.Phases()
    began = time.monotonic()
    lab = rehearsal.start_lab(INSTANCE, rehearsal.HOSTS, phases)
    with phases.phase("stack"):
        stack = lab.stack(STACK)
    with phases.phase("pulumi up"), watched(INSTANCE) as engine:
        first = stack.up()
    up = time.monotonic() - began
    began = time.monotonic()
    again = stack.up()
    no_op = time.monotonic() - began
    if again.changed:
        raise LabError("the second up changed something", cause=str(again.changes))
    memory = cluster.memory(INSTANCE)
    with phases.phase("a change of each daemon"):
        changed = apply_each(lab, STACK)
    began = time.monotonic()
    stack.destroy()
    steps = first.trace.as_json()["steps"]
    daemons = starts(steps)
    whole = control_plane_up(steps)
    return {
        "up": up,
        "control_plane": whole,
        "slowest": daemons[0].took,
        "ratio": whole / daemons[0].took,
        "starts": {each.name: {"began": each.began, "took": each.took} for each in daemons},
        "changed": changed,
        "no_op": no_op,
        "destroy": time.monotonic() - began,
        "first_resource": first.trace.first_resource,
        "program_cpu": program_cpu(),
        "memory_gib": memory["resident"] / 2**30,
        "memory_peak_gib": memory["peak"] / 2**30,
        "engine_gib": engine.bytes / 2**30,
        "load_before": load,
        "load_after": os.getloadavg(),
        "phases": phases.spans,
        "steps": steps,
    }


def program_cpu() -> float:
    """CPU-seconds of a fresh process until the program's first resource."""
    command = [sys.executable, "-m", "bench.program_start", str(PROJECT / "Pulumi.dev.yaml")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise LabError("the program did not reach its first resource", cause=done.stderr.strip()[-2000:])
    return float(json.loads(done.stdout)["resource"])


def figures(rounds: list[dict[str, Any]]) -> list[Figure]:
    """Medians of all rounds, with the aims; of the pods that a change replaced, the most."""

    def median(key: str) -> float:
        return float(statistics.median(found[key] for found in rounds))

    return [
        Figure(name="from nothing to monitored hosts, lab included", value=median("up"), unit="s", aim=90),
        Figure(name="control plane up, from pulumi's start", value=median("control_plane"), unit="s"),
        *(
            Figure(
                name=f"  {daemon}: own start",
                value=statistics.median(found["starts"][daemon]["took"] for found in rounds),
                unit="s",
            )
            for daemon in rounds[0]["starts"]
        ),
        Figure(name="control plane / slowest single start", value=median("ratio"), unit="", aim=1.5),
        Figure(name="program start to its first resource", value=median("program_cpu"), unit="CPU-s", aim=2),
        *(
            Figure(
                name=f"pods restarted by a change of {daemon}",
                value=max(len(found["changed"][daemon]) for found in rounds),
                unit=f"({', '.join(rounds[0]['changed'][daemon])})",
                aim=1,
            )
            for daemon in rounds[0]["changed"]
        ),
        Figure(name="no-op up", value=median("no_op"), unit="s", aim=8),
        Figure(name="destroy", value=median("destroy"), unit="s"),
        Figure(name="memory of the whole lab, without page cache", value=median("memory_gib"), unit="GiB", aim=3),
        Figure(name="memory of the whole lab, peak with page cache", value=median("memory_peak_gib"), unit="GiB"),
        Figure(name="memory of program, engine and plugins, peak of up", value=median("engine_gib"), unit="GiB"),
    ]


def main() -> int:
    """Write bench/results/<time>.json and print the table."""
    rounds = []
    try:
        for number in range(1, ROUNDS + 1):
            say(f"round {number} of {ROUNDS}")
            rounds.append(one_round())
    except (LabError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        rehearsal.stop_lab(INSTANCE, STACK)
    machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    found = figures(rounds)
    report = {
        "time": datetime.now(UTC).isoformat(),
        "machine": machine,
        "figures": [{"name": each.name, "value": each.value, "unit": each.unit, "aim": each.aim} for each in found],
        "rounds": rounds,
    }
    folder = PROJECT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    file = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    file.write_text(json.dumps(report, indent=1))
    many = "one round" if ROUNDS == 1 else f"medians of {ROUNDS} rounds"
    print(f"{table(found)}\n{many} on {machine['cores']} cores; details: {file.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
