"""Each component on a recorded graph: what it makes, and what it must never make."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pulumi
import pytest

from components import naming
from components.credentials import Credentials, CredentialsArgs
from components.mariadb import MariaDB, MariaDBArgs, MariaDBHandle, MariaDBSettings, server_config
from components.monitoring import Exposure, MonitoringSettings
from components.namespace import Namespace, NamespaceArgs
from components.oned import Oned, OnedArgs
from components.oned_settings import OnedSettings
from components.ssh_identity import SshIdentity, SshIdentityArgs, SshKey
from components.storage import Storage, StorageArgs, StorageSettings, VolumeSettings
from policy.rules import violations
from stacks.tiers import TIERS, Tier
from tests.graph import Graph, Secret, deploy, reveal

PASSWORD = "MARKERpassword1"
KEY = "MARKER private key"


def mariadb() -> Graph:
    def program() -> None:
        MariaDB(
            "mariadb",
            MariaDBArgs(
                settings=MariaDBSettings(),
                namespace="one",
                image="docker.io/library/mariadb:10.11.14",
                image_pull_policy="IfNotPresent",
                image_pull_secrets=("pull",),
                claim="one-database",
                password=pulumi.Output.secret(PASSWORD),
                resources=TIERS[Tier.SMALL].mariadb,
                buffer_pool="128Mi",
            ),
        )

    return deploy(program)


def oned(**changes: Any) -> Graph:
    def program() -> None:
        fields: dict[str, Any] = {
            "settings": OnedSettings(),
            "monitoring": MonitoringSettings(address="10.0.0.1"),
            "namespace": "one",
            "namespace_name": "one",
            "image": "registry.example/one/oned:7.4.0",
            "image_pull_policy": "IfNotPresent",
            "image_pull_secrets": (),
            "database": MariaDBHandle(
                host=pulumi.Output.from_input("mariadb.one.svc"),
                port=3306,
                name="opennebula",
                user="oneadmin",
                connections=25,
                secret=pulumi.Output.from_input("mariadb-password"),
            ),
            "home_claim": "one-home",
            "datastores_claim": "one-datastores",
            "oneadmin_password": pulumi.Output.secret(PASSWORD),
            "serveradmin_password": pulumi.Output.secret(PASSWORD),
            "oneadmin_key": SshKey(
                private=pulumi.Output.secret(KEY), public=pulumi.Output.from_input("ssh-ed25519 AAAA")
            ),
            "host_files": {"hosts.conf": "", "known_hosts": "", "etc-hosts": ""},
            "hypervisors": (),
            "ssh_ports": (22,),
            "resources": TIERS[Tier.SMALL].oned,
        }
        # Outputs belong to the event loop of one run: a function makes them inside it.
        made = {key: value() if callable(value) else value for key, value in changes.items()}
        Oned("oned", OnedArgs(**(fields | made)))

    return deploy(program)


def clear_text(graph: Graph) -> str:
    """Everything of a graph that is not marked secret."""
    return json.dumps([dict(record.inputs) for record in graph.records], default=repr)


@pytest.mark.parametrize("build", [mariadb, oned])
def test_every_rule_holds(build: Any) -> None:
    graph = build()
    assert [line for r in graph.records for line in violations(r.type, r.name, reveal(dict(r.inputs)))] == []


@pytest.mark.parametrize("build", [mariadb, oned])
def test_secrets_are_marked_and_nowhere_in_clear(build: Any) -> None:
    graph = build()
    assert "MARKER" not in clear_text(graph)
    assert all(isinstance(record.inputs["stringData"], Secret) for record in graph.all("Secret"))


@pytest.mark.parametrize("build", [mariadb, oned])
def test_children_carry_the_component_in_their_names(build: Any) -> None:
    graph = build()
    component = graph.records[0]
    assert all(
        record.name.startswith(f"{component.name}-") and record.parent == component.name for record in graph.records[1:]
    )


@pytest.mark.parametrize("build", [mariadb, oned])
def test_the_statefulset_has_a_headless_service_of_that_name(build: Any) -> None:
    graph = build()
    name = graph.one("StatefulSet").inputs["spec"]["serviceName"]
    (service,) = [s for s in graph.all("Service") if s.inputs["metadata"]["name"] == name]
    assert service.inputs["spec"]["clusterIP"] == "None"


def test_namespace_enforces_restricted_and_denies_everything() -> None:
    graph = deploy(lambda: Namespace("namespace", NamespaceArgs(name="one", retain=True)))
    labels = graph.one("Namespace", "namespace-namespace").inputs["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    deny = graph.one("NetworkPolicy", "namespace-deny-all").inputs["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("retain", [True, False])
def test_data_outlives_destroy_unless_said_otherwise(retain: bool) -> None:
    def program() -> None:
        Namespace("namespace", NamespaceArgs(name="one", retain=retain))
        Storage("storage", StorageArgs(settings=StorageSettings(retain=retain), namespace="one"))

    graph = deploy(program)
    kept = {record.kind for record in graph.records if record.retained}
    assert kept == ({"Namespace", "PersistentVolumeClaim"} if retain else set())


def test_datastores_are_shared_and_the_rest_is_not() -> None:
    settings = StorageSettings(datastores=VolumeSettings(size="1Ti", storage_class="nfs"))
    graph = deploy(lambda: Storage("storage", StorageArgs(settings=settings, namespace="one")))
    specs = {record.name: record.inputs["spec"] for record in graph.all("PersistentVolumeClaim")}
    assert specs["storage-datastores"]["accessModes"] == ["ReadWriteMany"]
    assert specs["storage-datastores"]["storageClassName"] == "nfs"
    assert specs["storage-home"]["accessModes"] == ["ReadWriteOnce"]
    assert "storageClassName" not in specs["storage-home"]


def test_the_database_is_what_opennebula_asks_for() -> None:
    text = server_config("2Gi", 100)
    assert "transaction-isolation = READ-COMMITTED" in text
    assert "character-set-server = utf8mb4" in text
    assert f"innodb_buffer_pool_size = {2 * 2**30}" in text


def test_only_oned_reaches_the_database() -> None:
    spec = mariadb().one("NetworkPolicy").inputs["spec"]
    assert spec["egress"] == []
    (rule,) = spec["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "oned"}}}]


def test_oned_may_only_reach_the_database_and_the_hosts() -> None:
    from ipaddress import IPv4Network

    without = oned().one("NetworkPolicy").inputs["spec"]
    assert without["ingress"] == [] and len(without["egress"]) == 1
    spec = oned(hypervisors=(IPv4Network("10.1.0.0/16"),), ssh_ports=(22, 2222)).one("NetworkPolicy").inputs["spec"]
    assert spec["ingress"][0]["from"] == [{"ipBlock": {"cidr": "10.1.0.0/16"}}]
    assert {(p["protocol"], p["port"]) for p in spec["ingress"][0]["ports"]} == {("TCP", 4124), ("UDP", 4124)}
    assert [p["port"] for p in spec["egress"][1]["ports"]] == [22, 2222]


def test_one_monitord_port_everywhere() -> None:
    settings = MonitoringSettings(address="10.0.0.1", port=30424, exposure=Exposure.NODE_PORT)
    graph = oned(monitoring=settings)
    service = graph.one("Service", "oned-monitord").inputs["spec"]
    assert {(p["protocol"], p["port"], p["nodePort"]) for p in service["ports"]} == {
        ("TCP", 30424, 30424),
        ("UDP", 30424, 30424),
    }
    containers = {c["name"]: c for c in graph.one("StatefulSet").inputs["spec"]["template"]["spec"]["containers"]}
    assert {p["containerPort"] for p in containers["oned"]["ports"]} == {2633, 30424}
    assert 'PORT = "30424"' in graph.one("ConfigMap", "oned-config").inputs["data"]["monitord.conf"]


def test_the_database_password_is_not_in_the_rendered_config() -> None:
    text = oned().one("ConfigMap", "oned-config").inputs["data"]["oned.conf"]
    assert 'PASSWD = "@DATABASE_PASSWORD@"' in text
    assert 'MASTER_ONED = "http://oned.one.svc:2633/RPC2"' in text


def test_a_config_change_renames_the_config_and_nothing_else() -> None:
    def fingerprint(graph: Graph) -> dict[str, str]:
        return {record.name: json.dumps(dict(record.inputs), default=repr, sort_keys=True) for record in graph.records}

    before, after = fingerprint(oned()), fingerprint(oned(settings=OnedSettings(log_level=4)))
    assert {name for name in before if before[name] != after[name]} == {"oned-config", "oned-statefulset"}


def test_a_new_host_does_not_touch_the_pod() -> None:
    files = {"hosts.conf": "Host kvm-9\n", "known_hosts": "kvm-9 ssh-ed25519 AAAA\n", "etc-hosts": "10.1.0.9 kvm-9\n"}
    before, after = oned(), oned(host_files=files)
    assert before.one("StatefulSet").inputs == after.one("StatefulSet").inputs
    assert before.one("ConfigMap", "oned-known-hosts").inputs != after.one("ConfigMap", "oned-known-hosts").inputs


def test_own_credentials_are_used_and_others_generated() -> None:
    graph = deploy(
        lambda: Credentials(
            "credentials",
            CredentialsArgs(oneadmin=pulumi.Output.secret("mine"), serveradmin=None, database=None),
        )
    )
    assert {record.name for record in graph.all("GeneratedPassword")} == {
        "credentials-serveradmin",
        "credentials-database",
        "credentials-fireedge",
    }
    assert all(record.secret_outputs == ("value",) for record in graph.all("GeneratedPassword"))


def test_fireedges_key_is_32_digits_of_its_own_password_for_ever() -> None:
    """Another derivation would be another key for a stack that runs: tokens and consoles would end."""
    found: list[str] = []

    def program() -> None:
        args = CredentialsArgs(oneadmin=None, serveradmin=None, database=None)
        Credentials("credentials", args).fireedge.apply(found.append)

    deploy(program)
    assert found == [hashlib.sha256(b"generated-credentials-fireedge").hexdigest()[:32]]


def test_ssh_keys_are_generated_unless_given() -> None:
    def program() -> None:
        SshIdentity("ssh", SshIdentityArgs(oneadmin_key=None, frontend_host_key=None))

    graph = deploy(program)
    assert {record.name for record in graph.all("GeneratedKeyPair")} == {"ssh-oneadmin", "ssh-frontend-host"}
    assert all(record.secret_outputs == ("private_key",) for record in graph.all("GeneratedKeyPair"))


def test_dynamic_providers_are_kept_by_reference() -> None:
    """The state holds a path to the class and no code; the path is a contract."""
    import base64

    graph = deploy(lambda: Credentials("c", CredentialsArgs(oneadmin=None, serveradmin=None, database=None)))
    reference = base64.b64decode(graph.all("GeneratedPassword")[0].inputs["__provider"])
    assert b"components.generated.provider" in reference
    assert len(reference) < 120


def test_labels_of_services_select_the_pods() -> None:
    graph = oned()
    labels = graph.one("StatefulSet").inputs["spec"]["template"]["metadata"]["labels"]
    for service in graph.all("Service"):
        assert service.inputs["spec"]["selector"].items() <= labels.items()
    assert naming.selector(naming.ONED).items() <= labels.items()


def test_the_harness_fails_on_a_wrong_expectation() -> None:
    """Proof that assertions on a graph are not vacuous."""
    with pytest.raises(AssertionError):
        assert mariadb().one("StatefulSet").inputs["spec"]["replicas"] == 2
    with pytest.raises(AssertionError):
        mariadb().one("Deployment")


def test_the_sql_with_the_password_is_in_memory() -> None:
    pod = mariadb().one("StatefulSet").inputs["spec"]["template"]["spec"]
    scratch = {volume["name"]: volume["emptyDir"].get("medium") for volume in pod["volumes"] if "emptyDir" in volume}
    assert scratch == {"run": "Memory", "tmp": None}
