"""One API call: who asks, how it is answered, and the texts and numbers of refusals.

Methods are functions registered with `method`; they return the value of a success or raise `Refused`.
Source: OpenNebula 7.4.0 src/rm/Request.cc, src/rm/RequestLogger.cc, include/Request.h.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Protocol

from standin.authentication import Authentication
from standin.bootstrap import Pools
from standin.config import HIDDEN, Config
from standin.database import SqlError
from standin.hooks import Hooks
from standin.hosts import Host
from standin.lifecycle import Lifecycle
from standin.log import Log
from standin.scheduling import Scheduler
from standin.users import ONEADMIN_GROUP, User
from standin.xmlrpc_codec import INTERNAL_FAULT, NO_METHOD_FAULT, TYPE_FAULT, Fault, Param

_LOGGED_CHARACTERS: Final = 20
_TYPE_NAMES: Final[dict[type, str]] = {str: "string", int: "integer", bool: "boolean", list: "array"}
_HIDDEN_ARGUMENTS: Final = {"one.user.allocate": {2}, "one.user.passwd": {2}, "one.user.login": {2}}


class Code(IntEnum):
    """Third value of every answer."""

    SUCCESS = 0
    AUTHENTICATION = 0x100
    AUTHORIZATION = 0x200
    NO_EXISTS = 0x400
    ACTION = 0x800
    RPC_API = 0x1000
    INTERNAL = 0x2000
    ALLOCATE = 0x4000
    LOCKED = 0x8000


class Refused(Exception):
    """A call that is answered with [False, text, code, id, -1]; the text still lacks its `[method] ` prefix."""

    def __init__(self, code: Code, text: str, oid: int = -1) -> None:
        super().__init__(text)
        self.code = code
        self.oid = oid


class Monitor(Protocol):
    """What API calls tell the monitor daemon."""

    def update_host(self, host: Host) -> None: ...

    def drop_host(self, oid: int, name: str, im_mad: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Service:
    """What every call may use."""

    pools: Pools
    config: Config
    log: Log
    monitor: Monitor
    authentication: Authentication
    lifecycle: Lifecycle
    hooks: Hooks
    scheduler: Scheduler


@dataclass(frozen=True)
class Call:
    """An authenticated call."""

    service: Service
    user: User

    @property
    def pools(self) -> Pools:
        return self.service.pools

    @property
    def admin(self) -> bool:
        return ONEADMIN_GROUP in self.user.groups

    @property
    def umask(self) -> int:
        """The user's own mask, else DEFAULT_UMASK."""
        return int(self.user.template.get("UMASK") or self.service.config.get("DEFAULT_UMASK") or "177", 8)

    @property
    def newest_first(self) -> bool:
        """API_LIST_ORDER."""
        return self.service.config.get("API_LIST_ORDER").upper() == "DESC"

    def in_order(self, ids: list[int]) -> list[int]:
        return sorted(ids, reverse=self.newest_first)

    def authorize(self, operation: str, kind: str, oid: int = -1, *, owner: int | None = None) -> None:
        """Everything is allowed to group oneadmin, and to a user what is the user's own; ACL rules are not modelled.

        :raises Refused: AUTHORIZATION.
        """
        if self.admin or (owner is not None and owner == self.user.oid):
            return
        target = f"{kind} [{oid}]" if oid >= 0 else kind
        raise Refused(Code.AUTHORIZATION, f"User [{self.user.oid}] : Not authorized to perform {operation} {target}.")


Handler = Callable[..., Param]


@dataclass(frozen=True)
class _Method:
    handler: Handler
    types: tuple[type, ...]
    required: int


_METHODS: dict[str, _Method] = {}


def method(name: str, *types: type, optional: int = 0) -> Callable[[Handler], Handler]:
    """Register a handler for `name`; `types` are the parameters after the session, the last `optional` may be
    absent.
    """

    def register(handler: Handler) -> Handler:
        _METHODS[name] = _Method(handler, types, len(types) - optional)
        return handler

    return register


