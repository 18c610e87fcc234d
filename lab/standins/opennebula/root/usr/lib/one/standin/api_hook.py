"""Calls about hooks. Source: OpenNebula 7.4.0 src/rm/api/{RMHookAPI,HookPoolAPI}.cc."""

from __future__ import annotations

from standin.api_objects import parsed
from standin.hook_objects import Hook
from standin.pool import PoolError
from standin.request import Call, Code, Refused, method, missing


def _existing(call: Call, oid: int, operation: str) -> Hook:
    found = call.pools.hooks.get(oid)
    if found is None:
        raise missing("hook", oid)
    call.authorize(operation, "HOOK", oid)
    return found


@method("one.hook.allocate", str)
def hook_allocate(call: Call, content: str) -> int:
    template = parsed(content)
    call.authorize("CREATE", "HOOK")
    try:
        return call.pools.hooks.allocate(template)
    except PoolError as error:
        raise Refused(Code.INTERNAL, str(error)) from None


@method("one.hook.info", int, bool, optional=1)
def hook_info(call: Call, oid: int, _decrypt: bool = False) -> str:
    return _existing(call, oid, "USE").xml(call.pools.hooks.log(oid))


@method("one.hook.delete", int)
def hook_delete(call: Call, oid: int) -> int:
    call.pools.hooks.drop(_existing(call, oid, "MANAGE"))
    return oid


@method("one.hookpool.info", int, int, int, optional=3)
def hook_pool_info(call: Call, *_range: int) -> str:
    call.authorize("USE", "HOOK")
    return call.pools.hooks.dump(descending=call.newest_first)
