"""The list of hosts from everything that declares it: `hosts`, `hostGroups`, and the pins of `hostKeys` and `hostKeysFile`.

Comes before the settings models: raw config values in, raw `hosts` entries out, each knowing where it was written. The
models then check every entry alike, and `Assembled.relocate` gives their problems the place that stands in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components import host_pins
from components.host_groups import Member, expand, fold
from components.host_pins import Pins
from stacks.problem import Problem

PROJECT: Final = Path(__file__).resolve().parent.parent

KEYS: Final[Mapping[str, tuple[str, str]]] = {
    "hostGroups": ("none", "hosts by groups: name of the group, and below it"),
    "hostGroups.<group>.members": (
        "required",
        "names: a range such as kvm-[001-120], or a list of names and ranges; [1-4,7] and several brackets work",
    ),
    "hostGroups.<group>.addresses": (
        "–",
        "where they are: a first address to count from (198.51.100.11), the same kept inside a network "
        "(198.51.100.11/24, or 198.51.100.0/24 from its first host on), or ranges and lists like members; "
        "the names themselves when left out",
    ),
    "hostGroups.<group>.overrides": (
        "none",
        "by member or range: its own values, which win; labels are merged, everything else is replaced",
    ),
    "hostGroups.<group>.…": ("–", "every further key of `hosts[]`, common to all members"),
    "hostKeys": ("none", "pinned SSH host keys by host name, for hosts without hostKey"),
    "hostKeysFile": (
        "–",
        "the same in a file of known_hosts format, relative to this checkout, such as pins/prod.known_hosts; "
        "`make pin` writes it",
    ),
}
"""Configuration keys that end here: default and meaning."""
SOURCES: Final = ("hostGroups", "hostKeys", "hostKeysFile")

_MANY = 5  # problems of one place that are listed
_PLACE = re.compile(r"hosts\[(\d+)\](?:\.([A-Za-z]+)((?:[.\[].*)?))?", re.DOTALL)

Reader = Callable[[str], str]


def read_file(path: str) -> str:
    """A file of the configuration. Raises OSError, ValueError for one that is not text."""
    return (PROJECT / path).read_text()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One host as a mapping (or whatever stands in its place), and where it was written."""

    raw: Any
    path: str
    member: Member | None = None

    def place(self, key: str = "", inner: str = "") -> str:
        """Config path of one of its values."""
        if self.member is not None:
            return self.member.place(key, inner)
        return ".".join(part for part in (self.path, key, inner) if part)


@dataclass(frozen=True, kw_only=True)
class Assembled:
    """`raw`: the config values with every host below `hosts`."""

    raw: Mapping[str, Any]
    entries: Sequence[Entry]
    problems: Sequence[Problem]

    def relocate(self, problems: Iterable[Problem]) -> list[Problem]:
        """Problems of `hosts[n]` where they were written, each once, those of one group's place not by the hundred."""
        found: dict[str, list[Problem]] = {}
        for problem in sorted(set(map(self._moved, problems))):
            found.setdefault(problem.path, []).append(problem)
        return [problem for many in found.values() for problem in _some(many)]

    def _moved(self, problem: Problem) -> Problem:
        match = _PLACE.fullmatch(problem.path)
        if match is None or int(match.group(1)) >= len(self.entries):
            return problem
        entry = self.entries[int(match.group(1))]
        if entry.member is None:
            return problem
        key, tail = match.group(2) or "", match.group(3) or ""
        inner = tail.lstrip(".").partition(".")[0]
        return Problem(entry.place(key, inner) + tail, problem.text)


def _some(problems: list[Problem]) -> Iterator[Problem]:
    if len(problems) <= _MANY or not problems[0].path.startswith("hostGroups."):
        yield from problems
        return
    yield from problems[:_MANY]
    yield Problem(problems[0].path, f"… and {len(problems) - _MANY} more like these")


def assemble(raw: Mapping[str, Any], read: Reader = read_file) -> Assembled:
    """All hosts of the config values as plain entries. `raw` is left as it is."""
    problems: list[Problem] = []
    result = {key: value for key, value in raw.items() if key not in SOURCES}
    entries = list(_pinned(listed(raw, problems), known_keys(raw, read, problems), problems))
    problems += _duplicates(entries)
    if isinstance(raw.get("hosts", []), list) and (entries or "hosts" in raw):
        result["hosts"] = [entry.raw for entry in entries]
    return Assembled(raw=result, entries=entries, problems=problems)


def listed(raw: Mapping[str, Any], problems: list[Problem]) -> list[Entry]:
    """Every host as it was written, keys not looked up yet: `hosts` first, then the groups in the file's order."""
    own = raw.get("hosts", [])
    members, wrong = expand(raw.get("hostGroups"))
    problems += [Problem(*found) for found in wrong]
    entries = [
        Entry(raw=item, path=f"hosts[{index}]") for index, item in enumerate(own if isinstance(own, list) else [])
    ]
    return entries + [Entry(raw=dict(member.entry), path=member.place(""), member=member) for member in members]


@dataclass(frozen=True, kw_only=True)
class KnownKeys:
    """The pins that stand apart from the hosts: those of `hostKeysFile` and, by lower-case name, of `hostKeys`."""

    file: str
    pins: Pins
    inline: Mapping[str, str]
    whole: bool
    """Whether all of them could be read: else a missing key is only an echo."""

    def of(self, entry: Entry) -> dict[str, str]:
        """A host's keys by type, the one that counts first: its own, then hostKeys', then the file's."""
        way = ways(entry)
        own = [host_pins.given(entry.raw), self.inline.get(way[0].lower()) if way else None]
        found = {key.split()[0]: key for key in reversed(own) if key and key.split()}
        return {**dict(reversed(found.items())), **(self.in_file(way) if way and not found else {})}

    def in_file(self, way: tuple[str, str | None, int]) -> dict[str, str]:
        """A host's keys in the file, by type."""
        return self.pins.of(host_pins.names_of(*way))


