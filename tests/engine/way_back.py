"""Commands that hosts run on the control plane, as the drivers of local datastores have them run."""

from __future__ import annotations

import shlex
import subprocess

from lab.toolchain import tool
from tests.engine.conftest import NAMESPACE, World

FRONTEND = "opennebula-frontend"
LEND = ("ssh", "-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ForwardAgent=yes")  # tm_action.rb, ssh


def run_in_oned(world: World, *command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """A command in oned's container, as a driver of oned's would start it."""
    argv = [str(tool("kubectl")), f"--kubeconfig={world.lab.instance.kubeconfig}", "-n", NAMESPACE, "exec", "-i"]
    argv += ["oned-0", "-c", "oned", "--", *command]
    return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)


def from_host(world: World, *ssh: str, then: str = "") -> subprocess.CompletedProcess[str]:
    """`ssh ARGUMENTS` as oneadmin on a host, with oned's agent lent as the transfer drivers lend it."""
    return run_in_oned(world, *LEND, "kvm-1", f"ssh {shlex.join(ssh)} {then}")
