"""On what each row of the table of systems has been run, and the table for people: `python -m tests.bootstrap.evidence`.

The tests of the bootstrap take their systems from here, so a row cannot claim a run that no test makes.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path

from components.bootstrap.systems import RELEASES, SYSTEMS, System

TABLE = Path(__file__).resolve().parents[2] / "docs" / "bootstrap-table.md"


class Ground(StrEnum):
    """What was under the script."""

    ROOT = "its own root, its own package manager"
    MANAGER = "real package manager on a Debian root"
    NONE = "table only"


# system -> what the engine tests prepare with it (tests/engine/bootstrap)
GROUND: dict[str, Ground] = {
    "debian:12": Ground.ROOT,
    "debian:13": Ground.ROOT,
    "ubuntu:22.04": Ground.MANAGER,
    "ubuntu:24.04": Ground.MANAGER,
    "ubuntu:26.04": Ground.MANAGER,
    "almalinux:8": Ground.MANAGER,
    "almalinux:9": Ground.MANAGER,
    "almalinux:10": Ground.MANAGER,
    "rhel:8": Ground.MANAGER,
    "rhel:9": Ground.MANAGER,
    "rhel:10": Ground.MANAGER,
    "rocky:8": Ground.MANAGER,
    "rocky:9": Ground.MANAGER,
    "rocky:10": Ground.MANAGER,
    "opensuse-leap:16": Ground.MANAGER,
    "sles:15": Ground.MANAGER,
    "sles:16": Ground.MANAGER,
}

_HEAD = """# Operating systems of hosts

Made by `python -m tests.bootstrap.evidence` from `components/bootstrap/systems.py` and from what the tests run.

`os` is what `hosts[].os` may say, and what the preflight finds in /etc/os-release. A pair that has no release here is
refused: in a preview when `os` is declared, by the preflight otherwise. libvirt is what the node packages of the newest
release configure there. Rocky Linux is certified by nobody at OpenNebula: it gets RedHat's packages.

"""
_FOOT = """
What the last column means:

- **its own root**: a file system made of that system's own packages (mmdebstrap), the whole script run in it, cut before
  every step and resumed. Debian 12 besides over SSH, with power cuts.
- **real package manager on a Debian root**: Debian's build of dnf 4.14, zypper 1.14, rpm 4.18 or apt, with a signed
  repository of packages that have the effects of OpenNebula's, and the system's /etc/os-release. Its kernel, its own
  repositories and its own versions of everything else were not there.
- **recorded**, on all roots: systemd, libvirt's client, SELinux, firewalld, ufw and NFS mounts are small stand-ins that
  keep state and fail with the real ones' exit codes. nftables and iptables are real. AppArmor's files are Debian's, its kernel part is not.
- **table only**: nothing was run.
"""


def ground(system: System) -> Ground:
    return GROUND.get(system.key, Ground.NONE)


def table() -> str:
    rows = [
        "| `os` | system | KVM | LXC | installs with | libvirt | certified | run on |",
        "|---|---|---|---|---|---|---|---|",
    ]
    tools = {"debian": "apt", "redhat": "dnf", "suse": "zypper"}
    for system in SYSTEMS:
        newest = [release for release in RELEASES if system.supports(release, "kvm")][-1]
        shape = f"{system.libvirt(newest)}"
        if len({system.libvirt(release) for release in system.kvm}) > 1:
            shape += f" ({system.libvirt(system.kvm[0])} with {system.kvm[0]})"
        rows.append(
            f"| `{system.key}` | {system.title} | {', '.join(system.kvm)} | {', '.join(system.lxc) or '–'} "
            f"| {tools[system.family]} | {shape} | {'yes' if system.certified else 'no'} | {ground(system)} |"
        )
    return _HEAD + "\n".join(rows) + "\n" + _FOOT


if __name__ == "__main__":
    TABLE.write_text(table())
    sys.exit(0)