def known_keys(raw: Mapping[str, Any], read: Reader, problems: list[Problem]) -> KnownKeys:
    """Read the pins, and tell what is wrong with them."""
    before = len(problems)
    file = raw.get("hostKeysFile")
    pins, inline = pins_of_file(file, read, problems), pins_of_map(raw.get("hostKeys"), problems)
    return KnownKeys(file=str(file or ""), pins=pins, inline=inline, whole=len(problems) == before)


def pins_of_file(path: object, read: Reader, problems: list[Problem]) -> Pins:
    """What `hostKeysFile` holds."""
    key = "hostKeysFile"
    if path is None:
        return Pins()
    if not isinstance(path, str) or not path:
        problems.append(Problem(key, "must be the path of a file of known_hosts format"))
        return Pins()
    try:
        pins, wrong = host_pins.parse(read(path))
    except FileNotFoundError:
        problems.append(Problem(key, f"{path} does not exist; make it with: make pin STACK=… WRITE=1"))
        return Pins()
    except (OSError, ValueError) as error:
        problems.append(Problem(key, f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"))
        return Pins()
    problems += [Problem(key, f"{path}:{line}: {text}") for line, text in wrong]
    return pins


def pins_of_map(given: object, problems: list[Problem]) -> dict[str, str]:
    """What `hostKeys` holds, by lower-case name."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        problems.append(Problem("hostKeys", "must be a mapping: the host's name, and its key"))
        return {}
    found: dict[str, str] = {}
    for name, value in given.items():
        try:
            found[str(name).lower()] = host_pins.public_key(value if isinstance(value, str) else "")
        except ValueError as error:
            problems.append(Problem(f"hostKeys.{name}", str(error)))
    return found


def ways(entry: Entry) -> tuple[str, str | None, int] | None:
    """Name, address and port of an entry; None where they are not readable."""
    raw = entry.raw
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str):
        return None
    address, port = raw.get("address"), raw.get("port", 22)
    good = isinstance(port, int) and not isinstance(port, bool)
    return raw["name"], address if isinstance(address, str) else None, port if good else 22


def _pinned(entries: Sequence[Entry], keys: KnownKeys, problems: list[Problem]) -> Iterator[Entry]:
    """The entries with their keys. Those without one are told here, a group's in one line."""
    missing: dict[str, list[str]] = {}
    used: set[str] = set()
    for entry in entries:
        way = ways(entry)
        if way is None:
            yield entry
            continue
        used.add(way[0].lower())
        key = next(iter(keys.of(entry).values()), None)
        other = keys.in_file(way).get(key.split()[0]) if key else None
        if key and other and not key.startswith(other):
            text = f"{way[0]} has another {other.split()[0]} key in {keys.file}; keep the reviewed one"
            problems.append(Problem(entry.place("hostKey"), text))
        if key is None and "hostKey" not in entry.raw:
            place = f"hostGroups.{entry.member.group}" if entry.member else entry.place("hostKey")
            missing.setdefault(place, []).append(way[0])
            key = _PLACEHOLDER  # told below: a group's in one line for all
        kept = key is None or "hostKey" in entry.raw
        yield entry if kept else Entry(raw={**entry.raw, "hostKey": key}, path=entry.path, member=entry.member)
    if keys.whole:
        problems += [_unpinned(place, names) for place, names in missing.items()]
    problems += [
        Problem(f"hostKeys.{name}", "names no host of hosts or hostGroups") for name in keys.inline if name not in used
    ]


def _unpinned(place: str, names: Sequence[str]) -> Problem:
    _, _, group = place.partition("hostGroups.")
    if not group:
        return Problem(place, f"{names[0]} has no pinned key; make pin HOST='{names[0]}' STACK=… prints it for review")
    text = f"{len(names)} of its hosts have no pinned key: {fold(names)}"
    return Problem(place, f"{text}; make pin GROUP={group} STACK=… prints them for review")


_PLACEHOLDER = "ssh-ed25519 " + "AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43


def _duplicates(entries: Sequence[Entry]) -> Iterator[Problem]:
    """On the raw entries, so that a duplicate shows together with whatever else is wrong."""
    found: dict[tuple[str, str], list[str]] = {}
    names: dict[str, Entry] = {}
    machines: dict[tuple[str, int], tuple[Entry, str]] = {}
    for entry in entries:
        raw = entry.raw if isinstance(entry.raw, Mapping) else {}
        written = {key: raw[key] for key in ("name", "address") if isinstance(raw.get(key), str)}
        if not written:
            continue
        # oned compares names as SQL text; two names that differ in case are one host to people and to DNS.
        if "name" in written and (namesake := names.setdefault(written["name"].lower(), entry)) is not entry:
            found.setdefault((entry.place("name"), _origin(namesake, "name")), []).append(written["name"])
        # A host without an address is where its name leads. Behind one address, different ports are different machines.
        key, where = list(written.items())[-1]
        port = raw.get("port", 22)
        at = (where.lower(), port if isinstance(port, int) else 22)
        same, other = machines.setdefault(at, (entry, key))
        if same is not entry and not key == other == "name":
            place = _origin(same, key) if key == other else same.place(other)
            found.setdefault((entry.place(key), place), []).append(where)
    for (path, where), values in found.items():
        verb = "is" if len(values) == 1 else "are"
        yield Problem(path, f"{fold(values)} {verb} already {where}; each host once")


def _origin(entry: Entry, key: str) -> str:
    """The place of an earlier host, for a duplicate of this key."""
    return entry.place(key) if entry.member else entry.path
