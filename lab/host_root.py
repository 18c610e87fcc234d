"""The file system every hypervisor host of the lab starts from: Debian 12 with an SSH server and a login user.

Built once with mmdebstrap and shared read-only; each host lays a directory of its own over it. It has what the node
packages depend on, so that preparing a host installs OpenNebula's packages only, and no package source of its own: the
bootstrap adds the lab's. There is no init system. Services of installed packages are not started (policy-rc.d says no).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lab import cache, packages, process
from lab.console import Report, say, timed
from lab.errors import LabError

SUITE = "bookworm"
LOGIN = "deploy"
LOGIN_ID = 1000

# What a host has before OpenNebula comes: login, sudo, and Debian's own tools
_BASE = ("ca-certificates", "gpg", "iproute2", "kmod", "openssh-server", "pciutils", "procps", "sudo", "tini")
# What OpenNebula's node packages depend on (lab/standins/node/*/DEBIAN/control), already there to save time
_LIBVIRT = ("libvirt-clients", "libvirt-daemon-system")
_NODE = (*_LIBVIRT, "ipset", "iptables", "lxc", "qemu-utils", "rsync", "ruby", "ruby-sqlite3")
PACKAGES = (*_BASE, *_NODE)

_SETUP = Path(__file__).resolve().parent / "host_root.sh"
_LIMIT = 1200  # seconds, of which a slow mirror takes the most


def ensure_root(report: Report = say) -> Path:
    """The root directory, made if the cache has none for this recipe. Takes half a minute once. Raises LabError."""
    name = f"{SUITE}-{cache.digest(_recipe())}"
    return cache.entry("host", name, lambda draft: _build(draft, report)) / "root"


def _recipe() -> list[bytes]:
    words = [SUITE, LOGIN, str(LOGIN_ID), *_BASE, "/", *_NODE]
    return [*(word.encode() for word in words), _SETUP.read_bytes()]


def _build(draft: Path, report: Report) -> None:
    packages.ensure_system_packages({"mmdebstrap": "mmdebstrap"}, report)
    root = str(draft / "root")
    install = [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        f"--include={','.join(PACKAGES)}",
        SUITE,
        root,
    ]
    with timed("building the file system of the hypervisor hosts", report):
        _run(install, draft / "build.log")
        # not as mmdebstrap's hook: it would remove the policy-rc.d again that keeps services from starting
        _run(["sh", str(_SETUP), root, LOGIN, str(LOGIN_ID)], draft / "build.log")


def _run(command: list[str], log: Path) -> None:
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    with log.open("a") as output:
        try:
            done = subprocess.run(
                process.tied(command),
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_LIMIT,
                check=False,
                env=environment,
            )
        except subprocess.TimeoutExpired as slow:
            raise LabError(f"{command[0]} did not end in {_LIMIT} s", fix="check the Debian mirror") from slow
    if done.returncode != 0:
        last = "; ".join(log.read_text(errors="replace").strip().splitlines()[-5:])
        raise LabError("the hosts' file system cannot be built", cause=last, fix="check the Debian mirror")