def missing(kind: str, oid: int) -> Refused:
    return Refused(Code.NO_EXISTS, f"Error getting {kind} [{oid}].", oid)


class Dispatcher:
    """Answers calls; one for all connections."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._ids = itertools.count()

    def __call__(self, name: str, params: Sequence[Param], peer: str) -> list[Param]:
        """The array that answers a call.

        :raises Fault: for an unknown method or parameters of the wrong type, as xmlrpc-c does before oned sees them.
        """
        entry = _METHODS.get(name)
        if entry is None:
            raise Fault(NO_METHOD_FAULT, f"Method '{name}' not defined")
        session, arguments = _checked(entry, params)
        number = next(self._ids) % 10000
        try:
            user = self._service.authentication(session)
        except SqlError:  # nobody is known while the database is away
            user = None
        uid = -1 if user is None else user.oid
        spoken = _shortened(", ".join(_spoken(name, index, value) for index, value in enumerate(arguments, start=1)))
        self._service.log.debug("ReM", f"Req:{number:04d} UID:{uid} IP:{peer} {name} invoked {spoken}")
        answer = self._answer(entry, name, user, arguments)
        ok = answer[0] is True
        result = f"SUCCESS{_value_text(answer[1])}" if ok else f"FAILURE {answer[1]}"
        line = f"Req:{number:04d} UID:{uid if uid != -1 else '-'} {name} result {result}"
        (self._service.log.debug if ok else self._service.log.error)("ReM", line)
        self._service.hooks.called(name, [session, *arguments], answer)
        return answer

    def _answer(self, entry: _Method, name: str, user: User | None, arguments: Sequence[Any]) -> list[Param]:
        try:
            if user is None:
                raise Refused(Code.AUTHENTICATION, "User couldn't be authenticated, aborting call.")
            return [True, entry.handler(Call(self._service, user), *arguments), int(Code.SUCCESS)]
        except SqlError:  # logged where it happened
            refused = Refused(Code.INTERNAL, "Internal error")
        except Refused as answer:
            refused = answer
        return [False, f"[{name}] {refused}", int(refused.code), refused.oid, -1]


def _checked(entry: _Method, params: Sequence[Param]) -> tuple[str, Sequence[Param]]:
    if not params:
        raise Fault(INTERNAL_FAULT, "Subscript of xmlrpc_c::paramList out of bounds")
    if not isinstance(params[0], str):
        raise Fault(TYPE_FAULT, f"Parameter that is supposed to be {_TYPE_NAMES[str]} is not")
    arguments = params[1:]
    for value, wanted in zip(arguments, entry.types, strict=False):
        if type(value) is not wanted:
            raise Fault(TYPE_FAULT, f"Parameter that is supposed to be {_TYPE_NAMES[wanted]} is not")
    if len(arguments) < entry.required:
        raise Fault(TYPE_FAULT, "Not enough parameters")
    return params[0], arguments[: len(entry.types)]


def _spoken(name: str, index: int, value: Param) -> str:
    if index in _HIDDEN_ARGUMENTS.get(name, ()):
        return "****"
    return str(int(value)) if isinstance(value, bool) else str(value)


def _shortened(text: str) -> str:
    return text if len(text) <= _LOGGED_CHARACTERS else text[: _LOGGED_CHARACTERS - 3] + "..."


def _value_text(value: Param) -> str:
    if isinstance(value, bool):
        return f", {str(value).lower()}"
    if isinstance(value, str):
        shown = value[:_LOGGED_CHARACTERS]
        return f', "{shown}{"..." if len(value) > _LOGGED_CHARACTERS else ""}"'
    return f", {value}" if isinstance(value, int) else ", unknown param type"


def visible_config(call: Call) -> str:
    """The configuration as XML: the database vector masked for ordinary users, the master key shown to everybody."""
    hidden: Mapping[str, frozenset[str]] | None = None if call.user.gid == ONEADMIN_GROUP else HIDDEN
    return call.service.config.xml(hidden=hidden)
