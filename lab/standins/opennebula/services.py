"""The stand-in's web daemons as processes on loopback, self-contained under one directory (ONE_LOCATION), for tests.

Settings go in before `start`: `settings` are laid over the shipped configuration file, key by key. Nothing outside the
directory is written. oned is not part of it: tests give the endpoint of any.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import yaml

from lab.standins.opennebula.loopback import ROOT, LoopbackProcess

SERVERADMIN_PASSWORD: Final = "rehearsal-serveradmin"

Settings = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How one daemon is started and where its files are, below ONE_LOCATION and as the packages have them."""

    command: tuple[str, ...]
    config: str = ""  # below etc
    auth: str = ""  # below var/.one
    log: str = ""  # below var
    address: tuple[str, ...] = ()  # path of the port in the configuration; the host is beside it
    host: str = "host"


KINDS: Final[Mapping[str, Kind]] = {
    "fireedge": Kind(
        command=("node", "lib/fireedge/dist/index.js"),
        config="fireedge-server.conf",
        auth="sunstone_auth",
        log="fireedge.log",
        address=("port",),
    ),
    "guacd": Kind(command=("share/guacd/sbin/guacd", "-f", "-b", "127.0.0.1", "-l", "{port}")),
    "oneflow": Kind(
        command=("ruby", "lib/oneflow/oneflow-server.rb"),
        config="oneflow-server.conf",
        auth="oneflow_auth",
        log="oneflow.log",
        address=(":port",),
        host=":host",
    ),
    "onegate": Kind(
        command=("ruby", "lib/onegate/onegate-server.rb"),
        config="onegate-server.conf",
        auth="onegate_auth",
        log="onegate.log",
        address=(":server", ":port"),
        host=":bind",
    ),
    "hem": Kind(command=("ruby", "lib/onehem/onehem-server.rb"), config="onehem-server.conf", log="onehem.log"),
    "sunstone": Kind(
        command=("ruby", "lib/sunstone/sunstone-server.rb"),
        config="sunstone-server.conf",
        auth="sunstone_auth",
        log="sunstone.log",
        address=(":port",),
        host=":host",
    ),
    "novnc": Kind(command=("python3", "share/websockify/run", "--target-config={var}/sunstone_vnc_tokens", "{port}")),
}


class ServiceError(RuntimeError):
    """A daemon ended or does not answer; the message ends with what it said."""


class Service(LoopbackProcess):
    """One daemon."""

    ready_seconds = 20.0
    stop_seconds = 10.0

    def __init__(self, name: str, directory: Path, settings: Settings | None = None) -> None:
        super().__init__(directory)
        self.kind = KINDS[name]
        self.name = name
        self.settings: Settings = settings or {}
        self._install()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def auth(self) -> Path:
        return self.directory / "var" / ".one" / self.kind.auth

    @property
    def config(self) -> Path:
        return self.directory / "etc" / self.kind.config

    @property
    def output(self) -> Path:
        return self.directory / f"{self.name}.out"

    def log(self) -> str:
        path = self.directory / "var" / self.kind.log
        return path.read_text(errors="replace") if self.kind.log and path.exists() else ""

    def launch(self) -> subprocess.Popen[bytes]:
        """Write the configuration, start, and return at once."""
        if self.kind.config:
            self.write_config()
        words = [word.format(port=self.port, var=self.directory / "var") for word in self.kind.command]
        program = self.directory / words[0]
        return self._spawn([str(program) if program.exists() else words[0], *words[1:]], {}, session=False)

    def not_serving(self, code: int | None) -> Exception:
        return ServiceError(
            f"{self.name} is not serving (exit code {code}):\n{self.said()[-2000:]}\n{self.log()[-2000:]}"
        )

    def fails(self) -> int:
        """Start one that must end by itself; its exit code.

        :raises subprocess.TimeoutExpired: when it does not.
        """
        try:
            return self.launch().wait(self.ready_seconds)
        finally:
            self.kill()

    def write_config(self) -> None:
        """The shipped file with `settings` and the address over it."""
        values: Settings = yaml.safe_load((ROOT / "etc" / "one" / self.kind.config).read_text())
        if self.kind.address:
            *path, port = self.kind.address
            place = values
            for key in path:
                place = place[key]
            place.update({port: self.port, self.kind.host: "127.0.0.1"})
        self.config.write_text(yaml.safe_dump(_over(values, self.settings), sort_keys=False))

    def _install(self) -> None:
        self._link_programs()
        for name in ("etc", "var/.one", "var/sunstone_vnc_tokens", "var/tmp"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        if self.kind.auth:
            self.auth.write_text(f"serveradmin:{SERVERADMIN_PASSWORD}\n")
        for source, place in (
            ("etc/one/fireedge", "etc/fireedge"),
            ("etc/one/vmm_exec", "etc/vmm_exec"),
            ("var/lib/one/remotes/etc/im", "var/remotes/etc/im"),
        ):
            shutil.copytree(ROOT / source, self.directory / place, dirs_exist_ok=True)


def _over(values: Settings, changes: Settings) -> Settings:
    """`changes` over `values`, mappings key by key; None takes a key away."""
    merged = dict(values)
    for key, change in changes.items():
        if change is None:
            merged.pop(key, None)
        elif isinstance(change, dict) and isinstance(merged.get(key), dict):
            merged[key] = _over(merged[key], change)
        else:
            merged[key] = change
    return merged
