"""Pinned SSH host keys in a file of OpenSSH's known_hosts format: read, looked up, told apart. Pure.

A file for people to review: one plain line a key, `kvm-001 ssh-ed25519 AAAA… # SHA256:…`. What cannot be reviewed
(hashed names) or means more than one machine (patterns, certificate authorities) is refused. Kinds of key that cannot be
pinned are passed over; a host needs one usable key.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from components.domain import KEY_TYPES, PublicKey

_KEY: Final[TypeAdapter[str]] = TypeAdapter(PublicKey)

Found = tuple[int, str]
"""Line number, and what is wrong there."""


def public_key(text: str) -> str:
    """`type base64` of one public key, checked. Raises ValueError that says what is wrong."""
    try:
        return _KEY.validate_python(text)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def fingerprint(key: str) -> str:
    """`SHA256:…` as ssh-keygen -l prints it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def names_of(name: str, address: str | None, port: int) -> tuple[str, ...]:
    """Under which names a host's key may stand, the first one is how it is written: its own name has no port."""
    places = [name, address] if address and address != name else [name]
    found = [name.lower()]
    for place in places:
        found.append(f"[{place}]:{port}".lower() if port != 22 else place.lower())
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, kw_only=True)
class Pins:
    """Keys by lower-case name, and for each name and type the line that it stands in."""

    keys: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lines: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def of(self, names: Iterable[str]) -> dict[str, str]:
        """A host's keys by type, the preferred type first; the first name that has one of a type counts."""
        found: dict[str, str] = {}
        for name in names:
            for kind, key in self.keys.get(name, {}).items():
                found.setdefault(kind, key)
        return {kind: found[kind] for kind in KEY_TYPES if kind in found}


def parse(text: str) -> tuple[Pins, list[Found]]:
    """The pins of a file, and what is wrong in it by line."""
    keys: dict[str, dict[str, str]] = {}
    lines: dict[tuple[str, str], int] = {}
    problems: list[Found] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if problem := _refused(words):
            problems.append((number, problem))
            continue
        kind = words[1]
        if kind not in KEY_TYPES:
            continue
        try:
            key = public_key(" ".join(words[1:3]))
        except ValueError as error:
            problems.append((number, str(error)))
            continue
        for name in words[0].lower().split(","):
            earlier = keys.setdefault(name, {}).get(kind)
            if earlier is not None and earlier != key:
                where = lines[name, kind]
                problems.append((number, f"{name} has another {kind} key in line {where}; keep the reviewed one"))
                continue
            keys[name][kind] = key
            lines.setdefault((name, kind), number)
    return Pins(keys=keys, lines=lines), problems


def _refused(words: list[str]) -> str | None:
    if words[0].startswith("@"):
        return f"{words[0]} is not supported: a host is pinned by its own key"
    if words[0].startswith("|"):
        return "a hashed name cannot be reviewed; write the name in clear"
    if any(mark in words[0] for mark in "*?!"):
        return "a pattern would pin one key for several machines; write one line a host"
    if len(words) < 3:
        return "is no line of known_hosts: NAME TYPE KEY"
    return None


def line(name: str, key: str) -> str:
    """One line of the file."""
    return f"{name} {key} # {fingerprint(key)}"


def given(entry: Any) -> str | None:
    """A host entry's own key, as written; None when it has none."""
    value = entry.get("hostKey") if isinstance(entry, Mapping) else None
    return value if isinstance(value, str) else None
