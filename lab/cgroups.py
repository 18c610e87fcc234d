"""The lab's cgroups: one subtree a lab, for accounting and as the last word on which processes belong to it.

`<hierarchy>/onelab-<instance>/box` holds what the lab itself starts, `…/kube` is the kubelet's. Works on version 1
hierarchies and on version 2. Killing by cgroup needs no pid file, so a deleted state directory strands nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from lab.errors import LabError
from lab.paths import Instance

_MOUNTS = Path("/proc/self/mountinfo")
# Where processes of the lab are put. The rest of the v1 hierarchies only need the kubelet's directory.
_ACCOUNTED = {"memory", "cpu", "pids", "cpu,cpuacct", "unified"}
_CONTROLLERS = {"cpu", "cpuset", "memory", "pids", "io", "hugetlb"}  # of version 2
_V1_SHARES = "4096"  # a whole lab in one group would otherwise weigh as much as one process outside


def hierarchies(mountinfo: str | None = None) -> dict[Path, bool]:
    """Mount point -> is it version 2, for every cgroup hierarchy of this machine."""
    text = mountinfo if mountinfo is not None else _MOUNTS.read_text()
    found = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        kind = right.split()[0]
        if kind in {"cgroup", "cgroup2"}:
            found[Path(left.split()[4])] = kind == "cgroup2"
    return found


def _accounted(root: Path, version2: bool) -> bool:
    return version2 or root.name in _ACCOUNTED


def prepare(instance: Instance) -> None:
    """Make the subtree in every hierarchy. LabError when the machine has none."""
    for root in hierarchies():
        top = root / instance.cgroup
        for directory in (top, top / "box", top / "kube"):
            _delegate(directory.parent)
            directory.mkdir(exist_ok=True)
            _inherit_cpuset(directory)
        if (top / "cpu.shares").exists():
            (top / "cpu.shares").write_text(_V1_SHARES)
    if not procs_files(instance):
        raise LabError(
            "this machine has no cgroup hierarchy mounted",
            cause="neither cgroup nor cgroup2 is in /proc/self/mountinfo",
            fix="mount -t cgroup2 none /sys/fs/cgroup, then run the command again",
        )


def procs_files(instance: Instance) -> list[Path]:
    """The files that a process writes itself to when it joins the lab."""
    return [
        root / instance.cgroup / "box" / "cgroup.procs" for root, v2 in hierarchies().items() if _accounted(root, v2)
    ]


def _delegate(directory: Path) -> None:
    """Version 2: let the children of a cgroup use its controllers; the kubelet insists on them."""
    if (directory / "cgroup.subtree_control").exists():
        enabled = (directory / "cgroup.subtree_control").read_text().split()
        for controller in (directory / "cgroup.controllers").read_text().split():
            if controller in _CONTROLLERS and controller not in enabled:
                (directory / "cgroup.subtree_control").write_text(f"+{controller}")


def _inherit_cpuset(directory: Path) -> None:
    """A new version 1 cpuset is empty and takes no process until it names its CPUs."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        mine, parent = directory / name, directory.parent / name
        if mine.exists() and not (directory / "cgroup.controllers").exists() and not mine.read_text().strip():
            mine.write_text(parent.read_text())


def _trees(instance: Instance) -> list[Path]:
    return [root / instance.cgroup for root in hierarchies() if (root / instance.cgroup).is_dir()]


def pids(instance: Instance) -> set[int]:
    """Every process of the lab, pods and hypervisor hosts included."""
    found: set[int] = set()
    for tree in _trees(instance):
        for directory, _, _ in os.walk(tree):
            try:
                found.update(int(pid) for pid in (Path(directory) / "cgroup.procs").read_text().split())
            except OSError:
                continue  # the cgroup went away while we looked
    return found - {0}


def command_lines(instance: Instance) -> list[list[str]]:
    """The words of every process of the lab."""
    found = []
    for pid in pids(instance):
        with contextlib.suppress(OSError):  # it ended while we looked
            found.append(os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")[:-1])
    return found


def kill_all(instance: Instance, *, limit: float = 10.0) -> None:
    """SIGKILL every process in the subtree until there is none."""
    deadline = time.monotonic() + limit
    while found := pids(instance):
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise LabError(
                f"{len(found)} processes of the lab do not end after SIGKILL",
                cause=f"pids {sorted(found)[:10]}",
                fix="look at their /proc/<pid>/stack, then run `make down` again",
            )
        time.sleep(0.02)


def remove(instance: Instance, *, limit: float = 10.0) -> None:
    """Remove the subtree; the kernel refuses for a moment after the last process is gone."""
    deadline = time.monotonic() + limit
    while trees := _trees(instance):
        busy = None
        for tree in trees:
            for directory, _, _ in os.walk(tree, topdown=False):
                try:
                    Path(directory).rmdir()
                except FileNotFoundError:
                    continue
                except OSError as refused:
                    busy = refused
        if busy and time.monotonic() > deadline:
            raise LabError(
                f"cgroups of the lab cannot be removed: {busy}",
                cause=f"processes {sorted(pids(instance))[:10]} are still in them",
                fix="run `make down` again",
            )
        if busy:
            time.sleep(0.05)


def memory(instance: Instance) -> dict[str, int]:
    """Bytes of the whole lab as the kernel counts them: `now` and `peak` with page cache, `resident` without."""
    for root, version2 in hierarchies().items():
        top = root / instance.cgroup
        if version2 and (top / "memory.current").exists():
            names, resident = ("memory.current", "memory.peak"), "anon"
        elif (top / "memory.usage_in_bytes").exists():
            names, resident = ("memory.usage_in_bytes", "memory.max_usage_in_bytes"), "total_rss"
        else:
            continue
        now, peak = (int((top / name).read_text()) if (top / name).exists() else 0 for name in names)
        stat = dict(line.split() for line in (top / "memory.stat").read_text().splitlines())
        return {"now": now, "peak": peak, "resident": int(stat.get(resident, 0))}
    return {}
