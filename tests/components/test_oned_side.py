"""What the oned pod gets by settings: scheduler, hooks, way back, keys, uploads, authentication. On the recorded graph."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import Any

import pulumi
import pytest

from components import naming
from components.domain import Version
from components.drivers import DriverSettings, KvmSettings, LxcSettings
from components.drs import DrsSettings
from components.generated.keys import new_monitor_key_pair
from components.hem import HemSettings
from components.hem import problems as hem_problems
from components.monitoring import Exposure, MonitoringSettings, ProbePeriods
from components.monitoring import problems as monitoring_problems
from components.network_drivers import NetworkDriverSettings, Tproxy
from components.oned import monitord_service
from components.oned_conf import GrammarError, parse
from components.oned_settings import OnedSettings, TuningSettings
from components.oned_settings import problems as oned_problems
from components.scheduler import SchedulerSettings
from components.scheduler import problems as scheduler_problems
from components.ssh_identity import SshKey
from components.storage import Storage, StorageArgs, StorageSettings
from components.sunstone_settings import SunstoneSettings
from components.way_back import WayBackSettings
from components.way_back import problems as way_back_problems
from policy.rules import violations
from stacks.reference import _rows
from tests.components.test_components import KEY, clear_text, oned
from tests.graph import Graph, Secret, deploy, reveal

HOSTS = (IPv4Network("10.1.0.0/16"), IPv4Network("10.2.0.0/16"))


def host_key(public: str = "ssh-ed25519 AAAAhost") -> SshKey:
    """Outputs belong to one run, so each run makes its own."""
    return SshKey(private=pulumi.Output.secret("MARKER host key"), public=pulumi.Output.from_input(public))


EVERYTHING: dict[str, Any] = {
    "hem": HemSettings(),
    "way_back": WayBackSettings(enabled=True),
    "frontend_host_key": host_key,
    "uploads_claim": "one-uploads",
    "onegate_endpoint": "http://169.254.16.9:5030",
    "onegate_proxy": Tproxy(service_port=5030, remote_addr="192.0.2.9", remote_port=5030),
    "auth_entries": {"DEFAULT_AUTH": "ldap", "AUTH_MAD": {"EXECUTABLE": "one_auth_mad", "AUTHN": "ssh,ldap"}},
    "auth_files": {"x509_auth.conf": "plain\n"},
    "auth_secret": "one-auth-files",
    "hypervisors": HOSTS,
}
V6 = {"version": Version.V6_10}


def pod(graph: Graph) -> dict[str, Any]:
    found: dict[str, Any] = graph.one("StatefulSet").inputs["spec"]["template"]["spec"]
    return found


def containers(graph: Graph) -> dict[str, Any]:
    return {container["name"]: container for container in pod(graph)["containers"]}


def volumes(graph: Graph) -> dict[str, Any]:
    return {volume["name"]: volume for volume in pod(graph)["volumes"]}


def paths(container: dict[str, Any]) -> dict[str, str]:
    return {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}


def config(graph: Graph) -> dict[str, str]:
    found: dict[str, str] = graph.one("ConfigMap", "oned-config").inputs["data"]
    return found


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in container["env"]}


@pytest.mark.parametrize("version", list(Version))
def test_every_rule_holds_with_everything_on(version: Version) -> None:
    graph = oned(version=version, **EVERYTHING)
    assert [line for r in graph.records for line in violations(r.type, r.name, reveal(dict(r.inputs)))] == []
    assert "MARKER" not in clear_text(graph)
    assert all(isinstance(record.inputs["stringData"], Secret) for record in graph.all("Secret"))
    used = {
        mount["name"] for c in [*pod(graph)["initContainers"], *pod(graph)["containers"]] for mount in c["volumeMounts"]
    }
    assert used == set(volumes(graph)), "every mount has its volume and every volume somebody who mounts it"


def test_containers_by_release_and_setting() -> None:
    assert set(containers(oned())) == {"oned", "keeper"}
    assert set(containers(oned(**V6))) == {"oned", "keeper", "scheduler"}
    assert set(containers(oned(hem=HemSettings(enabled=False), way_back=WayBackSettings()))) == {"oned", "keeper"}
    assert set(containers(oned(**EVERYTHING))) == {"oned", "keeper", "hem", "way-back"}


def test_the_scheduler_daemon_sees_its_file_and_no_password_of_the_database() -> None:
    graph = oned(**V6, scheduler=SchedulerSettings(interval=20))
    scheduler = containers(graph)["scheduler"]
    assert scheduler["command"][-1] == "/usr/bin/mm_sched"
    (etc,) = [mount for mount in scheduler["volumeMounts"] if mount["name"] == "etc"]
    assert (etc["mountPath"], etc["subPath"]) == ("/etc/one/sched.conf", "sched.conf")
    assert "database" not in paths(scheduler).values()
    assert environment(scheduler)["ONE_AUTH"] == "/run/secrets/one/oneadmin/one_auth"
    assert 'SCHED_INTERVAL = "20"' in config(graph)["sched.conf"]
    assert "rank.conf" not in config(graph)


def test_7_ranks_inside_oned() -> None:
    graph = oned(scheduler=SchedulerSettings(max_host=2, max_actions_per_host=3))
    assert 'MAX_HOST = "2"' in config(graph)["rank.conf"]
    assert 'MAX_ACTIONS_PER_HOST = "3"' in config(graph)["oned.conf"]
    assert "sched.conf" not in config(graph)
    assert "one_drs.conf" not in config(graph), "the image's own stays"
    optimizing = oned(scheduler=SchedulerSettings(drs=DrsSettings(predictive=0.5)))
    assert "PREDICTIVE: 0.5" in config(optimizing)["one_drs.conf"].splitlines()


def test_the_first_boots_files_come_from_the_table() -> None:
    for version, names in (
        (Version.V6_10, "sunstone onegate oneflow"),
        (Version.V7_4, "sunstone onegate oneflow oneform oneks"),
    ):
        found = containers(oned(version=version))
        assert {environment(found[name])["AUTH_SERVICES"] for name in ("oned", "keeper")} == {names}


@pytest.mark.parametrize("version", list(Version))
def test_the_pod_is_told_which_release_its_image_must_be_of(version: Version) -> None:
    (prepare,) = [c for c in pod(oned(version=version))["initContainers"] if c["name"] == "prepare"]
    assert environment(prepare) == {"RELEASE": version.value}


def test_keys_that_6_10_does_not_know_are_not_written() -> None:
    graph = oned(**V6)
    assert "MASTER_ONED_GRPC" not in config(graph)["oned.conf"]
    assert "EXEC_VM" not in config(graph)["monitord.conf"]
    assert "MASTER_ONED_GRPC" in config(oned())["oned.conf"]
    assert 'EXEC_VM = "5"' in config(oned())["monitord.conf"]


def test_problems_name_the_release() -> None:
    raw = OnedSettings(raw={"DRS_INTERVAL": 60})
    assert list(oned_problems(raw, Version.V7_4)) == []
    assert dict(oned_problems(raw, Version.V6_10)).keys() == {"raw.DRS_INTERVAL"}
    probes = MonitoringSettings(address="10.0.0.1", probes=ProbePeriods(exec_vm=7))
    ((path, text),) = monitoring_problems(probes, Version.V6_10)
    assert path == "probes.execVm" and "OpenNebula 6.10 does not know" in text
    assert list(monitoring_problems(probes, Version.V7_4)) == []


def test_problems_of_the_grammar_are_found_before_anything_is_made() -> None:
    def trailing(name: str) -> dict[str, Any]:
        return {"raw": {name: "ends with \\"}}

    for name, found in (
        ("RPC_LOG", oned_problems(OnedSettings(**trailing("RPC_LOG")), Version.V7_4)),
        (
            "MANAGER_TIMER",
            monitoring_problems(MonitoringSettings(address="10.0.0.1", **trailing("MANAGER_TIMER")), Version.V7_4),
        ),
        ("MAX_HOST", scheduler_problems(SchedulerSettings(**trailing("MAX_HOST")), Version.V6_10)),
        ("MAX_HOST", scheduler_problems(SchedulerSettings(**trailing("MAX_HOST")), Version.V7_4)),
    ):
        ((path, text),) = found
        assert path == f"raw.{name}" and "backslash" in text
    clash = oned_problems(OnedSettings(raw={"DRS_INTERVAL": 1}), Version.V7_4, SchedulerSettings(optimize_interval=5))
    assert "typed" in dict(clash)["raw.DRS_INTERVAL"]


def test_every_setting_is_explained() -> None:
    """The table of keys takes these texts."""
    models = (DriverSettings, HemSettings, MonitoringSettings, OnedSettings, SchedulerSettings, StorageSettings)
    for model in (*models, SunstoneSettings, WayBackSettings):
        assert [path for path, _, text in _rows(model, "") if not text.strip()] == []


def test_hooks_run_beside_oned_with_their_own_file_and_probes() -> None:
    graph = oned(hem=HemSettings(concurrency=3))
    hem = containers(graph)["hem"]
    assert hem["command"][-1].endswith("/hem-start")
    assert hem["startupProbe"] != hem["livenessProbe"]
    assert {"/var/lib/one", "/etc/one", "/etc/one-ssh", "/run/one"} <= set(paths(hem))
    text = graph.one("ConfigMap", "oned-hem-config").inputs["data"]["onehem-server.conf"]
    assert paths(hem)["/etc/one-hem"] == "hem" and "onehem-server.conf" not in config(graph)
    assert volumes(graph)["hem"]["configMap"]["name"] == "oned-hem"
    assert all("hem" not in paths(each).values() for name, each in containers(graph).items() if name != "hem")
    assert ":concurrency: 3\n" in text and ':subscriber_endpoint: "tcp://localhost:2101"\n' in text
    assert dict(hem_problems(HemSettings(raw={"concurrency": 4}), Version.V7_4)).keys() == {"raw.concurrency"}


def _fingerprint(graph: Graph) -> dict[str, str]:
    return {record.name: json.dumps(dict(record.inputs), default=repr, sort_keys=True) for record in graph.records}


@pytest.mark.parametrize(
    "change",
    [
        {"scheduler": SchedulerSettings(max_host=9)},
        {"onegate_endpoint": "http://10.0.0.9:5030"},
        {"drivers": DriverSettings(kvm=KvmSettings(virsh_timeout=5), lxc=LxcSettings())},
        {"auth_files": {"x509_auth.conf": "other\n"}},
        {"settings": OnedSettings(tuning=TuningSettings(timeout=60))},
    ],
)
def test_a_change_of_any_of_these_restarts_the_one_pod_and_touches_nothing_else(change: dict[str, Any]) -> None:
    before, after = _fingerprint(oned(**EVERYTHING)), _fingerprint(oned(**{**EVERYTHING, **change}))
    assert {name for name in before if before[name] != after[name]} == {"oned-config", "oned-statefulset"}


def test_a_change_of_the_hook_managers_settings_leaves_oneds_pod_alone() -> None:
    change = {"hem": HemSettings(concurrency=3)}
    before, after = _fingerprint(oned(**EVERYTHING)), _fingerprint(oned(**{**EVERYTHING, **change}))
    assert {name for name in before if before[name] != after[name]} == {"oned-hem-config"}


def test_uploads_are_shared_when_there_is_a_claim() -> None:
    assert "emptyDir" in volumes(oned())["var-tmp"]
    shared = oned(uploads_claim="one-uploads")
    assert volumes(shared)["var-tmp"]["persistentVolumeClaim"] == {"claimName": "one-uploads"}
    assert paths(containers(shared)["oned"])["/var/tmp"] == "var-tmp"


def test_storage_makes_the_uploads_for_several_pods() -> None:
    graph = deploy(lambda: Storage("storage", StorageArgs(settings=StorageSettings(), namespace="one")))
    record = graph.one("PersistentVolumeClaim", "storage-uploads")
    assert record.inputs["metadata"]["name"] == "one-uploads"
    assert record.inputs["spec"]["accessModes"] == ["ReadWriteMany"]


def test_onegate_is_named_only_where_it_runs() -> None:
    assert "ONEGATE_ENDPOINT" not in config(oned())["oned.conf"]
    assert 'ONEGATE_ENDPOINT = "http://169.254.16.9:5030"' in config(oned(**EVERYTHING))["oned.conf"]


@pytest.mark.parametrize("version", list(Version))
def test_the_networking_drivers_file_is_there_with_onegates_proxy_or_settings_of_it(version: Version) -> None:
    assert "OpenNebulaNetwork.conf" not in config(oned(version=version)), "the image's own stays"
    assert ':remote_addr: "192.0.2.9"' in config(oned(version=version, **EVERYTHING))["OpenNebulaNetwork.conf"]
    mine = DriverSettings(network=NetworkDriverSettings(vxlan_mtu=9000))
    assert ":vxlan_mtu: 9000" in config(oned(version=version, drivers=mine))["OpenNebulaNetwork.conf"]


def test_hosts_encrypt_unless_told_otherwise() -> None:
    graph = oned()
    network = dict(parse(config(graph)["monitord.conf"]))["NETWORK"]
    assert isinstance(network, dict)
    found = containers(graph)
    assert paths(found["oned"])["/run/secrets/one/monitord"] == "monitord"
    assert network["PRIKEY"] == "/run/secrets/one/monitord/private.pem"
    assert network["PUBKEY"] == "/run/secrets/one/monitord/public.pem"
    assert all("monitord" not in paths(container).values() for name, container in found.items() if name != "oned")
    assert graph.one("GeneratedMonitorKeyPair").secret_outputs == ("private_key",)
    assert set(reveal(graph.one("Secret", "oned-monitord-keys").inputs["stringData"])) == {"private.pem", "public.pem"}

    plain = oned(monitoring=MonitoringSettings(address="10.0.0.1", encrypt=False))
    assert 'PRIKEY = ""' in config(plain)["monitord.conf"]
    assert plain.all("GeneratedMonitorKeyPair") == [] and "monitord" not in volumes(plain)


def test_the_operators_own_key_is_used() -> None:
    pair = new_monitor_key_pair()
    graph = oned(monitor_key=lambda: pulumi.Output.secret(pair.private_key))
    assert graph.all("GeneratedMonitorKeyPair") == []
    data = reveal(graph.one("Secret", "oned-monitord-keys").inputs["stringData"])
    assert data == {"private.pem": pair.private_key, "public.pem": pair.public_key}
    assert isinstance(graph.one("Secret", "oned-monitord-keys").inputs["stringData"], Secret)


def test_the_way_back_is_narrow() -> None:
    graph = oned(**EVERYTHING)
    data = graph.one("ConfigMap", "oned-way-back").inputs["data"]
    assert data["authorized_keys"] == "restrict,agent-forwarding ssh-ed25519 AAAA oneadmin\n"
    assert data["known_hosts"] == "opennebula-frontend ssh-ed25519 AAAAhost\n"
    sshd = data["sshd_config"]
    for line in ("AllowUsers oneadmin", "AuthenticationMethods publickey", "AllowTcpForwarding no", "PermitTTY no"):
        assert f"\n{line}\n" in sshd
    container = containers(graph)["way-back"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert {"/var/lib/one/remotes", "/var/lib/one/vms", "/var/lib/one/.ssh", "/var/lib/one/datastores"} <= set(mounts)
    assert mounts["/var/lib/one/remotes"]["subPath"] == "remotes" and mounts["/var/lib/one/remotes"]["readOnly"]
    assert "/var/lib/one" not in mounts, "oneadmin's session and the master key stay out of sight"
    assert not {"oneadmin", "serveradmin", "database", "etc", "ssh-key", "monitord", "run"} & set(
        paths(container).values()
    ), "nor what is mounted into the other containers, the agent's socket in /run/one among it"
    assert paths(container)["/run/one"] == "way-back-run"
    assert KEY not in json.dumps(data)
    assert paths(containers(graph)["oned"])["/etc/one-way-back"] == "way-back"


def test_the_way_back_is_open_to_the_hosts_networks_alone() -> None:
    policy = oned(**EVERYTHING).one("NetworkPolicy", "oned-way-back-policy").inputs["spec"]
    assert policy["podSelector"]["matchLabels"] == naming.selector(naming.ONED)
    assert [rule["from"] for rule in policy["ingress"]] == [
        [{"ipBlock": {"cidr": "10.1.0.0/16"}}],
        [{"ipBlock": {"cidr": "10.2.0.0/16"}}],
    ]
    assert {(p["protocol"], p["port"]) for rule in policy["ingress"] for p in rule["ports"]} == {("TCP", 2222)}
    nobody = oned(**{**EVERYTHING, "hypervisors": ()})
    assert [policy.name for policy in nobody.all("NetworkPolicy")] == ["oned-policy"]


def test_the_way_back_has_a_service_of_its_own() -> None:
    spec = oned(**EVERYTHING).one("Service", "oned-way-back-service").inputs["spec"]
    assert (spec["type"], spec["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    assert spec["ports"] == [{"name": "ssh", "protocol": "TCP", "port": 2222, "targetPort": 2222}]
    node_port = WayBackSettings(enabled=True, port=30222, exposure=Exposure.NODE_PORT)
    spec = oned(**{**EVERYTHING, "way_back": node_port}).one("Service", "oned-way-back-service").inputs["spec"]
    assert spec["ports"][0] | {"nodePort": 30222, "port": 30222, "targetPort": 2222} == spec["ports"][0]
    assert dict(way_back_problems(WayBackSettings(enabled=True, exposure=Exposure.NODE_PORT))).keys() == {"port"}
    assert dict(way_back_problems(WayBackSettings(address="localhost"))).keys() == {"address"}


def test_a_changed_host_key_makes_a_new_pod() -> None:
    before, after = (
        oned(**EVERYTHING),
        oned(**{**EVERYTHING, "frontend_host_key": lambda: host_key("ssh-ed25519 AAAAother")}),
    )
    names = [volumes(graph)["way-back"]["configMap"]["name"] for graph in (before, after)]
    assert names[0] != names[1]


def test_the_way_back_without_a_host_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="frontend_host_key"):
        oned(way_back=WayBackSettings(enabled=True))


def test_authentication_comes_in_whole() -> None:
    graph = oned(**EVERYTHING)
    text = dict(parse(config(graph)["oned.conf"]))
    assert text["DEFAULT_AUTH"] == "ldap"
    assert text["AUTH_MAD"] == {"EXECUTABLE": "one_auth_mad", "AUTHN": "ssh,ldap"}
    assert config(graph)["auth.x509_auth.conf"] == "plain\n"
    (prepare,) = [c for c in pod(graph)["initContainers"] if c["name"] == "prepare"]
    assert paths(prepare)["/run/secrets/one/auth"] == "auth"
    assert volumes(graph)["auth"]["secret"]["secretName"] == "one-auth-files"
    with pytest.raises(GrammarError, match="typed"):
        oned(auth_entries={"DEFAULT_AUTH": "ldap"}, settings=OnedSettings(raw={"DEFAULT_AUTH": "core"}))
    with pytest.raises(GrammarError, match="no key of authentication"):
        oned(auth_entries={"PORT": 1})


def test_further_egress_is_added_and_changes_no_other_edge() -> None:
    rule = {"to": [{"ipBlock": {"cidr": "192.0.2.5/32"}}], "ports": [{"protocol": "TCP", "port": 636}]}
    before = oned(hypervisors=HOSTS).one("NetworkPolicy").inputs["spec"]
    after = oned(hypervisors=HOSTS, extra_egress=(rule,)).one("NetworkPolicy").inputs["spec"]
    assert after["egress"] == [*before["egress"], rule]
    assert after["ingress"] == before["ingress"]


def test_tuning_keys_are_written_when_set() -> None:
    tuning = TuningSettings(backlog=480, timeout=60, message_size=2**30, keepalive_timeout=20, rpc_log=False, timer=30)
    text = dict(parse(config(oned(settings=OnedSettings(max_connections=240, tuning=tuning)))["oned.conf"]))
    expected = {
        "MAX_CONN": "240",
        "MAX_CONN_BACKLOG": "480",
        "TIMEOUT": "60",
        "MESSAGE_SIZE": "1073741824",
        "KEEPALIVE_TIMEOUT": "20",
        "RPC_LOG": "NO",
        "MANAGER_TIMER": "30",
    }
    assert {name: text[name] for name in expected} == expected
    assert not {"TIMEOUT", "MESSAGE_SIZE", "RPC_LOG"} & set(dict(parse(config(oned())["oned.conf"])))
    history = MonitoringSettings(address="10.0.0.1", host_history=0, vm_history=3600)
    monitord = dict(parse(config(oned(monitoring=history))["monitord.conf"]))
    assert monitord["HOST_MONITORING_EXPIRATION_TIME"] == "0" and monitord["VM_MONITORING_EXPIRATION_TIME"] == "3600"


@pytest.mark.parametrize("exposure", Exposure)
def test_pushes_keep_their_senders_address(exposure: Exposure) -> None:
    """The network policy tells hosts by it: behind a node's address, everybody or nobody would be let in."""
    service = monitord_service(MonitoringSettings(address="10.0.0.1", port=30424, exposure=exposure))
    assert service["externalTrafficPolicy"] == "Local"
    policy = oned(**EVERYTHING).one("NetworkPolicy", "oned-policy").inputs["spec"]
    assert policy["ingress"][0]["from"] == [{"ipBlock": {"cidr": str(network)}} for network in HOSTS]


def test_what_holds_passwords_or_the_agent_is_in_memory() -> None:
    found = volumes(oned(**EVERYTHING))
    memory = {name for name, volume in found.items() if volume.get("emptyDir", {}).get("medium") == "Memory"}
    assert memory == {"etc", "run", "way-back-run"}
