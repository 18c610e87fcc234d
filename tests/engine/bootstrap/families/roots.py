"""Roots for the operating systems: Debian 13's own, and Debian 12 underneath real dnf or zypper for the others.

dnf, zypper and rpm are Debian's packages of them (dnf 4.14 and zypper 1.14, as on EL 9 and SLES 15), with a database of
rpm packages of their own; `/etc/os-release` says what the test wants. Each test has a layer of its own over the shared
root, and the script runs in it as root in mount, process and host name namespaces, where a test says so with a network
of its own, in which rules of a real nftables hurt nobody.
There is no systemd: `recorded` has stand-ins of systemd, SELinux, firewalld, ufw, NFS and libvirt's client.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from components.bootstrap.script import HostPlan, Repository, render
from components.bootstrap.undo import render_undo
from components.domain import Version
from lab import cache, host_root, packages, process, repository
from tests.bootstrap.examples import KEY, plan
from tests.engine.bootstrap.bench import Run
from tests.engine.bootstrap.families import archive
from tests.openpgp_key import ARMORED

Ground = Literal["dnf", "zypper", "bookworm", "trixie"]

_BASE = "ca-certificates,gpg,gpg-agent,iproute2,kmod,nftables,openssh-client,pciutils,procps,python3,rsync,ruby,ruby-sqlite3,sudo"
# dnf's plugins and zypper exclude each other in Debian.
_EXTRA: dict[Ground, str] = {
    "dnf": "createrepo-c,dnf,dnf-plugins-core,rpm",
    "zypper": "rpm,zypper",
    "trixie": "ipset,iptables,libvirt-clients,libvirt-daemon-system,lxc,qemu-utils",
}
_RECORDED = Path(__file__).resolve().parent / "recorded"
_LIMIT = 120  # seconds for one run of the script
# VERSION_ID as the system writes it, where it says more than counts
_VERSIONS = {"almalinux": "{}.6", "rocky": "{}.6", "rhel": "{}.6", "sles": "{}.7", "opensuse-leap": "{}.0"}


def ground_of(system: str) -> Ground:
    if system == "debian:13":
        return "trixie"
    if system.startswith(("debian", "ubuntu")):
        return "bookworm"
    return "zypper" if system.startswith(("sles", "opensuse")) else "dnf"


def ensure_root(ground: Ground) -> Path:
    """The shared root, made once a recipe in half a minute; the lab's own hosts' for Debian 12. Raises LabError."""
    if ground == "bookworm":
        return host_root.ensure_root()
    recipe = [b"4", _BASE.encode(), _EXTRA[ground].encode()]
    name = f"{ground}-{cache.digest(recipe)}"
    return cache.entry("host", name, lambda draft: _build(draft / "root", ground)) / "root"


def _build(root: Path, ground: Ground) -> None:
    packages.ensure_system_packages({"mmdebstrap": "mmdebstrap"})
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", '--aptopt=APT::Install-Recommends "false"']
    command += ["--dpkgopt=force-unsafe-io", f"--include={_BASE},{_EXTRA[ground]}"]
    command += ["trixie" if ground == "trixie" else "bookworm", str(root)]
    subprocess.run(process.tied(command), check=True, timeout=1200, capture_output=True)
    if ground == "trixie":
        shutil.rmtree(root / "etc/apt/sources.list.d", ignore_errors=True)
        (root / "etc/apt/sources.list").unlink(missing_ok=True)
        return
    (root / "etc/rpm").mkdir(exist_ok=True)
    (root / "etc/rpm/macros").write_text("%_dbpath /var/lib/rpm\n")  # Debian's is below the home of who calls
    (root / "var/lib/rpm").mkdir(exist_ok=True)
    shutil.rmtree(root / "etc/yum.repos.d", ignore_errors=True)
    (root / "etc/yum.repos.d").mkdir()
    (root / "etc/zypp/repos.d").mkdir(parents=True, exist_ok=True)
    subprocess.run(["chroot", str(root), "rpm", "--initdb"], check=True, timeout=60)


@dataclass(frozen=True)
class Root:
    """One host: its files, and the means to prepare it and to look at it."""

    place: Path
    system: str
    version: str
    network: bool

    @property
    def apt(self) -> bool:
        return ground_of(self.system) in ("bookworm", "trixie")

    @property
    def path(self) -> Path:
        return self.place / "root"

    @staticmethod
    def example() -> HostPlan:
        """A plan for names of steps alone."""
        return plan()

    def plan(self, **changes: Any) -> HostPlan:
        values: dict[str, Any] = {
            "name": "host-1",
            "kind": "kvm",
            "driver": "qemu",
            "version": self.version,
            "os": self.system,
            "repository": self.repository(),
            "oneadmin_public_key": f"{KEY} oneadmin",
            "frontend_known_hosts": (f"[oned]:30022 {KEY}",),
            "frontend_address": "127.0.0.1",
            "lock_wait": 3,
        }
        if changes.get("kind") == "lxc":
            values["driver"] = "lxc"
        return HostPlan(**(values | changes))

    def repository(self, **changes: Any) -> Repository:
        source = _debs(self.version) if self.apt else archive.ensure_archive(ensure_root("dnf"))
        values: dict[str, Any] = {
            "url": "file:///srv/archive/" + ("lts" if self.version == "6.10" and not self.apt else "opennebula"),
            "key_armored": source.key_armored,
            "key_fingerprint": source.fingerprint,
        }
        return Repository(**(values | changes))

    def prepare(self, script: str | None = None, **changes: Any) -> Run:
        """One run of the real script, from standard input as over SSH."""
        text = render(self.plan(**changes)) if script is None else script
        done = self._in(["sh", "-s"], text)
        return Run(done.returncode, done.stdout, done.stderr)

    def undo(self, *, uninstall: bool = False) -> Run:
        """The preparation taken back, from standard input as over SSH."""
        done = self._in(["sh", "-s"], render_undo("host-1", uninstall=uninstall, lock_wait=3))
        return Run(done.returncode, done.stdout, done.stderr)

    def root(self, command: str) -> str:
        """A shell command in the host. AssertionError with its complaint if it fails."""
        done = self._in(["sh", "-euc", command], "")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_preparing(self, until: str, **changes: Any) -> subprocess.Popen[bytes]:
        """The same, waited for only until the step has begun; killing it is a power cut: no process of it survives."""
        script = self.place / "script"
        script.write_text(render(self.plan(**changes)))
        with script.open("rb") as stdin:
            running = subprocess.Popen(
                self._command(["sh", "-s"]), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        assert running.stdout is not None
        while (line := running.stdout.readline().decode()) != f"one-bootstrap: {until}\n":
            assert line.startswith("one-bootstrap: "), f"it ended before {until}: {line}"
        return running

    def power_cut(self, running: subprocess.Popen[bytes]) -> None:
        """Kill everything in the host at once."""
        running.kill()
        running.communicate(timeout=30)

    def with_system(self, identity: str, version: str) -> None:
        text = f'NAME="{identity}"\nID="{identity}"\nVERSION_ID="{version}"\n'
        (self.path / "etc/os-release").unlink(missing_ok=True)
        (self.path / "etc/os-release").write_text(text)

    def with_recorded(self, *names: str) -> None:
        """Stand-ins at the front of the path; a systemd that runs, if systemctl is among them."""
        for name in names:
            target = self.path / "usr/local/sbin" / name
            shutil.copyfile(_RECORDED / name, target)
            target.chmod(0o755)
        if "systemctl" in names:
            (self.path / "var/lib/recorded/units").mkdir(parents=True, exist_ok=True)

    def recorded(self) -> list[str]:
        """What the stand-ins were asked to change, in order; questions are not recorded."""
        log = self.path / "var/lib/recorded/log"
        return log.read_text().splitlines() if log.exists() else []

    def snapshot(self) -> str:
        """Everything that a change leaves a trace in: modes, owners, sizes and times of the system's files."""
        return self.root(
            # /var/tmp itself is everybody's scratch, zypper's too
            "find /etc /var/lib/one /var/tmp /usr /var/lib/rpm -xdev ! -path /var/tmp ! -name '.rpm.lock' ! -name 'rpmdb.sqlite-*'"
            " -printf '%p %T@ %U %m %s\\n' | sort"
        )

    def assert_whole(self, **changes: Any) -> None:
        """Another run ends well, the one after it changes nothing, and nothing is left over."""
        full = "6.10.5-1" if self.version == "6.10" else "7.4.0-1"
        assert self.prepare(**changes).facts["version"] == full
        before = self.snapshot()
        assert self.prepare(**changes).facts["changes"] == []
        assert self.snapshot() == before
        assert self.root("getent passwd oneadmin").startswith("oneadmin:x:9869:9869:")
        kind = changes.get("kind", "kvm")
        self.root(
            f"test -f /etc/sudoers.d/opennebula-node-{kind}; ! ls -A /run/one-bootstrap /var/lib/one-bootstrap.unfinished"
        )
        if self.apt:
            assert self.root("dpkg --audit") == ""
        else:
            assert self.root("rpm -qa 'opennebula-*' | wc -l").strip() == "3"

    def assert_untouched(self) -> None:
        """No step after preflight left a trace."""
        self.root(
            "! getent passwd oneadmin; test ! -e /etc/yum.repos.d/opennebula.repo; test ! -e /var/tmp/one;"
            "test ! -e /etc/zypp/repos.d/opennebula.repo; test ! -e /etc/pki/rpm-gpg/RPM-GPG-KEY-opennebula;"
            "test ! -e /etc/apt/keyrings/opennebula.gpg"
        )
        if not self.apt:  # the distribution's key, and no other
            assert self.root("rpm -q gpg-pubkey | wc -l").strip() == "1"

    def _in(self, command: list[str], text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(command), input=text, capture_output=True, text=True, timeout=_LIMIT, check=False
        )

    def _command(self, command: list[str]) -> list[str]:
        inside = ["chroot", str(self.path), "env", "-i", "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", *command]
        setup = (  # not exec: process 1 of a namespace survives its own kill -KILL
            'hostname host-1; mount --bind "$0" "$0"; mount -t proc proc "$0/proc"; mount -t sysfs -o ro sysfs "$0/sys";'
            'mount -t tmpfs -o mode=0755,size=64m tmpfs "$0/run"; mkdir -p "$0/run/lock";'
            '[ ! -d "$0/var/lib/recorded/units" ] || mkdir -p "$0/run/systemd/system";'
            'mount -t cgroup2 -o ro cgroup2 "$0/sys/fs/cgroup"; "$@" && exit 0 || exit $?'
        )
        namespaces = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL"]
        joined = [f"--net={self.place}/net"] if self.network else []
        return [
            *(["nsenter", *joined, "--"] if joined else []),
            *namespaces,
            "--",
            "sh",
            "-euc",
            setup,
            str(self.path),
            *inside,
        ]


