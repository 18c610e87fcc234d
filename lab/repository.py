"""The lab's apt repository: signed, cached by what it holds, served by HTTP inside the box.

A little archive with one suite and one component, as OpenNebula's own: `deb <url> stable opennebula`. The signature is
real and hosts check it; the key's public half goes into the stack's config like that of any other repository.
"""

from __future__ import annotations

import email.utils
import shutil
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.bootstrap import openpgp
from components.domain import Version
from lab import cache, debs, packages, process, server_debs, signing
from lab.box import Box
from lab.console import Report, say
from lab.errors import LabError, tail
from lab.paths import Instance

PORT = 8080
SUITE = "stable"
COMPONENT = "opennebula"

_ARCHITECTURES = ("amd64", "arm64")
_PROGRAMS = {"dpkg-deb": "dpkg", **signing.PROGRAMS}
_FORMAT = b"1"  # of this file's output: a new number makes new entries
_START_LIMIT = 10.0  # seconds
_TOLD = 10  # names in one line


@dataclass(frozen=True, kw_only=True)
class Server:
    """With the server packages too: cut from this tree. Every package of the archive gets the version (7.4.0-1).

    `release` is what stand-ins shall act as; a real tree needs nobody to tell it.
    """

    tree: Path
    version: str
    release: Version | None = None


@dataclass(frozen=True, kw_only=True)
class RepositoryInfo:
    """Where the archive is on this machine, and the key that it is signed with."""

    directory: Path
    key_armored: str
    fingerprint: str


def ensure_repository(
    opennebula_root: Path | None,
    report: Report = say,
    *,
    root: Path | None = None,
    server: Server | None = None,
    version: Version = Version.V7_4,
) -> RepositoryInfo:
    """Build and sign the archive if the cache has none of these sources; a second or two. Raises LabError.

    Hosts need the node packages of a release only; `server` adds those that the control plane's images are made of.
    """
    missing = {program: package for program, package in _PROGRAMS.items() if shutil.which(program) is None}
    if missing:  # everybody may build the archive, only root may install what is needed for it
        packages.ensure_system_packages(missing, report)
    key = signing.ensure_key(root)
    armored = (key / "public.asc").read_text()
    if server is not None:
        _tell_unclaimed(server.tree, report)
    elif opennebula_root is not None:  # the hosts' archive: `make up` asks for the images' beside it
        _tell_kept(opennebula_root, report)
    wanted = server.version if server is not None else debs.VERSIONS[version]
    parts = [_FORMAT, armored.encode(), wanted.encode()]
    for name, content in debs.sources(opennebula_root):
        parts += [name.encode(), content]
    if server is not None:
        for name, content in (*server_debs.sources(server.tree), *_stamp(server).items()):
            parts += [name.encode(), content]
    directory = cache.entry(
        "repository",
        cache.digest(parts),
        lambda draft: _publish(draft, key, opennebula_root, wanted, server),
        cache=root,
    )
    return RepositoryInfo(directory=directory, key_armored=armored, fingerprint=openpgp.fingerprint(armored))


def revision(repository: RepositoryInfo, packages: Iterable[str]) -> str:
    """A word that changes when one of these packages does, or one of the archive that they need."""
    index = repository.directory / "dists" / SUITE / COMPONENT / f"binary-{_ARCHITECTURES[0]}" / "Packages"
    stanzas = {}
    for stanza in index.read_text().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        stanzas[fields["Package"]] = fields
    found: set[str] = set()
    waiting = list(packages)
    while waiting:
        name = waiting.pop()
        if name in stanzas and name not in found:
            found.add(name)
            depends = stanzas[name].get("Depends", "").split(",")
            waiting += [words[0] for each in depends if (words := each.split())]
    return cache.digest(f"{name} {stanzas[name]['SHA256']}".encode() for name in sorted(found))


def url(instance: Instance) -> str:
    return f"http://{instance.node_ip}:{PORT}"


