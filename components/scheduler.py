"""Settings of the scheduler and the texts that carry them. Pure.

6.10 has a daemon of its own, mm_sched, with everything in sched.conf. Since 7.0 it is a driver inside oned: what it may
do at once is in oned.conf, how it ranks in schedulers/rank.conf. A setting left out is the release's own default; one
that the release does not know is a problem that names the release. Deliberately not here: the DRS optimizer's file
(schedulers/one_drs.conf), which stays as shipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from components import drs, naming
from components.domain import AttributeValue, Seconds, Section, Version
from components.drs import DrsSettings
from components.monitoring import Raw
from components.oned_conf import RANK, SCHED, Value, Vector, merge_raw, raw_problems, spelling_problems
from components.versions import RELEASES

Count = Annotated[int, Field(ge=0, le=1_000_000)]
Positive = Annotated[int, Field(ge=1, le=1_000_000)]


class Policy(StrEnum):
    """How candidates are ranked, in the words of sched.conf and rank.conf."""

    PACKING = "packing"
    STRIPING = "striping"
    LOAD_AWARE = "loadAware"
    CUSTOM = "custom"
    FIXED = "fixed"


class ColdMigration(StrEnum):
    """How a VM stops for a cold migration."""

    SAVE = "save"
    POWEROFF = "poweroff"
    POWEROFF_HARD = "poweroffHard"


# Numbers of the files. Datastores and networks know no load-aware policy, so theirs count differently.
_HOST: Final = {Policy.PACKING: 0, Policy.STRIPING: 1, Policy.LOAD_AWARE: 2, Policy.CUSTOM: 3, Policy.FIXED: 4}
_OTHER: Final = {Policy.PACKING: 0, Policy.STRIPING: 1, Policy.CUSTOM: 2, Policy.FIXED: 3}
_COLD: Final = {ColdMigration.SAVE: 0, ColdMigration.POWEROFF: 1, ColdMigration.POWEROFF_HARD: 2}


class Ranking(Section):
    """One ranking policy."""

    policy: Policy = Field(description="loadAware is for hosts only; custom needs a rank")
    rank: AttributeValue | None = Field(default=None, description="expression over attributes, for policy custom")


class Placer(StrEnum):
    """Drivers that place VMs in 7.x."""

    RANK = "rank"
    DRS = "one_drs"


class SchedulerSettings(Section):
    """Where VMs go. What is left out is the release's own default."""

    max_host: Positive | None = Field(default=None, description="VMs sent to one host in one round")
    different_vnets: bool | None = Field(default=None, description="NICs of a VM go to different virtual networks")
    memory_system_ds_scale: Annotated[float, Field(ge=0, le=100)] | None = Field(
        default=None, description="share of a VM's memory that counts as use of its system datastore (checkpoints)"
    )
    hosts: Ranking | None = Field(default=None, description="how hosts are ranked; striping is shipped")
    datastores: Ranking | None = Field(default=None, description="how datastores are ranked; striping is shipped")
    networks: Ranking | None = Field(default=None, description="how virtual networks are ranked; striping is shipped")
    live_rescheds: bool | None = Field(default=None, description="move rescheduled VMs live")
    cold_migrate_mode: ColdMigration | None = Field(default=None, description="how a VM stops to be moved cold")
    log_level: int = Field(default=3, ge=0, le=5, description="0 errors … 5 every decision (slow)")
    interval: Seconds | None = Field(default=None, description="6.10 only: seconds between two rounds")
    max_vm: Count | None = Field(default=None, description="6.10 only: VMs looked at in one round; 0 all")
    max_dispatch: Positive | None = Field(default=None, description="6.10 only: VMs sent in one round")
    timeout: Seconds | None = Field(default=None, description="6.10 only: seconds that a call to oned may take")
    max_actions_per_host: Positive | None = Field(default=None, description="7.x only: operations at once on a host")
    max_actions_per_cluster: Positive | None = Field(
        default=None, description="7.x only: operations at once in a cluster"
    )
    action_timeout: Seconds | None = Field(
        default=None, description="7.x only: seconds after which an operation no longer counts as running"
    )
    retry_time: Seconds | None = Field(default=None, description="7.x only: seconds until a VM is tried again")
    window_time: Seconds | None = Field(default=None, description="7.x only: seconds that requests are gathered")
    window_length: Positive | None = Field(default=None, description="7.x only: requests that end the gathering early")
    optimize_interval: Annotated[int, Field(ge=-1, le=86400)] | None = Field(
        default=None, description="7.x only: seconds between two optimizations of a cluster; -1 off"
    )
    placer: Placer | None = Field(default=None, description="7.x only: driver that places VMs; rank is shipped")
    threads: Annotated[int, Field(ge=1, le=256)] | None = Field(default=None, description="7.x only: driver threads")
    drs: DrsSettings | None = Field(
        default=None,
        description="7.x only: the optimizer OneDRS, and placement with placer one_drs; as shipped if none",
    )
    raw: Raw = Field(default={})


