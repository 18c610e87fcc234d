"""A resource as rules see it: what it is, whose it is, and its inputs. Standard library alone, as the policy pack needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

# Mappings and sequences of any kind, only to be read: in the policy pack they are Pulumi's own, which raise its
# UnknownValueError where a value is not known before the update. Rules let that through.
Properties = Mapping[str, Any]
Rule = Callable[[str, str, Properties], Iterator[str]]

COMPONENTS = "opennebula:index:"
"""How the types of this program's components begin. A bridged provider's are `opennebula:index/…`."""


def kind_of(type_token: str) -> str:
    """`kubernetes:apps/v1:StatefulSet` → `StatefulSet`; empty for what is no object of Kubernetes."""
    return type_token.rsplit(":", maxsplit=1)[-1] if type_token.startswith("kubernetes:") else ""


def ours(urn: str) -> bool:
    """Was it made by a component of this program? Its URN has the types of all that it stands in, whatever the project's
    name, and unlike a label that cannot be forgotten."""
    parts = urn.split("::")
    return len(parts) > 3 and any(token.startswith(COMPONENTS) for token in parts[2].split("$"))


def plain(value: Any) -> Any:
    """The same as dictionaries, lists and whole numbers, which can be compared and printed. The engine's are all floats."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def said(rule: Rule, type_token: str, name: str, properties: Properties) -> Iterator[str]:
    """What one rule has to say about one resource. An object that it cannot read is wrong, too; no value is in the sentence."""
    try:
        yield from rule(type_token, name, properties)
    except KeyError as error:
        yield f"{name}: has no {error}"
    except (AttributeError, TypeError, ValueError) as error:
        yield f"{name}: is not made as its kind is ({type(error).__name__})"
