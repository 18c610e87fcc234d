"""The server packages of the rehearsal: a tree, the stand-in's or a real one, cut into the packages of OpenNebula's archive.

For the images of the control plane (images/Containerfile), which install packages and know no tree. What belongs to whom
follows from paths. Debian packages that a tree's programs need stand in its `packages*.txt` and become dependencies. A
package may be empty: a tree need not have every daemon.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from lab import debs

# What stand-ins read, and the package that every daemon's image has.
RELEASE_FILE = "usr/lib/one/standin/VERSION"
EVERYWHERE = "opennebula-common"

# As the real one does: a password for oneadmin, made up at installation. No image may carry it.
_POSTINST = """#!/bin/sh
# Rehearsal stand-in: makes up oneadmin's first password.
set -e
if [ "$1" = configure ] && [ ! -e /var/lib/one/.one/one_auth ]; then
    install -d -o oneadmin -g oneadmin -m 0750 /var/lib/one
    install -d -o oneadmin -g oneadmin -m 0700 /var/lib/one/.one
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')
    (umask 077 && printf 'oneadmin:%s\\n' "$password" >/var/lib/one/.one/one_auth)
    chown oneadmin:oneadmin /var/lib/one/.one/one_auth
fi
"""


@dataclass(frozen=True, kw_only=True)
class ServerPackage:
    """One package: the paths that are its own, packages it depends on, and the file that names Debian's.

    `takes` are paths with all that is below them; `*` stands for any characters.
    """

    name: str
    takes: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    needs: str | None = None
    postinst: str = ""

    def owns(self, place: str) -> bool:
        """Is this path one of `takes`, or what every package has of its own: documents, unit, rotation of its log?"""
        if place.startswith("usr/lib/systemd/"):
            place = place.removeprefix("usr/")
        own = (
            f"usr/share/doc/{self.name}",
            f"usr/share/lintian/overrides/{self.name}",
            f"etc/logrotate.d/{self.name}",
            f"lib/systemd/system/{self.name}.*",
        )
        return any(fnmatchcase(place, taken) or fnmatchcase(place, f"{taken}/*") for taken in (*own, *self.takes))


_COMMON = "opennebula-common"
_LIBS = "opennebula-libs"
_RUBY = "usr/lib/one/ruby"
_HELPER = f"{_RUBY}/cli/one_helper"
_MAN = "usr/share/man/man1"

# Who owns what is as in OpenNebula's own packaging (the debian/*.install files of OpenNebula/packages, read at its last
# public state, of January 2021), with what 6.10 and 7.4 install since (install.sh of release-6.10.5 and release-7.4.0).
# The first of these that owns a path has it. Some names are no package that any image installs: what they own must not get
# into one, above all the migrators (images/packaging/install.sh says why).
_OTHERS = (
    ServerPackage(name="opennebula-migration", takes=(f"{_RUBY}/onedb/local", f"{_RUBY}/onedb/shared")),
    ServerPackage(
        name="opennebula-provision",
        takes=(
            *("usr/bin/oneprovi*", "etc/one/cli/oneprovi*", f"{_HELPER}/oneprovi*", f"{_MAN}/oneprovi*"),
            "usr/lib/one/oneprovision",
        ),
    ),
    ServerPackage(name="opennebula-provision-data", takes=("usr/share/one/oneprovision",)),
    ServerPackage(
        name="opennebula-form",
        takes=(
            *("etc/one/oneform-server.conf", "usr/bin/oneform-server", "usr/lib/one/oneform", "var/lib/one/oneform"),
            "usr/share/one/ansible",
        ),
    ),
    ServerPackage(
        name="opennebula-ks",
        takes=(
            *("etc/one/oneks-server.conf", "usr/bin/oneks-server", "usr/lib/one/oneks", "var/lib/one/oneks"),
            "usr/lib/one/ods",  # nothing else loads it
        ),
    ),
    ServerPackage(
        name="opennebula-prometheus",
        takes=(
            *("etc/one/prometheus", "etc/one/alertmanager", "usr/share/one/prometheus", "usr/share/one/grafana"),
            *("usr/lib/one/prometheus", "usr/lib/one/alertmanager", "usr/lib/one/*_exporter", "usr/bin/promtool"),
            *("var/lib/prometheus", "var/lib/alertmanager"),
            *("lib/systemd/system/opennebula-*exporter.*", "lib/systemd/system/opennebula-alertmanager.*"),
        ),
    ),
    ServerPackage(
        name=_LIBS,
        takes=(
            f"{_RUBY}/opennebula.rb",
            f"{_RUBY}/opennebula",
            *(f"{_RUBY}/cloud/{name}" for name in ("CloudClient.rb", "CloudServer.rb", "CloudAuth.rb", "CloudAuth")),
            f"{_RUBY}/vendors",
            # 6.10: the bindings load vcenter_driver, Sunstone the others
            *(f"{_RUBY}/{name}" for name in ("scripts_common.rb", "nsx_driver*", "vcenter_driver*")),
            *(f"usr/share/one/{name}" for name in ("install_gems", "Gemfile", "Gemfile.lock")),
            "usr/lib/one/ruby-standin",
        ),
        depends=("ruby", "opennebula-rubygems"),
    ),
    ServerPackage(
        name="opennebula-fireedge",
        takes=("etc/one/fireedge-server.conf", "etc/one/fireedge", "usr/bin/fireedge-server", "usr/lib/one/fireedge"),
        depends=(_COMMON, "opennebula-provision-data"),
        needs="packages-fireedge.txt",
    ),
    ServerPackage(
        name="opennebula-guacd",
        takes=("etc/one/guacd", "usr/share/one/guacd"),
        depends=(_COMMON,),
    ),
    ServerPackage(
        name="opennebula-flow",
        takes=("etc/one/oneflow-server.conf", "usr/bin/oneflow-server", "usr/lib/one/oneflow"),
        depends=(_COMMON, _LIBS),
        needs="packages-oneflow.txt",
    ),
    ServerPackage(
        name="opennebula-gate",
        takes=("etc/one/onegate-server.conf", "usr/bin/onegate-server", "usr/lib/one/onegate"),
        depends=(_COMMON, _LIBS),
        needs="packages-onegate.txt",
    ),
    ServerPackage(
        name="opennebula-sunstone",
        takes=(
            "etc/one/sunstone-*",
            "usr/bin/sunstone-server",
            "usr/bin/novnc-server",
            f"{_RUBY}/OpenNebula*VNC.rb",
            f"{_RUBY}/OpenNebulaAddons.rb",
            f"{_RUBY}/opennebula_guac.rb",
            f"{_RUBY}/opennebula_vmrc.rb",
            "usr/lib/one/sunstone",
            "usr/share/one/websockify",
            "var/lib/one/sunstone",
            "etc/logrotate.d/opennebula-novnc",
            "lib/systemd/system/opennebula-novnc.*",
        ),
        depends=(_COMMON, _LIBS),
        needs="packages-sunstone.txt",
    ),
)
OPENNEBULA = ServerPackage(
    name="opennebula",
    takes=(
        *(f"usr/bin/{name}" for name in ("oned", "mm_sched", "one", "onedb", "onehem-server", "onecfg", "onesupport*")),
        *(f"{_MAN}/{name}.1*" for name in ("oned", "mm_sched", "one", "onedb", "onecfg")),
        *(f"usr/lib/one/{name}" for name in ("mads", "sh", "onehem", "onecfg", "standin")),
        # drivers, and what drivers and daemons load: ActionManager, CommandManager, one_vnm …
        f"{_RUBY}/onedb",
        *(f"{_RUBY}/{name}" for name in ("*Manager.rb", "*Driver.rb", "*Helper.rb", "*Logger.rb", "*_driver.rb")),
        *(f"{_RUBY}/{name}" for name in ("*_vnm.rb", "ssh_stream.rb", "equinix.rb")),
        *(
            f"etc/one/{name}"
            for name in ("oned.conf", "monitord.conf", "sched.conf", "schedulers", "onehem-server.conf")
        ),
        *(
            f"etc/one/{name}"
            for name in ("defaultrc", "tmrc", "auth", "hm", "vmm_exec", "*_driver.conf", "*_driver.default")
        ),
        *(f"usr/share/one/{name}" for name in ("examples", "start-scripts", "schemas", "conf", "context", "onecfg")),
        *(f"usr/share/one/{name}" for name in ("esx-fw-vnc", "dockerhub", "follower_cleanup", "pre_cleanup")),
        *("var/lib/one/remotes", "var/lib/one/vms", "var/lib/one/datastores"),
        *("etc/logrotate.d/opennebula-*", "lib/systemd/system/opennebula-*", "etc/sudoers.d/opennebula-server"),
        *("usr/share/augeas/lenses/oned.aug", "var/log/one", "var/lock/one", "var/run/one"),
    ),
    depends=(_COMMON, _LIBS, "opennebula-tools"),
    needs="packages.txt",
    postinst=_POSTINST,
)
# All other commands are those of the tools: asked after everybody who has a command of its own.
_TOOLS = ServerPackage(
    name="opennebula-tools",
    takes=(
        *("usr/bin/one*", f"{_MAN}/one*", "etc/one/cli", f"{_RUBY}/cli", "usr/share/one/onetoken.sh"),
        *("etc/bash_completion.d/opennebula", "usr/share/bash-completion/completions/one*"),
    ),
    depends=(_COMMON, _LIBS),
)
PACKAGES = (*_OTHERS, OPENNEBULA, _TOOLS)


def contents(package: ServerPackage, tree: Path) -> dict[str, Path]:
    """Path in the package → file, link or empty directory of the tree."""
    return {place: path for place, path in _files(tree).items() if (_owner(place) or OPENNEBULA) is package}


def unclaimed(tree: Path) -> list[str]:
    """Files of the tree that no package is known to own: `opennebula` gets them, and somebody should be told."""
    return sorted(place for place, path in _files(tree).items() if _owner(place) is None and not _empty(path))


def sources(tree: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of everything that decides what the packages hold."""
    yield "server-packages", Path(__file__).read_bytes()
    for package in PACKAGES:
        yield package.name, ",".join(_depends(package, tree)).encode()
    for place, path in sorted(_files(tree).items()):
        if path.is_symlink():
            yield place, str(path.readlink()).encode()
        elif path.is_dir():
            yield place, b"a directory"
        else:
            yield f"{place}:{debs.mode(path):o}", path.read_bytes()


