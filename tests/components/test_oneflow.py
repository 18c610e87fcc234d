"""OneFlow: its file for each release, its edges, and what a change of a setting touches."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.domain import Version
from components.oneflow_settings import OneFlowSettings, ShutdownAction, config_text, problems
from tests.components.services import (
    ONED,
    PASSWORD,
    changed,
    check_common,
    container_of,
    edges,
    mounted_files,
    oneflow,
    pod_of,
)
from tests.graph import reveal

FILE = """\
:one_xmlrpc: "http://oned.one.svc:2633/RPC2"
:subscriber_endpoint: "tcp://oned.one.svc:2101"
:autoscaler_interval: 90
:host: "0.0.0.0"
:port: 2474
:force_deletion: false
:retries: 5
:default_cooldown: 300
:wait_timeout: 30
:concurrency: 10
:shutdown_action: "terminate"
:action_number: 1
:action_period: 60
:vm_name_template: "$ROLE_NAME_$VM_NUMBER_(service_$SERVICE_ID)"
:page_size: 10
:core_auth: "cipher"
:log:
  :level: 2
  :system: "file"
"""
# In the shipped files of release-6.10.5 and release-7.4.0, which are the same.
SHIPPED = {
    "one_xmlrpc",
    "subscriber_endpoint",
    "autoscaler_interval",
    "host",
    "port",
    "force_deletion",
    "retries",
    "default_cooldown",
    "wait_timeout",
    "concurrency",
    "shutdown_action",
    "action_number",
    "action_period",
    "vm_name_template",
    "page_size",
    "core_auth",
    "log",
}


def text(settings: OneFlowSettings, version: Version = Version.V7_4) -> str:
    return config_text(settings, version, namespace="one", oned_endpoint=ONED)


@pytest.mark.parametrize("version", Version)
def test_the_file_of_each_release(version: Version) -> None:
    assert text(OneFlowSettings(), version) == FILE
    assert {key.removeprefix(":") for key in yaml.safe_load(FILE)} == SHIPPED


def test_what_every_daemon_keeps() -> None:
    graph = oneflow()
    check_common(graph, "oneflow")
    assert mounted_files(graph, "oneflow") == {"/etc/one/oneflow-server.conf": FILE}
    assert reveal(graph.one("Secret").inputs["stringData"]) == {"oneflow_auth": f"serveradmin:{PASSWORD}\n"}


def test_there_is_never_a_second_one() -> None:
    spec = oneflow().one("Deployment").inputs["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_its_edges() -> None:
    assert edges(oneflow()) == {
        "oneflow goes to oned at 2633",
        "oneflow goes to oned at 2101",
        "oned lets oneflow in at 2633",
        "oned lets oneflow in at 2101",
    }


def test_the_startup_probe_outlasts_the_wait_for_oned() -> None:
    container = container_of(oneflow(settings=OneFlowSettings(oned_wait=500)), "oneflow")
    assert {item["name"]: item["value"] for item in container["env"]} == {
        "HOME": "/var/lib/one",
        "ONED_HOST": "oned.one.svc",
        "ONED_PORT": "2633",
        "ONED_WAIT_SECONDS": "500",
    }
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > 500


def test_a_changed_setting_is_a_new_config_and_a_new_pod_and_nothing_else() -> None:
    assert changed(oneflow(), oneflow(settings=OneFlowSettings(concurrency=11))) == {
        "oneflow-config",
        "oneflow-deployment",
    }


def test_the_credential_is_a_file_that_the_daemon_cannot_change() -> None:
    graph = oneflow()
    (volume,) = [volume for volume in pod_of(graph)["volumes"] if "secret" in volume]
    assert volume["secret"]["defaultMode"] == 0o440
    (mount,) = [item for item in container_of(graph, "oneflow")["volumeMounts"] if item["name"] == volume["name"]]
    assert mount == {"name": "auth", "mountPath": "/var/lib/one/.one", "readOnly": True}


def test_router_names_are_7x() -> None:
    settings = OneFlowSettings(vr_name_template="$ROLE_NAME")
    assert list(problems(settings, Version.V7_4)) == []
    ((path, reason),) = problems(settings, Version.V6_10)
    assert path == "oneflow.vrNameTemplate" and "6.10" in reason
    assert ":vr_name_template:" in text(settings)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"host": "::"}, "decided by"),
        ({"concurency": 3}, "does not read concurency"),
        ({"log": {"level": 3}}, "decided by"),
        ({"expire_delta": {"no symbol": 1}}, "no Ruby symbol"),
    ],
)
@pytest.mark.parametrize("version", Version)
def test_raw_keys_that_cannot_stand(raw: dict[str, Any], reason: str, version: Version) -> None:
    ((path, found),) = problems(OneFlowSettings(raw=raw), version)
    assert path == "oneflow.raw" and reason in found
    assert list(problems(OneFlowSettings(raw=raw, enabled=False), version)) == []


def test_raw_keys_that_the_release_reads() -> None:
    settings = OneFlowSettings(raw={"expire_delta": 600})
    assert list(problems(settings, Version.V7_4)) == []
    assert yaml.safe_load(text(settings))[":expire_delta"] == 600


@given(
    st.builds(
        OneFlowSettings,
        log_level=st.integers(0, 3),
        concurrency=st.integers(1, 256),
        autoscaler_interval=st.integers(1, 86400),
        force_deletion=st.booleans(),
        shutdown_action=st.sampled_from(ShutdownAction),
        vm_name_template=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=128),
    )
)
def test_every_setting_is_read_back_as_it_was_set(settings: OneFlowSettings) -> None:
    found = yaml.safe_load(text(settings))
    assert found[":log"][":level"] == settings.log_level
    assert found[":concurrency"] == settings.concurrency
    assert found[":autoscaler_interval"] == settings.autoscaler_interval
    assert found[":force_deletion"] is settings.force_deletion
    assert found[":shutdown_action"] == settings.shutdown_action.value
    assert found[":vm_name_template"] == settings.vm_name_template


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"log_level": 4}, {"vm_name_template": "a\nb"}, {"port": 1}])
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OneFlowSettings(**wrong)
