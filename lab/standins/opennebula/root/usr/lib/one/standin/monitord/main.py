"""onemonitord itself: a child of oned with its own configuration, log and database connections.

oned passes all arguments as one word and closes stderr, so the log must be a file or syslog. It says INIT SUCCESS only
when its drivers run and both sockets are bound; oned does not start without. It ends on FINALIZE or when oned is gone.
Source: OpenNebula 7.4.0 src/monitor/src/monitor/{onemonitord,Monitor}.cc.
"""

from __future__ import annotations

import getopt
import os
import sys
import threading
from pathlib import Path
from typing import Final

from standin import BANNER, driver
from standin.config import ConfigError, load_monitord, load_oned
from standin.database import Database
from standin.driver import Driver
from standin.locations import Locations
from standin.log import Log, surviving
from standin.messages import Message, MessageError, read
from standin.monitord.history import History
from standin.monitord.listeners import listen
from standin.monitord.manager import Manager
from standin.monitord.protocol import Protocol
from standin.monitord.rsa import KeyFileError, PrivateKey
from standin.template import Template

_USAGE: Final = "Usage: monitord [-h] [-c]\n"
_FAILED: Final = 255


class Monitord:
    """One run of the daemon."""

    def __init__(self, locations: Locations, monitord_conf: str, oned_conf: str) -> None:
        self._locations = locations
        oned = load_oned(locations.etc / oned_conf, locations.var)
        self._config = load_monitord(locations.etc / monitord_conf)
        self._config.replace("DATASTORE_LOCATION", oned.get("DATASTORE_LOCATION"))
        system = self._config.log_system()
        if system == "std":
            raise ConfigError("LOG/SYSTEM std in monitord.conf: oned starts its drivers without stderr; use file.")
        self._log = Log(system, self._config.log_level(1), locations.log / "monitor.log", "one_monitor")
        self._log.info("MON", "Init Monitor Log system")
        self._log.info("MON", f"Starting Monitor Daemon, {BANNER}\n{'-' * 40}\n{self._config.text()}{'-' * 40}")
        self._stdout = threading.Lock()
        self._database = Database(oned, self._config.integer("DB", "CONNECTIONS", 15), self._log)

    def run(self) -> None:
        """Serve until oned ends it.

        :raises RuntimeError: when drivers or sockets are not to be had.
        """
        network = self._config.section("NETWORK")
        threads = self._config.integer("NETWORK", "THREADS")
        port = self._config.integer("NETWORK", "PORT")
        timer = self._config.integer("MANAGER_TIMER")
        key = self._private_key(network)
        drivers: dict[str, Driver] = {}
        manager = Manager(
            drivers=drivers,
            client_config=self._client_config(network),
            history=History(
                self._database,
                self._config.integer("HOST_MONITORING_EXPIRATION_TIME"),
                self._config.integer("VM_MONITORING_EXPIRATION_TIME"),
            ),
            tell_oned=self._tell_oned,
            interval_seconds=self._config.integer("MONITORING_INTERVAL_HOST"),
            timer_seconds=timer,
            log=self._log,
        )
        protocol = Protocol(manager, self._log, key)
        self._log.info("DrM", "Loading drivers.")
        for name, path, arguments in driver.load(self._config.vectors("IM_MAD"), self._locations.mads, self._log):
            drivers[name] = Driver(path, arguments, protocol.take, self._log)
        try:
            for each in drivers.values():
                each.start()
            sockets = listen(network.get("ADDRESS", ""), port, threads, protocol.take)
        except (driver.DriverError, OSError) as error:
            cause = error.strerror if isinstance(error, OSError) else str(error)
            self._log.error("MON", f"Error starting monitor drivers: {cause}")
            raise RuntimeError("Error starting monitor drivers") from None
        ended = threading.Event()
        clock = threading.Thread(target=self._tick, args=(manager, timer, ended), daemon=True)
        clock.start()
        self._serve(manager)
        ended.set()
        for endpoint in sockets:
            endpoint.close()
        for each in drivers.values():
            each.stop()
        self._log.info("MON", "All monitor drivers finalized, exiting")

    def _serve(self, manager: Manager) -> None:
        for line in sys.stdin:
            word = line.split(None, 1)[0] if line.strip() else ""
            if word == "INIT":
                self._write("INIT SUCCESS\n")
            elif word == "FINALIZE":
                return
            elif word:
                with surviving(self._log, "MDR", f"obeying {word}"):
                    self._obey(line, manager)

    def _obey(self, line: str, manager: Manager) -> None:
        try:
            message = read(line)
        except MessageError as error:
            self._log.info("MDR", f"Received UNDEFINED msg: {error}")
            return
        if message.kind == "HOST_LIST":
            manager.host_list(message.payload)
        elif message.kind == "UPDATE_HOST":
            manager.update_host(message.payload)
        elif message.kind == "DEL_HOST":
            manager.delete_host(message.oid)
        elif message.kind == "START_MONITOR":
            manager.start_monitor(message.oid)
        elif message.kind == "STOP_MONITOR":
            manager.stop_monitor(message.oid)
        elif message.kind == "RAFT_STATUS":
            manager.raft_status(message.payload)
        else:
            self._log.info("MDR", f"Received UNDEFINED msg: {message.kind}")

    def _tick(self, manager: Manager, seconds: int, ended: threading.Event) -> None:
        while not ended.wait(seconds):
            with surviving(self._log, "HMM", "looking for silent hosts"):
                manager.tick()

    def _tell_oned(self, message: Message) -> None:
        self._write(message.line())

    def _write(self, line: str) -> None:
        with self._stdout:
            sys.stdout.write(line)
            sys.stdout.flush()

    def _client_config(self, network: dict[str, str]) -> str:
        """The configuration as hosts get it: with the public key itself instead of its path."""
        public = Path(network.get("PUBKEY", "") or os.devnull)
        shown = Template(self._config)
        if public.is_file():
            shown.replace("NETWORK", {**network, "PUBKEY": public.read_text()})
        return shown.xml("MONITOR_CONFIGURATION")

    def _private_key(self, network: dict[str, str]) -> PrivateKey | None:
        path = network.get("PRIKEY", "")
        if not path:
            return None
        try:
            return PrivateKey.load(Path(path))
        except (KeyFileError, OSError) as error:
            self._log.error("MON", f"NETWORK/PRIKEY: {error}; encrypted messages cannot be read")
            return None


def main(arguments: list[str]) -> int:
    """The exit code of `onemonitord <arguments>`."""
    words = [word for argument in arguments[:1] for word in argument.split(" ") if word] + arguments[1:]
    try:
        options = dict(getopt.getopt(words, "vhc:o:", ["version", "help", "config=", "oned-config="])[0])
    except getopt.GetoptError:
        print(_USAGE, file=sys.stderr or sys.stdout)
        return _FAILED
    if options.keys() & {"-v", "--version", "-h", "--help"}:
        print(f"{BANNER}, monitor daemon. Started by oned, not by hand.\n{_USAGE}")
        return 0
    monitord_conf = options.get("-c") or options.get("--config") or "monitord.conf"
    oned_conf = options.get("-o") or options.get("--oned-config") or "oned.conf"
    try:
        Monitord(Locations.from_environment(), monitord_conf, oned_conf).run()
    except RuntimeError as error:
        if sys.stderr is not None:
            print(error, file=sys.stderr)
        return _FAILED
    return 0


def run() -> None:
    """Entry point of /usr/lib/one/mads/onemonitord."""
    code = main(sys.argv[1:])
    os._exit(code)