def build(package: ServerPackage, tree: Path, version: str, into: Path) -> Path:
    """The package file, `<name>_<version>_all.deb` in `into`. Raises LabError if dpkg-deb refuses it."""
    with tempfile.TemporaryDirectory(prefix="lab-deb-") as scratch:
        stage = Path(scratch) / package.name
        control = stage / "DEBIAN"
        control.mkdir(parents=True)
        for place, path in contents(package, tree).items():
            target = stage / place
            target.parent.mkdir(parents=True, exist_ok=True)
            if _empty(path):
                target.mkdir()
                continue
            shutil.copy2(path, target, follow_symlinks=False)
            if not path.is_symlink():
                target.chmod(debs.mode(path))
        doc = stage / "usr" / "share" / "doc" / package.name
        doc.mkdir(parents=True, exist_ok=True)
        if not (doc / "copyright").exists():
            shutil.copyfile(debs.SOURCES / "copyright", doc / "copyright")
        (control / "control").write_text(_control(package, tree, version))
        if package.postinst:
            (control / "postinst").write_text(package.postinst)
            (control / "postinst").chmod(0o755)
        for directory in (stage, *(path for path in stage.rglob("*") if path.is_dir() and not path.is_symlink())):
            directory.chmod(0o755)
        return debs.pack(stage, into)