def serve(instance: Instance, repository: RepositoryInfo) -> str:
    """Serve the archive at the lab's own address; does nothing when it is served already. Returns the url."""
    record = instance.state / "repository.json"
    running = process.load(record)
    served = instance.state / "repository.path"
    if running is not None and served.exists() and served.read_text() == str(repository.directory):
        return url(instance)
    if running is not None:
        process.kill(running)
    log = Box(instance).logs / "repository.log"
    command = [sys.executable, "-I", "-m", "http.server", str(PORT), "--bind", str(instance.node_ip)]
    command += ["--protocol", "HTTP/1.1", "--directory", str(repository.directory)]
    identity = Box(instance).spawn(command, log)
    served.write_text(str(repository.directory))
    process.save(identity, record)
    _await(instance, identity, log)
    return url(instance)


def stop(instance: Instance) -> None:
    running = process.load(instance.state / "repository.json")
    if running is not None:
        process.kill(running)


def _await(instance: Instance, server: process.Identity, log: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT
    while server.alive and time.monotonic() < deadline:
        try:
            socket.create_connection((str(instance.node_ip), PORT), timeout=0.5).close()
            return
        except OSError:
            time.sleep(0.03)  # not listening yet: told below when the time is up
    raise LabError(f"the package repository does not answer at {url(instance)}", cause=tail(log))


def _publish(draft: Path, key: Path, tree: Path | None, version: str, server: Server | None) -> None:
    pool = draft / "pool"
    pool.mkdir()
    stanzas = []
    extra = {server_debs.EVERYWHERE: _stamp(server)} if server is not None else {}
    built = [debs.build(package, tree, pool, version, extra.get(package)) for package in debs.packages()]
    if server is not None:
        built += [server_debs.build(package, server.tree, server.version, pool) for package in server_debs.PACKAGES]
    for deb in built:
        where = f"Filename: {deb.relative_to(draft)}\nSize: {deb.stat().st_size}\nSHA256: {debs.sha256(deb)}\n"
        stanzas.append(f"{debs.fields(deb)}\n{where}")
    suite = draft / "dists" / SUITE
    for architecture in _ARCHITECTURES:
        index = suite / COMPONENT / f"binary-{architecture}" / "Packages"
        index.parent.mkdir(parents=True)
        index.write_text("\n".join(stanzas))
    release = suite / "Release"
    release.write_text(_release(suite))
    signing.sign(key, release)


def _tell_unclaimed(tree: Path, report: Report) -> None:
    """Nobody else would notice a file that sits in another package than in OpenNebula's own archive."""
    found = server_debs.unclaimed(tree)
    if found:
        more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        names = ", ".join(found[:_TOLD])
        report(f"{tree}: no package is known to own {names}{more}: put into the package {server_debs.OPENNEBULA.name}")


def _tell_kept(tree: Path, report: Report) -> None:
    """A rehearsal of the tree is one of these files' stand-ins as well."""
    if found := debs.kept(tree):
        report(f"hosts' packages: from the stand-in, because {tree} lacks them: {', '.join(found)}")


def _stamp(server: Server) -> dict[str, bytes]:
    """The file from which the stand-ins take the release that they act as."""
    return {} if server.release is None else {server_debs.RELEASE_FILE: f"{server.release.value}\n".encode()}


def _release(suite: Path) -> str:
    indexes = sorted(path for path in suite.rglob("Packages"))
    sums = [f" {debs.sha256(path)} {path.stat().st_size} {path.relative_to(suite)}" for path in indexes]
    head = {
        "Origin": "rehearsal lab",
        "Label": "OpenNebula stand-ins",
        "Suite": SUITE,
        "Codename": SUITE,
        "Date": email.utils.formatdate(usegmt=True).replace("GMT", "UTC"),
        "Architectures": " ".join(_ARCHITECTURES),
        "Components": COMPONENT,
        "Description": "rehearsal stand-ins for OpenNebula's node packages",
    }
    return "\n".join([*(f"{name}: {value}" for name, value in head.items()), "SHA256:", *sums, ""])
