"""What a command resource may say, checked as the official schema does: types, defaults, nothing unknown.

A value that is not known yet (previews) passes; so does everything inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from lab.plugins.wire import UNKNOWN, Secret

Failures = list[tuple[str, str]]  # (property path, reason)
_Check = Callable[[Any], str | None]

LOGGING: Final = ("stdout", "stderr", "stdoutAndStderr", "none")


def _typed(kind: type | tuple[type, ...], name: str) -> _Check:
    def check(value: Any) -> str | None:
        bad = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        return f"must be {name}" if bad else None

    return check


def _logging(value: Any) -> str | None:
    return None if value in LOGGING else f"must be one of {', '.join(LOGGING)}"


def _texts(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return "must be a mapping of names to texts"
    bad = sorted(
        name for name, text in value.items() if not isinstance(_bare(text), str) and _bare(text) is not UNKNOWN
    )
    return f"{bad[0]} must be a text" if bad else None


_TEXT, _NUMBER, _WHOLE = _typed(str, "a text"), _typed((int, float), "a number"), _typed(int, "a whole number")
_LIST, _BOOL = _typed(list, "a list"), _typed(bool, "true or false")

_COMMON: Final[Mapping[str, _Check]] = {
    "create": _TEXT,
    "update": _TEXT,
    "delete": _TEXT,
    "stdin": _TEXT,
    "triggers": _LIST,
    "logging": _logging,
    "environment": _texts,
    "addPreviousOutputInEnv": _BOOL,
}
REMOTE: Final = {**_COMMON, "connection": lambda _: None}
LOCAL: Final = {**_COMMON, "interpreter": _LIST, "dir": _TEXT}
_ENDPOINT: Final[Mapping[str, _Check]] = {
    "host": _TEXT,
    "user": _TEXT,
    "port": _NUMBER,
    "password": _TEXT,
    "privateKey": _TEXT,
    "privateKeyPassword": _TEXT,
    "agentSocketPath": _TEXT,
    "dialErrorLimit": _WHOLE,
    "perDialTimeout": _WHOLE,
    "hostKey": _TEXT,
}
_DEFAULTS: Final = {"user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15}
_SECRETS: Final = ("password", "privateKey", "privateKeyPassword")


def check_fields(values: Mapping[str, Any], known: Mapping[str, _Check], path: str = "") -> Failures:
    """Unknown names and wrong types among `values`."""
    failures: Failures = []
    for name, marked in values.items():
        value, where = _bare(marked), f"{path}{name}"
        if name not in known:
            failures.append((where, "no such property, or not supported by this rehearsal stand-in"))
        elif value is not UNKNOWN and (why := known[name](value)):
            failures.append((where, why))
    return failures


def with_connection(inputs: Mapping[str, Any]) -> tuple[dict[str, Any], Failures]:
    """Inputs of a remote command with the defaults of its connection, which becomes secret as a whole."""
    connection = _bare(inputs.get("connection"))
    if connection is UNKNOWN:
        return dict(inputs), []
    if not isinstance(connection, Mapping):
        return dict(inputs), [("connection", "is missing: give at least its host")]
    complete, failures = _endpoint(connection, "connection.", proxy=True)
    return {**inputs, "connection": Secret(complete)}, failures


def _endpoint(given: Mapping[str, Any], path: str, *, proxy: bool) -> tuple[dict[str, Any], Failures]:
    failures = check_fields({n: v for n, v in given.items() if not (proxy and n == "proxy")}, _ENDPOINT, path)
    if not _bare(given.get("host")):
        failures.append((f"{path}host", "is missing"))
    complete = {**_DEFAULTS, **given}
    complete |= {name: Secret(_bare(complete[name])) for name in _SECRETS if name in complete}
    nested = _bare(given.get("proxy")) if proxy else None
    if isinstance(nested, Mapping):
        complete["proxy"], more = _endpoint(nested, f"{path}proxy.", proxy=False)
        failures += more
    elif nested is not None and nested is not UNKNOWN:
        failures.append((f"{path}proxy", "must be a connection"))
    return complete, failures


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, Secret) else value
