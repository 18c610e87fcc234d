"""Users and groups as they are stored: passwords, login tokens, memberships and administrators of groups.

Who a session belongs to is decided in `authentication`. Quotas and ACL rules are not modelled.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Final
from xml.etree import ElementTree

from standin.elements import id_set, ids_xml, number, text
from standin.pool import Pool, PoolError, check_name, owned
from standin.template import Template, cdata

ONEADMIN: Final = 0
ONEADMIN_GROUP: Final = 0
USERS_GROUP: Final = 1
CORE: Final = "core"
NAME_EXTRA: Final = " "
_TOKEN_LIMIT: Final = 10
_FORBIDDEN_IN_PASSWORDS: Final = " \t\n\v\f\r"
_PASSWORD_LIMIT: Final = {"core": 256, "ldap": 256, "server_cipher": 4096, "ssh": 16384, "x509": 65536}


def random_password() -> str:
    """64 hex digits, as oned makes them."""
    return hashlib.sha256(secrets.token_bytes(32)).hexdigest()


def sha256(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def check_password(password: str, driver: str) -> None:
    """:raises PoolError: with oned's text (without its final full stop)."""
    if not password:
        raise PoolError("Invalid password, it cannot be empty")
    limit = _PASSWORD_LIMIT.get(driver)
    if limit is not None and len(password.encode()) > limit:
        raise PoolError(
            f"Password is longer than max allowed length. Max allowed length for the driver {driver} : {limit} bytes"
        )
    for char in password:
        if char in _FORBIDDEN_IN_PASSWORDS:
            raise PoolError(f"Invalid password, character '{char}' is not allowed")


@dataclass(frozen=True)
class LoginToken:
    """A stand-in for the password until `expires` (Unix time, -1 for ever); `egid` -1 is all of the user's groups."""

    token: str
    expires: int
    egid: int = -1

    @property
    def valid(self) -> bool:
        return self.expires == -1 or time.time() < self.expires


@dataclass
class User:
    """One row of user_pool. `password` is what the driver compares with: a hash for core."""

    name: str
    password: str
    driver: str
    gid: int
    gname: str
    groups: set[int]
    oid: int = -1
    enabled: bool = True
    template: Template = field(default_factory=Template)
    tokens: list[LoginToken] = field(default_factory=list)

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> User:
        template = element.find("TEMPLATE")
        return cls(
            name=text(element, "NAME"),
            password=text(element, "PASSWORD"),
            driver=text(element, "AUTH_DRIVER", CORE),
            gid=number(element, "GID"),
            gname=text(element, "GNAME"),
            groups=id_set(element, "GROUPS"),
            oid=number(element, "ID"),
            enabled=number(element, "ENABLED") == 1,
            template=Template() if template is None else Template.from_element(template),
            tokens=[
                LoginToken(text(each, "TOKEN"), number(each, "EXPIRATION_TIME"), number(each, "EGID", -1))
                for each in element.iterfind("LOGIN_TOKEN")
            ],
        )

    def xml(self) -> str:
        tokens = "".join(
            f"<LOGIN_TOKEN><TOKEN>{each.token}</TOKEN><EXPIRATION_TIME>{each.expires}</EXPIRATION_TIME>"
            f"<EGID>{each.egid}</EGID></LOGIN_TOKEN>"
            for each in self.tokens
        )
        return (
            f"<USER><ID>{self.oid}</ID><GID>{self.gid}</GID>{ids_xml('GROUPS', self.groups)}"
            f"<GNAME>{self.gname}</GNAME><NAME>{self.name}</NAME><PASSWORD>{cdata(self.password)}</PASSWORD>"
            f"<AUTH_DRIVER>{cdata(self.driver)}</AUTH_DRIVER><ENABLED>{int(self.enabled)}</ENABLED>"
            f"{tokens}{self.template.xml()}</USER>"
        )

    def columns(self) -> dict[str, Any]:
        return owned(uid=self.oid, gid=self.gid)

    def valid_token(self, secret: str) -> LoginToken | None:
        return next((each for each in self.tokens if each.token == secret and each.valid), None)

    def knows_token(self, secret: str) -> bool:
        """Whether this was a token, valid or not."""
        return any(each.token == secret for each in self.tokens)

    def add_token(self, token: str, seconds: int, egid: int) -> str | None:
        """The new token, random where none is given; None when there are too many."""
        self.tokens = [each for each in self.tokens if each.valid]
        if len(self.tokens) >= _TOKEN_LIMIT:
            return None
        made = LoginToken(token or random_password(), -1 if seconds == -1 else int(time.time()) + seconds, egid)
        self.tokens.append(made)
        return made.token

    def set_password(self, password: str) -> None:
        """:raises PoolError: for a password that oned refuses."""
        check_password(password, self.driver)
        self.password = sha256(password) if self.driver == CORE else password