_ONLY_6: Final = ("interval", "max_vm", "max_dispatch", "timeout")
_ONLY_7: Final = (
    "max_actions_per_host",
    "max_actions_per_cluster",
    "action_timeout",
    "retry_time",
    "window_time",
    "window_length",
    "optimize_interval",
    "placer",
    "threads",
    "drs",
)
# Every name that Scheduler.cc and SchedulerTemplate.cc look up, of mm_sched at release-6.10.5 and rank at release-7.4.0.
_READ_BY_RANK: Final = frozenset(
    {
        *("MEMORY_SYSTEM_DS_SCALE", "DIFFERENT_VNETS", "MAX_HOST", "LOG"),
        *("DEFAULT_SCHED", "DEFAULT_DS_SCHED", "DEFAULT_NIC_SCHED"),
    }
)
_READ_BY_SCHED: Final = _READ_BY_RANK | {
    *("ONE_XMLRPC", "SCHED_INTERVAL", "MAX_VM", "MAX_DISPATCH", "LIVE_RESCHEDS", "COLD_MIGRATE_MODE"),
    *("EXTERNAL_SCHEDULER", "VM_ATTRIBUTE", "MESSAGE_SIZE", "TIMEOUT", "HTTP_PROXY"),
}
# What rank.conf alone has.
_RANK_ONLY: Final = ("max_host", "hosts", "datastores", "networks", "raw")


# The texts of an operator among the typed entries.
_RANKED: Final = {
    "DEFAULT_SCHED": "hosts.rank",
    "DEFAULT_DS_SCHED": "datastores.rank",
    "DEFAULT_NIC_SCHED": "networks.rank",
}


def problems(settings: SchedulerSettings, version: Version) -> Iterator[tuple[str, str]]:
    """(path below `scheduler`, sentence) for everything that the release, or the file's grammar, would refuse."""
    release = RELEASES[version]
    for name in _ONLY_7 if release.scheduler_daemon else _ONLY_6:
        if getattr(settings, name) is not None:
            alias = str(SchedulerSettings.model_fields[name].alias)
            yield alias, release.unknown(f"{alias} of its scheduler")
    if settings.placer is Placer.DRS:
        for name in _RANK_ONLY:
            if getattr(settings, name):
                alias = str(SchedulerSettings.model_fields[name].alias)
                yield alias, "has an effect only with placer rank; one_drs has its own settings in scheduler.drs"
    else:
        known, grammar = (_READ_BY_SCHED, SCHED) if release.scheduler_daemon else (_READ_BY_RANK, RANK)
        typed = (_sched_typed if release.scheduler_daemon else _rank_typed)(settings)

        def unread(name: str) -> str | None:
            return None if name in known else release.unknown(f"{name} in {grammar.file}")

        for path, text in raw_problems(typed, settings.raw, grammar, unread):
            yield f"raw.{path}", text
        for name, text in spelling_problems(typed):
            yield _RANKED.get(name, name), text
    if settings.drs is not None:
        found = drs.problems(settings.drs, places=settings.placer is Placer.DRS)
        yield from ((f"drs.{path}", text) for path, text in found)
    yield from _ranking_problems(settings)


def _ranking_problems(settings: SchedulerSettings) -> Iterator[tuple[str, str]]:
    for name in ("hosts", "datastores", "networks"):
        ranking: Ranking | None = getattr(settings, name)
        if ranking is None:
            continue
        if ranking.policy is Policy.LOAD_AWARE and name != "hosts":
            yield f"{name}.policy", "loadAware ranks hosts only; use packing, striping, custom or fixed"
        if (ranking.policy is Policy.CUSTOM) != (ranking.rank is not None):
            yield f"{name}.rank", "policy custom and a rank go together: give both or neither"


