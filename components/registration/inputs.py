"""Resource inputs, as the engine hands them over, to declared values: normalised, checked, without I/O.

The engine sends numbers as floats, leaves out what is None and, in a preview, sends unknown values as marks.
Normalising gives texts, whole numbers and every default; unknown values pass through untouched and unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pulumi.output import Unknown
from pulumi.runtime.rpc import UNKNOWN

from components.registration.client import RESERVED_CPU, RESERVED_MEMORY, AdminState
from components.registration.departure import OnRemoval
from components.registration.drain import DrainMode, DrainPolicy
from components.registration.names import DEFAULT_CLUSTER, OWNER_ATTRIBUTE, host_name_problem
from components.registration.spec import AdoptPolicy, HostSpec
from components.registration.template import name_problem, value_problem

Props = dict[str, Any]

REPLACING: Final = ("name", "im_mad", "vm_mad")
"""oned can rename a host, but its name is its address: another name is another machine. So are other drivers."""
NOT_IN_ONED: Final = ("adopt", "drain", "login", "host_key", "on_removal")
"""How the program deals with a host. A refresh leaves them as they are."""
IN_PLACE: Final = (
    "cluster",
    "labels",
    "reserved_cpu",
    "reserved_memory",
    "state",
    "owner",
    "drain",
    "login",
    "host_key",
    "on_removal",
)
MARKED: Final = "marked"
"""Output: the owner that this stack has written last. A refresh shows in `owner` what oned has, which may be another's."""
_REQUIRED: Final = REPLACING
_DEFAULTS: Final[Props] = {
    "cluster": DEFAULT_CLUSTER,
    "labels": {},
    "state": AdminState.ENABLED.value,
    "adopt": AdoptPolicy.MATCHING.value,
}

_DRIVER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LOGIN = re.compile(r"[^@\s]+@[^@\s]+:\d{1,5}")
_RESERVED = re.compile(r"-?\d+(\.\d+)?%?")
_TAKEN_LABELS: Final = {
    RESERVED_CPU: "is set by reserved_cpu",
    RESERVED_MEMORY: "is set by reserved_memory",
    OWNER_ATTRIBUTE: "is set by owner",
}


