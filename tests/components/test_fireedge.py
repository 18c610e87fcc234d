"""FireEdge: its two files for each release, its pod with guacd, its edges, and what a change of a setting touches."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.domain import Version
from components.fireedge import service
from components.fireedge_settings import FireEdgeSettings, Login, config_files, problems
from components.sunstone_server import Lease, Period, SunstoneServerSettings, sunstone_text
from tests.components.services import (
    FLOW,
    KEY,
    ONED,
    PASSWORD,
    changed,
    check_common,
    container_of,
    edges,
    fireedge,
    mounted_files,
    pod_of,
)
from tests.graph import reveal

SERVER = """\
log: "prod"
cors: false
host: "0.0.0.0"
port: 2616
one_xmlrpc: "http://oned.one.svc:2633/RPC2"
oneflow_server: "http://oneflow.one.svc:2474"
session_expiration: 180
session_remember_expiration: 3600
minimum_opennebula_expiration: 30
subscriber_endpoint: "tcp://oned.one.svc:2101"
debug_level: 2
truncate_max_length: 150
api_timeout: 120000
guacd:
  port: 4822
  host: "127.0.0.1"
default_zone:
  id: 0
  name: "OpenNebula"
  endpoint: "http://oned.one.svc:2633/RPC2"
auth: "opennebula"
"""
SUNSTONE = """\
support_url: "https://opennebula.zendesk.com/api/v2"
sunstone_prepend: ""
tmpdir: "/var/tmp"
max_upload_file_size: 10737418240
keep_me_logged: true
leases:
  terminate:
    edit: false
    execute_after_weeks: 2
    warn_before_days: 1
supported_fs:
  - "ext4"
  - "ext3"
  - "ext2"
  - "xfs"
use_extended_vmpool: true
currency: "EUR"
default_lang: "en"
langs:
  de: "German"
  en: "English"
  es_ES: "Spanish"
  fr_FR: "French"
  it_IT: "Italian"
  ru: "Russian"
  sk_SK: "Slovak"
  zh_CN: "Chinese (China)"