def _files(tree: Path) -> Mapping[str, Path]:
    found = {}
    others = debs.places(tree)
    for path in tree.rglob("*"):
        place = path.relative_to(tree)
        if "__pycache__" in place.parts:
            continue
        if path.is_dir() and not path.is_symlink() and any(path.iterdir()):
            continue
        # directly in the tree lie the lists of packages
        if len(place.parts) > 1 and str(place) not in others:
            found[str(place)] = path
    return found


def _empty(path: Path) -> bool:
    """Of what `_files` has, directories are the empty ones."""
    return path.is_dir() and not path.is_symlink()


def _owner(place: str) -> ServerPackage | None:
    return next((package for package in PACKAGES if package.owns(place)), None)


def _depends(package: ServerPackage, tree: Path) -> list[str]:
    listed = tree / package.needs if package.needs else None
    lines = listed.read_text().splitlines() if listed is not None and listed.is_file() else []
    needed = [name for line in lines if (name := line.partition("#")[0].strip())]
    return list(dict.fromkeys((*package.depends, *needed)))


def _control(package: ServerPackage, tree: Path, version: str) -> str:
    fields = {
        "Package": package.name,
        "Version": version,
        "Architecture": "all",
        "Maintainer": "Rehearsal Lab <root@localhost>",
        "Depends": ", ".join(_depends(package, tree)),
        "Section": "admin",
        "Priority": "optional",
        "Description": f"rehearsal stand-in: the part of the control plane that {package.name} installs\n"
        " Laid out as the package of this name, and nothing of OpenNebula in it.",
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)
