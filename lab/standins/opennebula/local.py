"""The stand-in's oned on loopback, self-contained under one directory (ONE_LOCATION), for tests and for a look by hand.

`python -m lab.standins.opennebula.local` starts one with a database of its own, prints what to export and serves until
it is interrupted. Nothing outside its directory is written, except by hosts that it monitors.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lab.paths import CACHE
from lab.standins.opennebula.database import MariaDb, free_port
from lab.standins.opennebula.loopback import ROOT, LoopbackProcess

Section = Mapping[str, str | int]


class OnedError(RuntimeError):
    """oned ended or does not answer; the message ends with its log."""


class LocalOned(LoopbackProcess):
    """One installation. Settings go in before `start`; the process may be started again and again.

    `oned_conf` and `monitord_conf` replace whole keys of the shipped files, whose text is in `shipped`; a repeated key
    such as IM_MAD comes beside the shipped ones.
    """

    session = "oneadmin:rehearsal"
    ready_seconds = 40.0
    stop_seconds = 20.0

    def __init__(self, directory: Path, database: MariaDb) -> None:
        super().__init__(directory)
        self.monitor_port = free_port()
        self.events_port, self.replies_port = free_port(), free_port()
        self.oned_conf: dict[str, str | int | Section] = {
            "PORT": self.port,
            "LISTEN_ADDRESS": "127.0.0.1",
            "HOSTNAME": "localhost",
            "DB": {
                "BACKEND": "mysql",
                "SERVER": "127.0.0.1",
                "PORT": database.port,
                "USER": database.user,
                "PASSWD": database.password,
                "DB_NAME": database.schema,
                "CONNECTIONS": 5,
            },
            "LOG": {"SYSTEM": "std", "DEBUG_LEVEL": 3},
        }
        self.monitord_conf: dict[str, str | int | Section] = {
            "DB": {"CONNECTIONS": 3},
            "NETWORK": {
                "ADDRESS": "127.0.0.1",
                "MONITOR_ADDRESS": "127.0.0.1",
                "PORT": self.monitor_port,
                "THREADS": 2,
            },
        }
        self.shipped = {name: (ROOT / "etc" / "one" / name).read_text() for name in ("oned.conf", "monitord.conf")}
        events = f"-p {self.events_port} -l {self.replies_port}"  # several may run on one machine
        self.shipped["oned.conf"] = self.shipped["oned.conf"].replace("-p 2101 -l 2102", events)
        self._install()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/RPC2"

    @property
    def auth(self) -> Path:
        return self.directory / "var" / ".one"

    @property
    def lock_file(self) -> Path:
        return self.directory / "var" / "lock" / ".lock"

    @property
    def output(self) -> Path:
        """Everything oned said, its log included, over all its starts."""
        return self.directory / "oned.out"

    def log(self) -> str:
        return self.said()

    def not_serving(self, code: int | None) -> Exception:
        return OnedError(f"oned is not serving (exit code {code}):\n{self.log()[-3000:]}")

    def monitor_log(self) -> str:
        path = self.directory / "var" / "monitor.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def launch(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `oned -f` (or with other arguments) and return at once."""
        self._write_configuration()
        own = {
            "ONE_AUTH": str(self.auth / "one_auth"),
            "PYTHONPYCACHEPREFIX": str(CACHE / "pycache"),  # keeps the installed tree as it is
            "ONE_STANDIN_DRIVER_PAUSE": "50",
        }
        return self._spawn([self.directory / "bin" / "oned", *(arguments or ("-f",))], own, session=True)

    def wait(self, seconds: float = 30.0) -> int:
        """The exit code of a process that ends by itself.

        :raises subprocess.TimeoutExpired: when it does not.
        """
        if self._process is None:
            return 0
        code = self._process.wait(seconds)
        self._process = None
        return code

    def _install(self) -> None:
        self._link_programs()
        for name in ("etc", "var/lock", "var/.one"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "etc" / "one" / "sched.conf", self.directory / "etc")
        for name in ("auth", "schedulers", "vmm_exec"):
            target = self.directory / "etc" / name
            if not target.exists():
                shutil.copytree(ROOT / "etc" / "one" / name, target)
        remotes = self.directory / "var" / "remotes"
        if not (remotes / "VERSION").exists():
            shutil.copytree(ROOT / "var" / "lib" / "one" / "remotes", remotes, symlinks=True, dirs_exist_ok=True)
        auth = self.auth / "one_auth"
        auth.write_text(self.session + "\n")
        auth.chmod(0o600)

    def _write_configuration(self) -> None:
        for name, settings in (("oned.conf", self.oned_conf), ("monitord.conf", self.monitord_conf)):
            # The first of two equal names counts, so what is written before the shipped file replaces its values.
            text = "".join(_render(*item) for item in settings.items()) + self.shipped[name]
            (self.directory / "etc" / name).write_text(text)


def _render(name: str, value: str | int | Section) -> str:
    if isinstance(value, str | int):
        return f'{name} = "{value}"\n'
    inner = ",\n".join(f'  {key} = "{text}"' for key, text in value.items())
    return f"{name} = [\n{inner}\n]\n"


@contextmanager
def running_oned(directory: Path | None = None) -> Iterator[LocalOned]:
    """A freshly booted oned with a database of its own; both are gone afterwards."""
    base = Path(tempfile.mkdtemp(prefix="oned-")) if directory is None else directory
    base.chmod(0o755)
    try:
        with MariaDb(base / "mariadb") as database, LocalOned(base / "one", database) as oned:
            yield oned
    finally:
        if directory is None:
            shutil.rmtree(base, ignore_errors=True)


def main() -> int:
    """Serve until SIGINT or SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with running_oned() as oned:
        print(f"export ONE_XMLRPC={oned.endpoint} ONE_AUTH={oned.auth / 'one_auth'}\n# log: {oned.output}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main())
