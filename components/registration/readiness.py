"""When a fleet is ready: every enabled host is monitored, and its numbers really arrive.

oned calls a host MONITORED after the SSH reply to a probe alone; with the push path blocked it stays so, and is probed
anew every MONITORING_INTERVAL_HOST seconds (HostMonitorManager.cc). So the state proves nothing about monitoring. What
proves it are monitoring records closer together than onemonitord's own probes can be:

- one that arrives while this looks, less than the interval after the one before;
- one within seconds of another: on the host, the client's loops begin with a push right after the SSH reply;
- a history as long as the interval without a gap of that length.

Anything weaker would take an operator's `onehost forceupdate` for a push. Records from before an ERROR, and so from
before this run's own re-probes, never count. Neither do, when monitoring itself has changed (`stale`), those of hosts whose
probes were not started by this run, however fresh they are: their clients push to the old address, encrypted for the old key,
until they are started again. Starting them also copies oned's remote scripts to the host (one_im_exec.rb, every time, whatever
VERSION says), which is all that `onehost sync` does beside noting the version; a host that could not be copied to is in ERROR and
named.

Disabled hosts are monitored too, and get new scripts in the same way: monitord starts probes for whatever comes from OFFLINE
(HostMonitorManager.cc), also to DISABLED. Nobody waits for them, for they may well be switched off; one that does not answer is tried
again by monitord itself, every MONITORING_INTERVAL_HOST, and has the scripts when it answers.

Two calls a poll, whatever the fleet's size: `hostpool.info` has the states but no records, `hostpool.monitoring` has
the records. Only host numbers travel by UDP; the TCP half of the push path carries VM states and is not seen here.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from components.registration.client import AdminState, HostRecord, HostState, OnedClient
from components.registration.clock import SYSTEM_CLOCK, Clock
from components.registration.errors import ActionRefused, Ambiguous, FleetNotReady, NotFound
from components.registration.settle import Settle

_AT_ONCE: Final = 10
"""Seconds. A push follows the SSH reply by the time its probes take; nobody probes a host twice so soon."""
_OVERLAP: Final = 15
"""Seconds by which a poll's window reaches back before the last poll: records show up in the database a little late."""
_LAG: Final = 15.0
"""Seconds for which a host may be missing from a lagging server's list before that counts."""
_LISTED: Final = 50

log = logging.getLogger("opennebula.registration")


@dataclass(frozen=True, kw_only=True)
class Expected:
    """One host of the fleet and what is declared of it."""

    id: int
    name: str
    state: AdminState = AdminState.ENABLED

    @property
    def disabled(self) -> bool:
        """Disabled in oned, and monitored all the same."""
        return self.state.in_oned is AdminState.DISABLED


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """Seconds, and two texts for messages."""

    limit: float = 600.0
    poll: float = 2.0
    reprobe: float = 20.0
    first_probe: float = 100.0
    """Longer than the driver lets a probe run (one_im_ssh -w 90): after that no answer to a first probe is coming."""
    interval: float = 180.0
    """monitord's MONITORING_INTERVAL_HOST."""
    push_target: str = "monitord's port 4124"
    monitor_log: str = "/var/log/one/monitor.log in oned's pod"


