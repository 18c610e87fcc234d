"""Builds the control plane's images with buildah or docker: `python -m images.build REGISTRY VERSION`.

One image a daemon, from `images/Containerfile` and OpenNebula's own packages; what it prints at the end goes into the
stack's `opennebula:images`. Everything that can be wrong is looked at before the first step: the version, the tool, the
key and its fingerprint, the entrypoints. Nothing is pushed unless `--push` says so; how to log in to a registry is the
tool's own matter. The login of an apt repository is a file that the tool mounts where apt runs (a build secret): its
contents are in no argument, log, layer or history.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from components.bootstrap import openpgp
from components.domain import Version
from components.versions import RELEASES
from lab.errors import LabError

HERE = Path(__file__).resolve().parent
TOOLS = ("buildah", "docker")
SECRET = "apt-auth"  # the build secret's name in the Containerfile
KEY_URL = "https://downloads.opennebula.io/repo/repo2.key"
_KEY_LIMIT = 30  # seconds
_BUILD_LIMIT = 3600  # seconds, of which a slow mirror takes the most
# Directories of entrypoints that a target copies.
TARGETS = {
    "oned": ("oned",),
    "fireedge": ("service", "fireedge"),
    "oneflow": ("service", "oneflow"),
    "onegate": ("service", "onegate"),
    "sunstone": ("service", "sunstone"),
}
_CONTEXT = ("Containerfile", "packaging", *sorted({name for names in TARGETS.values() for name in names}))
_REGISTRY = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*")
_VERSION = re.compile(r"(\d+\.\d+)(\.\d+)?")
_BASE = re.compile(r"[a-z0-9.:/_-]+(:[A-Za-z0-9_][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What shall be built. `key` is the armored text; None leaves a value to the Containerfile's default.

    `auth` is the path of a file as apt_auth.conf(5) describes it, with the login that `repository` asks for.
    """

    registry: str
    version: str
    key: str
    fingerprint: str
    targets: tuple[str, ...]
    tool: str
    base: str | None = None
    repository: str | None = None
    auth: str | None = None
    revision: str | None = None  # another word than before installs OpenNebula's packages again
    options: tuple[str, ...] = ()  # further words for the tool, before its subcommand
    build_options: tuple[str, ...] = ()

    def reference(self, target: str) -> str:
        """Name of a target's image."""
        return f"{self.registry}/{target}:{self.version}"


def targets(version: str) -> tuple[str, ...]:
    """The daemons that a version has. Raises LabError for a version that this program does not deploy."""
    match = _VERSION.fullmatch(version)
    known = [release.value for release in Version]
    if match is None or match[1] not in known:
        raise LabError(
            f"VERSION={version} is none that this program deploys",
            fix=f"VERSION={' or VERSION='.join(known)}, or one of their updates such as {known[-1]}.0",
        )
    ruby_sunstone = RELEASES[Version(match[1])].ruby_sunstone
    return tuple(target for target in TARGETS if target != "sunstone" or ruby_sunstone)


def packages(target: str) -> tuple[str, ...]:
    """OpenNebula's packages that the Containerfile installs for a target, or takes files of."""
    return _named(_words(target))


def installed(target: str) -> tuple[str, ...]:
    """Those of them that are installed: all before `with`."""
    words = _words(target)
    return _named(words[: words.index("with")] if "with" in words else words)


def _words(target: str) -> list[str]:
    stages = re.split(r"^FROM \S+ AS ", (HERE / "Containerfile").read_text(), flags=re.MULTILINE)
    (stage,) = (stage for stage in stages if stage.startswith(f"{target}\n"))
    found = re.search(r"install\.sh opennebula \S+ \S+ ((?:.*\\\n)*.+)$", stage, re.MULTILINE)
    return found[1].split() if found else []


def _named(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word.startswith("opennebula"))


def _refuse(wrong: Sequence[LabError]) -> None:
    """Raise what is wrong, all of it at once."""
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        lines = [f"{error.what}: {error.fix}" for error in wrong]
        raise LabError(
            f"{len(wrong)} arguments are wrong; nothing was fetched or built",
            cause="\n         ".join(lines),
            fix="make images REGISTRY=registry.example.com/one VERSION=7.4.0 FINGERPRINT=…",
        )


