"""Reading the machine's cgroup hierarchies; what happens in them is tested with the box."""

from __future__ import annotations

from pathlib import Path

from lab import cgroups

V1 = """\
24 31 0:22 / /proc rw,relatime - proc proc rw
33 32 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:10 - cgroup cgroup rw,cpu,cpuacct
34 32 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
35 32 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_version_1_with_its_unified_companion() -> None:
    root = Path("/sys/fs/cgroup")
    assert cgroups.hierarchies(V1) == {root / "cpu,cpuacct": False, root / "memory": False, root / "unified": True}


def test_version_2() -> None:
    assert cgroups.hierarchies(V2) == {Path("/sys/fs/cgroup"): True}


def test_none() -> None:
    assert cgroups.hierarchies("24 31 0:22 / /proc rw,relatime - proc proc rw\n") == {}
