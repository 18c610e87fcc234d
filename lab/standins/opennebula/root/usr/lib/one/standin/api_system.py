"""one.system.*, one.zone.* and one.zonepool.info, one.user.* and one.userpool.info."""

from __future__ import annotations

from standin import CODE_VERSION
from standin.pool import PoolError
from standin.request import Call, Code, Refused, method, missing, visible_config
from standin.users import ONEADMIN, ONEADMIN_GROUP, USERS_GROUP, User

_SOLO = 0
_QUOTAS = "<DATASTORE_QUOTA/><NETWORK_QUOTA/><VM_QUOTA/><IMAGE_QUOTA/>"
_DEFAULT_QUOTAS = f"<DEFAULT_USER_QUOTAS>{_QUOTAS}</DEFAULT_USER_QUOTAS>"


@method("one.system.version")
def version(_call: Call) -> str:
    return CODE_VERSION


@method("one.system.config")
def config(call: Call) -> str:
    return visible_config(call)


@method("one.zone.info", int, bool, optional=1)
def zone_info(call: Call, oid: int, _decrypt: bool = False) -> str:
    zone = call.pools.zones.get(oid)
    if zone is None:
        raise missing("zone", oid)
    return zone.xml()


@method("one.zonepool.info")
def zone_pool_info(call: Call) -> str:
    return call.pools.zones.dump(descending=call.newest_first)


@method("one.zone.raftstatus")
def raft_status(_call: Call) -> str:
    return (
        f"<RAFT><SERVER_ID>-1</SERVER_ID><STATE>{_SOLO}</STATE><TERM>0</TERM><VOTEDFOR>-1</VOTEDFOR>"
        "<COMMIT>0</COMMIT><LOG_INDEX>-1</LOG_INDEX><LOG_TERM>-1</LOG_TERM><FEDLOG_INDEX>-1</FEDLOG_INDEX></RAFT>"
    )


@method("one.user.info", int, bool, optional=1)
def user_info(call: Call, oid: int, _decrypt: bool = False) -> str:
    body = _existing(call, call.user.oid if oid == -1 else oid, "USE").xml()
    return body.replace("</USER>", f"{_QUOTAS}{_DEFAULT_QUOTAS}</USER>")


@method("one.user.allocate", str, str, str, list, optional=1)
def user_allocate(call: Call, name: str, password: str, driver: str, groups: list[int] | None = None) -> int:
    call.authorize("CREATE", "USER")
    gids = groups or [USERS_GROUP if call.user.gid == ONEADMIN_GROUP else call.user.gid]
    for gid in gids:
        if call.pools.groups.get(gid) is None:
            raise missing("group", gid)
    try:
        return call.pools.users.allocate(name, password, driver, set(gids), gids[0])
    except PoolError as error:
        raise Refused(Code.INTERNAL, str(error)) from None


@method("one.user.passwd", int, str)
def user_passwd(call: Call, oid: int, password: str) -> int:
    """Sets serveradmin's shared secret as well: its driver stores what it is given."""
    _existing(call, oid, "MANAGE")
    with call.pools.users.locked(oid) as user:
        if user is None:
            raise Refused(Code.ACTION, "")
        driver = next((c for c in call.service.config.vectors("AUTH_MAD_CONF") if c.get("NAME") == user.driver), {})
        if driver.get("PASSWORD_CHANGE", "NO").upper() != "YES" and not call.admin:
            raise Refused(Code.ACTION, f"Password for driver {user.driver} cannot be changed.")
        try:
            user.set_password(password)
        except PoolError as error:
            raise Refused(Code.ACTION, str(error)) from None
        call.pools.users.update(user)
    call.service.authentication.forget(oid)
    return oid


@method("one.user.login", str, str, int, int, optional=1)
def user_login(call: Call, name: str, token: str, seconds: int, egid: int = -1) -> str:
    """A login token of `seconds` (-1 for ever), or with 0 the end of one or of all."""
    oid = call.pools.users.find(name)
    if oid == -1:
        raise Refused(Code.NO_EXISTS, "Error getting user Pool.")
    _existing(call, oid, "MANAGE")
    with call.pools.users.locked(oid) as user:
        if user is None:
            raise Refused(Code.NO_EXISTS, "Error getting user Pool.")
        conf = next((c for c in call.service.config.vectors("AUTH_MAD_CONF") if c.get("NAME") == user.driver), {})
        longest = int(conf.get("MAX_TOKEN_TIME", "-1"))
        if longest == 0:
            user.tokens.clear()
            call.pools.users.update(user)
            raise Refused(Code.ACTION, f"Login tokens are disabled for driver {user.driver}")
        if longest > 0 and (seconds > longest or seconds == -1):
            seconds = longest
        if seconds == 0:
            if token and not user.knows_token(token):
                raise Refused(Code.RPC_API, f"Could not find token: {token}")
            user.tokens = [each for each in user.tokens if token and each.token != token]
        elif seconds < -1:
            raise Refused(Code.RPC_API, "Wrong valid period for token")
        elif egid != -1 and not call.admin and not {egid} <= user.groups & call.user.groups:
            raise Refused(Code.RPC_API, "EGID is not in user group list")
        elif egid == -1 and user.groups != call.user.groups:
            raise Refused(Code.RPC_API, "Cannot create a full token with a specific group token")
        else:
            made = user.add_token(token, seconds, egid)
            if made is None:
                raise Refused(Code.RPC_API, "Max number of tokens limit reached.")
            token = made
        call.pools.users.update(user)
    return token


@method("one.user.delete", int)
def user_delete(call: Call, oid: int) -> int:
    user = call.pools.users.get(oid)
    if user is None:
        raise missing("user", oid)
    call.authorize("MANAGE", "USER", oid)
    try:
        call.pools.users.drop(user)
    except PoolError as error:
        raise Refused(Code.ACTION, f"Cannot delete user. {error}") from None
    return oid


@method("one.userpool.info")
def user_pool_info(call: Call) -> str:
    """Every user is followed by the quotas, which the stand-in never has."""
    ids = call.pools.users.ids() if call.admin else [call.user.oid]
    users = [user for oid in call.in_order(ids) if (user := call.pools.users.get(oid)) is not None]
    bodies = "".join(f"{user.xml()}<QUOTAS><ID>{user.oid}</ID>{_QUOTAS}</QUOTAS>" for user in users)
    return f"<USER_POOL>{bodies}{_DEFAULT_QUOTAS}</USER_POOL>"


def _existing(call: Call, oid: int, operation: str) -> User:
    user = call.pools.users.get(oid)
    if user is None:
        raise missing("user", oid)
    call.authorize(operation, "USER", oid, owner=None if user.oid == ONEADMIN else user.oid)
    return user