@dataclass
class Group:
    """One row of group_pool."""

    name: str
    oid: int = -1
    users: set[int] = field(default_factory=set)
    admins: set[int] = field(default_factory=set)
    template: Template = field(default_factory=Template)

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Group:
        template = element.find("TEMPLATE")
        return cls(
            name=text(element, "NAME"),
            oid=number(element, "ID"),
            users=id_set(element, "USERS"),
            admins=id_set(element, "ADMINS"),
            template=Template() if template is None else Template.from_element(template),
        )

    def xml(self) -> str:
        members = ids_xml("USERS", self.users) + ids_xml("ADMINS", self.admins)
        return f"<GROUP><ID>{self.oid}</ID><NAME>{self.name}</NAME>{self.template.xml()}{members}</GROUP>"

    def columns(self) -> dict[str, Any]:
        return owned(gid=max(self.oid, 0))


class GroupPool(Pool[Group]):
    """group_pool: oneadmin (0) and users (1)."""

    table = "group_pool"
    root = "GROUP_POOL"

    def load(self, element: ElementTree.Element) -> Group:
        return Group.from_element(element)


class UserPool(Pool[User]):
    """user_pool."""

    table = "user_pool"
    root = "USER_POOL"

    def __init__(self, groups: GroupPool) -> None:
        super().__init__(groups.database)
        self._groups = groups

    def load(self, element: ElementTree.Element) -> User:
        return User.from_element(element)

    def allocate(self, name: str, password: str, driver: str, gids: set[int], gid: int) -> int:
        """:raises PoolError: for a bad name, password or group, or a name that is taken."""
        driver = driver or CORE
        try:
            check_password(password, driver)
            check_name(name, NAME_EXTRA)
        except PoolError as error:
            raise PoolError(f"{error}.") from None
        taken = self.find(name)
        if taken != -1:
            raise PoolError(f"NAME is already taken by USER {taken}.")
        group = self._groups.get(gid)
        if group is None:
            raise PoolError("The array of groups needs to have at least a valid Group ID.")
        stored = sha256(password) if driver == CORE else password
        template = Template((("TOKEN_PASSWORD", random_password()),))
        oid = self.insert(User(name, stored, driver, gid, group.name, gids, template=template))
        for member_of in gids:
            self._membership(member_of, oid, add=True)
        return oid

    def drop(self, item: User) -> None:
        """:raises PoolError: for oneadmin."""
        if item.oid == ONEADMIN:
            raise PoolError("oneadmin cannot be deleted.")
        super().drop(item)
        for gid in item.groups:
            self._membership(gid, item.oid, add=False)

    def move(self, uid: int, joined: set[int], left: set[int]) -> None:
        """Tell groups who is in them."""
        for gid in joined:
            self._membership(gid, uid, add=True)
        for gid in left:
            self._membership(gid, uid, add=False)

    def _membership(self, gid: int, uid: int, *, add: bool) -> None:
        with self._groups.locked(gid) as group:
            if group is not None:
                (group.users.add if add else group.users.discard)(uid)
                self._groups.update(group)
