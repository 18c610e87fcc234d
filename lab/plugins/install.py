"""The engine's plugins for a machine: the official ones where they are, stand-ins where they are not.

Nothing is downloaded here (`lab/engine/install.py` asks the engine to, first). A stand-in is an executable of two lines in
a directory that goes first on PATH, which is where the engine looks first.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from lab.plugins import command, kubernetes

_PROJECT = Path(__file__).resolve().parents[2]
_MARK = "rehearsal stand-in"  # in each executable, so that ours is never taken for the official
_STAND_INS = {"kubernetes": kubernetes.VERSION, "command": command.VERSION}
_DYNAMIC = "pulumi-python"  # the host of dynamic providers; its only official form is a script beside the CLI


def ensure_plugins(bin_dir: Path, python: Path) -> list[str]:
    """Put into `bin_dir` what the program needs and the machine lacks; take out a stand-in that is not needed any more.

    `python` is the interpreter that has the project's packages; it need not be the running one. Returns the names of the
    plugins that a stand-in replaces.
    """
    replaced = []
    bin_dir.mkdir(parents=True, exist_ok=True)
    for name, version in _STAND_INS.items():
        code = (
            f"import sys; sys.path.append({json.dumps(str(_PROJECT))}); "
            f"from lab.plugins.{name}.__main__ import main; main()  # {_MARK}"
        )
        # -P: the program's own directory must not shadow a module; no PYTHONPATH: local commands inherit it.
        official = find_official(name, version)
        if official is None:
            replaced.append(name)
        _place(bin_dir, name, official, f'{shlex.join([str(python), "-P", "-u", "-c", code])} "$@"')
    dynamic = f'{shlex.quote(str(python))} -u -m pulumi.dynamic "$@"  # {_MARK}'
    _place(bin_dir, _DYNAMIC, _on_path(_DYNAMIC, os.environ), dynamic)
    return replaced


def find_official(name: str, version: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The official plugin `name`, on PATH (any version: the engine takes it as well) or in the plugin cache."""
    home = Path(environment.get("PULUMI_HOME") or Path(environment.get("HOME", "~")).expanduser() / ".pulumi")
    cached = home / "plugins" / f"resource-{name}-v{version}" / f"pulumi-resource-{name}"
    return _on_path(name, environment) or (cached if os.access(cached, os.X_OK) else None)


def _on_path(name: str, environment: Mapping[str, str]) -> Path | None:
    for directory in environment.get("PATH", "").split(os.pathsep):
        found = Path(directory or ".") / f"pulumi-resource-{name}"
        if found.is_file() and os.access(found, os.X_OK) and not _is_ours(found):
            return found
    return None


def _is_ours(executable: Path) -> bool:
    with executable.open("rb") as file:
        return _MARK.encode() in file.read(4096)


def _place(bin_dir: Path, name: str, official: Path | None, command: str) -> None:
    """Write the executable unless there is an official one; replace it at once, as a run may be starting it."""
    executable = bin_dir / f"pulumi-resource-{name}"
    if official is not None:
        if official.resolve() != executable.resolve() and executable.is_file() and _is_ours(executable):
            executable.unlink()
        return
    text = f"#!/bin/sh\nexec {command}\n"
    if executable.is_file() and executable.read_text(errors="replace") == text:
        return
    fresh = executable.with_suffix(f".{os.getpid()}")
    fresh.write_text(text)
    fresh.chmod(0o755)
    fresh.replace(executable)
