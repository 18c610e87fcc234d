"""rpm packages with the effects of OpenNebula's node packages, and the little of a distribution that they depend on.

Made from the same sources as the lab's Debian packages (lab/standins/node), with rpmbuild, createrepo_c and a real
signature. `baseos`, `crb` and `epel` are empty packages of the names that are asked for.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from components.bootstrap import openpgp
from lab import cache, debs, signing

_FORMAT = b"7"  # of this file's output: a new number makes new entries
_RELEASE = "opennebula"
_PACKAGES = ("opennebula-common", "opennebula-rubygems", "opennebula-node-kvm", "opennebula-node-lxc")
_NEEDS = {
    "opennebula-common": "sudo",
    "opennebula-rubygems": "ruby",
    "opennebula-node-kvm": "opennebula-common opennebula-rubygems libvirt qemu-kvm rsync augeas rubygem-sqlite3",
    "opennebula-node-lxc": "opennebula-common opennebula-rubygems lxc rsync augeas",
}
_OTHER = {"opennebula-node-kvm": "opennebula-node-lxc", "opennebula-node-lxc": "opennebula-node-kvm"}
# repository -> packages without content
_EMPTY = {
    "baseos": ("sudo", "ruby", "rsync", "qemu-kvm", "nfs-utils", "nfs-client", "policycoreutils-python-utils"),
    "crb": ("augeas",),
    "epel": ("rubygem-sqlite3", "ceph-common", "qemu-kvm-block-rbd", "qemu-block-rbd", "rbd-nbd"),
}
# one that fails while a test wants it to
_SCRIPTS = dict.fromkeys(("nfs-utils", "nfs-client"), "%post\ntest ! -e /srv/broken && touch /srv/nfs\n")
_LIBVIRT = {
    "etc/libvirt/qemu.conf": 'user = "root"\n',
    "etc/libvirt/libvirtd.conf": "",
    "usr/bin/virsh": "#!/bin/sh\nexit 1\n",  # nothing listens
}
_EPEL = "[epel]\nname=epel\nbaseurl=file:///srv/archive/epel\nenabled=1\ngpgcheck=0\n"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Where the repositories are on this machine, and the key of OpenNebula's."""

    directory: Path
    key_armored: str
    fingerprint: str


def ensure_archive(root: Path) -> Archive:
    """Build it in (a copy of nothing but) a root with rpmbuild, if the cache has none of these sources."""
    key = signing.ensure_key()
    armored = (key / "public.asc").read_text()
    parts = [_FORMAT, armored.encode(), Path(__file__).read_bytes()]
    for name, content in debs.sources(None):
        parts += [name.encode(), content]
    directory = cache.entry("rpm-archive", cache.digest(parts), lambda draft: _publish(draft, root, key))
    return Archive(directory=directory, key_armored=armored, fingerprint=openpgp.fingerprint(armored))


def _publish(draft: Path, root: Path, key: Path) -> None:
    work = draft / "work"
    work.mkdir()
    shutil.copyfile(key / "secret.asc", work / "secret.asc")
    specs = [_package(work, name, version) for version in ("7.4.0", "7.4.1", "6.10.5") for name in _PACKAGES]
    for repository, names in _EMPTY.items():
        specs += [_spec(work, repository, name, "1", _SCRIPTS.get(name, "")) for name in names]
    specs += [
        _spec(work, "baseos", "base-release", "1", "", extra="Provides: system-release = 9, /bin/sh\n"),
        _spec(
            work,
            "baseos",
            "libvirt",
            "1",
            "",
            content=_LIBVIRT,
        ),
        _spec(work, "epel", "lxc", "1", "", content={"usr/bin/lxc-ls": "#!/bin/sh\n"}),
        _spec(work, "baseos", "epel-release", "1", "", content={"etc/yum.repos.d/epel.repo": _EPEL}),
    ]
    script = ["set -eu", "cd /mnt", "export HOME=/mnt GNUPGHOME=/mnt/gnupg", "mkdir -m 0700 gnupg"]
    script += ["gpg --batch --quiet --import secret.asc"]
    for spec in specs:
        script.append(
            f"rpmbuild --quiet -bb --define '_topdir /mnt/build' --define '_rpmdir /mnt/{spec.parent.name}' {spec}"
        )
    script += [
        "for each in */noarch; do mv $each/*.rpm ${each%/noarch}; rmdir $each; done",
        "rpm --define '_gpg_name Rehearsal Lab' --define '__gpg /usr/bin/gpg' --addsign opennebula/*.rpm >/dev/null",
        "mkdir newer lts; mv opennebula/*7.4.1* newer; mv opennebula/*6.10.5* lts",
        "for each in opennebula newer lts baseos crb epel; do rm -f $each/*.spec; createrepo_c --quiet $each; done",
        "for each in opennebula newer lts; do gpg --batch --armor --detach-sign $each/repodata/repomd.xml; done",
        "gpgconf --kill gpg-agent",
    ]
    mount = 'mount --bind "$1" "$0/mnt"; mount -t proc proc "$0/proc"; shift; exec chroot "$0" sh -c "$1"'
    text = "\n".join(script)
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--", "sh", "-euc", mount, str(root), str(work), text],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("opennebula", "newer", "lts", "baseos", "crb", "epel"):
        (work / name).rename(draft / name)
    shutil.rmtree(work)


def _package(work: Path, name: str, version: str) -> Path:
    """A stand-in of OpenNebula's, from the sources of the Debian package of this name."""
    source = debs.SOURCES / name
    content = {
        str(path.relative_to(source / "root")): path.read_text()
        for path in sorted((source / "root").rglob("*"))
        if path.is_file()
    }
    needs = "".join(f"Requires: {need}\n" for need in _NEEDS[name].split())
    conflict = f"Conflicts: {_OTHER[name]}\n" if name in _OTHER else ""
    scripts = ""
    for section, file, word in (("pre", "preinst", "install"), ("post", "postinst", "configure")):
        script = source / "DEBIAN" / file
        if script.exists():
            scripts += f"%{section}\nset -- {word}\n{script.read_text()}\n"
    return _spec(work, _RELEASE, name, version, scripts, extra=needs + conflict, content=content)


def _spec(
    work: Path,
    repository: str,
    name: str,
    version: str,
    scripts: str,
    *,
    extra: str = "",
    content: dict[str, str] | None = None,
) -> Path:
    """Write a spec file with its content beside it; its path inside the root that builds it."""
    folder = work / repository
    (folder / "noarch").mkdir(parents=True, exist_ok=True)
    stage = work / "stage" / f"{name}-{version}"
    files = []
    for place, text in (content or {}).items():
        target = stage / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        mode = "0440" if "sudoers.d" in place else "0755" if place.startswith("usr/bin/") else "0644"
        config = "%config(noreplace) " if place.startswith("etc/") else ""
        files.append(f"%attr({mode},root,root) {config}/{place}")
    stage.mkdir(parents=True, exist_ok=True)
    listed = "\n".join(files)
    text = (
        f"Name: {name}\nVersion: {version}\nRelease: 1\nSummary: rehearsal stand-in\nLicense: none\nBuildArch: noarch\n"
        f"AutoReqProv: no\n{extra}%description\nRehearsal stand-in.\n"
        f"%install\nmkdir -p %{{buildroot}}\ncp -a /mnt/stage/{name}-{version}/. %{{buildroot}}/\n{scripts}%files\n{listed}\n"
    )
    (folder / f"{name}-{version}.spec").write_text(text)
    return Path("/mnt") / repository / f"{name}-{version}.spec"
