"""The engine: `pulumi` from PATH if it fits, else the official release, else built from its pinned Go module.

Returns a directory to put first on PATH. Deliberately not here: the plugins' stand-ins (`lab/plugins/install.py`), and
anything that installs into the system.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from lab import cache
from lab.console import Report, say, timed
from lab.errors import LabError
from lab.paths import CACHE, STATE
from lab.toolchain import TOOLS, tool

VERSION = TOOLS["pulumi"].version  # equal to the pulumi package of requirements.txt; a test holds them together
RELEASE = f"https://get.pulumi.com/releases/sdk/pulumi-{VERSION}-linux-x64.tar.gz"
RELEASE_SHA256 = "cf559568e2c32f7fae56ea3de8ae5fa48973ba8c5aa9dd2b3dc0c8898fe50dba"
_CONNECT_LIMIT = 8  # seconds; where the release page is out of reach, the build from source must not wait long
_RELEASE_LIMIT = 512 * 1024 * 1024  # bytes


def ensure_engine(report: Report = say) -> Path:
    """Directory that holds an executable `pulumi` of the pinned version. Raises LabError."""
    found = shutil.which("pulumi")
    if found is not None:
        version = _version(Path(found))
        if fits(version):
            # Not where a link leads: mise, asdf and snap have one to a program that goes by the name it is called by.
            return Path(found).absolute().parent
        report(f"{found} is {version or 'no Pulumi CLI'}; this program is made for {VERSION}: using one of our own")
    built = CACHE / "tools" / TOOLS["pulumi"].key
    if built.is_dir():
        return built
    released = _released(report)
    return released if released is not None else tool("pulumi", report).parent


# Official plugins and the SHA-256 of their linux-amd64 archives, where one is known: the engine compares it. For these two
# none could be had from a source that can be trusted (no package registry has them; what distributions pin are older
# releases), and one made up is none. Without it, TLS to the release page is all that vouches for a download.
OFFICIAL_PLUGINS: dict[str, tuple[str, str | None]] = {"kubernetes": ("4.29.0", None), "command": ("1.2.1", None)}
_PLUGIN_LIMIT = 120  # seconds for one plugin: some 60 MB


def ensure_official_plugins(engine: Path, report: Report = say) -> None:
    """Have the engine fetch the official plugins that are not installed. Tried once; a failure is remembered and said.

    Deleting the state directory's `plugins-tried` file asks again. Raises LabError when the engine cannot be started.
    """
    from lab.plugins.install import find_official

    tried = STATE / "plugins-tried"
    missing = {name: pin for name, pin in OFFICIAL_PLUGINS.items() if find_official(name, pin[0]) is None}
    if not missing or tried.exists():
        return
    for name, (version, checksum) in missing.items():
        command = [str(engine / "pulumi"), "plugin", "install", "resource", name, version]
        command += ["--checksum", checksum] if checksum else []
        environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=_PLUGIN_LIMIT, check=False
            )
            failure = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        except subprocess.TimeoutExpired:
            failure = f"no answer within {_PLUGIN_LIMIT} s"
        except OSError as error:
            raise LabError(
                f"{command[0]} cannot be started",
                cause=error.strerror or str(error),
                fix="mend or remove the `pulumi` on PATH: without one, an engine of our own is used",
            ) from None
        if failure:
            report(f"the official pulumi-resource-{name} {version} cannot be fetched: {failure[:200]}")
    STATE.mkdir(exist_ok=True)
    tried.touch()


def fits(version: str | None) -> bool:
    """The same major and minor version: the SDK and the engine are released and tested together."""
    numbers = re.fullmatch(r"v?(\d+)\.(\d+)\.\d+.*", version or "")
    ours = re.fullmatch(r"v(\d+)\.(\d+)\.\d+", VERSION)
    return numbers is not None and ours is not None and numbers.groups() == ours.groups()


def _version(program: Path) -> str | None:
    try:
        done = subprocess.run([program, "version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _released(report: Report) -> Path | None:
    """The official release, verified by its pinned checksum; None where it cannot be had."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return None
    name = f"pulumi-release-{VERSION}-{RELEASE_SHA256[:12]}"
    final = CACHE / "tools" / name
    if not final.is_dir():
        try:
            answer = urllib.request.urlopen(RELEASE, timeout=_CONNECT_LIMIT)
            with answer, timed(f"fetching Pulumi {VERSION}", report):
                archive: bytes = answer.read(_RELEASE_LIMIT)
        except (urllib.error.URLError, TimeoutError, OSError) as error:
            report(f"no official Pulumi release here ({getattr(error, 'reason', error)}): building it from source")
            return None
        final = cache.entry("tools", name, lambda into: unpack_release(archive, into))
    return final


def unpack_release(archive: bytes, into: Path) -> None:
    """The archive's files, flat, into a directory. Raises LabError when the checksum is not the pinned one."""
    seen = hashlib.sha256(archive).hexdigest()
    if seen != RELEASE_SHA256:
        raise LabError(
            f"the downloaded Pulumi {VERSION} is not the pinned one",
            cause=f"SHA-256 is {seen}, expected {RELEASE_SHA256}",
            fix="do not use it; check what answers for get.pulumi.com on this network",
        )
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            if member.isfile():
                content = files.extractfile(member)
                assert content is not None  # a regular file always has one
                target = into / Path(member.name).name
                target.write_bytes(content.read())
                target.chmod(0o755)
