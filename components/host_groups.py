"""Hosts by groups and ranges: `kvm-[001-120]` with common values, to one plain entry a host. Pure, without any model.

An entry comes out as an operator would have written it below `hosts`; whether it is a good one is the host model's
question. Each remembers where its values stand, so that an error names the place in the file. Used by the settings and,
in a process of its own, by the registration provider, which must know who is declared.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, NetmaskValueError
from typing import Any, Final

LIMIT: Final = 10_000
"""Names that one pattern may stand for: a slip of the pen must not fill the memory."""
OWN_KEYS: Final = ("members", "addresses", "overrides")

_BRACKET = re.compile(r"\[([^\[\]]*)\]")
_SPAN = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_LAST_NUMBER = re.compile(r"(.*?)(\d{1,9})(\D*)", re.DOTALL)
_NOT_COMMON: Final = {
    "name": "is what members gives",
    "address": "belongs to one host; use addresses, or overrides for a single one",
    "hostKey": "belongs to one host; use hostKeys, hostKeysFile or overrides",
}

Found = tuple[str, str]
"""Config path and what is wrong there."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One host of a group: its entry, and where each key of it (`labels.X` for a label) was written."""

    group: str
    name: str
    entry: Mapping[str, Any]
    places: Mapping[str, str] = field(default_factory=dict)

    def place(self, key: str, inner: str = "") -> str:
        """Config path of a value of this host; the group's own where it is not written at all."""
        base = f"hostGroups.{self.group}"
        for name in (f"{key}.{inner}", key):
            if name in self.places:
                return f"{base}.{self.places[name]}"
        return base


def numbers(pattern: str) -> list[str]:
    """Names that a pattern stands for, in order: `kvm-[001-120]`, `r[1-2]-kvm[01-20,25]`. Raises ValueError."""
    pieces: list[list[str]] = []
    end = count = 0
    for match in _BRACKET.finditer(pattern):
        choices = _choices(match.group(1), pattern)
        pieces += [[pattern[end : match.start()]], choices]
        end = match.end()
        count = (count or 1) * len(choices)
        if count > LIMIT:
            raise ValueError(f"{pattern!r} stands for more than {LIMIT} names; split it")
    rest = pattern[end:]
    if not pattern or any(mark in text for text in (rest, *(p[0] for p in pieces[::2])) for mark in "[]"):
        raise ValueError(f"{pattern!r} is no name and no range such as kvm-[001-120]")
    return ["".join(parts) for parts in itertools.product(*pieces, [rest])]


