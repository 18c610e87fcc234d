"""one.cluster.* and one.clusterpool.info: a host is in exactly one cluster."""

from __future__ import annotations

from tests.contract.endpoint import Endpoint, unique

ALLOCATE = 0x4000
NO_EXISTS = 0x400
ACTION = 0x800
NOWHERE = 999999


def members(api: Endpoint, cluster: int) -> set[int]:
    return {int(item.text or -1) for item in api.xml("cluster.info", cluster).iterfind("HOSTS/ID")}


def test_ids_of_users_clusters_start_at_100(api: Endpoint) -> None:
    assert api.cluster() >= 100


def test_a_name_that_is_taken(api: Endpoint) -> None:
    name = unique()
    oid = api.cluster(name)
    text = f"[one.cluster.allocate] Error allocating a new cluster. NAME is already taken by CLUSTER {oid}."
    assert api.call("cluster.allocate", name) == [False, text, ALLOCATE, -1, -1]


def test_a_host_registered_in_a_cluster_is_a_member(api: Endpoint) -> None:
    cluster = api.cluster()
    host = api.host(cluster=cluster)
    assert host in members(api, cluster)
    assert host not in members(api, 0)
    assert api.xml("host.info", host).findtext("CLUSTER_ID") == str(cluster)


def test_adding_moves_and_adding_again_changes_nothing(api: Endpoint) -> None:
    first, second = api.cluster(), api.cluster()
    host = api.host(cluster=first)
    assert api.ok("cluster.addhost", second, host) == second
    assert api.ok("cluster.addhost", second, host) == second
    assert (host in members(api, first), host in members(api, second)) == (False, True)


def test_removing_moves_to_the_default_cluster(api: Endpoint) -> None:
    cluster = api.cluster()
    host = api.host(cluster=cluster)
    api.ok("cluster.delhost", cluster, host)
    assert (host in members(api, cluster), host in members(api, 0)) == (False, True)
    assert api.xml("host.info", host).findtext("CLUSTER") == "default"


def test_a_deleted_host_leaves_its_cluster(api: Endpoint) -> None:
    cluster = api.cluster()
    host = api.host(cluster=cluster)
    api.ok("host.delete", host)
    assert members(api, cluster) == set()


def test_a_cluster_that_has_hosts_stays(api: Endpoint) -> None:
    cluster = api.cluster()
    host = api.host(cluster=cluster)
    text = f"[one.cluster.delete] Cannot delete cluster. Cluster {cluster} is not empty, it contains 1 hosts."
    assert api.call("cluster.delete", cluster) == [False, text, ACTION, -1, -1]
    api.ok("host.delete", host)
    assert api.ok("cluster.delete", cluster) == cluster


def test_the_default_cluster_stays(api: Endpoint) -> None:
    text = "[one.cluster.delete] Cannot delete cluster. System Clusters (ID < 100) cannot be deleted."
    assert api.call("cluster.delete", 0) == [False, text, ACTION, -1, -1]


def test_clusters_and_hosts_that_are_not_there(api: Endpoint) -> None:
    host, cluster = api.host(), api.cluster()
    assert api.call("cluster.addhost", NOWHERE, host) == [
        False, f"[one.cluster.addhost] Error getting cluster [{NOWHERE}].", NO_EXISTS, NOWHERE, -1,
    ]  # fmt: skip
    assert api.call("cluster.addhost", cluster, NOWHERE) == [
        False, f"[one.cluster.addhost] Error getting host [{NOWHERE}].", NO_EXISTS, NOWHERE, -1,
    ]  # fmt: skip


def test_update_and_rename(api: Endpoint) -> None:
    cluster = api.cluster()
    host = api.host(cluster=cluster)
    name = unique()
    assert api.ok("cluster.update", cluster, "RESERVED_CPU = 100", 1) == cluster
    assert api.xml("cluster.info", cluster).findtext("TEMPLATE/RESERVED_CPU") == "100"
    assert api.ok("cluster.rename", cluster, name) == cluster
    assert api.xml("host.info", host).findtext("CLUSTER") == name
    assert name in [each.text for each in api.xml("clusterpool.info").iterfind("CLUSTER/NAME")]