rowStyle: "card"
"""
ONLY_7 = 'enforce_2fa: false\nfullViewMode: "false"\n'
HOSTS = (IPv4Network("10.1.0.0/16"),)


def files(settings: FireEdgeSettings, version: Version = Version.V7_4, flow: str | None = FLOW) -> dict[str, str]:
    return config_files(settings, version, namespace="one", oned_endpoint=ONED, oneflow_endpoint=flow)


@pytest.mark.parametrize("version", Version)
def test_the_files_of_each_release(version: Version) -> None:
    assert mounted_files(fireedge(version=version), "fireedge") == {
        "/etc/one/fireedge-server.conf": SERVER,
        "/etc/one/fireedge/sunstone/sunstone-server.conf": SUNSTONE + (ONLY_7 if version is Version.V7_4 else ""),
    }


def test_without_oneflow_it_is_nowhere() -> None:
    assert "oneflow" not in files(FireEdgeSettings(), flow=None)["fireedge-server.conf"]
    assert not any("oneflow" in edge for edge in edges(fireedge(oneflow=False)))


@pytest.mark.parametrize("replicas", [1, 3])
def test_what_every_daemon_keeps(replicas: int) -> None:
    graph = fireedge(settings=FireEdgeSettings(replicas=replicas), hypervisors=HOSTS)
    check_common(graph, "fireedge")
    assert reveal(graph.one("Secret").inputs["stringData"]) == {
        "sunstone_auth": f"serveradmin:{PASSWORD}\n",
        "fireedge_key": KEY,
    }


def test_its_edges() -> None:
    assert edges(fireedge(hypervisors=HOSTS)) == {
        "fireedge goes to oned at 2633",
        "fireedge goes to oned at 2101",
        "oned lets fireedge in at 2633",
        "oned lets fireedge in at 2101",
        "fireedge goes to oneflow at 2474",
        "oneflow lets fireedge in at 2474",
        "fireedge goes to 10.1.0.0/16 at 5900-65535",
    }


def test_commands_that_it_runs_find_oned() -> None:
    container = container_of(fireedge(), "fireedge")
    assert {"name": "ONE_XMLRPC", "value": ONED} in container["env"]
    assert {"name": "HOME", "value": "/var/lib/one"} in container["env"]


def test_a_client_stays_with_the_pod_that_holds_its_session() -> None:
    assert "sessionAffinity" not in service(FireEdgeSettings())
    found = service(FireEdgeSettings(replicas=2, session=60, session_remember=120))
    assert found["sessionAffinity"] == "ClientIP"
    assert found["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 7200}}
    longest = service(FireEdgeSettings(replicas=2, session_remember=100000))
    assert longest["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 86400}}


def test_an_ingress_controller_may_have_its_annotations_on_the_service() -> None:
    graph = fireedge(service_annotations={"controller.example/sticky": "true"})
    annotations = graph.one("Service").inputs["metadata"]["annotations"]
    assert annotations == {"pulumi.com/skipAwait": "true", "controller.example/sticky": "true"}


def test_replicas_stand_apart_and_leave_one_at_a_time() -> None:
    assert fireedge().all("PodDisruptionBudget") == []
    graph = fireedge(settings=FireEdgeSettings(replicas=2))
    assert graph.one("PodDisruptionBudget").inputs["spec"]["maxUnavailable"] == 1
    assert "podAntiAffinity" in pod_of(graph)["affinity"]


def test_the_old_pod_serves_until_the_new_one_is_ready() -> None:
    strategy = fireedge().one("Deployment").inputs["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_ready_is_the_login_page_and_alive_is_the_port() -> None:
    container = container_of(fireedge(), "fireedge")
    assert container["readinessProbe"]["httpGet"] == {"path": "/fireedge/sunstone", "port": 2616}
    assert container["startupProbe"]["httpGet"] == container["readinessProbe"]["httpGet"]
    assert container["startupProbe"]["periodSeconds"] == 1, "else every start takes as long as readiness is rare"
    assert container["livenessProbe"]["exec"] == {"command": ["/usr/local/libexec/one/alive", "2616"]}


def test_what_it_may_write() -> None:
    graph = fireedge()
    writable = {
        item["mountPath"]: item["name"]
        for item in container_of(graph, "fireedge")["volumeMounts"]
        if not item.get("readOnly")
    }
    assert writable == {"/var/log/one": "log", "/tmp": "tmp", "/var/lib/one/fireedge": "files", "/var/tmp": "uploads"}
    volumes = {volume["name"]: volume for volume in pod_of(graph)["volumes"]}
    assert volumes["uploads"]["persistentVolumeClaim"] == {"claimName": "one-uploads"}
    # One group for the volume in both pods, or each start of one would take it from the other.
    assert pod_of(graph)["securityContext"]["fsGroup"] == 9869


def test_guacd_is_on_loopback_and_sees_no_secret() -> None:
    container = container_of(fireedge(), "guacd")
    start = "/usr/local/libexec/one/guacd-start"
    assert container["command"][2:] == [start, "-f", "-b", "127.0.0.1", "-l", "4822"]
    assert {"name": "LD_LIBRARY_PATH", "value": "/usr/share/one/guacd/lib"} in container["env"]
    assert [item["mountPath"] for item in container["volumeMounts"]] == ["/tmp", "/etc/one-hosts", "/etc/hosts"]
    assert "ports" not in container


def test_guacd_finds_hosts_that_no_dns_knows() -> None:
    """By a file that follows the ConfigMap: the init container makes the one that is mounted as /etc/hosts."""
    graph = fireedge()
    volumes = {volume["name"]: volume for volume in pod_of(graph)["volumes"]}
    assert volumes["host-addresses"]["configMap"]["name"] == "oned-known-hosts"
    assert [item["key"] for item in volumes["host-addresses"]["configMap"]["items"]] == ["etc-hosts"], "and no keys"
    (init,) = pod_of(graph)["initContainers"]
    assert init["command"][2:] == ["/usr/local/libexec/one/hosts-file", "make"]
    made = {item["name"]: item["mountPath"] for item in init["volumeMounts"]}
    mounted = {item["name"]: item for item in container_of(graph, "guacd")["volumeMounts"]}
    assert made["host-addresses"] == mounted["host-addresses"]["mountPath"] == "/etc/one-hosts"
    assert made["hosts-file"] == "/mnt/hosts-file"
    assert (mounted["hosts-file"]["mountPath"], mounted["hosts-file"]["subPath"]) == ("/etc/hosts", "hosts")
    assert "readOnly" not in mounted["hosts-file"]


@pytest.mark.parametrize(
    "settings",
    [FireEdgeSettings(session=200), FireEdgeSettings(sunstone=SunstoneServerSettings(max_upload_size="1Gi"))],
)
def test_a_changed_setting_is_a_new_config_and_a_new_pod_and_nothing_else(settings: FireEdgeSettings) -> None:
    assert changed(fireedge(), fireedge(settings=settings)) == {"fireedge-config", "fireedge-deployment"}


def test_a_hypervisor_network_more_restarts_nothing() -> None:
    assert changed(fireedge(), fireedge(hypervisors=HOSTS)) == {"fireedge-policy-fireedge"}


def rules(version: Version = Version.V7_4, **fields: Any) -> list[str]:
    return [path for path, _ in problems(FireEdgeSettings(**fields), version, oneflow=True)]


def test_rules_of_two_values() -> None:
    assert rules() == []
    assert rules(session=180, session_remember=100) == ["fireedge.sessionRemember"]
    assert rules(session=30, session_reuse=30) == ["fireedge.sessionReuse"]
    assert rules(sunstone=SunstoneServerSettings(default_language="pl")) == ["fireedge.sunstone.defaultLanguage"]
    twice = (Lease(action="terminate", after=1), Lease(action="terminate", after=2))
    assert rules(sunstone=SunstoneServerSettings(leases=twice)) == ["fireedge.sunstone.leases"]
    assert rules(enabled=False, session=180, session_remember=100) == []


@pytest.mark.parametrize(
    ("sunstone", "path"),
    [(SunstoneServerSettings(two_factor=True), "twoFactor"), (SunstoneServerSettings(full_view=True), "fullView")],
)
def test_what_6_10_does_not_know(sunstone: SunstoneServerSettings, path: str) -> None:
    assert rules(sunstone=sunstone) == []
    ((found, reason),) = problems(FireEdgeSettings(sunstone=sunstone), Version.V6_10, oneflow=True)
    assert found == f"fireedge.sunstone.{path}" and "6.10" in reason


def test_the_paths_of_problems_are_keys_of_the_configuration() -> None:
    known = {field.alias for field in SunstoneServerSettings.model_fields.values()}
    known |= {field.alias for field in FireEdgeSettings.model_fields.values()}
    assert {"twoFactor", "fullView", "defaultLanguage", "leases", "raw", "sessionRemember", "sessionReuse"} <= known


@pytest.mark.parametrize(
    ("raw", "bad"),
    [
        ({"cors": True}, True),
        ({"port": 80}, True),
        ({"oneflow_server": "http://elsewhere"}, True),
        ({"nonsense": 1}, True),
        ({"namespace": "two"}, False),
        ({"TWO_FACTOR_AUTH_ISSUER": "mine"}, False),
    ],
)
@pytest.mark.parametrize("version", Version)
def test_raw_keys_of_fireedge(raw: dict[str, Any], bad: bool, version: Version) -> None:
    assert rules(version, raw=raw) == (["fireedge.raw"] if bad else [])


@pytest.mark.parametrize(
    ("raw", "bad"),
    [
        ({"tmpdir": "/tmp"}, True),
        ({"nonsense": 1}, True),
        ({"token_remote_support": "x"}, True),
        ({"proxy": "p"}, False),
    ],
)
@pytest.mark.parametrize("version", Version)
def test_raw_keys_of_sunstone(raw: dict[str, Any], bad: bool, version: Version) -> None:
    assert rules(version, sunstone=SunstoneServerSettings(raw=raw)) == (["fireedge.sunstone.raw"] if bad else [])


def test_raw_keys_of_one_release_alone() -> None:
    assert rules(Version.V7_4, raw={"oneks_server": "http://k"}) == []
    assert rules(Version.V6_10, raw={"oneks_server": "http://k"}) == ["fireedge.raw"]
    vcenter = SunstoneServerSettings(raw={"vcenter_prepend_command": ""})
    assert rules(Version.V6_10, sunstone=vcenter) == []
    assert rules(Version.V7_4, sunstone=vcenter) == ["fireedge.sunstone.raw"]


@pytest.mark.parametrize("directory", ["/tmp", "/var/tmp/..", "/var/tmp/a b", "/var/tmpfiles", "/var/tmp/"])
def test_uploads_stay_on_the_shared_volume(directory: str) -> None:
    with pytest.raises(ValidationError):
        SunstoneServerSettings(upload_directory=directory)


@given(
    st.builds(
        FireEdgeSettings,
        log_level=st.integers(0, 5),
        session=st.integers(1, 525600),
        api_timeout=st.integers(1, 86400),
        log_message_length=st.integers(-1, 100000),
        auth=st.sampled_from(Login),
        auth_redirect=st.sampled_from([None, ".", "/", "/a:b#c", "https://login.example/?a=b"]),
    )
)
def test_every_setting_is_read_back_as_it_was_set(settings: FireEdgeSettings) -> None:
    found = yaml.safe_load(files(settings)["fireedge-server.conf"])
    assert found["debug_level"] == settings.log_level
    assert found["session_expiration"] == settings.session
    assert found["api_timeout"] == settings.api_timeout * 1000
    assert found["truncate_max_length"] == settings.log_message_length
    assert found["auth"] == settings.auth.value
    assert found.get("auth_redirect") == settings.auth_redirect


@given(
    st.builds(
        SunstoneServerSettings,
        max_upload_size=st.sampled_from(["1Ki", "5Mi", "10Gi", "2Ti"]),
        languages=st.dictionaries(
            st.from_regex(r"[a-z]{2}(_[A-Z]{2})?", fullmatch=True),
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64),
        ),
        leases=st.lists(
            st.builds(
                Lease,
                action=st.sampled_from(["terminate", "poweroff", "undeploy-hard"]),
                after=st.integers(1, 10000),
                after_unit=st.sampled_from(Period),
                warn=st.none() | st.integers(1, 10000),
            ),
            unique_by=lambda lease: lease.action,
        ).map(tuple),
    ),
    st.sampled_from(Version),
)
def test_every_sunstone_setting_is_read_back_as_it_was_set(settings: SunstoneServerSettings, version: Version) -> None:
    found = yaml.safe_load(sunstone_text(settings, version))
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    assert found["max_upload_file_size"] == int(settings.max_upload_size[:-2]) * units[settings.max_upload_size[-2:]]
    assert found["langs"] == settings.languages  # Norwegian is `no`, which YAML 1.1 takes for false
    assert set(found["leases"]) == {lease.action for lease in settings.leases or ()}
    for lease in settings.leases or ():
        assert found["leases"][lease.action][f"execute_after_{lease.after_unit.value}"] == lease.after