def _arguments(request: Request) -> Iterator[LabError]:
    """What is wrong with a request, its tool and its key left aside: the key has to be fetched first."""
    known: tuple[str, ...] | None = None
    try:
        known = targets(request.version)
    except LabError as error:
        yield error
    if not _REGISTRY.fullmatch(request.registry):
        yield LabError(
            f"REGISTRY={request.registry} is no registry with a path", fix="REGISTRY=registry.example.com/one"
        )
    for target in request.targets:
        if known is not None and target not in known:
            yield LabError(f"OpenNebula {request.version} has no {target}", fix=f"build some of: {', '.join(known)}")
        for directory in TARGETS.get(target, ()):
            if not (HERE / directory).is_dir():
                yield LabError(f"images/{directory} is missing: {target} would have no entrypoint", fix="git status")
    if request.base is not None and (not _BASE.fullmatch(request.base) or request.base.endswith(":latest")):
        yield LabError(
            f"BASE={request.base} is not pinned",
            cause="two builds would start from different systems",
            fix="BASE=debian:12.15-slim@sha256:…",
        )
    yield from _login(request)
    if not request.fingerprint:
        yield LabError(
            "FINGERPRINT is missing: the packages' key is taken only with it",
            fix="FINGERPRINT=… with the 40 digits from a second source",
        )
    elif not re.fullmatch(r"[0-9A-F]{40}", _digits(request.fingerprint)):
        yield LabError(
            "FINGERPRINT must be the full fingerprint of the packages' key: 40 hex digits",
            fix="take it from a second source, not from where the key came from",
        )


def _login(request: Request) -> Iterator[LabError]:
    """What REPOSITORY and AUTH hold is never repeated, not even a path that may be a token: it would end in a log."""
    if request.repository is not None and "@" in request.repository:
        authority = re.split("[/?#]", request.repository.partition("://")[2])[0]
        host = authority.rpartition("@")[2] if "@" in authority else "HOST"
        yield LabError(
            "REPOSITORY has a login in it, before the @",
            cause="it would stand in the history and in a layer of every image",
            fix=f"REPOSITORY without it, and AUTH=FILE with a FILE that says: machine {host} login … password …",
        )
    if request.auth is None:
        return
    fix = "AUTH=FILE with a FILE as apt's auth.conf: machine enterprise.opennebula.io login … password …"
    path = Path(request.auth).absolute()
    try:
        words = path.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        yield LabError(f"AUTH is no file that can be read: {why}", fix=fix)
        return
    if missing := [word for word in ("machine", "login", "password") if word not in words]:
        yield LabError(f"the file of AUTH has no {' and no '.join(missing)}", fix=fix)
    if set(',"') & set(str(path)):
        yield LabError("AUTH is a path with a comma or a quote, which buildah and docker cut", fix="another path")


def _not_installed(tool: str) -> Iterator[LabError]:
    if shutil.which(tool) is None:
        yield LabError(f"{tool} is not installed", fix="apt-get install buildah, or set TOOL=docker")


def _digits(fingerprint: str) -> str:
    return fingerprint.replace(" ", "").upper()


def check(request: Request) -> None:
    """Everything that can be known before the first step. Raises LabError."""
    _refuse([*_not_installed(request.tool), *_arguments(request)])
    wanted = _digits(request.fingerprint)
    try:
        found = openpgp.fingerprint(request.key)
    except ValueError as error:
        raise LabError(
            "the packages' key cannot be read", cause=str(error), fix="KEY_FILE must be an armored key"
        ) from None
    if found != wanted:
        raise LabError(
            f"the packages' key has the fingerprint {found}, not {wanted}",
            cause="another key, or a wrong fingerprint",
            fix="compare with a second source; nothing was built",
        )


def build(request: Request) -> dict[str, str]:
    """Target → reference, each built. Raises LabError with the tool's last lines."""
    check(request)
    references = {}
    with prepared(request.key) as context:
        for target in request.targets:
            references[target] = request.reference(target)
            _run(command(request, target, context), f"the image {references[target]}")
    return references


def push(request: Request, references: Mapping[str, str]) -> None:
    """Hand the images to their registry. Raises LabError."""
    for reference in references.values():
        words = [request.tool, *request.options, "push", reference]
        _run(words, f"pushing {reference}", fix=f"{request.tool} login {request.registry.partition('/')[0]}")


def command(request: Request, target: str, context: Path) -> list[str]:
    """The tool's command line for one target."""
    arguments = {"OPENNEBULA_VERSION": request.version, "KEY_FINGERPRINT": request.fingerprint.replace(" ", "").upper()}
    if request.base is not None:
        arguments["BASE"] = request.base
    if request.repository is not None:
        arguments["REPOSITORY"] = request.repository
    if request.revision is not None:
        arguments["REVISION"] = request.revision
    words = [request.tool, *request.options, "build", *request.build_options]
    words += ["--file", str(context / "Containerfile"), "--target", target, "--tag", request.reference(target)]
    for name, value in arguments.items():
        words += ["--build-arg", f"{name}={value}"]
    if request.auth is not None:
        words += ["--secret", f"id={SECRET},src={Path(request.auth).absolute()}"]
    return [*words, str(context)]