def is_unknown(value: object) -> bool:
    """Whether a value, or anything inside it, is known only after the deployment."""
    if isinstance(value, Mapping):
        return any(is_unknown(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(is_unknown(item) for item in value)
    return isinstance(value, Unknown) or (isinstance(value, str) and value == UNKNOWN)


def as_text(value: object) -> object:
    """A number as the text an operator would write (42.0 is 42); anything else as it is."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def normal_host(props: Mapping[str, Any]) -> Props:
    """Every known value in its one form, defaults filled in; keys without a value are left out."""
    given = {key: value for key, value in props.items() if value is not None}
    result: Props = {}
    for key in (*REPLACING, *IN_PLACE, "adopt"):
        value = given.get(key, _DEFAULTS.get(key))
        if value is None:
            continue
        if key == "labels" and isinstance(value, Mapping):
            value = {str(name).upper(): as_text(text) for name, text in sorted(value.items())}
        result[key] = as_text(value) if key not in ("labels", "drain") else value
    return result


def host_problems(given: Mapping[str, Any], normal: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Input and fault, for every known value that oned would refuse or change. `given` is what `normal` came from."""
    found = [(key, "is missing") for key in _REQUIRED if key not in normal]
    for key, value in normal.items():
        if is_unknown(value) and key != "labels":
            continue
        if key == "labels":
            found += _label_problems(given.get("labels"), value)
        elif key == "drain":
            found += _drain_problems(value)
        elif not isinstance(value, str):
            found.append((key, "must be text"))
        elif problem := _text_problem(key, value):
            found.append((key, problem))
    return found


def _text_problem(key: str, value: str) -> str | None:
    problem: str | None
    match key:
        case "name":
            problem = host_name_problem(value)
        case "im_mad" | "vm_mad":
            problem = None if _DRIVER.fullmatch(value) else "is no driver name, such as kvm, qemu or lxc"
        case "reserved_cpu" | "reserved_memory":
            # Empty is what a refresh reads when somebody has emptied the attribute.
            problem = None if _RESERVED.fullmatch(value) or not value else "is no number or percentage"
        case "state":
            problem = _choice(value, [state.value for state in AdminState])
        case "adopt":
            problem = _choice(value, [policy.value for policy in AdoptPolicy])
        case "on_removal":
            problem = _choice(value, [choice.value for choice in OnRemoval])
        case "login":
            problem = None if _LOGIN.fullmatch(value) else "is no user@address:port"
        case "cluster":
            problem = value_problem(value) if value else "must not be empty"
        case _:
            problem = value_problem(value)
    return f"{value!r} {problem}" if problem else None


def _drain_problems(value: object) -> list[tuple[str, str]]:
    if not isinstance(value, Mapping):
        return [("drain", "must be a group of mode, vm_limit and limit")]
    found = []
    if problem := _choice(str(value.get("mode")), [mode.value for mode in DrainMode]):
        found.append(("drain.mode", problem))
    for key in ("vm_limit", "limit"):
        seconds = value.get(key, 1)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
            found.append((f"drain.{key}", "must be a number of seconds above 0"))
    return found


def _choice(value: str, choices: list[str]) -> str | None:
    return None if value in choices else f"is none of {', '.join(choices)}"


def label_problem(name: str, value: str) -> str | None:
    """Why a label cannot be set on a host, or None. Also asked by the settings, before anything is touched."""
    return _TAKEN_LABELS.get(name) or name_problem(name) or value_problem(value)


def _label_problems(given: object, labels: object) -> list[tuple[str, str]]:
    if isinstance(labels, Unknown) or not isinstance(labels, Mapping):
        return [] if is_unknown(labels) else [("labels", "must be names and values")]
    found = []
    if isinstance(given, Mapping) and len(given) != len(labels):
        found.append(("labels", "has names that differ only in case; oned keeps one of them"))
    for name, value in labels.items():
        problem = _TAKEN_LABELS.get(name) or name_problem(name)
        if problem is None and not is_unknown(value):
            problem = value_problem(value) if isinstance(value, str) else "must be text"
        if problem:
            found.append((f"labels.{name}", problem))
    return found


def host_spec(props: Mapping[str, Any]) -> HostSpec:
    """The declared host of known, checked inputs or of stored outputs."""
    normal = normal_host(props)
    return HostSpec(
        name=normal["name"],
        im_mad=normal["im_mad"],
        vm_mad=normal["vm_mad"],
        cluster=normal["cluster"],
        labels=dict(normal["labels"]),
        reserved_cpu=normal.get("reserved_cpu"),
        reserved_memory=normal.get("reserved_memory"),
        state=AdminState(normal["state"]),
        owner=normal.get("owner"),
    )


def written(outputs: Mapping[str, Any]) -> HostSpec:
    """The host of stored outputs, with the owner that this stack has written."""
    return replace(host_spec(outputs), owner=outputs.get(MARKED) or outputs.get("owner"))


def adopt_policy(props: Mapping[str, Any]) -> AdoptPolicy:
    return AdoptPolicy(props.get("adopt") or AdoptPolicy.MATCHING)


def drain_policy(drain: Mapping[str, Any] | None) -> DrainPolicy | None:
    """The declared way of emptying a host; None: not declared for this one."""
    if not drain:
        return None
    usual = DrainPolicy()
    return DrainPolicy(
        mode=DrainMode(drain.get("mode") or usual.mode),
        vm_limit=float(drain.get("vm_limit") or usual.vm_limit),
        limit=float(drain.get("limit") or usual.limit),
    )


def host_props(spec: HostSpec) -> Props:
    """The other way: the inputs that declare `spec`."""
    props = {key: getattr(spec, key) for key in (*REPLACING, *IN_PLACE) if key not in NOT_IN_ONED}
    props |= {"labels": dict(spec.labels), "state": spec.state.value}
    return {key: value for key, value in props.items() if value is not None}


def changed(olds: Mapping[str, Any], news: Mapping[str, Any], keys: tuple[str, ...]) -> list[str]:
    """Keys whose value differs. An unknown new value counts as different."""
    return [key for key in keys if is_unknown(news.get(key)) or olds.get(key) != news.get(key)]
