"""The lab's cluster: one node of real Kubernetes in the box of a lab instance.

`start` and `stop` are all that is needed; both may be called at any time and again. The kubeconfig at
`instance.kubeconfig` works from the root namespace. Nothing here knows of OpenNebula beyond the images that it imports.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path

from components.domain import Version
from lab import cgroups, images, packages
from lab.box import Box
from lab.cluster.daemons import Daemons
from lab.cluster.start import Phase, Start, write_hosts
from lab.console import Report, say
from lab.paths import Instance

__all__ = ["memory", "start", "stop", "update_hosts"]


def _silent(_name: str, _seconds: float) -> None:
    return


def start(
    instance: Instance,
    hosts: Mapping[str, IPv4Address] | None = None,
    *,
    opennebula_root: Path | None = None,
    version: Version = images.DEFAULT_VERSION,
    phase: Phase = _silent,
    report: Report = say,
) -> dict[str, str]:
    """Bring the cluster up; returns the reference of every image by its short name (images.ensure_images).

    `hosts` are the names that the cluster's DNS knows besides its own; None leaves them as they are. `phase` hears of
    each phase as it ends.
    Raises LabError, which names the component and quotes its log, when a part does not come up in its time.
    """
    packages.ensure_system_packages(report=report)
    built = images.build(opennebula_root, report, version)
    box = Box(instance)
    with box.lock():
        Start(instance, box, Daemons(box), phase).run(built, hosts)
    return {name: image.reference for name, image in built.items()}


def stop(instance: Instance) -> None:
    """End the lab and delete its state, volumes included; logs stay until the next start. Fine when nothing runs."""
    packages.require_root()
    box = Box(instance)
    with box.lock():
        box.stop()
        if instance.state.is_dir():
            for path in instance.state.iterdir():
                if path == box.logs:
                    continue
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def update_hosts(instance: Instance, hosts: Mapping[str, IPv4Address]) -> None:
    """Replace the names that a running lab's DNS knows; in force within a second."""
    write_hosts(instance, hosts)


def memory(instance: Instance) -> dict[str, int]:
    """Bytes the whole lab uses: `resident` and `now` (with page cache), and `peak` since its start."""
    return cgroups.memory(instance)
