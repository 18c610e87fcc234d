"""One config change of each daemon on a running stack, and which pods it replaced."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import yaml

from components import naming
from lab.errors import LabError
from lab.rehearsal import Lab, stack_file
from lab.toolchain import tool

Pods = Mapping[str, Mapping[str, Mapping[str, int]]]  # daemon → uid → container → restarts

# Daemon → section and keys. hem is a container of oned's pod, which it leaves as it is (ADR 16).
CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    naming.MARIADB: ("database", {"bufferPool": "96Mi"}),
    naming.ONED: ("oned", {"logLevel": 4}),
    naming.FIREEDGE: ("fireedge", {"logLevel": 3}),
    naming.ONEFLOW: ("oneflow", {"logLevel": 3}),
    naming.ONEGATE: ("onegate", {"logLevel": 3}),
    "hem": ("hem", {"logLevel": 3}),
}


def apply_each(lab: Lab, stack: str) -> dict[str, list[str]]:
    """Apply the changes one after the other, each an `up`; by change, the daemon of each pod that was replaced or restarted."""
    found: dict[str, list[str]] = {}
    config: dict[str, Any] = yaml.safe_load(stack_file(stack).read_text())["config"]
    before = pods(lab)
    made: dict[str, Any] = {}
    for daemon, (section, keys) in CHANGES.items():
        key = f"{naming.PROJECT}:{section}"
        made[key] = {**config.get(key, {}), **keys}
        lab.stack(stack, made).up()
        after = pods(lab)
        found[daemon] = restarted(before, after)
        before = after
    return found


def restarted(before: Pods, after: Pods) -> list[str]:
    """The daemon of each pod that is not what it was: another one, or one of its containers started anew."""
    return sorted(
        daemon
        for daemon, mine in after.items()
        for uid, restarts in mine.items()
        if before.get(daemon, {}).get(uid) != restarts
    )


def pods(lab: Lab) -> Pods:
    """The living pods."""
    command = [str(tool("kubectl")), f"--kubeconfig={lab.instance.kubeconfig}", "-n", "opennebula", "get", "pods"]
    done = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise LabError("kubectl get pods failed", cause=done.stderr.strip())
    found: dict[str, dict[str, dict[str, int]]] = {}
    for pod in json.loads(done.stdout)["items"]:
        if "deletionTimestamp" in pod["metadata"]:
            continue
        daemon = pod["metadata"]["labels"]["app.kubernetes.io/name"]
        restarts = {status["name"]: status["restartCount"] for status in pod["status"].get("containerStatuses", [])}
        found.setdefault(daemon, {})[pod["metadata"]["uid"]] = restarts
    return found
