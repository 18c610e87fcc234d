"""oned itself: command line, lock file, and the start in the real one's order.

Anything that goes wrong before the API answers ends the process with a line on stderr and exit code 255; the lock file
goes with it. Only a signal that cannot be handled leaves it behind, and then no start succeeds until it is deleted.
Source: OpenNebula 7.4.0 src/nebula/{oned,Nebula}.cc.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

from standin import (
    BANNER,
    api_cluster,
    api_datastore,
    api_hook,
    api_host,
    api_lists,
    api_machine,
    api_objects,
    api_system,
    driver,
    managers,
)
from standin.authentication import Authentication, AuthManager
from standin.bootstrap import BootstrapError, Pools, load_key
from standin.config import HIDDEN, Config, ConfigError, load_oned
from standin.database import Database
from standin.driver import Driver
from standin.hooks import Hooks
from standin.information import InformationManager
from standin.lifecycle import Lifecycle
from standin.locations import Locations
from standin.log import Log
from standin.request import Dispatcher, Service
from standin.scheduling import Scheduler
from standin.schema import Schema
from standin.xmlrpc_server import Server

# Importing them registers the calls; where two register the same one, the last counts.
API_MODULES: Final = (api_objects, api_cluster, api_datastore, api_hook, api_host, api_lists, api_machine, api_system)
SLOW_BOOT: Final = "ONE_STANDIN_SLOW_BOOT"
DRIVER_PAUSE: Final = "ONE_STANDIN_DRIVER_PAUSE"
_USAGE: Final = "Usage: oned [-h] [-v] [-f] [-i]\n"
_HELP: Final = f"""{_USAGE}
SYNOPSIS
  Starts the OpenNebula daemon (rehearsal stand-in)

OPTIONS
  -v, --version\toutput version information and exit
  -h, --help\tdisplay this help and exit
  -f, --foreground\tforeground, do not fork the oned daemon
  -i, --init-db\tinitialize the database and exit