def oned_entries(settings: SchedulerSettings, version: Version) -> dict[str, Value]:
    """The scheduler's part of oned.conf: nothing for 6.10, whose daemon reads its own file."""
    if RELEASES[version].scheduler_daemon:
        return {}
    found: dict[str, Value] = {}
    if settings.placer is not None or settings.threads is not None:
        placer = settings.placer or Placer.RANK
        threads = 15 if settings.threads is None else settings.threads
        found["SCHED_MAD"] = {"EXECUTABLE": "one_sched", "ARGUMENTS": f"-t {threads} -p {placer} -o {Placer.DRS}"}
    for name, value in {
        "SCHED_MAX_WND_TIME": settings.window_time,
        "SCHED_MAX_WND_LENGTH": settings.window_length,
        "SCHED_RETRY_TIME": settings.retry_time,
        "MAX_ACTIONS_PER_HOST": settings.max_actions_per_host,
        "MAX_ACTIONS_PER_CLUSTER": settings.max_actions_per_cluster,
        "ACTION_TIMEOUT": settings.action_timeout,
        "DRS_INTERVAL": settings.optimize_interval,
    }.items():
        if value is not None:
            found[name] = value
    return found | _migration(settings)


def rank_entries(settings: SchedulerSettings) -> dict[str, Value]:
    """schedulers/rank.conf of 7.x. It logs to a file: the driver's own output carries its answers."""
    return merge_raw(_rank_typed(settings), settings.raw, RANK)


def _rank_typed(settings: SchedulerSettings) -> dict[str, Value]:
    return _common(settings) | {"LOG": {"SYSTEM": "file", "DEBUG_LEVEL": settings.log_level}}


def drs_config(settings: SchedulerSettings) -> str | None:
    """schedulers/one_drs.conf of 7.x; None where nothing is decided that stands in it."""
    scale, different_vnets = settings.memory_system_ds_scale, settings.different_vnets
    if settings.drs is None and scale is None and different_vnets is None:
        return None
    return drs.config(settings.drs, memory_scale=scale, different_vnets=different_vnets)


def sched_entries(settings: SchedulerSettings) -> dict[str, Value]:
    """sched.conf of 6.10. It logs to its own output, which is the container's."""
    return merge_raw(_sched_typed(settings), settings.raw, SCHED)


def _sched_typed(settings: SchedulerSettings) -> dict[str, Value]:
    typed: dict[str, Value] = {
        "ONE_XMLRPC": f"http://localhost:{naming.PORT_XMLRPC}/RPC2",
        "LOG": {"SYSTEM": "std", "DEBUG_LEVEL": settings.log_level},
    }
    for name, value in {
        "SCHED_INTERVAL": settings.interval,
        "MAX_VM": settings.max_vm,
        "MAX_DISPATCH": settings.max_dispatch,
        "TIMEOUT": settings.timeout,
    }.items():
        if value is not None:
            typed[name] = value
    return typed | _common(settings) | _migration(settings)


def _migration(settings: SchedulerSettings) -> dict[str, Value]:
    found: dict[str, Value] = {}
    if settings.live_rescheds is not None:
        found["LIVE_RESCHEDS"] = int(settings.live_rescheds)
    if settings.cold_migrate_mode is not None:
        found["COLD_MIGRATE_MODE"] = _COLD[settings.cold_migrate_mode]
    return found


def _common(settings: SchedulerSettings) -> dict[str, Value]:
    found: dict[str, Value] = {}
    if settings.max_host is not None:
        found["MAX_HOST"] = settings.max_host
    if settings.different_vnets is not None:
        found["DIFFERENT_VNETS"] = "YES" if settings.different_vnets else "NO"
    if settings.memory_system_ds_scale is not None:
        found["MEMORY_SYSTEM_DS_SCALE"] = f"{settings.memory_system_ds_scale:g}"
    for name, ranking, numbers in (
        ("DEFAULT_SCHED", settings.hosts, _HOST),
        ("DEFAULT_DS_SCHED", settings.datastores, _OTHER),
        ("DEFAULT_NIC_SCHED", settings.networks, _OTHER),
    ):
        if ranking is not None:
            vector: Vector = {"POLICY": numbers.get(ranking.policy, 0)}
            found[name] = vector if ranking.rank is None else {**vector, "RANK": ranking.rank}
    return found