@dataclass
class _Watch:
    """What has been seen of one host."""

    expected: Expected
    stale: bool = False
    """Its probes are those of before the change until this has started them."""
    record: HostRecord | None = None
    ready: bool = False
    looked: bool = False
    known: int = 0
    """Newest record that was there before this looked, or before the host last came up."""
    floor: int = 0
    """Records up to this time belong to an earlier life of the host's probes."""
    stamps: set[int] = field(default_factory=set)
    probed: float = -math.inf
    waiting_since: float | None = None
    """When this first saw the host in INIT without a change since."""
    overlapping: int = 0
    """Probes of this life that were started though the one before might still answer."""
    reprobes: int = 0

    def see(self, record: HostRecord | None, stamps: Iterable[int], interval: float) -> None:
        self.record = record
        if record is None:
            self.ready = False
            return
        if record.state != HostState.MONITORED:
            self.known = self.floor = max([self.floor, *self.stamps, *stamps])
            self.stamps.clear()
            self.looked, self.ready = True, False
            if record.state != HostState.INIT:
                self.overlapping, self.waiting_since = 0, None
            return
        self.waiting_since = None
        self.stamps.update(stamp for stamp in stamps if stamp > self.floor)
        if not self.looked:
            self.looked, self.known = True, max(self.stamps, default=0)
        self.ready = not self.lost and (self.ready or self._pushed(interval))

    def forget(self) -> bool:
        """Begin a new life of a host that is monitored. False when it is not yet seen, or comes up anyway."""
        record = self.record
        if not self.stale or record is None:
            return False
        self.stale = False
        if record.state != HostState.MONITORED or self.lost:
            return False
        self.known = self.floor = max(self.stamps, default=self.floor)
        self.stamps.clear()
        self.ready = False
        return True

    def _pushed(self, interval: float) -> bool:
        """Whether the records of this life show a push."""
        unbroken = close = 0
        self.reprobes = 0
        for earlier, later in itertools.pairwise(sorted(self.stamps)):
            gap = later - earlier
            if gap >= interval:
                self.reprobes += 1
                unbroken = 0
                continue
            unbroken += gap
            close += later > self.known or gap <= _AT_ONCE
        return close > self.overlapping or unbroken >= interval

    @property
    def lost(self) -> bool:
        """Waiting does not help: it is gone, renamed, or disabled by somebody."""
        record = self.record
        return record is None or record.name != self.expected.name or record.state == HostState.DISABLED


def wait_for_fleet(
    client: OnedClient,
    fleet: Iterable[Expected],
    cadence: Cadence,
    clock: Clock = SYSTEM_CLOCK,
    *,
    stale: Collection[int] = (),
    first_error: Callable[[], None] = lambda: None,
    progress: Callable[[int, int], None] = lambda _ready, _enabled: None,
) -> dict[str, str]:
    """State by host name once every enabled host is monitored. Raises FleetNotReady with a line for each that is not.

    Hosts in ERROR are probed again every `reprobe` seconds: a host key that has just been published reaches oned's pod
    up to a minute later, and monitord itself would try again only after `interval`. So are hosts that stay in INIT: a
    restarted oned forgets that it has a first probe to make. `stale`: ids of hosts whose probes may be older than what
    hosts are told about monitoring now, or than oned's remote scripts; they are probed again at once, disabled ones too.
    `first_error` is called once, when a host is first seen in ERROR: whoever calls may know how to hasten what the host
    waits for. `progress` is called at every poll, with how many enabled hosts are monitored and how many there are.
    """
    expected = tuple(fleet)
    watches = [_Watch(expected=host, stale=host.id in stale) for host in expected if host.state is AdminState.ENABLED]
    _probe_disabled(client, [host for host in expected if host.disabled and host.id in stale], Settle(clock))
    states = {host.name: host.state.name for host in expected}
    begun = polled = hope = clock.monotonic()
    longest = window = 2 * math.ceil(cadence.interval)
    told = False
    while watches:
        stamps: defaultdict[int, list[int]] = defaultdict(list)
        for sample in client.monitoring(window):
            stamps[sample.host_id].append(sample.timestamp)
        rows = {record.id: record for record in client.hosts()}
        now = clock.monotonic()
        for watch in watches:
            watch.see(rows.get(watch.expected.id), stamps[watch.expected.id], cadence.interval)
            if watch.forget():
                _probe_again(client, watch, now)
        waiting = [watch for watch in watches if not watch.ready]
        progress(len(watches) - len(waiting), len(watches))
        if not waiting:
            break
        if not all(watch.lost for watch in waiting):
            hope = now
        if now - begun >= cadence.limit or now - hope >= _LAG:
            raise _not_ready(waiting, len(watches), now - begun, cadence)
        if not told and any(watch.record and watch.record.state == HostState.ERROR for watch in waiting):
            told = True
            first_error()
        for watch in waiting:
            if _due(watch, cadence, now):
                _probe_again(client, watch, now)
        clock.sleep(min(cadence.poll, max(0.0, begun + cadence.limit - now)))
        window = min(longest, math.ceil(clock.monotonic() - polled) + _OVERLAP)
        polled = now
    return {**states, **{watch.expected.name: HostState.MONITORED.name for watch in watches}}


def _due(watch: _Watch, cadence: Cadence, now: float) -> bool:
    """Whether the host needs a probe that nobody else will start soon."""
    record = watch.record
    if record is None or watch.lost:
        return False
    if record.state == HostState.INIT:
        if watch.waiting_since is None:
            watch.waiting_since = now
        return now - watch.waiting_since >= cadence.first_probe
    # A host found offline is one that a killed run, or a lost answer, left so.
    return record.state in (HostState.ERROR, HostState.OFFLINE) and now - watch.probed >= cadence.reprobe


