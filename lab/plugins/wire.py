"""Property values as they travel between engine and plugin, and as plain Python.

A property is JSON with three extras: a secret, a value not yet known (previews), and special objects (assets, archives,
resource references) that these plugins only pass along. Numbers travel as doubles; a whole one becomes an int, because
Kubernetes refuses `3.0` where it wants an integer. Null members of objects are dropped, as the official plugins do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.struct_pb2 import NULL_VALUE, Struct, Value

# Constants of the engine's protocol: sdk/go/common/resource/properties.go.
_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_CONFIDENTIAL: Final = "1b47061264138c4ac30d75fd1eb44270"
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_UNKNOWNS: Final = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",  # string
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
_UNKNOWN_TEXT: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


class _Unknown:
    """A value the engine will learn only when something else has been created."""

    def __repr__(self) -> str:
        return "unknown"

    def __deepcopy__(self, memo: dict[int, Any]) -> _Unknown:
        return self


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True)
class Secret:
    """A value the engine encrypts in its state and masks in its output."""

    value: Any

    def __repr__(self) -> str:
        return "Secret(…)"


def decode(struct: Struct) -> dict[str, Any]:
    """Properties of a request, secrets and unknowns marked."""
    return {name: value for name, value in ((n, _decode(v)) for n, v in struct.fields.items()) if value is not None}


def _decode(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    decoder = _DECODERS.get(kind or "")
    return decoder(value) if decoder else None


def _decode_text(value: Value) -> Any:
    text = value.string_value
    return UNKNOWN if text in _UNKNOWNS else text


def _decode_number(value: Value) -> int | float:
    number = value.number_value
    return int(number) if number.is_integer() else number


def _decode_object(value: Value) -> Any:
    return _decode_special(value) if _SIGNATURE in value.struct_value.fields else decode(value.struct_value)


def _decode_special(value: Value) -> Any:
    fields = value.struct_value.fields
    signature = fields[_SIGNATURE].string_value
    if signature == _CONFIDENTIAL:
        return Secret(_decode(fields["value"]))
    if signature == _OUTPUT:
        inner = _decode(fields["value"]) if "value" in fields else UNKNOWN
        return Secret(inner) if "secret" in fields and fields["secret"].bool_value else inner
    return decode(value.struct_value)


_DECODERS: Final[Mapping[str, Callable[[Value], Any]]] = {
    "string_value": _decode_text,
    "struct_value": _decode_object,
    "number_value": _decode_number,
    "bool_value": lambda value: value.bool_value,
    "list_value": lambda value: [_decode(item) for item in value.list_value.values],
}


def encode(properties: Mapping[str, Any]) -> Struct:
    """The opposite of `decode`. Raises TypeError for a value that is no property."""
    struct = Struct()
    _encode_members(struct, properties)
    return struct


def _encode_members(struct: Struct, members: Mapping[str, Any]) -> None:
    fields = struct.fields
    for name, member in members.items():
        if member is not None:
            _encode(fields[name], member)


def _encode(into: Value, value: Any) -> None:
    if isinstance(value, str):
        into.string_value = value
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int | float):
        into.number_value = value
    elif isinstance(value, Mapping):
        into.struct_value.SetInParent()
        _encode_members(into.struct_value, value)
    elif isinstance(value, list | tuple):
        into.list_value.SetInParent()
        for item in value:
            _encode(into.list_value.values.add(), item)
    elif isinstance(value, Secret):
        into.struct_value.fields[_SIGNATURE].string_value = _CONFIDENTIAL
        _encode(into.struct_value.fields["value"], value.value)
    elif value is UNKNOWN:
        into.string_value = _UNKNOWN_TEXT
    elif value is None:
        into.null_value = NULL_VALUE
    else:
        raise TypeError(f"{type(value).__name__} is not a property value")


def plain(value: Any) -> Any:
    """A copy without secret marks; unknowns stay."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def has_unknown(value: Any) -> bool:
    """Whether anything in it is still unknown."""
    if value is UNKNOWN:
        return True
    if isinstance(value, Secret):
        return has_unknown(value.value)
    if isinstance(value, dict):
        return any(has_unknown(member) for member in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return False


def has_secret(value: Any) -> bool:
    """Whether anything in it is secret."""
    if isinstance(value, Secret):
        return True
    if isinstance(value, dict):
        return any(has_secret(member) for member in value.values())
    if isinstance(value, list):
        return any(has_secret(item) for item in value)
    return False
