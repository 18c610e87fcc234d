"""Terraform with OpenNebula's provider, where somebody gives both binaries: TERRAFORM and TERRAFORM_PROVIDER are their paths.

Nothing is fetched: the provider comes by `dev_overrides` of a CLI configuration of the run's own, so there is no `init`, and the
state is the local file beside the configuration. Hosts are of type `custom` with the bench's driver. Preparation is Terraform's own
`remote-exec` with the script of all contenders and the pinned host key; the registration waits for it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.hosts import work
from bench.hosts.endpoints import Fleet, Host
from bench.hosts.oned import DRIVER

DEFAULT, TUNED = 10, 100
"""Operations at once: Terraform's default, and as many as there are hosts in the usual run."""
LIMIT = 1800  # seconds for one operation
_ADDRESS = "OpenNebula/opennebula"


class Binaries(NamedTuple):
    """Both absolute. Whoever gives them vouches for them."""

    terraform: Path
    provider: Path


def given(environ: Mapping[str, str]) -> Binaries | None:
    """None when neither is named. Raises ValueError for one without the other, and for what is no program."""
    named = {name: environ.get(name) or "" for name in ("TERRAFORM", "TERRAFORM_PROVIDER")}
    if not any(named.values()):
        return None
    if missing := [name for name, path in named.items() if not path]:
        raise ValueError(f"{missing[0]} is missing: Terraform and its provider are measured together")
    for name, path in named.items():
        if not os.access(path, os.X_OK) or Path(path).is_dir():
            raise ValueError(f"{name}={path} is no program")
    terraform, provider = (Path(path).absolute() for path in named.values())
    return Binaries(terraform, provider)


class Terraform:
    """One configuration and its state. `place` is a new directory; `session` is `user:password`."""

    def __init__(self, binaries: Binaries, place: Path, url: str, session: str, *, parallel: int) -> None:
        self._terraform, self._place, self._parallel = binaries.terraform, place, parallel
        self._url, (self._user, _, self._password) = url, session.partition(":")
        plugin = place / "provider"
        plugin.mkdir()
        (plugin / "terraform-provider-opennebula").symlink_to(binaries.provider)
        settings = f'provider_installation {{\n  dev_overrides {{ "{_ADDRESS}" = "{plugin}" }}\n  direct {{}}\n}}\n'
        (place / "cli.tfrc").write_text(settings)

    def up(self, hosts: Sequence[Host], *, fleet: Fleet | None = None, seconds: float = 0) -> None:
        """With the fleet that they belong to: prepared and registered. Without: registered alone. Raises RuntimeError."""
        found = _configuration(hosts, self._url, self._user, self._password)
        if fleet is not None:
            found["resource"]["terraform_data"] = {"prepared": _prepared(fleet, work.script(seconds))}
            found["resource"]["opennebula_host"]["host"]["depends_on"] = ["terraform_data.prepared"]
        (self._place / "main.tf.json").write_text(json.dumps(found))
        self._run("apply")

    def destroy(self) -> None:
        self._run("destroy")

    def _run(self, operation: str) -> None:
        command = [str(self._terraform), operation, "-auto-approve", "-input=false", "-no-color"]
        environ = {
            **{name: text for name, text in os.environ.items() if not name.startswith("TF_")},
            "TF_CLI_CONFIG_FILE": str(self._place / "cli.tfrc"),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }
        done = subprocess.run(
            [*command, f"-parallelism={self._parallel}"],
            cwd=self._place,
            env=environ,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"terraform {operation}: {done.stderr[-2000:] or done.stdout[-2000:]}")


def _configuration(hosts: Sequence[Host], url: str, user: str, password: str) -> dict[str, Any]:
    """Hosts are data, so that the text is as short as a person would have it."""
    at = {
        host.name: {
            "user": host.endpoint.user,
            "address": host.endpoint.address,
            "port": host.endpoint.port,
            "key": host.endpoint.host_key,
            "own": str(host.root.parent),
        }
        for host in hosts
    }
    host = {
        "for_each": "${local.hosts}",
        "name": "${each.key}",
        "type": "custom",
        "custom": {"virtualization": DRIVER, "information": DRIVER},
    }
    return {
        "terraform": {"required_providers": {"opennebula": {"source": _ADDRESS}}},
        "provider": {"opennebula": {"endpoint": url, "username": user, "password": password}},
        "locals": {"hosts": at},
        "resource": {"opennebula_host": {"host": host}},
    }


def _prepared(fleet: Fleet, script: str) -> dict[str, Any]:
    return {
        "for_each": "${local.hosts}",
        "connection": {
            "type": "ssh",
            "user": "${each.value.user}",
            "host": "${each.value.address}",
            "port": "${each.value.port}",
            "host_key": "${each.value.key}",
            "private_key": f'${{file("{fleet.key_file}")}}',
            "agent": False,
            "script_path": "${each.value.own}/terraform-%RAND%.sh",  # it is left there, and goes with the endpoint
        },
        "provisioner": [{"remote-exec": {"inline": [script.replace("${", "$${").replace("%{", "%%{")]}}],
    }
