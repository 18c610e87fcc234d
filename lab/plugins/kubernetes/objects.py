"""Kubernetes objects as plain dictionaries: what they are called, what they are marked with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.plugins.errors import PluginError, Unsupported

Object = dict[str, Any]

AUTONAMED = "pulumi.com/autonamed"
SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT_SECONDS = "pulumi.com/timeoutSeconds"
PATCH_FORCE = "pulumi.com/patchForce"
FIELD_MANAGER = "pulumi.com/patchFieldManager"
DELETION_PROPAGATION = "pulumi.com/deletionPropagationPolicy"
_REFUSED_ANNOTATIONS = ("pulumi.com/waitFor", "pulumi.com/replaceUnready")

# Groups whose kinds the SDK types; there, a kind that ends in Patch or List is not an object of its own.
_TYPED_SUFFIX = ".k8s.io"
_TYPED_GROUPS = frozenset({"", "core", "apps", "autoscaling", "batch", "extensions", "policy"})
_NO_OBJECTS = frozenset({"helm.sh", "yaml", "kustomize"})


@dataclass(frozen=True)
class Kind:
    """Group, version and kind."""

    group: str  # "" for the core group
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.api_version}/{self.kind}"


def kind_of_token(token: str) -> Kind:
    """The kind behind a resource type such as `kubernetes:apps/v1:StatefulSet`.

    Raises Unsupported for patch and list resources, charts and other kinds that are no objects.
    """
    parts = token.split(":")
    module = parts[1].split("/") if len(parts) == 3 else []
    if len(parts) != 3 or parts[0] != "kubernetes" or len(module) != 2 or module[0] in _NO_OBJECTS:
        raise Unsupported(f"the resource type {token}")
    group, version, kind = module[0], module[1], parts[2]
    if group in _TYPED_GROUPS or group.endswith(_TYPED_SUFFIX):
        if kind.endswith("Patch"):
            raise Unsupported(f"the patch resource {token}", "manage the whole object instead")
        if kind.endswith("List") and kind != "List":
            raise PluginError(f"{token}: list resources cannot be created; use the kind of its items")
    return Kind("" if group == "core" else group, version, kind)


def kind_of(obj: Mapping[str, Any]) -> Kind:
    """The kind an object itself names. Raises PluginError when it names none."""
    api_version, kind = obj.get("apiVersion"), obj.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str):
        raise PluginError("the object has no apiVersion and kind")
    group, _, version = api_version.rpartition("/")
    return Kind("" if group == "core" else group, version, kind)


def urn_type(urn: str) -> str:
    """Type of a resource from its URN, without the types of its parents."""
    return urn.split("::")[2].rpartition("$")[2]


def urn_name(urn: str) -> str:
    return urn.split("::", 3)[3]


def metadata(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    found = obj.get("metadata")
    return found if isinstance(found, Mapping) else {}


def name_of(obj: Mapping[str, Any]) -> str:
    name = metadata(obj).get("name")
    return name if isinstance(name, str) else ""


def namespace_of(obj: Mapping[str, Any]) -> str:
    namespace = metadata(obj).get("namespace")
    return namespace if isinstance(namespace, str) else ""


def id_of(obj: Mapping[str, Any]) -> str:
    """`namespace/name`, or `name`: the id the official plugin gives."""
    namespace = namespace_of(obj)
    return f"{namespace}/{name_of(obj)}" if namespace else name_of(obj)


def split_id(id: str) -> tuple[str, str]:
    """Namespace ("" if none) and name."""
    namespace, _, name = id.rpartition("/")
    return namespace, name


def label(obj: Mapping[str, Any]) -> str:
    """How an object is called in messages: `StatefulSet one/mariadb`."""
    return f"{obj.get('kind', 'object')} {id_of(obj)}"


def annotation(obj: Mapping[str, Any], key: str) -> str:
    found = metadata(obj).get("annotations")
    value = found.get(key) if isinstance(found, Mapping) else None
    return value if isinstance(value, str) else ""


def refuse_annotations(obj: Mapping[str, Any]) -> None:
    """Raise Unsupported for an annotation that would change how the official plugin waits."""
    for key in _REFUSED_ANNOTATIONS:
        if annotation(obj, key):
            raise Unsupported(f"the annotation {key}")


def dig(obj: Any, *path: str) -> Any:
    """The value at a path of members, or None."""
    for key in path:
        if not isinstance(obj, Mapping):
            return None
        obj = obj.get(key)
    return obj
