"""mm_sched, the scheduler daemon of 6.10: asks oned for waiting machines, hosts and datastores, and has machines deployed
over the API, as the user of one_auth.

Reads etc/sched.conf, logs to sched.log, never forks, waits for an oned that does not answer yet, ends on SIGTERM. 7.x has
no such daemon. Source: OpenNebula 6.10.5 src/scheduler.
"""

from __future__ import annotations

import http.client
import os
import signal
import sys
import threading
import xmlrpc.client
from typing import Any, Final
from xml.etree import ElementTree

from standin import BANNER, RELEASE
from standin.bootstrap import BootstrapError, read_one_auth
from standin.config import Config, ConfigError, load_rank
from standin.locations import Locations
from standin.log import Log
from standin.placement import Place, Policy, Waiting, plan

_FAILED: Final = 255
_AGAIN_SECONDS: Final = 2.0
_ALL, _PENDING = -2, 1
_MONITORED: Final = "2"
_APPEND: Final = 1


class Refused(RuntimeError):
    """oned does not answer, or says no."""


class Scheduler:
    """One run of the daemon. ONE_XMLRPC of sched.conf says where oned is."""

    def __init__(self, config: Config, session: str, log: Log) -> None:
        self._config = config
        self._session = session
        self._log = log
        self._endpoint = config.get("ONE_XMLRPC")
        self.ended = threading.Event()

    def run(self) -> None:
        """Until `ended`."""
        interval = self._config.integer("SCHED_INTERVAL")
        while not self.ended.is_set():
            try:
                self._call("system.config")
                break
            except Refused as error:
                self._log.error("SCHED", f"Cannot contact oned, will retry... Error: {error}")
                self.ended.wait(_AGAIN_SECONDS)
        self._log.info("SCHED", f"Configuring scheduler for {self._endpoint}, every {interval} s")
        while not self.ended.wait(interval):
            try:
                self._round()
            except Refused as error:
                self._log.error("SCHED", f"Cannot contact oned: {error}")

    def _round(self) -> None:
        pending = self._pool("vmpool.infoextended", _ALL, -1, -1, _PENDING)
        machines = [Waiting.of(each) for each in pending][: self._config.integer("MAX_VM")]
        if not machines:
            return
        hosts = [Place.of(each) for each in self._pool("hostpool.info") if each.findtext("STATE") == _MONITORED]
        made = plan(machines, hosts, self._pool("datastorepool.info"), Policy.of(self._config))
        for oid, why in made.refused.items():
            self._log.info("SCHED", f"Cannot dispatch VM {oid}: {why}")
            self._call("vm.update", oid, f'SCHED_MESSAGE = "Cannot dispatch VM: {why}"', _APPEND)
        for oid, (host, store) in made.moves.items():
            try:
                self._call("vm.deploy", oid, host, False, store, "")
                self._log.info("SCHED", f"Dispatching VM {oid} to host {host} and datastore {store}")
            except Refused as error:
                self._log.error("SCHED", f"Error deploying VM {oid}: {error}")

    def _pool(self, name: str, *arguments: Any) -> ElementTree.Element:
        return ElementTree.fromstring(self._call(name, *arguments))

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            with xmlrpc.client.ServerProxy(self._endpoint) as proxy:
                answer: Any = getattr(proxy, f"one.{name}")(self._session, *arguments)
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise Refused(str(error)) from None
        if not answer[0]:
            raise Refused(str(answer[1]))
        return answer[1]


def main() -> int:
    """The exit code of mm_sched."""
    if RELEASE.scheduler_driver:
        print(f"{BANNER}: the scheduler is a driver of oned (SCHED_MAD), there is no daemon.", file=sys.stderr)
        return _FAILED
    locations = Locations.from_environment()
    try:
        config = load_rank(locations.etc / "sched.conf")
        log = Log(config.log_system(), config.log_level(3), locations.log / "sched.log", "mm_sched")
        session = read_one_auth()
        log.info("SCHED", f"Init Scheduler Log system, {BANNER}")
        scheduler = Scheduler(config, session, log)
    except (ConfigError, BootstrapError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return _FAILED
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: scheduler.ended.set())
    scheduler.run()
    log.info("SCHED", "Scheduler Stopped")
    return 0


def run() -> None:
    """Entry point of /usr/bin/mm_sched."""
    code = main()
    sys.stdout.flush()
    os._exit(code)
