"""Inputs of Datastore, as the engine hands them over, to declared values; see `inputs` for what the engine sends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pulumi.output import Unknown

from components.registration.datastore_client import FIRST_OWN_ID, DatastoreType
from components.registration.datastore_names import datastore_name_problem, reserved_problem
from components.registration.datastore_spec import DatastoreSpec
from components.registration.inputs import Props, as_text, changed, is_unknown
from components.registration.names import DEFAULT_CLUSTER
from components.registration.spec import AdoptPolicy
from components.registration.template import value_problem

_DRIVERS: Final = ("ds_mad", "tm_mad")
REPLACING: Final = ("type", *_DRIVERS)
"""oned would change them in place and leave images behind that the new driver cannot read."""
IN_PLACE: Final = ("name", "clusters", "attributes", "enabled")
_DEFAULTS: Final[Props] = {
    "ds_mad": "",
    "clusters": [DEFAULT_CLUSTER],
    "attributes": {},
    "enabled": True,
    "adopt": AdoptPolicy.MATCHING.value,
}
_DRIVER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ATTRIBUTE = re.compile(r"[A-Z][A-Z0-9_]*")


def normal_datastore(props: Mapping[str, Any]) -> Props:
    """Every known value in its one form, defaults filled in; keys without a value are left out."""
    given = {key: value for key, value in props.items() if value is not None}
    result: Props = {}
    for key in (*REPLACING, *IN_PLACE, "adopt"):
        value = given.get(key, _DEFAULTS.get(key))
        if value is None:
            continue
        if key == "attributes" and isinstance(value, Mapping):
            value = {str(name).upper(): as_text(text) for name, text in sorted(value.items())}
        elif key == "clusters" and isinstance(value, list | tuple):
            value = list(value) if is_unknown(value) else sorted({str(as_text(name)) for name in value})
        elif key not in ("attributes", "clusters"):
            value = as_text(value)
        result[key] = value
    return result


def datastore_problems(given: Mapping[str, Any], normal: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Input and fault, for every known value that oned would refuse or change. `given` is what `normal` came from."""
    found = [(key, "is missing") for key in ("name", "type", "tm_mad") if key not in normal]
    for key, value in normal.items():
        if key == "attributes":
            found += _attribute_problems(given.get("attributes"), value)
        elif not is_unknown(value) and (problem := _problem(key, value, normal)):
            found.append((key, problem))
    return found


def _problem(key: str, value: object, normal: Mapping[str, Any]) -> str | None:
    if key == "clusters":
        if not isinstance(value, list) or not value:
            return "must name at least one cluster"
        return next((f"{name!r} {text}" for name in value if (text := value_problem(name) or _blank(name))), None)
    if key == "enabled":
        if not isinstance(value, bool):
            return "must be true or false"
        other = normal.get("type") != DatastoreType.SYSTEM.value and not is_unknown(normal.get("type"))
        return "only a system datastore can be disabled" if other and not value else None
    if not isinstance(value, str):
        return "must be text"
    problem: str | None = None
    match key:
        case "name":
            problem = datastore_name_problem(value)
        case "type":
            problem = _choice(value, [kind.value for kind in DatastoreType])
        case "tm_mad":
            problem = None if _DRIVER.fullmatch(value) else "is no driver name"
        case "ds_mad":
            problem = _ds_mad_problem(value, normal.get("type"))
        case "adopt":
            problem = _choice(value, [policy.value for policy in AdoptPolicy])
    return f"{value!r} {problem}" if problem else None


def _ds_mad_problem(value: str, type_: object) -> str | None:
    if is_unknown(type_):
        return None
    if type_ == DatastoreType.SYSTEM.value:
        return "must be left out: oned refuses DS_MAD in a system datastore" if value else None
    return None if _DRIVER.fullmatch(value) else "is no driver name, and only a system datastore is without one"


def _choice(value: str, choices: list[str]) -> str | None:
    return None if value in choices else f"is none of {', '.join(choices)}"


def _blank(name: str) -> str | None:
    return None if name else "must not be empty"


def _attribute_problems(given: object, attributes: object) -> list[tuple[str, str]]:
    if isinstance(attributes, Unknown) or not isinstance(attributes, Mapping):
        return [] if is_unknown(attributes) else [("attributes", "must be names and values")]
    found = []
    if isinstance(given, Mapping) and len(given) != len(attributes):
        found.append(("attributes", "has names that differ only in case; oned keeps one of them"))
    for name, value in attributes.items():
        problem = reserved_problem(name)
        if not _ATTRIBUTE.fullmatch(name):
            problem = "must be letters, digits and '_', beginning with a letter"
        if problem is None and not is_unknown(value):
            problem = value_problem(value) if isinstance(value, str) else "must be text"
        if problem:
            found.append((f"attributes.{name}", problem))
    return found


def replacing(datastore_id: int, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Changes that need another datastore. oned's own three cannot be replaced, so their drivers change in place."""
    return changed(before, after, ("type",) if datastore_id < FIRST_OWN_ID else REPLACING)


def datastore_spec(props: Mapping[str, Any]) -> DatastoreSpec:
    """The declared datastore of known, checked inputs or of stored outputs."""
    normal = normal_datastore(props)
    return DatastoreSpec(
        name=normal["name"],
        type=DatastoreType(normal["type"]),
        ds_mad=normal["ds_mad"],
        tm_mad=normal["tm_mad"],
        clusters=tuple(normal["clusters"]),
        attributes=dict(normal["attributes"]),
        enabled=normal["enabled"],
    )


def datastore_props(spec: DatastoreSpec) -> Props:
    """The other way: the inputs that declare `spec`."""
    props = {key: getattr(spec, key) for key in (*REPLACING, *IN_PLACE)}
    return props | {
        "type": spec.type.value,
        "clusters": list(spec.clusters),
        "attributes": dict(spec.attributes),
    }