def _probe_again(client: OnedClient, watch: _Watch, now: float) -> None:
    """What `onehost forceupdate` does: offline, then enabled."""
    expected, record = watch.expected, watch.record
    if record is None:
        return
    log.warning("host %s (id %d) is %s, probing it again", expected.name, expected.id, _state(record))
    if record.state == HostState.INIT:
        watch.overlapping += 1
    watch.probed, watch.waiting_since = now, None
    try:
        if record.state != HostState.OFFLINE:
            client.set_state(expected.id, AdminState.OFFLINE)
        client.set_state(expected.id, AdminState.ENABLED)
    except (Ambiguous, NotFound, ActionRefused) as error:
        # The next poll sees what came of it: as before, OFFLINE, or gone.
        log.warning("probing host %s again: %s", expected.name, error)


def _probe_disabled(client: OnedClient, hosts: Collection[Expected], settle: Settle) -> None:
    """The same for hosts that are declared disabled, without a wait. One that is found in service is left to a refresh.

    Raises Ambiguous: such a host may be left offline, and is found so by the next wait.
    """
    rows = {record.id: record for record in client.hosts()} if hosts else {}
    for host in hosts:
        record = rows.get(host.id)
        if record is None or record.name != host.name or record.state not in (HostState.DISABLED, HostState.OFFLINE):
            continue
        log.warning("host %s (id %d) is disabled, its probes are started again", host.name, host.id)
        try:
            for state in (AdminState.OFFLINE, AdminState.DISABLED):
                if record.admin_state is not state or state is AdminState.DISABLED:
                    _set_state(client, host.id, state, settle)
        except (NotFound, ActionRefused) as error:
            log.warning("starting the probes of host %s: %s", host.name, error)


def _set_state(client: OnedClient, host_id: int, state: AdminState, settle: Settle) -> None:
    settle.write(lambda: client.set_state(host_id, state), lambda: client.host(host_id).admin_state is state)


def _state(record: HostRecord) -> str:
    return f"ERROR ({_brief(record.error)})" if record.state == HostState.ERROR else record.state_name


def _not_ready(waiting: list[_Watch], enabled: int, seconds: float, cadence: Cadence) -> FleetNotReady:
    lines = [f"\n  {watch.expected.name} (id {watch.expected.id}): {_missing(watch, cadence)}" for watch in waiting]
    more = f"\n  … and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
    return FleetNotReady(
        f"{len(waiting)} of {enabled} enabled hosts are not monitored after {seconds:.0f} s",
        "".join(lines[:_LISTED]) + more + "\nMend what each line says, then `pulumi up`: it waits again",
    )


def _missing(watch: _Watch, cadence: Cadence) -> str:
    """What one host lacks, and the command that shows more."""
    record, host_id = watch.record, watch.expected.id
    if record is None:
        return "oned has no such host. Next: `pulumi refresh`"
    if record.name != watch.expected.name:
        return f"is now called {record.name!r}. Next: `pulumi refresh`"
    show = f"`onehost show {host_id}`"
    match record.state:
        case HostState.DISABLED | HostState.OFFLINE:
            text = f"is {record.state_name} though declared enabled. Next: `onehost enable {host_id}`"
        case HostState.ERROR:
            text = f"ERROR: {_brief(record.error)}. Next: look for {record.name!r} in {cadence.monitor_log}"
        case HostState.INIT:
            text = (
                f"INIT: no answer to the first probe; SSH hangs, or oned has no driver {record.im_mad!r}. "
                f"Next: look for {record.name!r} and `Cannot find driver` in {cadence.monitor_log}"
            )
        case HostState.MONITORED:
            again = f", probed anew {watch.reprobes} times" if watch.reprobes else ""
            seen = "its answer over SSH arrived" if watch.stamps else "no numbers arrived"
            text = (
                f"MONITORED, but {seen} and nothing is pushed{again}: is {cadence.push_target} (UDP and TCP) blocked "
                f"from the host? Next: on the host `cat /tmp/one-monitord-{host_id}.error`"
            )
        case _:
            text = f"{record.state_name}. Next: {show}"
    return text


def _brief(text: str) -> str:
    return " ".join(text.split())[:300].rstrip(".") or "no error text"
