"""Our own resources on the real engine: preparation and registration as the program declares them, without a cluster.

A stack of its own on the file backend. Its program declares what `components/hosts.py` declares for a host (a prepared
Command, a Host that waits for it), with the bench's script. `parallel` None is the engine's default.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pulumi
from pulumi import automation

from bench.hosts import work
from bench.hosts.endpoints import Host as Endpoint
from bench.hosts.oned import DRIVER
from components.bootstrap.script import remote_command
from components.naming import PROJECT as PROJECT_NAME
from components.preparing.resource import Preparations
from components.preparing.values import HOST, Way
from components.registration.resource import Host, HostArgs
from components.source_position import short
from lab.engine.install import ensure_engine
from lab.engine.workspace import file_backend
from lab.paths import PROJECT
from lab.plugins.install import ensure_plugins

LIMIT = 600  # seconds


class Ours:
    """One stack for a series of operations."""

    def __init__(
        self, place: Path, url: str, password: str, *, parallel: int | None, per_second: int, fast: bool = False
    ) -> None:
        self._hosts: Sequence[Endpoint] = ()
        self._key = ""
        self._parallel = parallel
        state = place / "state"
        state.mkdir(parents=True, exist_ok=True)
        plugins = place / "bin"
        ensure_plugins(plugins, Path(sys.executable))
        path = f"{plugins}:{ensure_engine()}:{os.environ.get('PATH', os.defpath)}"
        os.environ["PATH"] = path
        self.file = state / ".pulumi" / "stacks" / PROJECT_NAME / "bench.json"
        environment = {
            "PATH": path,
            "PULUMI_HOME": str(place / "home"),
            "PULUMI_BACKEND_URL": file_backend(state),
            "PULUMI_CONFIG_PASSPHRASE": "bench",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_PYTHON_CMD": sys.executable,
            "PYTHONPATH": str(PROJECT),
            **({"PULUMI_SKIP_CHECKPOINTS": "true"} if fast else {}),
        }
        settings = automation.LocalWorkspaceOptions(
            work_dir=str(place),
            env_vars=environment,
            project_settings=automation.ProjectSettings(
                name=PROJECT_NAME,
                runtime="python",
                main=str(PROJECT),
                backend=automation.ProjectBackend(file_backend(state)),
            ),
        )
        self._stack = automation.create_or_select_stack("bench", PROJECT_NAME, self._program, opts=settings)
        api = json.dumps({"url": url, "requestsPerSecond": per_second})
        self._stack.set_config(f"{PROJECT_NAME}:api", automation.ConfigValue(api))
        self._stack.set_config(f"{PROJECT_NAME}:apiPassword", automation.ConfigValue(password, secret=True))

    def up(self, hosts: Sequence[Endpoint], *, key: str = "") -> None:
        """With the private key that hosts let in: prepared and registered. Without: registered alone."""
        self._hosts, self._key = hosts, key
        self._stack.up(on_output=_nobody, continue_on_error=True, parallel=self._parallel)

    def destroy(self) -> None:
        self._stack.destroy(on_output=_nobody, parallel=self._parallel)

    def unlock(self) -> None:
        """After a kill."""
        self._stack.cancel()

    def of_hosts(self) -> list[int]:
        """Bytes of state for each host, all its resources together."""
        return [sum(sizes) for sizes in self._leaves().values()]

    def leaves(self) -> int:
        """The most resources that one host has."""
        return max(len(sizes) for sizes in self._leaves().values())

    def _leaves(self) -> dict[str, list[int]]:
        """By host, the size of each of its resources."""
        found: dict[str, list[int]] = {}
        for item in json.loads(self.file.read_text())["checkpoint"]["latest"].get("resources", ()):
            name = item["urn"].rpartition("::")[2]
            if name.startswith("hosts-") and item.get("custom"):
                host = name.removeprefix("hosts-").removeprefix("prepare-")
                found.setdefault(host, []).append(len(json.dumps(item, separators=(",", ":"))))
        return found

    def _program(self) -> None:
        parent = pulumi.ComponentResource("opennebula:index:Hosts", "hosts")
        child = pulumi.ResourceOptions(parent=parent)
        way = Way(None, 10, 3, 60, 60, LIMIT, 0, remote_command(HOST, LIMIT))
        preparations = Preparations("hosts-prepare", way, pulumi.Output.secret(self._key))
        with short():
            for host in self._hosts:
                waits = []
                if self._key:
                    text = pulumi.Output.from_input(f"# {host.name}\n{work.script()}")
                    waits = [preparations.command(host.name, host.endpoint, text, child)]
                Host(
                    f"hosts-{host.name}",
                    HostArgs(name=host.name, im_mad=DRIVER, vm_mad=DRIVER),
                    opts=pulumi.ResourceOptions(parent=parent, depends_on=waits),
                )


def _nobody(_line: str) -> None:
    pass
