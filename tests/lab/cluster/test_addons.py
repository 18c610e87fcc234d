"""What the lab puts into the cluster, as manifests."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from lab.cluster import addons
from lab.cluster.addons import Manifest
from lab.cluster.api import path_of
from lab.paths import LAB


@pytest.fixture
def manifests() -> list[Manifest]:
    return [*addons.dns(LAB, "coredns:1"), *addons.storage(LAB, "provisioner:1")]


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Any]:
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def test_one_class_is_the_default() -> None:
    classes = of_kind(addons.storage(LAB, "i"), "StorageClass")
    mark = "storageclass.kubernetes.io/is-default-class"
    assert [name for name, each in classes.items() if each["metadata"]["annotations"][mark] == "true"] == ["local-path"]


def test_classes_say_how_long_and_for_how_many() -> None:
    classes = of_kind(addons.storage(LAB, "i"), "StorageClass")
    found = {
        name: (each["reclaimPolicy"], each["parameters"]["sharing"], each["volumeBindingMode"])
        for name, each in classes.items()
    }
    assert found == {
        "local-path": ("Delete", "one", "WaitForFirstConsumer"),
        "local-path-retain": ("Retain", "one", "WaitForFirstConsumer"),
        "shared": ("Delete", "many", "Immediate"),
        "shared-retain": ("Retain", "many", "Immediate"),
    }


def test_dns_has_the_address_that_pods_are_given(manifests: list[Manifest]) -> None:
    service = of_kind(manifests, "Service")["kube-dns"]
    assert service["spec"]["clusterIP"] == str(LAB.dns_ip)
    assert {(port["port"], port["protocol"]) for port in service["spec"]["ports"]} == {(53, "UDP"), (53, "TCP")}


def test_names_that_nobody_knows_fail_at_once(manifests: list[Manifest]) -> None:
    corefile = of_kind(manifests, "ConfigMap")["kube-dns"]["data"]["Corefile"]
    assert "NXDOMAIN" in corefile
    assert "forward" not in corefile


def test_everything_lives_in_the_system_namespace(manifests: list[Manifest]) -> None:
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "StorageClass"}
    for each in manifests:
        assert each["metadata"].get("namespace") == (None if each["kind"] in cluster_wide else "kube-system")


def test_no_pod_is_privileged_or_shares_the_nodes_namespaces(manifests: list[Manifest]) -> None:
    pods = [each["spec"]["template"]["spec"] for each in of_kind(manifests, "Deployment").values()]
    assert len(pods) == 2
    for pod in pods:
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert not any(container["securityContext"].get("privileged") for container in pod["containers"])


def test_bindings_lead_from_each_account_to_its_role(manifests: list[Manifest]) -> None:
    accounts, roles = of_kind(manifests, "ServiceAccount"), of_kind(manifests, "ClusterRole")
    bindings = of_kind(manifests, "ClusterRoleBinding")
    assert set(bindings) == set(roles)
    assert {each["subjects"][0]["name"] for each in bindings.values()} == set(accounts)
    used = {
        each["spec"]["template"]["spec"]["serviceAccountName"] for each in of_kind(manifests, "Deployment").values()
    }
    assert used == set(accounts)


def test_only_the_provisioner_may_change_anything_and_only_volumes(manifests: list[Manifest]) -> None:
    writing = {
        resource
        for role in of_kind(manifests, "ClusterRole").values()
        for rule in role["rules"]
        if set(rule["verbs"]) - {"get", "list", "watch"}
        for resource in rule["resources"]
    }
    assert writing == {"persistentvolumes", "events"}


def test_hosts_are_written_in_a_stable_order() -> None:
    hosts = {"lxc-1": IPv4Address("10.124.0.12"), "kvm-1": IPv4Address("10.124.0.11")}
    assert addons.hosts_file(hosts) == "10.124.0.11 kvm-1\n10.124.0.12 lxc-1\n"


@pytest.mark.parametrize(
    ("kind", "version", "namespace", "path"),
    [
        ("ConfigMap", "v1", "kube-system", "/api/v1/namespaces/kube-system/configmaps/x"),
        ("Deployment", "apps/v1", "kube-system", "/apis/apps/v1/namespaces/kube-system/deployments/x"),
        ("StorageClass", "storage.k8s.io/v1", None, "/apis/storage.k8s.io/v1/storageclasses/x"),
    ],
)
def test_api_paths(kind: str, version: str, namespace: str | None, path: str) -> None:
    metadata = {"name": "x", **({"namespace": namespace} if namespace else {})}
    assert path_of({"apiVersion": version, "kind": kind, "metadata": metadata}) == path


def test_a_name_with_a_colon_is_a_path_segment() -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "onelab:dns"}}
    assert path_of(role).endswith("/clusterroles/onelab:dns")
