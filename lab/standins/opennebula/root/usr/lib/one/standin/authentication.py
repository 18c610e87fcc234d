"""Who a session belongs to: passwords of the core driver, login tokens, server accounts that act for others, and whatever
the authentication driver says.

A user that oned does not know is asked for at DEFAULT_AUTH and made when the driver vouches for it. An answer of the
driver is believed for SESSION_EXPIRATION_TIME seconds, one session a user. Source: OpenNebula 7.4.0 src/um/UserPool.cc,
src/authm/AuthManager.cc.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from standin.config import Config
from standin.driver import Driver
from standin.external import SUCCESS, Said, request
from standin.log import DEBUG, ERROR, INFO, WARNING, Log
from standin.pool import PoolError, check_name
from standin.users import CORE, NAME_EXTRA, USERS_GROUP, GroupPool, User, UserPool, sha256

_PUBLIC: Final = "public"
_SERVER: Final = "server*"
_PATIENCE_SECONDS: Final = 90.0
_NO_DRIVER: Final = "Auth Error: Authentication driver not enabled. Check AUTH_MAD in oned.conf"
_LEVELS: Final = {"E": ERROR, "W": WARNING, "I": INFO, "D": DEBUG}


@dataclass
class _Waiting:
    done: threading.Event
    ok: bool = False
    info: str = ""


class Believed(Exception):
    """Raised inside to say why somebody is not; `str()` is the line for the log, empty for none."""


class AuthManager:
    """oned's end of one_auth_mad."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._driver: Driver | None = None
        self._ids = itertools.count()
        self._waiting: dict[int, _Waiting] = {}

    def use(self, started: Driver) -> None:
        self._driver = started

    @property
    def present(self) -> bool:
        return self._driver is not None

    def ask(self, uid: int, name: str, user: str, password: str, secret: str) -> tuple[bool, str]:
        """Whether driver `name` takes the secret, and what it says."""
        import base64

        if self._driver is None:
            return False, "Could not find Authorization driver"
        oid = next(self._ids)
        waiting = self._waiting[oid] = _Waiting(threading.Event())
        packed = base64.b64encode(secret.encode()).decode()
        self._driver.write(request("AUTHENTICATE", oid, f"{uid} {name} {user} {password or '-'} {packed} "))
        if not waiting.done.wait(_PATIENCE_SECONDS):
            waiting.info = "Auth request timeout"
        del self._waiting[oid]
        return waiting.ok, waiting.info

    def take(self, line: str) -> None:
        """A line of the driver."""
        try:
            said = Said.of(line)
        except ValueError:
            self._log.warning("AuM", f"Received undefined message: {line}")
            return
        if said.kind == "LOG":
            self._log.write(_LEVELS.get(said.status[:1], INFO), "AuM", said.info)
        elif said.kind == "AUTHENTICATE":
            waiting = self._waiting.get(said.oid)
            if waiting is not None:
                waiting.ok = said.status == SUCCESS
                waiting.info = "" if said.info == "-" and waiting.ok else said.info
                waiting.done.set()


