"""Typed settings to the YAML of FireEdge, OneFlow and OneGate. Pure.

Two readers, one writer: FireEdge reads plain keys with a YAML 1.2 parser, the Ruby servers read symbols (`:host:`) with
a YAML 1.1 parser. What both understand alike is small, so only that is written: block mappings and lists, plain keys
where no parser can take them for something else, every text in double quotes with JSON's escapes.
Deliberately not here: comments, anchors, and merging inside a value. A raw key stands for the whole key or is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import Enum
from typing import Annotated, Any

from pydantic import Field, JsonValue

# Any, because a recursive alias of Mapping and JsonValue's own dict do not meet in a type checker; render() checks.
Yaml = Any
Raw = Annotated[
    dict[str, JsonValue],
    Field(description="further keys of that file, whole keys only; typed keys and unknown ones are refused"),
]

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# Psych takes a plain scalar that begins with a colon for a symbol, whatever follows; no parser ends it at these characters.
_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(:[A-Za-z0-9_-]+)?")
_YAML_1_1_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


class Keys(Enum):
    """How the reader of a file names its keys."""

    PLAIN = "plain"
    SYMBOLS = "symbols"


class YamlError(ValueError):
    """A value that the file cannot carry, or a raw key that may not stand there."""


def render(entries: Mapping[str, Yaml], keys: Keys) -> str:
    """The file's text, in the given order. Raises YamlError."""
    return "\n".join(_mapping(entries, keys, "")) + "\n"


def merge_raw(
    typed: Mapping[str, Yaml], raw: Mapping[str, Yaml], *, known: Collection[str], release: str
) -> dict[str, Yaml]:
    """Typed entries plus the operator's raw ones.

    `known` are all keys that the release reads at the top of this file. Raises YamlError for a raw key that fights a
    typed one, or that the release would silently ignore.
    """
    if sentences := [text for _, text in raw_problems(typed, raw, known=known, release=release)]:
        raise YamlError("; ".join(sentences))
    return {**typed, **raw}


def raw_problems(
    typed: Collection[str], raw: Collection[str], *, known: Collection[str], release: str
) -> Iterator[tuple[str, str]]:
    """(raw key, sentence) for each that may not stand there; see merge_raw."""
    for name in raw:
        if name.startswith(":"):
            yield name, f"{name}: write the key without its colon; the program writes Ruby's symbols"
        elif name in typed:
            yield name, f"{name} is decided by the program or its typed settings; change it there"
        elif name not in known:
            others = ", ".join(sorted(set(known) - set(typed))) or "none"
            yield name, f"OpenNebula {release} does not read {name} there; raw keys it reads: {others}"


def quote(text: str) -> str:
    """A text in double quotes. Raises YamlError for half characters, which no file can hold."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    code = ord(character)
    if character in '"\\':
        return "\\" + character
    if 0xD800 <= code <= 0xDFFF:
        raise YamlError("contains half a character (a lone surrogate), which no file can hold")
    if character.isprintable():
        return character
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _key(name: object, keys: Keys) -> str:
    if not isinstance(name, str):
        raise YamlError(f"the key {name!r} is not a text")
    if keys is Keys.SYMBOLS:
        if not _SYMBOL.fullmatch(name):
            raise YamlError(
                f"the key {name!r} is no Ruby symbol: letters, digits, '_', '-' and one ':' between them only"
            )
        return f":{name}"
    if _PLAIN_KEY.fullmatch(name) and name.lower() not in _YAML_1_1_WORDS:
        return name
    return quote(name)


def _mapping(entries: Mapping[str, Yaml], keys: Keys, indent: str) -> Iterator[str]:
    for name, value in entries.items():
        yield from _entry(f"{indent}{_key(name, keys)}:", value, keys, indent)


def _list(items: Sequence[Yaml], keys: Keys, indent: str) -> Iterator[str]:
    for item in items:
        yield from _entry(f"{indent}-", item, keys, indent)


def _entry(head: str, value: Yaml, keys: Keys, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield head if value else f"{head} {{}}"
        yield from _mapping(value, keys, f"{indent}  ")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield head if value else f"{head} []"
        yield from _list(value, keys, f"{indent}  ")
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: Yaml) -> str:
    if isinstance(value, str):
        return quote(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    raise YamlError(f"a {type(value).__name__} has no spelling in YAML")


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise YamlError("must be a finite number")
    # YAML 1.1 takes 1e-07 for a text: it wants a point in the mantissa.
    mantissa, exponent, power = repr(value).partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}{exponent}{power}"
