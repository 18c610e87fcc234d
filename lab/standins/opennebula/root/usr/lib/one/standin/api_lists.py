"""What FireEdge, OneFlow and OneGate ask for beside machines: groups, zones, quotas, and pools that the rehearsal has
nothing in.
"""

from __future__ import annotations

from typing import Final

from standin.pool import PoolError, check_name
from standin.request import Call, Code, Refused, method, missing
from standin.update import REPLACE, check_kind, update_template, updated
from standin.users import Group

# Method name -> root of an answer without anything in it. The three numbers are filter and range.
_EMPTY: Final = {
    "one.secgrouppool.info": "SECURITY_GROUP_POOL",
    "one.vrouterpool.info": "VROUTER_POOL",
    "one.vmgrouppool.info": "VM_GROUP_POOL",
    "one.vntemplatepool.info": "VNTEMPLATE_POOL",
    "one.backupjobpool.info": "BACKUPJOB_POOL",
    "one.marketpool.info": "MARKETPLACE_POOL",
    "one.marketapppool.info": "MARKETPLACEAPP_POOL",
}
_UNRANGED: Final = {"one.acl.info": "ACL_POOL"}
_QUOTAS: Final = "<DATASTORE_QUOTA/><NETWORK_QUOTA/><VM_QUOTA/><IMAGE_QUOTA/>"


def _empty(name: str, root: str, *types: type) -> None:
    @method(name, *types, optional=len(types))
    def pool_info(_call: Call, *_range: int) -> str:
        return f"<{root}></{root}>"


for _name, _root in _EMPTY.items():
    _empty(_name, _root, int, int, int)
for _name, _root in _UNRANGED.items():
    _empty(_name, _root)


@method("one.vdcpool.info")
def vdc_pool_info(_call: Call) -> str:
    """The one of the first boot: everything of every zone for group users."""
    everything = "".join(
        f"<{name}S><{name}><ZONE_ID>-10</ZONE_ID><{name}_ID>-10</{name}_ID></{name}></{name}S>"
        for name in ("CLUSTER", "HOST", "DATASTORE", "VNET")
    )
    return f"<VDC_POOL><VDC><ID>0</ID><NAME>default</NAME><GROUPS><ID>1</ID></GROUPS>{everything}<TEMPLATE/></VDC></VDC_POOL>"


@method("one.userquota.info")
def user_quota_info(_call: Call) -> str:
    return f"<DEFAULT_USER_QUOTAS>{_QUOTAS}</DEFAULT_USER_QUOTAS>"


@method("one.groupquota.info")
def group_quota_info(_call: Call) -> str:
    return f"<DEFAULT_GROUP_QUOTAS>{_QUOTAS}</DEFAULT_GROUP_QUOTAS>"


@method("one.group.info", int, bool, optional=1)
def group_info(call: Call, oid: int, _decrypt: bool = False) -> str:
    group = call.pools.groups.get(call.user.gid if oid == -1 else oid)
    if group is None:
        raise missing("group", oid)
    if group.oid not in call.user.groups:
        call.authorize("USE", "GROUP", group.oid)
    body = group.xml()
    return body.replace("</GROUP>", f"{_QUOTAS}<DEFAULT_GROUP_QUOTAS>{_QUOTAS}</DEFAULT_GROUP_QUOTAS></GROUP>")


@method("one.grouppool.info")
def group_pool_info(call: Call) -> str:
    groups = [
        group
        for oid in call.in_order(call.pools.groups.ids())
        if (group := call.pools.groups.get(oid)) is not None and (call.admin or oid in call.user.groups)
    ]
    bodies = "".join(f"{group.xml()}<QUOTAS><ID>{group.oid}</ID>{_QUOTAS}</QUOTAS>" for group in groups)
    return f"<GROUP_POOL>{bodies}<DEFAULT_GROUP_QUOTAS>{_QUOTAS}</DEFAULT_GROUP_QUOTAS></GROUP_POOL>"


@method("one.group.allocate", str)
def group_allocate(call: Call, name: str) -> int:
    call.authorize("CREATE", "GROUP")
    try:
        check_name(name)
        taken = call.pools.groups.find(name)
        if taken != -1:
            raise PoolError(f"NAME is already taken by GROUP {taken}.")
        return call.pools.groups.insert(Group(name))
    except PoolError as error:
        raise Refused(Code.ALLOCATE, f"Error allocating a new group. {error}") from None


@method("one.group.update", int, str, int, optional=1)
def group_update(call: Call, oid: int, text: str, how: int = REPLACE) -> int:
    if call.pools.groups.get(oid) is None:
        raise missing("group", oid)
    call.authorize("MANAGE", "GROUP", oid)
    return update_template(call.pools.groups, "group", oid, text, how)


@method("one.group.delete", int)
def group_delete(call: Call, oid: int) -> int:
    group = call.pools.groups.get(oid)
    if group is None:
        raise missing("group", oid)
    call.authorize("MANAGE", "GROUP", oid)
    if oid < 100:
        raise Refused(Code.ACTION, "Cannot delete group. System Groups (ID < 100) cannot be deleted.")
    if group.users:
        raise Refused(Code.ACTION, f"Cannot delete group. Group {oid} is not empty.")
    call.pools.groups.drop(group)
    return oid


@method("one.zone.update", int, str, int, optional=1)
def zone_update(call: Call, oid: int, text: str, how: int = REPLACE) -> int:
    if call.pools.zones.get(oid) is None:
        raise missing("zone", oid)
    call.authorize("ADMIN", "ZONE", oid)
    check_kind(how)
    with call.pools.zones.locked(oid) as zone:
        if zone is None:
            raise missing("zone", oid)
        changed = updated(zone.template, text, how)
        if not changed.get("ENDPOINT"):
            changed.replace("ENDPOINT", zone.template.get("ENDPOINT"))
        zone.template = changed
        call.pools.zones.update(zone)
    return oid


@method("one.user.update", int, str, int, optional=1)
def user_update(call: Call, oid: int, text: str, how: int = REPLACE) -> int:
    if call.pools.users.get(oid) is None:
        raise missing("user", oid)
    call.authorize("MANAGE", "USER", oid, owner=oid)
    return update_template(call.pools.users, "user", oid, text, how)