def _choices(inside: str, pattern: str) -> list[str]:
    found: list[str] = []
    for part in inside.split(","):
        match = _SPAN.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{pattern!r}: [{inside}] is no range; write [001-120] or [1-4,7]")
        first, last = match.group(1), match.group(2) or match.group(1)
        if int(last) < int(first):
            raise ValueError(f"{pattern!r}: {first}-{last} counts down")
        if len(last) < len(first):
            raise ValueError(f"{pattern!r}: {first} and {last} have different widths; write [008-120]")
        if int(last) - int(first) >= LIMIT:
            raise ValueError(f"{pattern!r} stands for more than {LIMIT} names; split it")
        width = len(first) if first.startswith("0") else 1
        found += [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    return found


def fold(names: Iterable[str], limit: int = 12) -> str:
    """The other way, for messages: `kvm-[001-017,019], lxc-1`; at most `limit` parts are listed."""
    runs: dict[tuple[str, str, int], list[int]] = {}
    parts: list[str] = []
    for name in sorted(set(names)):
        match = _LAST_NUMBER.fullmatch(name)
        if match is None:
            parts.append(name)
        else:
            before, digits, after = match.groups()
            runs.setdefault((before, after, len(digits)), []).append(int(digits))
    for (before, after, width), found in runs.items():
        spans = [list(group) for _, group in itertools.groupby(sorted(found), _offset())]
        texts = [f"{s[0]:0{width}d}" + (f"-{s[-1]:0{width}d}" if len(s) > 1 else "") for s in spans]
        inside = ",".join(texts)
        parts.append(f"{before}[{inside}]{after}" if len(found) > 1 else f"{before}{inside}{after}")
    parts.sort()
    more = len(parts) - limit
    return ", ".join(parts[:limit]) + (f" and {more} more" if more > 0 else "")


def _offset() -> Any:
    """Key under which consecutive numbers are equal."""
    counter = itertools.count()
    return lambda number: number - next(counter)


def expand(groups: object) -> tuple[list[Member], list[Found]]:
    """Every host of `hostGroups`, in the order of the file, and what is wrong with the groups themselves."""
    if groups is None:
        return [], []
    if not isinstance(groups, Mapping):
        return [], [("hostGroups", "must be a mapping: the group's name, and below it members and common values")]
    members: list[Member] = []
    problems: list[Found] = []
    for name, group in groups.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", str(name)):
            problems.append((f"hostGroups.{name}", "a group's name has letters, digits, '_' and '-'"))
        elif not isinstance(group, Mapping):
            problems.append((f"hostGroups.{name}", "must be a mapping with members and common values"))
        else:
            found, wrong = _group(str(name), group)
            members += found
            problems += [(f"hostGroups.{name}{'.' if path else ''}{path}", text) for path, text in wrong]
    return members, problems


def _group(group: str, raw: Mapping[str, Any]) -> tuple[list[Member], list[Found]]:
    problems = [(key, text) for key, text in _NOT_COMMON.items() if key in raw]
    names = _patterns("members", raw.get("members"), problems)
    if names is None:
        if raw.get("members") is None:
            problems.append(("members", "is required: a range such as kvm-[001-120], or a list of names and ranges"))
        return [], problems
    addresses = _addresses(raw.get("addresses"), names, problems)
    overrides = _overrides(raw.get("overrides"), names, problems)
    common = {key: value for key, value in raw.items() if key not in (*OWN_KEYS, *_NOT_COMMON)}
    members = []
    for index, name in enumerate(names):
        entry: dict[str, Any] = {"name": name, **common}
        places = {key: key for key in common} | {"name": "members"}
        if addresses is not None:
            entry["address"], places["address"] = addresses[index], "addresses"
        for pattern, values in overrides.get(name, ()):
            for key, value in values.items():
                place = f"overrides.{pattern}.{key}"
                if key == "labels" and isinstance(value, Mapping) and isinstance(entry.get(key), Mapping):
                    entry[key] = {**entry[key], **value}
                    places |= {f"{key}.{label}": place for label in value}
                else:
                    entry[key], places[key] = value, place
        members.append(Member(group=group, name=name, entry=entry, places=places))
    return members, problems


def _patterns(key: str, value: object, problems: list[Found]) -> list[str] | None:
    """The names of a pattern or a list of them; None when there is none, or it is told in `problems`."""
    if value is None:
        return None
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        problems.append((key, "must be a name, a range such as kvm-[001-120], or a list of them"))
        return None
    found: list[str] = []
    try:
        for word in words:
            found += numbers(word)
    except ValueError as error:
        problems.append((key, str(error)))
        return None
    if len(found) > LIMIT:
        problems.append((key, f"stands for more than {LIMIT} names"))
        return None
    return found


def _addresses(value: object, names: Sequence[str], problems: list[Found]) -> list[str] | None:
    """One address a member: counted upward from a first one, or written as ranges and lists like the names."""
    if isinstance(value, str) and "[" not in value:
        first = value.partition("/")[0]
        try:
            interface = IPv4Interface(value)
            start = IPv4Address(first)
        except (AddressValueError, NetmaskValueError, ValueError):
            pass  # a name, or nonsense that the host model tells
        else:
            return _counted(value, interface, start, len(names), problems)
    found = _patterns("addresses", value, problems)
    if found is not None and len(found) != len(names):
        problems.append(("addresses", f"stands for {len(found)} addresses, and the group has {len(names)} members"))
        return None
    return found


def _counted(
    value: str, interface: IPv4Interface, start: IPv4Address, count: int, problems: list[Found]
) -> list[str] | None:
    network = interface.network
    last = 2**32 - 1
    first = int(start)
    if "/" in value:
        edges = network.prefixlen < 31  # the first is the network itself, the last its broadcast address
        first = max(first, int(network.network_address) + edges)
        last = int(network.broadcast_address) - edges
    if first + count - 1 > last:
        room = max(0, last - first + 1)
        text = f"{value} has room for {room} hosts from {IPv4Address(first)} on, and the group has {count} members"
        problems.append(("addresses", text))
        return None
    return [str(IPv4Address(first + number)) for number in range(count)]


def _overrides(
    value: object, names: Sequence[str], problems: list[Found]
) -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    """What single members have of their own, by member; a range as key means each of its names."""
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    if value is None:
        return found
    if not isinstance(value, Mapping):
        problems.append(("overrides", "must be a mapping: a member's name or range, and below it its own values"))
        return found
    known = set(names)
    for pattern, values in value.items():
        place = f"overrides.{pattern}"
        if not isinstance(values, Mapping):
            problems.append((place, "must be a mapping of this host's own values"))
            continue
        if "name" in values:
            problems.append((f"{place}.name", "a member keeps the name that members gives it"))
        try:
            hit = numbers(str(pattern))
        except ValueError as error:
            problems.append((place, str(error)))
            continue
        if strangers := [name for name in hit if name not in known]:
            problems.append((place, f"{fold(strangers)} is not among the group's members"))
        own = {key: item for key, item in values.items() if key != "name"}
        for name in hit:
            found.setdefault(name, []).append((str(pattern), own))
    return found
