"""Where one Pulumi workspace keeps its things: backend, passphrase, environment of the engine.

By default all of it lies in the checkout's state directory, so that nothing of the operator's own Pulumi is touched.
Beyond the lab, an operator's PULUMI_BACKEND_URL and passphrase are taken as they are.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.paths import PROJECT, STATE

PARALLEL = 64  # resource operations at once: most of them wait for a host or a pod


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Environment for the engine; `secret` values never leave it."""

    environment: dict[str, str]
    state: Path


def prepare(engine: Path, plugins: Path, *, throw_away: bool, environ: Mapping[str, str] = os.environ) -> Workspace:
    """Make the backend directory and the passphrase, once. Raises LabError for an empty passphrase.

    `throw_away`: the state of a lab, which never goes into an operator's own backend.
    """
    state = STATE / "pulumi"
    (state / "backend").mkdir(parents=True, exist_ok=True)
    found = dict(environ)
    home = state / "home"
    if not found.get("PULUMI_HOME"):
        home.mkdir(exist_ok=True)
        # Plugins are shared with the operator's own Pulumi: what is installed there counts as installed here.
        shared = Path(found.get("HOME") or Path.home()) / ".pulumi" / "plugins"
        if not (home / "plugins").exists():
            shared.mkdir(parents=True, exist_ok=True)
            (home / "plugins").symlink_to(shared)
    own = file_backend(state / "backend")
    environment = {
        "PATH": f"{plugins}:{engine}:{found.get('PATH', os.defpath)}",
        "PULUMI_BACKEND_URL": own if throw_away else found.get("PULUMI_BACKEND_URL") or own,
        "PULUMI_HOME": found.get("PULUMI_HOME") or str(home),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # The dynamic providers run in an interpreter of their own; it must be this one and see the project's modules.
        "PULUMI_PYTHON_CMD": sys.executable,
        "PYTHONPATH": str(PROJECT),
    }
    return Workspace(environment=environment | _passphrase(state / "passphrase", found), state=state)


def file_backend(directory: Path) -> str:
    """The address of a backend of files that a killed engine cannot spoil.

    Without the option a sidecar of each file (`NAME.attrs`, its type and checksum) is written in place. A kill between its two steps
    leaves it empty, and nothing of the stack can be read any more: `failed to load checkpoint: EOF`. The states themselves come by
    rename. Source: gocloud.dev 0.46 blob/fileblob (attrs.go; `metadata=skip`); seen once in a hundred kills of an engine.
    """
    return f"file://{directory}?metadata=skip"


def _passphrase(file: Path, found: Mapping[str, str]) -> dict[str, str]:
    """In the engine's order: a PULUMI_CONFIG_PASSPHRASE that is set at all, blank or not, and only else the file.

    Source: readPassphrase in pulumi 3.255 pkg/secrets/passphrase/manager.go.
    """
    given = found.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if "PULUMI_CONFIG_PASSPHRASE" in found:
        if not found["PULUMI_CONFIG_PASSPHRASE"].strip():
            then = "PULUMI_CONFIG_PASSPHRASE_FILE counts" if given else "one is generated into the state directory"
            raise LabError(
                "PULUMI_CONFIG_PASSPHRASE is empty",
                cause="an empty passphrase encrypts nothing",
                fix=f"set it to a passphrase, or unset it: then {then}",
            )
        return {"PULUMI_CONFIG_PASSPHRASE": found["PULUMI_CONFIG_PASSPHRASE"]}
    if given:
        if Path(given).is_file() and not Path(given).read_text().strip():
            raise LabError(
                f"the passphrase file {given} is empty",
                cause="an empty passphrase encrypts nothing",
                fix="write a passphrase into it, or unset PULUMI_CONFIG_PASSPHRASE_FILE",
            )
        return {"PULUMI_CONFIG_PASSPHRASE_FILE": given}
    if not file.exists():
        draft = file.with_suffix(".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_urlsafe(32) + "\n")
        draft.replace(file)
    return {"PULUMI_CONFIG_PASSPHRASE_FILE": str(file)}
