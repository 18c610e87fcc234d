"""A stack of hosts on the real engine: the program's own Hosts component, and the layer of `make up` that words errors.

Left out are the control plane, so that no cluster is needed, and the wait for monitoring, which is of no account here.
`python -m tests.faults.fleet PLACE OPERATION` runs one operation on a stack that another process has set up.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pulumi
import yaml
from pulumi import automation

from bench.hosts.endpoints import Host
from components import hosts as component
from components.generated.keys import new_key_pair
from components.hosts import Hosts, HostsArgs
from components.naming import PROJECT as PROJECT_NAME
from components.preparing import workshop
from components.preparing.resource import Preparations
from components.preparing.values import Endpoint
from lab.engine.install import ensure_engine
from lab.engine.stack import ProgramStack
from lab.engine.trace import Trace
from lab.engine.workspace import Workspace, file_backend
from lab.errors import LabError
from lab.paths import PROJECT
from lab.plugins.install import ensure_plugins
from stacks.settings import parse
from tests import examples
from tests.faults import host_script
from tests.faults.killer import Killer, Victim

PASSPHRASE = "marker-passphrase-5f1c"
KIND = "lxc"
_KEY = new_key_pair().public_key
_ASIDE = "10.0.0.11"  # stands in while the settings are parsed, which rightly refuse many hosts on loopback


@dataclass
class Plan:
    """What a stack is told; a file, so that another process can be told the same."""

    name: str
    url: str
    password: str
    private_key: str
    hosts: list[dict[str, Any]] = field(default_factory=list)
    """Entries of opennebula:hosts."""
    edition: str = "1"
    lock_wait: int = 20
    retain: bool = True
    kubeconfig: str = ""
    api: dict[str, Any] = field(default_factory=dict)
    ssh: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


class _Watched(Trace):
    """Shows every event to the test as well."""

    seen: Callable[[automation.EngineEvent], None] = staticmethod(lambda _event: None)

    def on_event(self, event: automation.EngineEvent) -> None:
        super().on_event(event)
        self.seen(event)


class FleetStack(ProgramStack):
    """`said` is everything that was printed; `seen` is called with every event of the engine."""

    def __init__(self, place: Path, plan: Plan) -> None:
        self.place, self.plan = place, plan
        self.said: list[str] = []
        self.seen: Callable[[automation.EngineEvent], None] = lambda _event: None
        self._plan_file = place / "plan.json"
        state = place / "backend"
        state.mkdir(parents=True, exist_ok=True)
        plugins = place / "bin"
        ensure_plugins(plugins, Path(sys.executable))
        environment = {
            "PATH": f"{plugins}:{ensure_engine()}:{os.environ.get('PATH', os.defpath)}",
            "PULUMI_HOME": str(place / "home"),
            "PULUMI_BACKEND_URL": file_backend(state),
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_PYTHON_CMD": sys.executable,
            "PYTHONPATH": str(PROJECT),
        }
        super().__init__(
            plan.name,
            Workspace(environment=environment, state=place),
            self.said.append,
            program=self._program,
            folder=place,
            project=automation.ProjectSettings(
                name=PROJECT_NAME,
                runtime="python",
                main=str(PROJECT),
                backend=automation.ProjectBackend(file_backend(state)),
            ),
        )
        if plan.password:
            self.set_secret(f"{PROJECT_NAME}:apiPassword", plan.password)
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Change the plan, and write the stack's file and the plan's."""
        for name, value in changes.items():
            setattr(self.plan, name, value)
        plan = self.plan
        content = yaml.safe_load(self._file.read_text()) or {}
        usual = {"url": plan.url, "requestsPerSecond": 200, "connectTimeout": 2, "readTimeout": 3, "waitSeconds": 20}
        own = {
            "hosts": plan.hosts,
            "api": usual | plan.api,
            "storage": {"retain": plan.retain},
            "ssh": self._ssh(),
            **({"kubernetes": {"kubeconfig": plan.kubeconfig}} if plan.kubeconfig else {}),
            **plan.config,
        }
        content.setdefault("config", {}).update({f"{PROJECT_NAME}:{key}": value for key, value in own.items()})
        self._file.write_text(yaml.safe_dump(content))
        self._plan_file.write_text(json.dumps(asdict(plan)))
        self._plan_file.chmod(0o600)

    def text(self) -> str:
        return "\n".join(self.said)

    def state_text(self) -> str:
        """All that the backend keeps: state, its copies, history, locks."""
        files = (path for path in (self.place / "backend").rglob("*") if path.is_file())
        return "\n".join(path.read_text(errors="replace") for path in files)

    def close(self) -> None:
        """Take away what lies in the checkout."""
        if (former := workshop._agents.pop(self.work, None)) is not None:
            former.close()
        shutil.rmtree(self.work, ignore_errors=True)

    @property
    def work(self) -> Path:
        """Where the program leaves scripts and the way for the commands."""
        return PROJECT / ".state" / "prepare" / self.plan.name

    @property
    def locked(self) -> bool:
        return any((self.place / "backend").glob(".pulumi/locks/**/*.json"))

    def _ssh(self) -> dict[str, Any]:
        # A host that is well must be in time on a machine that is busy; one that is not costs their product.
        usual = {"user": "root", "dialTimeout": 5, "dialAttempts": 2, "loginTimeout": 20, "silence": 8}
        return usual | {"scriptTimeout": 60} | self.plan.ssh

    def _trace(self) -> Trace:
        usual = super()._trace()
        trace = _Watched(usual.report, hosts=usual.hosts)
        trace.seen = self.seen
        return trace

    def _program(self) -> None:
        plan = self.plan
        # Below scriptTimeout together, as the settings demand.
        limits = {"installLimit": 30, "lockWait": 20}
        usual: dict[str, Any] = {
            **examples.config(),
            "ssh": json.dumps(self._ssh()),
            "preparation": json.dumps(limits),
        }
        # Pydantic sees every host but where it is; that is put back.
        moved = [{**entry, "address": _ASIDE, "port": 1000 + number} for number, entry in enumerate(plan.hosts)]
        found = parse(
            usual | {"hosts": json.dumps(moved)} | {key: json.dumps(value) for key, value in plan.config.items()}
        )
        real = {entry["name"]: {key: entry[key] for key in ("address", "port")} for entry in plan.hosts}
        component.script = lambda host, _args, _keys: host_script.text(  # type: ignore[assignment]
            host.name, edition=plan.edition, lock_wait=plan.lock_wait
        )
        # What all hosts are told of each other comes over connections of its own (tests/preparing/test_everyone.py): faults are
        # counted here by those of a preparation.
        setattr(Preparations, "everyone", lambda *_args, **_more: None)  # noqa: B010
        setattr(component, "FleetReady", lambda *_args, **_more: None)  # noqa: B010 -- a name that it imports
        made = Hosts(
            "hosts",
            HostsArgs(
                hosts=tuple(host.model_copy(update=real[host.name]) for host in found.hosts),
                ssh=found.ssh,
                packages=found.packages,
                fleet=found.fleet,
                version=found.version,
                monitoring=found.monitoring,
                way_back=found.way_back,
                preparation=found.preparation,
                private_key=pulumi.Output.secret(plan.private_key),
                oneadmin_public_key=_KEY,
                frontend_name="front",
                frontend_host_public_key=_KEY,
                oned=(pulumi.ComponentResource("test:index:Oned", "oned"),),
                namespace_name="one",
            ),
        )
        pulumi.export("hosts", made.hosts)