@contextmanager
def prepared(key: str) -> Iterator[Path]:
    """A directory with exactly what the Containerfile copies: nothing else of the checkout can get into an image."""
    with tempfile.TemporaryDirectory(prefix="images-") as scratch:
        context = Path(scratch)
        for name in _CONTEXT:
            source = HERE / name
            if source.is_dir():
                shutil.copytree(source, context / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy2(source, context / name)
        # The modes are the umask's of whoever cloned the checkout; an image's are fixed.
        for path in context.rglob("*"):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        (context / "repository.asc").write_text(key)
        yield context


def _run(words: Sequence[str], what: str, fix: str = "run it again; the tool's own words are above") -> None:
    try:
        done = subprocess.run(
            words,
            # docker before 23 builds without BuildKit unless it is told so, and then knows no mounts of secrets.
            env=os.environ | {"DOCKER_BUILDKIT": "1"},
            stderr=subprocess.PIPE,
            text=True,
            timeout=_BUILD_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{what}: not done in {_BUILD_LIMIT} s", fix="check the package mirror") from None
    if done.returncode != 0:
        last = [line for line in done.stderr.splitlines() if line.strip()][-12:]
        raise LabError(f"{what}: {words[0]} failed ({done.returncode})", cause="\n    ".join(last), fix=fix)


def key_text(file: str | None) -> str:
    """The packages' key from a file, or from OpenNebula's own address. Raises LabError."""
    try:
        if file is not None:
            return Path(file).read_text()
        with urllib.request.urlopen(KEY_URL, timeout=_KEY_LIMIT) as answer:
            return str(answer.read(1_000_000).decode())
    except (OSError, UnicodeDecodeError) as error:
        where = file or KEY_URL
        raise LabError(
            f"the packages' key cannot be read from {where}", cause=str(error), fix="KEY_FILE=FILE"
        ) from None


def _request(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[Request, bool]:
    parser = argparse.ArgumentParser(prog="python -m images.build", description=__doc__)
    parser.add_argument("registry", help="where the images belong, such as registry.example.com/one")
    parser.add_argument("version", help="OpenNebula's version: 7.4, 6.10, or one of their updates")
    parser.add_argument("--fingerprint", default=environ.get("FINGERPRINT"), help="of the packages' key; $FINGERPRINT")
    parser.add_argument("--key", default=environ.get("KEY_FILE"), help=f"armored key; $KEY_FILE, or {KEY_URL}")
    parser.add_argument("--base", default=environ.get("BASE"), help="Debian 12 image to start from; $BASE")
    parser.add_argument("--repository", default=environ.get("REPOSITORY"), help="apt repository; $REPOSITORY")
    parser.add_argument("--auth", default=environ.get("AUTH"), help="its login, as apt's auth.conf has it; $AUTH")
    parser.add_argument("--tool", default=environ.get("TOOL"), choices=TOOLS, help="$TOOL; buildah if it is there")
    parser.add_argument("--target", action="append", help="only this daemon; may be repeated")
    parser.add_argument("--push", action="store_true", help="push the images when all are built")
    found = parser.parse_args(arguments)
    tool = found.tool or next((tool for tool in TOOLS if shutil.which(tool)), TOOLS[0])
    wrong = [*_not_installed(tool)]
    if tool not in TOOLS:
        wrong = [LabError(f"TOOL={tool} is unknown", fix=f"TOOL={' or TOOL='.join(TOOLS)}")]
    request = Request(
        registry=found.registry,
        version=found.version,
        key="",
        fingerprint=found.fingerprint or "",
        targets=tuple(found.target or ()),
        tool=tool,
        base=found.base or None,
        repository=found.repository or None,
        auth=found.auth or None,
    )
    _refuse([*wrong, *_arguments(request)])
    request = replace(request, key=key_text(found.key or None), targets=request.targets or targets(request.version))
    return request, found.push


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 built, 1 failed with a message, 2 wrong call."""
    try:
        request, wanted = _request(arguments, os.environ)
        references = build(request)
        if wanted:
            push(request, references)
    except LabError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    print("\nopennebula:images:")
    for target, reference in references.items():
        print(f"  {target}: {reference}")
    print("# better by digest: see `buildah images --digests` or `docker images --digests` after a push")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
