"""one.datastore.*, one.datastorepool.info, and which clusters a datastore is in.

Source: OpenNebula 7.4.0 src/rm/api/{DatastoreAPI,ClusterAPI}.cc.
"""

from __future__ import annotations

from standin.api_objects import DATASTORES, existing, name_of, parsed, pool_dump
from standin.clusters import DEFAULT_CLUSTER
from standin.datastores import Datastore
from standin.ownership import Owned
from standin.pool import PoolError
from standin.request import Call, Code, Refused, method, missing
from standin.update import REPLACE, check_kind, updated

_ALL = -2


@method("one.datastore.allocate", str, int, optional=1)
def allocate(call: Call, text: str, cluster_id: int = DEFAULT_CLUSTER) -> int:
    cluster_id = DEFAULT_CLUSTER if cluster_id == -1 else cluster_id
    template = parsed(text)
    if call.pools.clusters.get(cluster_id) is None:
        raise missing("cluster", cluster_id)
    call.authorize("CREATE", "DATASTORE")
    datastore = Datastore(
        **Owned.of(call.user, call.umask, template, name_of(template)),
        base=call.service.config.get("DATASTORE_LOCATION").rstrip("/"),
        clusters={cluster_id},
    )
    try:
        call.pools.datastores.check(datastore)
        datastore.settle(call.service.config)
        oid = call.pools.datastores.allocate(datastore)
    except PoolError as error:
        raise Refused(Code.INTERNAL, str(error)) from None
    call.pools.clusters.change(cluster_id, "datastores", oid, add=True)
    return oid


@method("one.datastore.info", int, bool, optional=1)
def info(call: Call, oid: int, _decrypt: bool = False) -> str:
    found: str = existing(call, DATASTORES, oid, "USE").xml()
    return found


@method("one.datastore.update", int, str, int, optional=1)
def update(call: Call, oid: int, text: str, kind: int = REPLACE) -> int:
    existing(call, DATASTORES, oid, "MANAGE")
    check_kind(kind)
    with call.pools.datastores.locked(oid) as datastore:
        if datastore is None:
            raise missing("datastore", oid)
        datastore.template = updated(datastore.template, text, kind)
        try:
            datastore.after_update(call.service.config)
        except PoolError as error:
            raise Refused(Code.INTERNAL, f"Cannot update template. {error}") from None
        call.pools.datastores.update(datastore)
    return oid


@method("one.datastore.enable", int, bool)
def enable(call: Call, oid: int, wanted: bool) -> int:
    existing(call, DATASTORES, oid, "MANAGE")
    with call.pools.datastores.locked(oid) as datastore:
        if datastore is None:
            raise missing("datastore", oid)
        if not datastore.system:
            raise Refused(Code.INTERNAL, "Only SYSTEM_DS can be disabled or enabled")
        datastore.state = 0 if wanted else 1
        call.pools.datastores.update(datastore)
    return oid


@method("one.datastore.delete", int)
def delete(call: Call, oid: int) -> int:
    existing(call, DATASTORES, oid, "MANAGE")
    with call.pools.datastores.locked(oid) as datastore:
        if datastore is None:
            raise missing("datastore", oid)
        if datastore.images:
            raise Refused(Code.ACTION, f"Cannot delete datastore. Datastore {oid} is not empty.")
        call.pools.datastores.drop(datastore)
    for cluster_id in datastore.clusters:
        call.pools.clusters.change(cluster_id, "datastores", oid, add=False)
    return oid


@method("one.datastorepool.info")
def pool_info(call: Call) -> str:
    return pool_dump(call, DATASTORES, (_ALL, -1, -1))


@method("one.cluster.adddatastore", int, int)
def add(call: Call, oid: int, datastore_id: int) -> int:
    return _move(call, oid, datastore_id, add=True)


@method("one.cluster.deldatastore", int, int)
def remove(call: Call, oid: int, datastore_id: int) -> int:
    return _move(call, oid, datastore_id, add=False)


def _move(call: Call, oid: int, datastore_id: int, *, add: bool) -> int:
    if call.pools.clusters.get(oid) is None:
        raise missing("cluster", oid)
    if call.pools.datastores.get(datastore_id) is None:
        raise missing("datastore", datastore_id)
    call.authorize("ADMIN", "CLUSTER", oid)
    with call.pools.datastores.locked(datastore_id) as datastore:
        if datastore is None:
            raise missing("datastore", datastore_id)
        if (oid in datastore.clusters) == add:
            return oid
        (datastore.clusters.add if add else datastore.clusters.discard)(oid)
        call.pools.datastores.update(datastore)
    call.pools.clusters.change(oid, "datastores", datastore_id, add=add)
    return oid