def entry(host: Host, port: int | None = None, **more: Any) -> dict[str, Any]:
    """One host as an operator writes it; `port` of a relay on 127.0.0.1 in front of it."""
    place: Endpoint = host.endpoint
    where = {"address": "127.0.0.1", "port": port} if port else {"address": place.address, "port": place.port}
    return {"name": host.name, "kind": KIND, "hostKey": place.host_key, **where, **more}


def entries(hosts: Sequence[Host], **more: Any) -> list[dict[str, Any]]:
    return [entry(host, **more) for host in hosts]


def main(place: str, operation: str, *kill: str) -> NoReturn:
    """Prints one JSON object: the changes, or the error as an operator reads it. `kill`: victim, events, seconds."""
    folder = Path(place)
    stack = FleetStack(folder, Plan(**json.loads((folder / "plan.json").read_text())))
    answer: dict[str, Any] = {}
    killer: Killer | None = None
    if kill:
        victim, events, seconds = kill
        stack.seen = killer = Killer(Victim(victim), stack.name, int(events), float(seconds))
    try:
        answer["changes"] = dict(getattr(stack, operation)().changes)
    except LabError as error:
        answer["error"] = str(error)
    if killer is not None:
        killer.close()
        answer |= {"killed": killer.killed, "left": killer.left()}
    print(json.dumps({**answer, "said": stack.text()}), flush=True)
    for agent in workshop._agents.values():
        agent.close()
    os._exit(0)  # threads that still speak to a killed engine are of no account


if __name__ == "__main__":
    main(*sys.argv[1:])
