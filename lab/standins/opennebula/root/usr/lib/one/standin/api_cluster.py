"""one.cluster.* and one.clusterpool.info."""

from __future__ import annotations

from standin.clusters import DEFAULT_CLUSTER, Cluster
from standin.pool import PoolError, check_name
from standin.request import Call, Code, Refused, method, missing
from standin.update import REPLACE, update_template


@method("one.cluster.allocate", str)
def allocate(call: Call, name: str) -> int:
    call.authorize("CREATE", "CLUSTER")
    try:
        return call.pools.clusters.allocate(name)
    except PoolError as error:
        raise Refused(Code.ALLOCATE, f"Error allocating a new cluster. {error}") from None


@method("one.cluster.info", int, bool, optional=1)
def info(call: Call, oid: int, _decrypt: bool = False) -> str:
    return _existing(call, oid, "USE").xml()


@method("one.cluster.update", int, str, int, optional=1)
def update(call: Call, oid: int, text: str, kind: int = REPLACE) -> int:
    _existing(call, oid, "MANAGE")
    return update_template(call.pools.clusters, "cluster", oid, text, kind)


@method("one.cluster.rename", int, str)
def rename(call: Call, oid: int, name: str) -> int:
    if _existing(call, oid, "MANAGE").name == name:
        return oid
    taken = call.pools.clusters.find(name)
    if taken != -1:
        raise Refused(Code.ACTION, f"cluster cannot be renamed to {name} because it collides with cluster {taken}")
    with call.pools.clusters.locked(oid) as cluster:
        if cluster is None:
            raise missing("cluster", oid)
        try:
            check_name(name)
        except PoolError as error:
            raise Refused(Code.ACTION, str(error)) from None
        cluster.name = name
        call.pools.clusters.update(cluster)
    for host_id in sorted(cluster.hosts):
        with call.pools.hosts.locked(host_id) as host:
            if host is not None:
                host.cluster = name
                call.pools.hosts.update(host)
    return oid


@method("one.cluster.delete", int)
def delete(call: Call, oid: int) -> int:
    _existing(call, oid, "ADMIN")
    with call.pools.clusters.locked(oid) as cluster:
        if cluster is None:
            raise missing("cluster", oid)
        try:
            call.pools.clusters.drop(cluster)
        except PoolError as error:
            raise Refused(Code.ACTION, f"Cannot delete cluster. {error}") from None
    return oid


@method("one.cluster.addhost", int, int)
def add_host(call: Call, oid: int, host_id: int) -> int:
    """Moves: a host is in exactly one cluster. Adding it where it is already succeeds and does nothing."""
    cluster = call.pools.clusters.get(oid)
    if cluster is None:
        raise missing("cluster", oid)
    if call.pools.hosts.get(host_id) is None:
        raise missing("host", host_id)
    call.authorize("ADMIN", "CLUSTER", oid)
    with call.pools.hosts.locked(host_id) as host:
        if host is None:
            raise missing("host", host_id)
        before = host.cluster_id
        if before == oid:
            return oid
        host.cluster_id, host.cluster = oid, cluster.name
        call.pools.hosts.update(host)
        call.service.monitor.update_host(host)
    call.pools.clusters.add_host(oid, host_id)
    call.pools.clusters.remove_host(before, host_id)
    return oid


@method("one.cluster.delhost", int, int)
def delete_host(call: Call, oid: int, host_id: int) -> int:
    """Moves the host to the default cluster; the cluster named in the call is not looked at."""
    add_host(call, DEFAULT_CLUSTER, host_id)
    return oid


@method("one.clusterpool.info")
def pool_info(call: Call) -> str:
    return call.pools.clusters.dump("" if call.admin else "1 = 0", descending=call.newest_first)


def _existing(call: Call, oid: int, operation: str) -> Cluster:
    cluster = call.pools.clusters.get(oid)
    if cluster is None:
        raise missing("cluster", oid)
    call.authorize(operation, "CLUSTER", oid)
    return cluster
