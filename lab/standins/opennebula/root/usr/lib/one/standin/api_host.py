"""one.host.* and one.hostpool.*"""

from __future__ import annotations

from standin.clusters import DEFAULT_CLUSTER
from standin.pool import PoolError, check_name
from standin.request import Call, Code, Refused, method, missing
from standin.update import REPLACE, check_kind, updated

_ENABLED, _DISABLED, _OFFLINE = 0, 1, 2


@method("one.host.allocate", str, str, str, int)
def allocate(call: Call, name: str, im_mad: str, vm_mad: str, cluster_id: int) -> int:
    cluster_id = DEFAULT_CLUSTER if cluster_id == -1 else cluster_id
    cluster = call.pools.clusters.get(cluster_id)
    if cluster is None:
        raise missing("cluster", cluster_id)
    call.authorize("CREATE", "HOST")
    try:
        oid = call.pools.hosts.allocate(name, im_mad, vm_mad, cluster_id, cluster.name)
    except PoolError as error:
        raise Refused(Code.ALLOCATE, f"Error allocating a new host. {error}") from None
    host = call.pools.hosts.get(oid)
    if host is not None:
        call.service.monitor.update_host(host)
    call.pools.clusters.add_host(cluster_id, oid)
    return oid


@method("one.host.info", int, bool, optional=1)
def info(call: Call, oid: int, _decrypt: bool = False) -> str:
    host = call.pools.hosts.get(oid)
    if host is None:
        raise missing("host", oid)
    call.authorize("USE", "HOST", oid)
    host.monitoring = call.pools.hosts.last_monitoring(oid)
    return host.xml()


@method("one.host.update", int, str, int, optional=1)
def update(call: Call, oid: int, text: str, kind: int = REPLACE) -> int:
    _existing(call, oid, "ADMIN")
    check_kind(kind)
    with call.pools.hosts.locked(oid) as host:
        if host is None:
            raise missing("host", oid)
        host.template = updated(host.template, text, kind)
        host.after_update()
        call.pools.hosts.update(host)
        call.service.monitor.update_host(host)
    return oid


@method("one.host.status", int, int)
def status(call: Call, oid: int, wanted: int) -> int:
    _existing(call, oid, "ADMIN")
    with call.pools.hosts.locked(oid) as host:
        if host is None:
            raise missing("host", oid)
        actions = {_ENABLED: host.enable, _DISABLED: host.disable, _OFFLINE: host.offline}
        if wanted not in actions:
            raise Refused(Code.INTERNAL, "Wrong status code")
        actions[wanted]()
        call.pools.hosts.update(host)
        call.service.monitor.update_host(host)
    return oid


@method("one.host.rename", int, str)
def rename(call: Call, oid: int, name: str) -> int:
    host = call.pools.hosts.get(oid)
    if host is None:
        raise missing("host", oid)
    if host.name == name:
        return oid
    call.authorize("ADMIN", "HOST", oid)
    taken = call.pools.hosts.find(name)
    if taken != -1:
        raise Refused(Code.ACTION, f"host cannot be renamed to {name} because it collides with host {taken}")
    with call.pools.hosts.locked(oid) as host:
        if host is None:
            raise missing("host", oid)
        try:
            check_name(name)
        except PoolError as error:
            raise Refused(Code.ACTION, str(error)) from None
        host.name = name
        call.pools.hosts.update(host)
        call.service.monitor.update_host(host)
    return oid


@method("one.host.delete", int)
def delete(call: Call, oid: int) -> int:
    _existing(call, oid, "ADMIN")
    with call.pools.hosts.locked(oid) as host:
        if host is None:
            raise missing("host", oid)
        try:
            call.pools.hosts.drop(host)
        except PoolError as error:
            raise Refused(Code.ACTION, f"Cannot delete host. {error}") from None
    call.pools.clusters.remove_host(host.cluster_id, oid)
    call.service.monitor.drop_host(oid, host.name, host.im_mad)
    return oid


@method("one.host.monitoring", int)
def monitoring(call: Call, oid: int) -> str:
    _existing(call, oid, "USE")
    return call.pools.hosts.monitoring(oid)


@method("one.hostpool.info")
def pool_info(call: Call) -> str:
    return call.pools.hosts.dump("" if call.admin else "1 = 0", descending=call.newest_first)


@method("one.hostpool.monitoring", int, optional=1)
def pool_monitoring(call: Call, seconds: int = -1) -> str:
    return call.pools.hosts.monitoring(None if call.admin else -1, seconds)


def _existing(call: Call, oid: int, operation: str) -> None:
    if call.pools.hosts.get(oid) is None:
        raise missing("host", oid)
    call.authorize(operation, "HOST", oid)