class Authentication:
    """Answers sessions. `manager` is None where oned.conf has no AUTH_MAD."""

    def __init__(
        self, users: UserPool, groups: GroupPool, config: Config, log: Log, manager: AuthManager | None
    ) -> None:
        self._users = users
        self._groups = groups
        self._config = config
        self._log = log
        self._manager = manager
        self._keep = config.integer("SESSION_EXPIRATION_TIME", default=0)
        self._sessions: dict[int, tuple[str, float]] = {}

    def __call__(self, session: str) -> User | None:
        """The user a session acts as, with the groups that it may use; None for one that is not to be believed."""
        name, separator, secret = session.partition(":")
        if not separator:
            return None
        try:
            check_name(name, NAME_EXTRA)
        except PoolError as error:
            self._log.error("AuM", f"User is invalid, {error}")
            return None
        oid = self._users.find(name)
        user = self._users.get(oid) if oid != -1 else None
        try:
            if user is None:
                return self._external(name, secret)
            if not user.enabled:
                raise Believed(f"User {user.name} is disabled")
            if fnmatchcase(user.driver, _SERVER):
                return self._server(user, secret)
            return self._internal(user, secret)
        except Believed as why:
            if str(why):
                self._log.error("AuM", str(why))
            return None

    def forget(self, uid: int) -> None:
        """The user's password or tokens changed: what was believed is asked again."""
        self._sessions.pop(uid, None)

    # --- the three ways in -------------------------------------------------------------------------------------------

    def _internal(self, user: User, secret: str) -> User:
        token = user.valid_token(secret)
        if token is not None:
            return self._scoped(user, token.egid)
        if user.knows_token(secret):
            raise Believed("Token has expired.")
        if self._cached(user.oid, secret):
            return user
        if user.driver == CORE:
            if not secrets.compare_digest(user.password, sha256(secret)):
                raise Believed("")
            return user
        if user.driver == _PUBLIC:
            raise Believed(f"User: {user.name} attempted a direct authentication.")
        info = self._ask(user.oid, user.driver, user.name, user.password, secret)
        if self._managed(user.driver, "DRIVER_MANAGED_GROUPS"):
            _driver, _name, _password, gids, admins = self._answer(
                info, "An error ocurred parsing the driver message: "
            )
            user = self._regroup(user, gids, admins)
        self._believe(user.oid, secret)
        return user

    def _server(self, account: User, secret: str) -> User:
        """`<target>:<token>` or `<target>:<group id>:<token>`; the account itself is never who acts."""
        target, separator, token = secret.partition(":")
        if not separator:
            raise Believed("Wrong token format")
        group, separator, rest = token.partition(":")
        egid = -1
        if separator:
            if not group.lstrip("-").isdigit():
                raise Believed("Wrong token format")
            egid, token = int(group), rest
        oid = self._users.find(target)
        user = self._users.get(oid) if oid != -1 else None
        if user is None:
            raise Believed(f"User: {target} does not exist. Returned by server auth")
        if not self._cached(user.oid, token):
            self._ask(account.oid, account.driver, account.name, account.password, token)
            self._believe(user.oid, token)
        if egid == -1:
            return user
        group = self._groups.get(egid)
        return replace(user, gid=egid, gname="" if group is None else group.name, groups={egid})

    def _external(self, name: str, secret: str) -> User:
        info = self._ask(-1, self._config.get("DEFAULT_AUTH"), name, "-", secret)
        found, user, password, gids, admins = self._answer(info, "Can't create user: ")
        try:
            oid = self._users.allocate(user, password, found, set(gids) or {USERS_GROUP}, (*gids, USERS_GROUP)[0])
        except PoolError as error:
            raise Believed(f"Can't create user: {error}. Driver response: {info}") from None
        if self._managed(found, "DRIVER_MANAGED_GROUP_ADMIN"):
            self._appoint(oid, admins, set())
        created = self._users.get(oid)
        if created is None:
            raise Believed("")
        self._believe(oid, secret)
        return created

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _ask(self, uid: int, name: str, user: str, password: str, secret: str) -> str:
        if self._manager is None or not self._manager.present:
            raise Believed(_NO_DRIVER)
        ok, info = self._manager.ask(uid, name, user, password, secret)
        if not ok:
            raise Believed(f"Auth Error: {info}")
        return info

    def _answer(self, info: str, prefix: str) -> tuple[str, str, str, list[int], set[int]]:
        """`<driver> <user> <password> [[*]<group id> …]`; a star makes the user an administrator of that group."""
        words = [*info.split(), "", "", ""]
        name, user, password = words[:3]
        gids, admins = list[int](), set[int]()
        for word in words[3:]:
            if not word:
                continue
            number = word.removeprefix("*")
            if not number.isdigit():
                raise Believed(f"{prefix}One or more group IDs are malformed")
            if self._groups.get(int(number)) is None:
                raise Believed(f"{prefix}One or more group IDs do not exist")
            gids.append(int(number))
            if word.startswith("*"):
                admins.add(int(number))
        return name, user, password, gids, admins

    def _regroup(self, user: User, gids: list[int], admins: set[int]) -> User:
        if not gids:
            return user
        wanted = set(gids)
        with self._users.locked(user.oid) as stored:
            if stored is None:
                raise Believed("")
            before = set(stored.groups)
            if wanted != before:
                if stored.gid not in wanted:
                    group = self._groups.get(gids[0])
                    stored.gid, stored.gname = gids[0], "" if group is None else group.name
                stored.groups = wanted
                self._users.update(stored)
                self._users.move(stored.oid, wanted - before, before - wanted)
        if self._managed(user.driver, "DRIVER_MANAGED_GROUP_ADMIN"):
            self._appoint(user.oid, admins, wanted - admins)
        return stored

    def _appoint(self, uid: int, admins: set[int], others: set[int]) -> None:
        for gid in admins | others:
            with self._groups.locked(gid) as group:
                if group is not None and (uid in group.admins) != (gid in admins):
                    (group.admins.add if gid in admins else group.admins.discard)(uid)
                    self._groups.update(group)

    def _scoped(self, user: User, egid: int) -> User:
        if egid == -1:
            return user
        group = self._groups.get(egid)
        if group is None or egid not in user.groups:
            raise Believed("Token sets an EGID no longer part of user group list")
        return replace(user, gid=egid, gname=group.name, groups={egid})

    def _managed(self, name: str, key: str) -> bool:
        found = next((c for c in self._config.vectors("AUTH_MAD_CONF") if c.get("NAME") == name), {})
        return found.get(key, "NO").upper() == "YES"

    def _cached(self, uid: int, secret: str) -> bool:
        kept, until = self._sessions.get(uid, ("", 0.0))
        return kept == secret and (until == -1 or time.time() < until)

    def _believe(self, uid: int, secret: str) -> None:
        if self._keep == -1:
            self._sessions[uid] = (secret, -1)
        elif self._keep > 0:
            self._sessions[uid] = (secret, time.time() + self._keep)
