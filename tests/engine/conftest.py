"""The lab that the engine tests share: an instance of its own beside the one of `make up`.

Started once for the whole run and ended with it. Tests of one module build on each other in the order in which they
stand, as an operator's day does; each module brings the stack to a known state first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lab import rehearsal
from lab.console import say
from lab.engine.stack import ProgramStack
from lab.errors import LabError
from lab.hosts import LabHost
from lab.paths import Instance
from lab.toolchain import tool

INSTANCE = Instance(name="engine", index=3)
STACK = "labtest"
NAMESPACE = "opennebula"


@dataclass
class World:
    """The running lab, its stack, and short ways to look at both."""

    lab: rehearsal.Lab
    hosts: list[LabHost] = field(default_factory=list)

    def stack(self, changes: Mapping[str, Any] | None = None, hosts: Sequence[LabHost] | None = None) -> ProgramStack:
        """The stack with the given hosts and config changes written into its file."""
        lab = replace(self.lab, hosts=tuple(self.hosts if hosts is None else hosts))
        return lab.stack(STACK, changes)

    def core(self, changes: Mapping[str, Any] | None = None) -> ProgramStack:
        """The same without the web daemons: for tests of what is below them, which need not wait for those."""
        off: dict[str, Any] = {
            f"opennebula:{part}": {"enabled": False} for part in ("fireedge", "oneflow", "onegate", "ingress", "hem")
        }
        return self.stack({**off, **(changes or {})})

    def start_host(self, name: str, kind: Any) -> LabHost:
        """One more machine in the lab."""
        from lab.hosts import start_hosts

        return start_hosts(self.lab.instance, {name: kind})[0]

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """kubectl in the stack's namespace."""
        import subprocess

        command = [str(tool("kubectl")), f"--kubeconfig={self.lab.instance.kubeconfig}", "-n", NAMESPACE, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
        if check and done.returncode != 0:
            raise LabError(f"kubectl {' '.join(arguments)} failed", cause=done.stderr.strip())
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """Objects as data."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def oned(self) -> Any:
        """A client of the deployed oned, reached as the program reaches it."""
        from components.registration.runtime import runtime
        from components.registration.settings import ProviderSettings

        texts = {
            "opennebula:kubernetes": json.dumps(
                {"kubeconfig": str(self.lab.instance.kubeconfig), "namespace": NAMESPACE}
            )
        }
        return runtime(ProviderSettings.read(texts.get)).client

    def rows(self) -> dict[str, int]:
        """Host name → id, as oned has them. Fails on a name that stands twice."""
        found = self.oned().hosts()
        names = [record.name for record in found]
        assert len(names) == len(set(names)), f"a name is registered twice: {sorted(names)}"
        return {record.name: record.id for record in found}

    def restarts_of(self, pod: str, container: str) -> int:
        """How often one container was started anew; 0 when there is no such pod."""
        found = self.kubectl("get", "pod", pod, "--ignore-not-found", "-o", "json")
        statuses = json.loads(found)["status"].get("containerStatuses", []) if found.strip() else []
        return sum(status["restartCount"] for status in statuses if status["name"] == container)

    def restarts(self) -> dict[str, int]:
        """Container restarts by pod/container, and each pod's uid: equal before and after = nothing was restarted."""
        found = {}
        for pod in self.get("pods")["items"]:
            for status in pod["status"].get("containerStatuses", []):
                found[f"{pod['metadata']['uid']}/{status['name']}"] = status["restartCount"]
        return found


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The lab of this test run."""
    rehearsal.stop_lab(INSTANCE, STACK)  # whatever a run that was killed left behind
    phases = rehearsal.Phases()
    lab = rehearsal.start_lab(INSTANCE, {"kvm-1": "kvm", "lxc-1": "lxc"}, phases)
    say(f"lab for tests: {phases.spans}")
    try:
        yield World(lab=lab, hosts=list(lab.hosts))
    finally:
        rehearsal.stop_lab(INSTANCE, STACK)
    assert left_behind() == []


def left_behind(instance: Instance = INSTANCE) -> list[str]:
    """What a stopped lab would still have on this machine."""
    import subprocess

    from lab import cgroups

    state = str(instance.state)
    found = [f"process {pid}" for pid in cgroups.pids(instance)]
    found += [f"mount {line}" for line in Path("/proc/self/mounts").read_text().splitlines() if state in line]
    found += [f"interface {link.name}" for link in Path("/sys/class/net").iterdir() if link.name == instance.uplink]
    for command in (["iptables-save"], ["ip", "route"]):
        text = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        found += [f"{command[0]}: {line}" for line in text.splitlines() if str(instance.box_ip)[:6] in line]
    return found


@pytest.fixture
def inside(world: World) -> Callable[[str], list[str]]:
    """Words before a command that make it run in a lab host as root."""
    from lab.hosts import inside

    return lambda name: inside(world.lab.instance, name)
