"""Processes that this run started, found by their parents, and the end of one of them. Reads /proc."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from bench.processes import alive, ended, kill

__all__ = ("alive", "children", "descendants", "ended", "engine", "idle_provider_host", "kill", "words")


def children(pid: int) -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _parent(entry) == pid]


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return [*found, *(below for child in found for below in descendants(child))]


def words(pid: int) -> str:
    """Its command line."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def engine(stack: str) -> int | None:
    """The engine that is at work for a stack of this process."""
    for pid in children(os.getpid()):
        line = words(pid)
        if line.split(" ")[0].endswith("pulumi") and stack in line:
            return pid
    return None


def idle_provider_host(pid: int) -> bool:
    """Pulumi's host of Python providers before its first operation: it waits for an engine that is gone, and has begun nothing.

    Nothing of ours is loaded in it yet that could end it; our providers bring an XML parser along, Pulumi does not.
    """
    with contextlib.suppress(OSError):
        return "pulumi.dynamic" in words(pid) and "pyexpat" not in Path(f"/proc/{pid}/maps").read_text()
    return False


def _parent(entry: Path) -> int:
    with contextlib.suppress(OSError):
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return -1
