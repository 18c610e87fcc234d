"""Which operating systems a host may have, by OpenNebula release and kind of host: one table, nothing else.

Sources: the platform notes of 6.10, 7.0 and 7.4 (certified components), the repository pages of 7.2 and 7.4 (directories),
minione's table of releases and its remark which distributions' node packages use libvirt's modular daemons (kept in
step with the packages by OpenNebula itself). Rocky Linux is in none of OpenNebula's lists: it installs RedHat's packages,
and the table says so. SUSE has no package for LXC; RHEL and Rocky are not listed for LXC.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Family(StrEnum):
    """Who installs packages: apt, dnf or zypper."""

    DEBIAN = "debian"
    REDHAT = "redhat"
    SUSE = "suse"


class Libvirt(StrEnum):
    """One libvirtd, or a daemon a driver (virtqemud and others) woken by sockets."""

    MONOLITHIC = "monolithic"
    MODULAR = "modular"


RELEASES = ("6.10", "7.4")


@dataclass(frozen=True, kw_only=True)
class System:
    """One operating system. `id` and `release` are ID and VERSION_ID of /etc/os-release, the latter cut to what counts.

    `directory` is the place below the repository's url, `{arch}` the machine's own name of its architecture. `kvm`
    and `lxc` are the releases of OpenNebula that have packages for it, with the libvirt that they configure.
    """

    id: str
    release: str
    family: Family
    title: str
    directory: str
    kvm: tuple[str, ...]
    lxc: tuple[str, ...]
    modular_since: str | None = None
    certified: bool = True

    @property
    def key(self) -> str:
        """As an operator declares it: `debian:12`."""
        return f"{self.id}:{self.release}"

    def supports(self, release: str, kind: str) -> bool:
        return release in (self.kvm if kind == "kvm" else self.lxc)

    def libvirt(self, release: str) -> Libvirt:
        """What the node packages of this release configure."""
        since = self.modular_since
        modular = since is not None and RELEASES.index(release) >= RELEASES.index(since)
        return Libvirt.MODULAR if modular else Libvirt.MONOLITHIC


def _debian(release: str, *releases: str) -> System:
    return System(
        id="debian",
        release=release,
        family=Family.DEBIAN,
        title=f"Debian {release}",
        directory=f"Debian/{release}",
        kvm=releases,
        lxc=releases,
    )


def _ubuntu(release: str, *releases: str) -> System:
    return System(
        id="ubuntu",
        release=release,
        family=Family.DEBIAN,
        title=f"Ubuntu {release}",
        directory=f"Ubuntu/{release}",
        kvm=releases,
        lxc=releases,
    )


def _redhat(identity: str, title: str, directory: str, release: str, *releases: str) -> System:
    return System(
        id=identity,
        release=release,
        family=Family.REDHAT,
        title=f"{title} {release}",
        directory=f"{directory}/{release}/{{arch}}",
        kvm=releases,
        lxc=releases if identity == "almalinux" else (),
        # 6.10's notes for EL 9 demand libvirtd; the packages of 7.4 configure virtqemud there
        modular_since="7.4",
        certified=identity != "rocky",
    )


def _suse(identity: str, title: str, directory: str, release: str, *releases: str) -> System:
    return System(
        id=identity,
        release=release,
        family=Family.SUSE,
        title=f"{title} {release}",
        directory=f"{directory}/{release}/{{arch}}",
        kvm=releases,
        lxc=(),
        modular_since=RELEASES[0],
    )


SYSTEMS: tuple[System, ...] = (
    _debian("11", "6.10"),
    _debian("12", "6.10", "7.4"),
    _debian("13", "7.4"),
    _ubuntu("22.04", "6.10"),
    _ubuntu("24.04", "6.10", "7.4"),
    _ubuntu("26.04", "7.4"),
    _redhat("almalinux", "AlmaLinux", "AlmaLinux", "8", "6.10"),
    _redhat("almalinux", "AlmaLinux", "AlmaLinux", "9", "6.10", "7.4"),
    _redhat("almalinux", "AlmaLinux", "AlmaLinux", "10", "7.4"),
    _redhat("rhel", "Red Hat Enterprise Linux", "RedHat", "8", "6.10"),
    _redhat("rhel", "Red Hat Enterprise Linux", "RedHat", "9", "6.10", "7.4"),
    _redhat("rhel", "Red Hat Enterprise Linux", "RedHat", "10", "7.4"),
    _redhat("rocky", "Rocky Linux", "RedHat", "8", "6.10"),
    _redhat("rocky", "Rocky Linux", "RedHat", "9", "6.10", "7.4"),
    _redhat("rocky", "Rocky Linux", "RedHat", "10", "7.4"),
    _suse("opensuse-leap", "openSUSE Leap", "openSUSE", "16", "7.4"),
    _suse("sles", "SUSE Linux Enterprise Server", "SLES", "15", "7.4"),
    _suse("sles", "SUSE Linux Enterprise Server", "SLES", "16", "7.4"),
)

BY_KEY = {system.key: system for system in SYSTEMS}


def supported(release: str, kind: str) -> tuple[System, ...]:
    """The systems with packages of this release for this kind of host."""
    return tuple(system for system in SYSTEMS if system.supports(release, kind))


def why_not(key: str, release: str, kind: str) -> str | None:
    """Why a host of this system cannot be had, with what can; None if it can."""
    system = BY_KEY.get(key)
    if system is not None and system.supports(release, kind):
        return None
    choice = ", ".join(each.key for each in supported(release, kind))
    if system is None:
        return f"{key} is no system that OpenNebula {release} has packages for; {kind} hosts may be: {choice}"
    elsewhere = [other for other in RELEASES if system.supports(other, kind)]
    also = f" (but {' and '.join(elsewhere)} has)" if elsewhere else ""
    return f"OpenNebula {release} has no {kind} packages for {system.title}{also}; {kind} hosts may be: {choice}"
