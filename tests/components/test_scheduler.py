"""Scheduler settings by release: which file says what, and what a release does not know."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.domain import Version
from components.oned_conf import render
from components.scheduler import SchedulerSettings, oned_entries, problems, rank_entries, sched_entries

V6, V7 = Version.V6_10, Version.V7_4


def settings(**fields: Any) -> SchedulerSettings:
    return SchedulerSettings.model_validate_json(json.dumps(fields))


def test_what_is_left_out_stays_the_releases_own() -> None:
    assert oned_entries(settings(), V7) == {}
    assert rank_entries(settings()) == {"LOG": {"SYSTEM": "file", "DEBUG_LEVEL": 3}}
    assert set(sched_entries(settings())) == {"ONE_XMLRPC", "LOG"}
    for version in Version:
        assert list(problems(settings(), version)) == []


def test_the_daemon_of_6_10_has_everything_in_its_own_file() -> None:
    chosen = settings(
        interval=20, max_vm=0, max_dispatch=50, max_host=2, live_rescheds=True, cold_migrate_mode="poweroff"
    )
    assert oned_entries(chosen, V6) == {}
    text = render(sched_entries(chosen))
    for line in (
        'SCHED_INTERVAL = "20"',
        'MAX_VM = "0"',
        'MAX_DISPATCH = "50"',
        'MAX_HOST = "2"',
        'LIVE_RESCHEDS = "1"',
        'COLD_MIGRATE_MODE = "1"',
        'SYSTEM = "std"',
    ):
        assert line in text


def test_the_driver_of_7_splits_them() -> None:
    chosen = settings(
        max_host=3,
        different_vnets=False,
        memory_system_ds_scale=0.5,
        hosts={"policy": "custom", "rank": "- RUNNING_VMS"},
        datastores={"policy": "fixed"},
        live_rescheds=True,
        cold_migrate_mode="poweroffHard",
        max_actions_per_host=2,
        max_actions_per_cluster=40,
        optimize_interval=-1,
        threads=30,
    )
    assert oned_entries(chosen, V7) == {
        "SCHED_MAD": {"EXECUTABLE": "one_sched", "ARGUMENTS": "-t 30 -p rank -o one_drs"},
        "MAX_ACTIONS_PER_HOST": 2,
        "MAX_ACTIONS_PER_CLUSTER": 40,
        "DRS_INTERVAL": -1,
        "LIVE_RESCHEDS": 1,
        "COLD_MIGRATE_MODE": 2,
    }
    rank = rank_entries(chosen)
    assert rank["DEFAULT_SCHED"] == {"POLICY": 3, "RANK": "- RUNNING_VMS"}
    assert rank["DEFAULT_DS_SCHED"] == {"POLICY": 3}, "fixed is 4 for hosts only"
    assert (rank["MAX_HOST"], rank["DIFFERENT_VNETS"], rank["MEMORY_SYSTEM_DS_SCALE"]) == (3, "NO", "0.5")
    assert "LIVE_RESCHEDS" not in rank
    assert list(problems(chosen, V7)) == []


@pytest.mark.parametrize(
    ("version", "field", "value"),
    [
        (V7, "interval", 20),
        (V7, "maxVm", 1),
        (V7, "maxDispatch", 1),
        (V7, "timeout", 1),
        (V6, "maxActionsPerHost", 1),
        (V6, "optimizeInterval", 1),
        (V6, "placer", "rank"),
        (V6, "retryTime", 1),
    ],
)
def test_a_setting_of_the_other_release_names_the_release(version: Version, field: str, value: object) -> None:
    chosen = settings(**{field: value})
    ((path, text),) = problems(chosen, version)
    assert path == field
    assert f"OpenNebula {version.value} does not know" in text


def test_policies_that_cannot_be() -> None:
    found = dict(problems(settings(networks={"policy": "loadAware"}, hosts={"policy": "custom"}), V7))
    assert set(found) == {"networks.policy", "hosts.rank"}
    assert dict(problems(settings(hosts={"policy": "packing", "rank": "X"}), V7)).keys() == {"hosts.rank"}
    assert dict(problems(settings(raw={"MAX_HOST": 1}), V7)) == {}
    assert "raw.MAX_HOST" in dict(problems(settings(max_host=2, raw={"MAX_HOST": 1}), V7))
    assert "backslash" in dict(problems(settings(networks={"policy": "custom", "rank": "A\\"}), V7))["networks.rank"]
