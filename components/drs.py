"""Settings of OneDRS, the optimizer of 7.x, and the text of schedulers/one_drs.conf. Pure.

The file is YAML and is written whole: the optimizer takes a section as it stands, and one without its WEIGHTS ends it at
the next run (optimizer_parser.py, build_optimizer). Whether a cluster is optimized, and how often, is oned's business
(`scheduler.optimizeInterval`); what a cluster's own attribute ONE_DRS says wins over this file. Without any of these
settings the file stays as shipped.
Source: src/schedm_mad/remotes/one_drs at release-7.4.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue

from components.domain import AttributeName, Section, matching
from components.yaml_conf import Keys, Yaml, YamlError, render

FILE: Final = "one_drs.conf"
CBC: Final = "/usr/lib/one/python/pulp/solverdir/cbc/linux/$arch/cbc"  # as shipped; the optimizer knows $arch

_ORDER: Final = ("cpu_usage", "cpu", "memory", "disk", "net")
Weight = Annotated[float, Field(ge=0, le=1, strict=False)]
Limit = Annotated[int, Field(ge=-1, le=1_000_000)]
Policy = Annotated[
    Literal["balance", "pack"], Field(description="balance: an even load; pack: as few hosts as possible")
]


class PlaceWeights(Section):
    """What counts as load when VMs are placed."""

    cpu: Weight = Field(default=0, description="share of the CPU that VMs ask for")
    memory: Weight = Field(default=0, description="share of the memory that VMs ask for")


class OptimizeWeights(PlaceWeights):
    """What counts as load when running VMs are moved."""

    cpu_usage: Weight = Field(default=0, description="share of the CPU that VMs use")
    disk: Weight = Field(default=0, description="share of what VMs read and write")
    net: Weight = Field(default=0, description="share of what VMs send and receive")


class Place(Section):
    """Placement of new VMs, where the placer is one_drs."""

    policy: Policy = "balance"
    weights: PlaceWeights | None = Field(default=None, description="for balance, sum at most 1; cpu alone is shipped")


class Optimize(Section):
    """Moves of running VMs."""

    policy: Policy = "balance"
    weights: OptimizeWeights | None = Field(
        default=None, description="for balance, sum at most 1; cpuUsage alone is shipped"
    )
    migration_threshold: Limit = Field(default=-1, description="moves in one plan, of hosts and datastores; -1 any")
    host_migration_threshold: Limit = Field(default=-1, description="moves between hosts; -1 any")
    ds_migration_threshold: Limit = Field(default=0, description="moves between datastores; 0 none, -1 any")
    prioritize_storage_migrations: bool = Field(default=False, description="plan moves between datastores first")


class DrsSettings(Section):
    """The optimizer of 7.x."""

    solver: Literal["cbc", "glpk", "coinmp"] = Field(default="cbc", description="solver; OpenNebula brings cbc")
    solver_path: (
        Annotated[str, matching(r"/[^\s\"'\\]+", "must be an absolute path without blanks, quotes and backslashes")]
        | None
    ) = Field(default=None, description="program of another solver in oned's image; $arch is i64 or arm64")
    place: Place | None = Field(default=None, description="placement of new VMs; only with placer one_drs")
    optimize: Optimize = Field(default=Optimize(), description="moves of running VMs")
    predictive: Weight = Field(default=0, description="share of the forecast in what counts as load; 0 none")
    raw: dict[AttributeName, JsonValue] = Field(
        default={}, description="further keys of the file, whole ones; typed ones are refused"
    )


def problems(settings: DrsSettings, *, places: bool) -> Iterator[tuple[str, str]]:
    """(path below `scheduler.drs`, sentence). `places`: whether one_drs is also the placer."""
    if settings.place is not None and not places:
        yield "place", "has an effect only with scheduler.placer one_drs"
    if settings.solver != "cbc" and settings.solver_path is None:
        yield "solverPath", f"is required with solver {settings.solver}: its program's path in oned's image"
    for name, section in (("place", settings.place), ("optimize", settings.optimize)):
        if section is None or section.weights is None:
            continue
        # optimizer_parser.py, _normalize_weights: added in its order, because what rounding makes more than 1 is ignored.
        given = section.weights.model_dump()
        total = sum(given[key] for key in _ORDER if key in given)
        if section.policy == "pack":
            yield f"{name}.weights", "would not be looked at: the policy is pack"
        elif not 0 < total <= 1:
            yield f"{name}.weights", f"have the sum {total}; it must be above 0 and at most 1, or all are ignored"
    for key in sorted(set(settings.raw) & set(_entries(settings, 0.0, different_vnets=True))):
        yield f"raw.{key}", "is decided by typed settings; change it there"
    try:
        config(settings, memory_scale=None, different_vnets=None)
    except YamlError as error:
        yield "raw", str(error)


def config(settings: DrsSettings | None, *, memory_scale: float | None, different_vnets: bool | None) -> str:
    """one_drs.conf, whole. The two settings are those of the placer: the optimizer must not undo what that one obeys."""
    found = settings or DrsSettings()
    typed = _entries(found, memory_scale or 0.0, different_vnets=different_vnets is not False)
    return render({**typed, **found.raw}, Keys.PLAIN)


def _entries(settings: DrsSettings, memory_scale: float, *, different_vnets: bool) -> dict[str, Yaml]:
    place, optimize = settings.place or Place(), settings.optimize
    return {
        "DEFAULT_SCHED": {"SOLVER": settings.solver.upper(), "SOLVER_PATH": settings.solver_path or CBC},
        "PLACE": {"POLICY": place.policy.upper(), "WEIGHTS": _weights(place.weights, "CPU")},
        "OPTIMIZE": {
            "POLICY": optimize.policy.upper(),
            "MIGRATION_THRESHOLD": optimize.migration_threshold,
            "HOST_MIGRATION_THRESHOLD": optimize.host_migration_threshold,
            "DS_MIGRATION_THRESHOLD": optimize.ds_migration_threshold,
            "PRIORITIZE_STORAGE_MIGRATIONS": "YES" if optimize.prioritize_storage_migrations else "NO",
            "WEIGHTS": _weights(optimize.weights, "CPU_USAGE"),
        },
        "PREDICTIVE": settings.predictive,
        "MEMORY_SYSTEM_DS_SCALE": memory_scale,
        # A boolean: any text, "NO" as well, counts as yes.
        "DIFFERENT_VNETS": different_vnets,
    }


def _weights(weights: PlaceWeights | None, shipped: str) -> dict[str, Yaml]:
    if weights is None:
        return {shipped: 1}
    given = weights.model_dump()
    return {name.upper(): given[name] for name in _ORDER if given.get(name)} or {shipped: 1}
