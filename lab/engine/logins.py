"""Command lines that log in to the hosts of a stack file, for messages: what to try by hand when the engine cannot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.naming import PROJECT
from lab import configfile
from stacks.host_list import assemble, ways


def plain_config(file: Path) -> dict[str, Any]:
    """The stack file's values by short key; those that the engine encrypted are left out. Raises LabError."""
    config = configfile.config(file)
    prefix = f"{PROJECT}:"
    return {
        key.removeprefix(prefix): value
        for key, value in config.items()
        if key.startswith(prefix) and not (isinstance(value, dict) and set(value) == {"secure"})
    }


def logins(file: Path) -> dict[str, str]:
    """`ssh …` by host name, for every declared host. What is wrong with the file is not said here."""
    config = plain_config(file)
    ssh = config.get("ssh")
    found: dict[str, str] = {}
    for entry in assemble(config).entries:
        way = ways(entry)
        if way is not None:
            name, address, port = way
            found[name] = _command(ssh if isinstance(ssh, Mapping) else {}, entry.raw, address or name, port)
    return found


def _command(ssh: Mapping[str, Any], host: Mapping[str, Any], address: str, port: int) -> str:
    usual = ssh.get("user", "root")
    words = ["ssh"]
    bastion = ssh.get("bastion")
    if isinstance(bastion, Mapping):
        words += ["-J", f"{bastion.get('user') or usual}@{bastion.get('host')}:{bastion.get('port', 22)}"]
    words += ["-p", str(port)] if port != 22 else []
    return " ".join([*words, f"{host.get('user') or usual}@{address}"])
