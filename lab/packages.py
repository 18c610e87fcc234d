"""Debian packages the lab needs on this machine.

Plain tools are installed. etcd and containerd are only unpacked into the cache: their packages would start a service
on a machine with systemd, and Debian's containerd would push out the one that Docker's packages bring.
What is on PATH already is taken as it is. Nothing is ever removed or upgraded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from lab import cache
from lab.console import Report, say, timed
from lab.errors import LabError

CNI_PLUGINS = Path("/usr/lib/cni")

# what must exist -> the package that brings it
INSTALLED: Mapping[str, str] = MappingProxyType(
    {
        "ip": "iproute2",
        "ipset": "ipset",
        "iptables": "iptables",
        "mmdebstrap": "mmdebstrap",
        "mount": "mount",
        "nsenter": "util-linux",
        "runc": "runc",
        "ssh": "openssh-client",
        "xtables-legacy-multi": "iptables",
        str(CNI_PLUGINS / "bridge"): "containernetworking-plugins",
    }
)
# program -> the package it is taken out of
UNPACKED: Mapping[str, str] = MappingProxyType({"etcd": "etcd-server", "containerd": "containerd", "ctr": "containerd"})

_APT_LIMIT = 900  # seconds; a slow mirror, not a slow machine


def _find(program: str) -> Path | None:
    """Like `which`, with the sbin directories that an unprivileged PATH leaves out."""
    places = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    found = shutil.which(program, path=places)
    return Path(found) if found else None


def require_root() -> None:
    if os.geteuid() != 0:
        raise LabError(
            "the lab must be started by root",
            cause="it makes network and mount namespaces, cgroups and containers",
            fix="run the same command with sudo, or set KUBECONFIG and CLUSTER=existing to use a cluster of yours",
        )


def ensure_system_packages(extra: Mapping[str, str] | None = None, report: Report = say) -> None:
    """Install what is missing, `extra` (path or program -> package) included.

    Raises LabError when this is no root, no Debian, or apt-get fails.
    """
    require_root()
    wanted = {**INSTALLED, **(extra or {})}
    missing = sorted({package for thing, package in wanted.items() if _find(thing) is None})
    if missing:
        _require_debian(missing)
        with timed(f"installing Debian packages: {' '.join(missing)}", report):
            _apt("install", "--yes", "--no-install-recommends", "--no-remove", *missing, refresh=True)


def system_program(program: str, report: Report = say) -> Path:
    """Path of a program that the machine has, or one unpacked from its Debian package (etcd, containerd, ctr)."""
    found = _find(program)
    if found:
        return found
    package = UNPACKED.get(program)
    if package is None:
        raise LabError(f"the program {program} is missing", fix="run `make up` once, or install its package")
    _require_debian([package])
    return _unpacked(package, report) / "usr" / "bin" / program


def _unpacked(package: str, report: Report) -> Path:
    def unpack(into: Path) -> None:
        with timed(f"fetching Debian package {package}", report):
            _apt("download", package, refresh=True, cwd=into)
            (deb,) = into.glob("*.deb")
            _checked(["dpkg-deb", "--extract", str(deb), str(into)])
            deb.unlink()

    return cache.entry("debian", package, unpack)


def _require_debian(missing: list[str]) -> None:
    if _find("apt-get") is None:
        raise LabError(
            f"programs of these Debian packages are missing: {' '.join(missing)}",
            cause="this machine has no apt-get",
            fix="install the same programs with this system's package manager, or run on Debian 12 or newer",
        )


def _apt(*arguments: str, refresh: bool, cwd: Path | None = None) -> None:
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "-o", "APT::Sandbox::User=root", *arguments]
    try:
        _checked(command, cwd=cwd)
    except LabError:
        if not refresh:
            raise
        _checked(["apt-get", "-o", "DPkg::Lock::Timeout=120", "update"])  # empty or stale package lists
        _apt(*arguments, refresh=False, cwd=cwd)


def _checked(command: list[str], cwd: Path | None = None) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=_APT_LIMIT, check=False
        )
    except subprocess.TimeoutExpired as slow:
        raise LabError(f"`{' '.join(command)}` did not end in {_APT_LIMIT} s", fix="check the package mirror") from slow
    if done.returncode != 0:
        last = "; ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise LabError(f"`{' '.join(command)}` failed", cause=last, fix="run it by hand and mend what it reports")
