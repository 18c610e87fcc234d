"""The properties the engine keeps of an object: the official plugin's form, so that either plugin can continue.

State is the live object beside three members of our own: the inputs it was made from, the apiVersion it began with and
the field manager that owns its fields. What was secret in the inputs stays secret, and a Secret's data always is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lab.plugins.kubernetes.objects import FIELD_MANAGER, Object, annotation
from lab.plugins.wire import Secret, has_secret, plain

_INPUTS: Final = "__inputs"
_API_VERSION: Final = "__initialApiVersion"
_MANAGER: Final = "__fieldManager"

# Written by the server, or by tools for themselves: never inputs.
_READ_ONLY = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
_TOOL_ANNOTATIONS = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration")
# Property names cannot hold a dash in every SDK, so CustomResourceDefinitions travel with underscores.
_DASHED = {
    name.replace("-", "_"): name
    for name in (
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    )
}
_UNDERSCORED = {dashed: underscored for underscored, dashed in _DASHED.items()}


def to_api(properties: Mapping[str, Any]) -> Object:
    """Properties as the API server takes them: no secret marks, no members of our own, dashes restored."""
    found: Object = plain({name: value for name, value in properties.items() if not name.startswith("__")})
    return _renamed(found, _DASHED) if found.get("kind") == "CustomResourceDefinition" else found


def checkpoint(inputs: Mapping[str, Any], live: Object, api_version: str, manager: str) -> dict[str, Any]:
    """State of an object made from `inputs` (with their secret marks) and seen as `live`."""
    kept = {**live, "metadata": {n: v for n, v in live["metadata"].items() if n != "managedFields"}}
    outs = _renamed(kept, _UNDERSCORED) if live.get("kind") == "CustomResourceDefinition" else kept
    marked = mark_secrets(outs, inputs)
    return {**marked, _INPUTS: mark_secrets(plain(inputs), inputs), _API_VERSION: api_version, _MANAGER: manager}


def recorded_inputs(state: Mapping[str, Any]) -> dict[str, Any]:
    found = state.get(_INPUTS)
    return dict(found) if isinstance(found, Mapping) else {}


def initial_api_version(state: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    return str(state.get(_API_VERSION) or inputs.get("apiVersion") or "")


def manager_of(state: Mapping[str, Any], inputs: Object) -> str:
    """Name of the field manager an object has, or an empty text."""
    return annotation(inputs, FIELD_MANAGER) or str(state.get(_MANAGER) or "")


def without_read_only(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs without what only the server writes."""
    meta = inputs.get("metadata")
    if isinstance(meta, dict):
        return {**inputs, "metadata": {name: value for name, value in meta.items() if name not in _READ_ONLY}}
    return inputs


def inputs_from_live(live: Object) -> Object:
    """Inputs for an object that was not made by the engine: everything but what the server writes."""
    found = without_read_only({name: value for name, value in live.items() if name != "status"})
    annotations = found["metadata"].get("annotations")
    if isinstance(annotations, dict):
        kept = {name: value for name, value in annotations.items() if name not in _TOOL_ANNOTATIONS}
        found["metadata"]["annotations"] = kept
    return found


def mark_secrets(values: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with the secret marks of `like`, matched by name; a list with a secret in it is secret as a whole."""
    if values.get("kind") == "Secret":
        return {
            name: Secret(value) if name in ("data", "stringData") and not isinstance(value, Secret) else value
            for name, value in values.items()
        }
    marked = dict(values)
    for name, source in like.items():
        value = marked.get(name)
        if isinstance(value, Mapping) and isinstance(source, Mapping):
            marked[name] = mark_secrets(value, source)
        elif value is not None and not isinstance(value, Secret) and has_secret(source):
            marked[name] = Secret(value)
    return marked


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(name, name): _renamed(member, names) for name, member in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return value
