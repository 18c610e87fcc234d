"""The engine's plugins for a machine: the official ones where they are and fit, stand-ins where they are not.

Nothing is downloaded here (`lab/engine/install.py` asks the engine to, first). A stand-in is an executable of two lines in
a directory that goes first on PATH, which is where the engine looks first: before the rest of PATH, and before its cache.
"""

from __future__ import annotations

import functools
import json
import os
import select
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2_grpc

from lab.console import Report, say
from lab.plugins import command, kubernetes

_PROJECT = Path(__file__).resolve().parents[2]
_MARK = "rehearsal stand-in"  # in each executable, so that ours is never taken for the official
_STAND_INS = {"kubernetes": kubernetes.VERSION, "command": command.VERSION}
_ANSWER_LIMIT = 20  # seconds for a plugin's port, and again for its answer
_DYNAMIC = "pulumi-python"  # the host of dynamic providers; its only official form is a script beside the CLI


def ensure_plugins(bin_dir: Path, python: Path, report: Report = say) -> list[str]:
    """Put into `bin_dir` what the program needs and the machine lacks; take out a stand-in that is not needed any more.

    `python` is the interpreter that has the project's packages; it need not be the running one. Returns the names of the
    plugins that a stand-in replaces.
    """
    replaced = []
    bin_dir.mkdir(parents=True, exist_ok=True)
    for name, version in _STAND_INS.items():
        _tell_unfit(name, version, report)
        code = (
            f"import sys; sys.path.append({json.dumps(str(_PROJECT))}); "
            f"from lab.plugins.{name}.__main__ import main; main()  # {_MARK}"
        )
        # -P: the program's own directory must not shadow a module; no PYTHONPATH: local commands inherit it.
        official = find_official(name, version)
        if official is None:
            replaced.append(name)
            _place(bin_dir, name, f'{shlex.join([str(python), "-P", "-u", "-c", code])} "$@"')
        elif _unfit(name, version, os.environ):
            # The engine would take the one on PATH, and never look into its cache.
            _place(bin_dir, name, f'{shlex.quote(str(official))} "$@"  # no {_MARK}, but in front of another version')
        else:
            _clear(bin_dir, name, official)
    dynamic = f'{shlex.quote(str(python))} -u -m pulumi.dynamic "$@"  # {_MARK}'
    known = next(_on_path(_DYNAMIC, os.environ), None)
    if known is None:
        _place(bin_dir, _DYNAMIC, dynamic)
    else:
        _clear(bin_dir, _DYNAMIC, known)
    return replaced


def find_official(name: str, version: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The official plugin `name` that fits `version`: the first on PATH, or else the one in the plugin cache."""
    first = next(_on_path(name, environment), None)
    if first is not None and fits(version_of(first), version):
        return first
    home = Path(environment.get("PULUMI_HOME") or Path(environment.get("HOME", "~")).expanduser() / ".pulumi")
    cached = home / "plugins" / f"resource-{name}-v{version}" / f"pulumi-resource-{name}"
    return cached if os.access(cached, os.X_OK) else None


def fits(found: str | None, pinned: str) -> bool:
    """The same major and minor version, as for the engine itself (`lab/engine/install.py`)."""
    return found is not None and found.removeprefix("v").split(".")[:2] == pinned.split(".")[:2]


def version_of(plugin: Path) -> str | None:
    """What a plugin says of itself when it is asked as the engine asks; None when it does not answer."""
    return _asked(plugin, plugin.stat().st_mtime_ns)


@functools.cache
def _asked(plugin: Path, _changed: int) -> str | None:
    # It wants an engine's address, and calls there only to write a log.
    process = subprocess.Popen([plugin, "127.0.0.1:1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    output = process.stdout
    try:
        if output is None or not select.select([output], [], [], _ANSWER_LIMIT)[0]:
            return None
        port = output.readline().strip()
        if not port.isdecimal():
            return None
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            return str(stub.GetPluginInfo(Empty(), timeout=_ANSWER_LIMIT).version) or None
    except grpc.RpcError:
        return None
    finally:
        process.kill()
        process.communicate()


def _unfit(name: str, version: str, environment: Mapping[str, str]) -> Path | None:
    """The first on PATH, when it is of another version."""
    first = next(_on_path(name, environment), None)
    return first if first is not None and not fits(version_of(first), version) else None


def _tell_unfit(name: str, version: str, report: Report) -> None:
    found = _unfit(name, version, os.environ)
    if found is not None:
        report(f"{found} is {version_of(found) or 'no plugin that answers'}; this program is made for {version}")


def _on_path(name: str, environment: Mapping[str, str]) -> Iterator[Path]:
    for directory in environment.get("PATH", "").split(os.pathsep):
        found = Path(directory or ".") / f"pulumi-resource-{name}"
        if found.is_file() and os.access(found, os.X_OK) and not _is_ours(found):
            yield found


def _is_ours(executable: Path) -> bool:
    with executable.open("rb") as file:
        return _MARK.encode() in file.read(4096)


def _clear(bin_dir: Path, name: str, official: Path) -> None:
    """Take away what stands before an official plugin, unless it is that itself."""
    executable = bin_dir / f"pulumi-resource-{name}"
    if official.resolve() != executable.resolve() and executable.is_file() and _is_ours(executable):
        executable.unlink()


def _place(bin_dir: Path, name: str, command: str) -> None:
    """Write the executable; replace one at once, as a run may be starting it."""
    executable = bin_dir / f"pulumi-resource-{name}"
    text = f"#!/bin/sh\nexec {command}\n"
    if executable.is_file() and executable.read_text(errors="replace") == text:
        return
    fresh = executable.with_suffix(f".{os.getpid()}")
    fresh.write_text(text)
    fresh.chmod(0o755)
    fresh.replace(executable)