"""
_RAFT: Final = (
    "LOG_PURGE_TIMEOUT",
    "ELECTION_TIMEOUT_MS",
    "BROADCAST_TIMEOUT_MS",
    "XMLRPC_TIMEOUT_MS",
    "LOG_RETENTION",
    "LIMIT_PURGE",
)
_MODES: Final = ("STANDALONE", "MASTER", "SLAVE", "CACHE")
_DRIVER_PAUSE_MS: Final = 2500
_FAILED: Final = 255


def main(arguments: list[str]) -> int:
    """The exit code of `oned <arguments>`."""
    options = _options(arguments)
    if options is None:
        sys.stderr.write(_USAGE)
        return _FAILED
    if "v" in options:
        print(
            # As the real one, which begins with its copyright: the version stands below (Nebula::version).
            f"Not OpenNebula: a rehearsal of its control interfaces whose machines are processes that do nothing.\n\n{BANNER}"
        )
        return 0
    if "h" in options:
        sys.stdout.write(_HELP)
        return 0
    locations = Locations.from_environment()
    if "i" in options:
        return _guarded(Oned(locations).initialize_database)
    try:
        os.close(os.open(locations.lock_file, os.O_CREAT | os.O_EXCL, 0o640))
    except OSError:
        sys.stderr.write(f"Error: Cannot start oned, opening lock file {locations.lock_file}\n")
        return _FAILED
    if "f" not in options:
        if os.fork() != 0:
            return 0
        os.setsid()
    try:
        try:
            os.chdir(locations.var)
        except OSError:
            sys.stderr.write(f"Error: cannot change to dir {locations.var}\n")
            return _FAILED
        return _guarded(Oned(locations).run)
    finally:
        with contextlib.suppress(OSError):
            locations.lock_file.unlink()


class Oned:
    """One start of the daemon.

    Two settings of the environment are the stand-in's own, in milliseconds: ONE_STANDIN_SLOW_BOOT waits after every
    step of the first boot, so that a test can kill it in between; ONE_STANDIN_DRIVER_PAUSE replaces the 2.5 s between
    the start of the drivers and the API.
    """

    def __init__(self, locations: Locations) -> None:
        self._locations = locations
        self._pause = int(os.environ.get(SLOW_BOOT) or 0) / 1000
        self._driver_pause = int(os.environ.get(DRIVER_PAUSE) or _DRIVER_PAUSE_MS) / 1000

    def run(self) -> None:
        """Start, serve until SIGINT or SIGTERM, stop.

        :raises RuntimeError: whatever keeps the daemon from serving.
        """
        config = self._configuration()
        log = self._open_log(config)
        config.add("ONE_KEY", load_key(self._locations))
        _check_modes(config)
        database = self._database(config, log)
        if log.system != "std":
            _silence_standard_streams()
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pools = Pools(database, config, self._locations, log, self._between)
        drivers: list[Driver] = []
        monitor: InformationManager | None = None
        server: Server | None = None
        try:
            authorities, hooks = AuthManager(log), Hooks(pools.hooks, log)
            lifecycle = Lifecycle(pools, config, self._locations.var, log)
            scheduler = Scheduler(pools, config, lifecycle, log)
            lifecycle.wanted, lifecycle.settled = scheduler.wanted, scheduler.settled
            pools.machines.changed, pools.hosts.changed = hooks.machine, hooks.host
            takers = {
                "AUTH_MAD": authorities.take,
                "HM_MAD": hooks.take,
                "VM_MAD": lifecycle.take,
                "TM_MAD": lifecycle.take,
                "SCHED_MAD": scheduler.take,
            }
            by_kind = managers.start(config, self._locations.mads, log, drivers, takers)
            for kind, use in (("AUTH_MAD", authorities.use), ("HM_MAD", hooks.use), ("SCHED_MAD", scheduler.use)):
                for each in by_kind.get(kind, {}).values():
                    use(each)
            lifecycle.use(by_kind.get("VM_MAD", {}), next(iter(by_kind.get("TM_MAD", {}).values()), None))
            monitor = InformationManager(config.vectors("IM_MAD"), self._locations.mads, pools.hosts, lifecycle, log)
            time.sleep(self._driver_pause)
            server = self._server(
                config,
                log,
                Service(
                    pools=pools,
                    config=config,
                    log=log,
                    monitor=monitor,
                    authentication=Authentication(pools.users, pools.groups, config, log, authorities),
                    lifecycle=lifecycle,
                    hooks=hooks,
                    scheduler=scheduler,
                ),
            )
            try:
                monitor.start()
            except driver.DriverError as error:
                log.error("InM", f"Error starting Information Manager: {error}")
                raise RuntimeError("Could not start the Information Manager") from None
            server.start()
            scheduler.start()
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
        finally:
            if server is not None:
                server.stop()
            if monitor is not None:
                monitor.stop()
            for each in drivers:
                each.stop()
            log.info("ONE", "All modules finalized, exiting.\n")
            database.close()

    def initialize_database(self) -> None:
        """`oned -i`: makes the tables, no users and no files beside the key.

        :raises RuntimeError: as `run`.
        """
        config = self._configuration()
        log = self._open_log(config)
        config.add("ONE_KEY", load_key(self._locations))
        _check_modes(config)
        self._database(config, log, tables_only=True).close()
        log.info("ONE", "Database bootstrap finalized, exiting.\n")

    def _configuration(self) -> Config:
        config = load_oned(self._locations.etc / "oned.conf", self._locations.var)
        with contextlib.suppress(OSError):
            (self._locations.var / "config").write_text(config.text(HIDDEN) + "\n")
        return config

    def _open_log(self, config: Config) -> Log:
        hostname = config.get("HOSTNAME") or _resolve_hostname()
        log = Log(config.log_system(), config.log_level(), self._locations.log / "oned.log", "oned")
        log.info("ONE", f"Starting {BANNER}\n{'-' * 40}\n{config.text(HIDDEN)}{'-' * 40}")
        log.info("ONE", "Support for xmlrpc-c > 1.31: yes")
        log.info("ONE", f"Using hostname: {hostname}")
        if self._pause:
            log.warning("ONE", f"{SLOW_BOOT}: {self._pause:.3f} s after every step of the first boot")
        return log

    def _between(self) -> None:
        if self._pause:
            time.sleep(self._pause)

    def _database(self, config: Config, log: Log, *, tables_only: bool = False) -> Database:
        database = Database(config, config.integer("DB", "CONNECTIONS", default=25), log)
        log.info("ONE", "Checking database version.")
        schema = Schema(database, log, self._between)
        local, shared = schema.missing()
        federation = config.section("FEDERATION")
        if local or shared:
            if federation["MODE"].upper() != "STANDALONE":
                raise RuntimeError("Database has to be bootstraped to start oned in FEDERATION")
            if config.integer("FEDERATION", "SERVER_ID", default=-1) != -1:
                raise RuntimeError("Database has to be bootstraped to start oned in HA")
        if local or tables_only:
            schema.create_log()
        if not database.query("SELECT log_index FROM logdb WHERE log_index = 0"):
            now = int(time.time())
            database.execute("INSERT INTO logdb VALUES (0, 0, '', %s, 18446744073709551615, 1)", (now,))
        schema.create(local=local, shared=shared)
        return database

    @staticmethod
    def _server(config: Config, log: Log, service: Service) -> Server:
        try:
            return Server(config, Dispatcher(service), log)
        except socket.gaierror as error:
            log.error("ReM", f"Cannot open server socket: {error.strerror}")
        except OSError as error:
            address = f"{config.get('LISTEN_ADDRESS')}:{config.get('PORT')}"
            log.error("ReM", f"Cannot bind to {address} : {error.strerror}")
        raise RuntimeError("Could not start the Request Manager (XML-RPC)")


def _guarded(action: Callable[[], None]) -> int:
    try:
        action()
    except (RuntimeError, ConfigError, BootstrapError) as error:
        if sys.stderr is not None:
            print(error, file=sys.stderr, flush=True)
        return _FAILED
    return 0


def _options(arguments: list[str]) -> str | None:
    import getopt

    try:
        found, _ = getopt.getopt(arguments, "vhif", ["version", "help", "init-db", "foreground"])
    except getopt.GetoptError:
        return None
    return "".join(name.lstrip("-")[0] for name, _ in found)


def _check_modes(config: Config) -> None:
    federation = config.section("FEDERATION")
    mode = federation.get("MODE", "").upper()
    if mode not in _MODES:
        raise ConfigError("FEDERATION MODE must be one of STANDALONE, MASTER, SLAVE or CACHE.")
    if mode in ("SLAVE", "CACHE") and not (federation.get("MASTER_ONED") or federation.get("MASTER_ONED_GRPC")):
        raise ConfigError("MASTER_ONED and MASTER_ONED_GRPC endpoints are missing.")
    if mode != "STANDALONE":
        raise ConfigError(f"FEDERATION MODE {mode}: the rehearsal stand-in runs STANDALONE only.")
    for key in _RAFT:
        config.integer("RAFT", key)


def _resolve_hostname() -> str:
    name = socket.gethostname()
    try:
        found = socket.getaddrinfo(name, None, flags=socket.AI_CANONNAME)
    except socket.gaierror as error:
        raise RuntimeError(f"Unable to resolve hostname '{name}': {error.strerror}") from None
    return found[0][3] or name


def _silence_standard_streams() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def run() -> None:
    """Entry point of /usr/bin/oned: signals have their default effect until the tables are made."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
