"""What is declared of a cluster, and inputs of Cluster to it; see `inputs` for what the engine sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from components.registration.client import NO_ATTRIBUTES
from components.registration.cluster_client import ClusterDetails
from components.registration.datastore_names import datastore_name_problem
from components.registration.inputs import Props, as_text, is_unknown
from components.registration.spec import AdoptPolicy
from components.registration.template import attribute_name_problem, value_problem

IN_PLACE: Final = ("name", "attributes")


@dataclass(frozen=True, kw_only=True)
class ClusterSpec:
    """One declared cluster."""

    name: str
    attributes: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES)

    def as_seen(self, record: ClusterDetails) -> ClusterSpec:
        """The same declaration with oned's present values; only declared attributes are looked at."""
        return replace(self, name=record.name, attributes={name: record.attribute(name) for name in self.attributes})


def normal_cluster(props: Mapping[str, Any]) -> Props:
    """Every known value in its one form, defaults filled in."""
    attributes = props.get("attributes") or {}
    if isinstance(attributes, Mapping):
        attributes = {str(name).upper(): as_text(text) for name, text in sorted(attributes.items())}
    result = {"attributes": attributes, "adopt": props.get("adopt") or AdoptPolicy.ALWAYS.value}
    return result if props.get("name") is None else {"name": as_text(props["name"]), **result}


def cluster_problems(normal: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Input and fault, for every known value that oned would refuse or change."""
    found = []
    name, attributes, adopt = normal.get("name"), normal["attributes"], normal["adopt"]
    if name is None:
        found.append(("name", "is missing"))
    elif not is_unknown(name) and (problem := cluster_name_problem(str(name))):
        found.append(("name", f"{name!r} {problem}"))
    if not is_unknown(adopt) and adopt not in (AdoptPolicy.REFUSE, AdoptPolicy.ALWAYS):
        found.append(("adopt", f"{adopt!r} is none of refuse, always"))
    if isinstance(attributes, Mapping):
        found += [
            (f"attributes.{key}", text)
            for key, value in attributes.items()
            if not is_unknown(value) and (text := attribute_problem(key, value))
        ]
    elif not is_unknown(attributes):
        found.append(("attributes", "must be names and values"))
    return found


def cluster_name_problem(name: str) -> str | None:
    """Why oned refuses `name` for a cluster or changes it, or None: the rule of all objects but hosts."""
    return datastore_name_problem(name)


def attribute_problem(name: str, value: object) -> str | None:
    """Why a cluster cannot have this attribute, or None. Also asked by the settings."""
    if name == "NAME":
        return "is the cluster's name"
    return attribute_name_problem(name) or (value_problem(value) if isinstance(value, str) else "must be text")


def cluster_spec(props: Mapping[str, Any]) -> ClusterSpec:
    """The declared cluster of known, checked inputs or of stored outputs."""
    normal = normal_cluster(props)
    return ClusterSpec(name=normal["name"], attributes=dict(normal["attributes"]))
