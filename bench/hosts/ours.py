"""Our own resources on the real engine: preparation and registration as the program declares them, without a cluster.

A stack of its own on the file backend. Its program declares what `components/hosts.py` declares for a host (a prepared
Command, a Host that waits for it), with the bench's script. `parallel` None is the engine's default.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What the program declares: `key` lets in, `labels` by host, `seconds` that the work on each host takes besides."""

    hosts: Sequence[Endpoint] = ()
    key: str = ""
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    seconds: float = 0


@dataclass(frozen=True)
class Failure:
    """Of a run: the hosts of which something failed, by the engine's events, and what it said to people."""

    names: Sequence[str]
    said: str


class Ours:
    """One stack for a series of operations."""

    def __init__(
        self,
        place: Path,
        url: str,
        password: str,
        *,
        parallel: int | None,
        per_second: int,
        fast: bool = False,
        connect: int = 10,
    ) -> None:
        """`connect`: seconds of one attempt to reach a host. The default is above the program's own, which is made for hosts
        that do not share this machine's cores."""
        self._declared = Declared()
        self._parallel, self._connect = parallel, connect
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

    def up(self, hosts: Sequence[Endpoint], **more: Any) -> Mapping[str, int]:
        """Hosts with a `key` are prepared and registered, without they are registered alone; `more` as in Declared.

        How many resources were made, changed, left. Raises automation.CommandError.
        """
        self._declared = Declared(hosts=hosts, **more)
        return _counts(self._stack.up(on_output=_nobody, continue_on_error=True, parallel=self._parallel).summary)

    def failing_up(self, hosts: Sequence[Endpoint], **more: Any) -> Failure:
        """The same where it must fail. Raises RuntimeError when it does not."""
        failed: set[str] = set()

        def heard(event: automation.EngineEvent) -> None:
            if event.res_op_failed_event is not None:
                failed.add(_host(event.res_op_failed_event.metadata.urn))

        self._declared = Declared(hosts=hosts, **more)
        try:
            self._stack.up(on_output=_nobody, on_event=heard, continue_on_error=True, parallel=self._parallel)
        except automation.CommandError as error:
            return Failure(sorted(failed), str(error))
        raise RuntimeError("a run in which hosts cannot be reached ended with exit code 0")

    def refresh(self) -> Mapping[str, int]:
        """How many resources are as the state has them, differ, are gone."""
        return _counts(self._stack.refresh(on_output=_nobody, parallel=self._parallel).summary)

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
            if item["urn"].rpartition("::")[2].startswith("hosts-") and item.get("custom"):
                host = _host(item["urn"])
                found.setdefault(host, []).append(len(json.dumps(item, separators=(",", ":"))))
        return found

    def _program(self) -> None:
        parent = pulumi.ComponentResource("opennebula:index:Hosts", "hosts")
        child = pulumi.ResourceOptions(parent=parent)
        declared = self._declared
        way = Way(None, self._connect, 3, 60, 60, LIMIT, 0, remote_command(HOST, LIMIT))
        preparations = Preparations("hosts-prepare", way, pulumi.Output.secret(declared.key))
        with short():
            for host in declared.hosts:
                waits = []
                if declared.key:
                    text = pulumi.Output.from_input(f"# {host.name}\n{work.script(declared.seconds)}")
                    waits = [preparations.command(host.name, host.endpoint, text, child)]
                Host(
                    f"hosts-{host.name}",
                    HostArgs(name=host.name, im_mad=DRIVER, vm_mad=DRIVER, labels=declared.labels.get(host.name)),
                    opts=pulumi.ResourceOptions(parent=parent, depends_on=waits),
                )


def _host(urn: str) -> str:
    """Name of the host that a resource belongs to."""
    return urn.rpartition("::")[2].removeprefix("hosts-").removeprefix("prepare-")


def _counts(summary: automation.UpdateSummary) -> Mapping[str, int]:
    """By operation."""
    return {str(getattr(kind, "value", kind)): count for kind, count in (summary.resource_changes or {}).items()}


def _nobody(_line: str) -> None:
    pass
