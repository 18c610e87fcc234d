"""What the lab needs of the kernel, checked before anything is started so that the error names the feature.

Modules are loaded where that is possible; they stay loaded, which is the one trace the lab leaves on a machine.
"""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

from lab.errors import LabError

_MODULES = ("overlay", "br_netfilter", "veth", "bridge", "xt_conntrack", "xt_MASQUERADE", "xt_comment")
_BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def missing(filesystems: str, bridge_filter: bool) -> list[str]:
    """Features that the lab cannot do without, of those that can be told from /proc."""
    found = []
    if "overlay" not in filesystems.split():
        found.append("the overlay file system (module overlay)")
    if not bridge_filter:
        found.append("packet filtering on bridges (module br_netfilter)")
    return found


def require() -> None:
    """Load modules where there are any. Raises LabError when the kernel lacks something."""
    if _missing_here():
        # Fails for a feature that is built in, and in containers; only what is still missing afterwards counts.
        # The same goes for a machine without modprobe, as containers and kernels without modules often are.
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["modprobe", "--all", "--quiet", *_MODULES], capture_output=True, timeout=60, check=False)
    lacking = _missing_here()
    if lacking:
        raise LabError(
            f"the kernel lacks {' and '.join(lacking)}",
            cause="a module is not installed, or this is a container that may not load it",
            fix="run `modprobe -a overlay br_netfilter` on the machine itself, then the same command again",
        )


def _missing_here() -> list[str]:
    return missing(Path("/proc/filesystems").read_text(), _BRIDGE_FILTER.exists())