@contextlib.contextmanager
def start(system: str, version: str = "7.4", *, network: bool = False) -> Iterator[Root]:
    """A host of this system as it comes from the installer, for one test."""
    ground = ground_of(system)
    lower = ensure_root(ground)
    place = Path(tempfile.mkdtemp(prefix="lab-family-", dir="/tmp"))
    root = Root(place, system, version, network)
    for name in ("upper", "work", "root"):
        (place / name).mkdir()
    options = f"lowerdir={lower},upperdir={place}/upper,workdir={place}/work"
    try:
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root.path)], check=True, timeout=30)
        if network:
            (place / "net").touch()
            subprocess.run(["unshare", f"--net={place}/net", "true"], check=True, timeout=30)
        _install(root, ground)
        yield root
    finally:
        for mounted in (root.path, *([place / "net"] if network else [])):
            _unmount(mounted)
        cache.remove_tree(place)


def _debs(version: str) -> repository.RepositoryInfo:
    return repository.ensure_repository(None, version=Version(version))


def _install(root: Root, ground: Ground) -> None:
    """The distribution, as far as the script looks: its release, its sources, its packages' database."""
    identity, release = root.system.split(":")
    root.with_system(identity, _VERSIONS.get(identity, "{}").format(release))
    (root.path / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 host-1\n")
    (root.path / "etc/resolv.conf").write_text("")
    (root.path / "var/lib/recorded").mkdir()
    if root.apt:
        (root.path / "etc/apt/sources.list.d").mkdir(exist_ok=True)
        shutil.copytree(_debs(root.version).directory, root.path / "srv/archive/opennebula")
        return
    shutil.copytree(archive.ensure_archive(ensure_root("dnf")).directory, root.path / "srv/archive")
    folder, crb = "etc/yum.repos.d", "powertools" if release == "8" else "crb"
    if identity == "rhel":
        crb = f"codeready-builder-for-rhel-{release}-{os.uname().machine}-rpms"
    sources = {"baseos": ("baseos", 1), crb: ("crb", 0)}
    if ground == "zypper":
        folder, sources = "etc/zypp/repos.d", {"baseos": ("baseos", 1), "pool": ("crb", 1), "packagehub": ("epel", 1)}
    for name, (where, enabled) in sources.items():
        text = f"[{name}]\nname={name}\nbaseurl=file:///srv/archive/{where}\nenabled={enabled}\ngpgcheck=0\n"
        (root.path / folder / f"{name}.repo").write_text(text)
    (root.path / "srv/distribution.asc").write_text(ARMORED)
    root.root("rpm --import /srv/distribution.asc; rpm -i --nodeps /srv/archive/baseos/base-release-1-1.noarch.rpm")


def _unmount(where: Path) -> None:
    """What ran in it may take a moment to end."""
    deadline = time.monotonic() + 10
    while (
        os.path.ismount(where) and subprocess.run(["umount", str(where)], check=False, capture_output=True).returncode
    ):
        assert time.monotonic() < deadline, f"{where} stays busy"
        time.sleep(0.02)
