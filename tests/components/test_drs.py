"""The optimizer's file: whole, as its reader takes it, and refused where that reader would silently do something else."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from components.domain import Version
from components.scheduler import SchedulerSettings, drs_config, problems

V6, V7 = Version.V6_10, Version.V7_4
# schedulers/one_drs.conf of 7.4.0, as values.
SHIPPED = {
    "DEFAULT_SCHED": {"SOLVER": "CBC", "SOLVER_PATH": "/usr/lib/one/python/pulp/solverdir/cbc/linux/$arch/cbc"},
    "PLACE": {"POLICY": "BALANCE", "WEIGHTS": {"CPU": 1}},
    "OPTIMIZE": {
        "POLICY": "BALANCE",
        "MIGRATION_THRESHOLD": -1,
        "HOST_MIGRATION_THRESHOLD": -1,
        "DS_MIGRATION_THRESHOLD": 0,
        "PRIORITIZE_STORAGE_MIGRATIONS": "NO",
        "WEIGHTS": {"CPU_USAGE": 1},
    },
    "PREDICTIVE": 0,
    "MEMORY_SYSTEM_DS_SCALE": 0,
    "DIFFERENT_VNETS": True,
}


def settings(**fields: Any) -> SchedulerSettings:
    return SchedulerSettings.model_validate_json(json.dumps(fields))


def file(**fields: Any) -> Any:
    text = drs_config(settings(**fields))
    return None if text is None else yaml.safe_load(text)


def test_the_file_stays_as_shipped_until_something_of_it_is_decided() -> None:
    assert file() is None
    assert file(optimizeInterval=60, placer="one_drs") is None
    assert file(drs={}) == SHIPPED


def test_what_is_decided_stands_in_it_and_the_rest_is_whole() -> None:
    found = file(
        placer="one_drs",
        drs={
            "solver": "glpk",
            "solverPath": "/usr/bin/glpsol",
            "place": {"policy": "pack"},
            "optimize": {
                "weights": {"cpuUsage": 0.5, "memory": 0.25, "net": 0.25},
                "hostMigrationThreshold": 10,
                "dsMigrationThreshold": -1,
                "prioritizeStorageMigrations": True,
            },
            "predictive": 0.3,
            "raw": {"NEW_KEY": {"A": [1, "two"]}},
        },
    )
    assert found == {
        **SHIPPED,
        "DEFAULT_SCHED": {"SOLVER": "GLPK", "SOLVER_PATH": "/usr/bin/glpsol"},
        "PLACE": {"POLICY": "PACK", "WEIGHTS": {"CPU": 1}},
        "OPTIMIZE": {
            **SHIPPED["OPTIMIZE"],  # type: ignore[dict-item]
            "HOST_MIGRATION_THRESHOLD": 10,
            "DS_MIGRATION_THRESHOLD": -1,
            "PRIORITIZE_STORAGE_MIGRATIONS": "YES",
            "WEIGHTS": {"CPU_USAGE": 0.5, "MEMORY": 0.25, "NET": 0.25},
        },
        "PREDICTIVE": 0.3,
        "NEW_KEY": {"A": [1, "two"]},
    }


def test_the_optimizer_obeys_what_the_placer_obeys() -> None:
    found = file(differentVnets=False, memorySystemDsScale=0.5)
    assert found == {**SHIPPED, "DIFFERENT_VNETS": False, "MEMORY_SYSTEM_DS_SCALE": 0.5}
    assert file(differentVnets=True) == SHIPPED


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ({"drs": {"optimize": {"weights": {"cpu": 0.9, "disk": 0.2}}}}, "drs.optimize.weights", "sum 1.1"),
        ({"drs": {"optimize": {"weights": {}}}}, "drs.optimize.weights", "sum 0"),
        ({"drs": {"optimize": {"policy": "pack", "weights": {"cpu": 1}}}}, "drs.optimize.weights", "policy is pack"),
        ({"drs": {"place": {"policy": "pack"}}}, "drs.place", "placer one_drs"),
        ({"drs": {"solver": "coinmp"}}, "drs.solverPath", "required"),
        ({"drs": {"raw": {"OPTIMIZE": {}}}}, "drs.raw.OPTIMIZE", "typed settings"),
        ({"drs": {"raw": {"X": "\ud800"}}}, "drs.raw", "half a character"),
        ({"placer": "one_drs", "maxHost": 2}, "maxHost", "only with placer rank"),
        ({"placer": "one_drs", "hosts": {"policy": "packing"}}, "hosts", "only with placer rank"),
        ({"placer": "one_drs", "raw": {"X": 1}}, "raw", "only with placer rank"),
    ],
)
def test_what_would_be_ignored_is_refused(fields: dict[str, Any], path: str, words: str) -> None:
    ((where, text),) = problems(SchedulerSettings.model_validate(fields, strict=False), V7)
    assert where == path
    assert words in text


def test_the_lts_release_does_not_know_it() -> None:
    ((path, text),) = problems(settings(drs={}), V6)
    assert path == "drs" and "OpenNebula 6.10 does not know drs" in text


@pytest.mark.parametrize(
    "drs", [{"solver": "gurobi"}, {"optimize": {"migrationThreshold": -2}}, {"predictive": 1.5}, {"raw": {"lower": 1}}]
)
def test_values_that_cannot_be(drs: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(drs=drs)
