"""Typed settings to the text of oned.conf, monitord.conf and their kin, and that text read back. Pure.

Only the keys that this program decides are written; at pod start `images/oned/prepare` puts them before the file that
the image's OpenNebula version ships and takes the shipped twins out. So every release keeps its own drivers, restricted
attributes and limits, and a preview shows exactly what the operator decides.

Grammar (template_parser.l and template_syntax.y, seen on 7.4.0): names upper-case; the first of two equal names wins
unless the name is a list; vectors do not merge with compiled defaults, so whole vectors only; no trailing comma; inside
quotes only \\" is an escape; "]]>" aborts. What is rendered is parsed again before it leaves this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

Scalar = str | int
Vector = Mapping[str, Scalar]
Value = Scalar | Vector | tuple[Scalar | Vector, ...]  # a tuple: every entry of a name that may stand repeatedly

DATABASE_PASSWORD: Final = "@DATABASE_PASSWORD@"  # replaced inside the pod, from the Secret


class GrammarError(ValueError):
    """A value that oned's grammar cannot carry, or a text that it would refuse."""


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """What one file's reader knows: which names are lists, and which vectors need all of their keys.

    `entries`: of the lists of vectors, the keys that none of them may lack, by regular expression; other lists are of plain
    values. `fixed`: names that nobody may set here, and why. `singles`: whether every other name takes a plain value.
    """

    file: str
    lists: tuple[str, ...] = ()  # regular expressions
    vectors: Mapping[str, frozenset[str]] = field(default_factory=dict)
    entries: Mapping[str, frozenset[str]] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    singles: bool = False

    def needed(self, name: str) -> frozenset[str] | None:
        """Keys of each entry of a list of vectors; None where its entries are plain."""
        return next((keys for pattern, keys in self.entries.items() if re.fullmatch(pattern, name)), None)

    def is_list(self, name: str) -> bool:
        return any(re.fullmatch(pattern, name) for pattern in self.lists)


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DRIVER = _keys("EXECUTABLE ARGUMENTS")
# Vectors whose missing keys the daemon reads as uninitialised numbers or not at all (facts: vector_value).
ONED: Final = Grammar(
    file="oned.conf",
    lists=(
        "VM_MAD",
        "(TM|DS|MARKET|AUTH|VN)_MAD_CONF",
        "[A-Z]+_RESTRICTED_ATTR",
        "[A-Z]+_ENCRYPTED_ATTR",
        "INHERIT_[A-Z]+_ATTR",
        "QUOTA_VM_ATTRIBUTE",
    ),
    vectors={
        "VNC_PORTS": _keys("START RESERVED"),
        "RAFT": _keys(
            "LIMIT_PURGE LOG_RETENTION LOG_PURGE_TIMEOUT ELECTION_TIMEOUT_MS BROADCAST_TIMEOUT_MS XMLRPC_TIMEOUT_MS"
        ),
        "DEFAULT_COST": _keys("CPU_COST MEMORY_COST DISK_COST"),
        "VLAN_IDS": _keys("START RESERVED"),
        "VXLAN_IDS": _keys("START"),
        "IM_MAD": _keys("NAME EXECUTABLE ARGUMENTS THREADS"),
        "TM_MAD": _DRIVER,
        "DATASTORE_MAD": _DRIVER,
        "MARKET_MAD": _DRIVER,
        "IPAM_MAD": _DRIVER,
        "SCHED_MAD": _DRIVER,
        "HM_MAD": _DRIVER,
        "HOOK_LOG_CONF": _keys("LOG_RETENTION"),
        "AUTH_MAD": _keys("EXECUTABLE AUTHN"),
        "RAFT_LEADER_HOOK": _keys("COMMAND ARGUMENTS"),
        "RAFT_FOLLOWER_HOOK": _keys("COMMAND ARGUMENTS"),
    },
    # Without one of these oned skips the driver, does not start (VirtualMachineManager.cc, Driver.h), or refuses every
    # datastore and network that names it (Datastore.cc, VirtualNetwork.cc).
    entries={
        "VM_MAD": _keys("NAME TYPE EXECUTABLE ARGUMENTS"),
        "TM_MAD_CONF": _keys("NAME LN_TARGET CLONE_TARGET SHARED"),
        "VN_MAD_CONF": _keys("NAME BRIDGE_TYPE"),
        "(DS|MARKET|AUTH)_MAD_CONF": _keys("NAME"),
    },
    fixed={
        "DATASTORE_LOCATION": "the datastores are in /var/lib/one/datastores, where oned's volume and the hosts have them",
        "SCRIPTS_REMOTE_DIR": "it is /var/tmp/one on every host: the sudo rules of OpenNebula's packages name that path",
        "ONE_KEY": "oned keeps its key in a file of its home volume; here everybody who reads the ConfigMap would have it",
    },
    singles=True,
)
# DriverManager.h: a driver without a program is not loaded; one_im_ssh ends without the hypervisor in its arguments.
MONITORD: Final = Grammar(
    file="monitord.conf", lists=("IM_MAD",), entries={"IM_MAD": _keys("NAME EXECUTABLE ARGUMENTS")}, singles=True
)
RANK: Final = Grammar(file="rank.conf")
SCHED: Final = Grammar(
    file="sched.conf", lists=("VM_ATTRIBUTE",), vectors={"EXTERNAL_SCHEDULER": _keys("SERVER PROXY TIMEOUT")}
)


def quote(value: Scalar) -> str:
    """A value in double quotes. Raises GrammarError for what the grammar has no spelling for."""
    text = str(value)
    if "]]>" in text:
        raise GrammarError("contains ']]>', where oned's parser stops")
    if any(ord(character) < 32 and character != "\n" for character in text):
        raise GrammarError("contains a control character")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise GrammarError("contains half a character (a lone surrogate), which no file can hold")
    if text.endswith("\\"):
        raise GrammarError("ends with a backslash, which would swallow the closing quote")
    return '"' + text.replace('"', '\\"') + '"'


def render(entries: Mapping[str, Value]) -> str:
    """One assignment a statement, in the given order, each vector whole. Ends with a newline, which the lexer needs.

    Raises GrammarError when a value has no spelling, or when the text would not be read back as it was meant.
    """
    statements = list(_statements(entries))
    text = "\n".join(_statement(name, value) for name, value in statements) + "\n"
    found = parse(text)
    for (name, value), read in zip(statements, found, strict=True):
        if read != (name.upper(), _as_read(value)):
            raise GrammarError(f"{name} would be read as something else: {read!r}")
    return text


def _statements(entries: Mapping[str, Value]) -> list[tuple[str, Scalar | Vector]]:
    found: list[tuple[str, Scalar | Vector]] = []
    for name, value in entries.items():
        found += [(name, item) for item in value] if isinstance(value, tuple) else [(name, value)]
    return found


def _statement(name: str, value: Scalar | Vector) -> str:
    if not isinstance(value, Mapping):
        return f"{name} = {quote(value)}"
    inner = ",\n".join(f"    {key} = {quote(item)}" for key, item in value.items())
    return f"{name} = [\n{inner}\n]" if inner else f"{name} = [ ]"


def _as_read(value: Scalar | Vector) -> str | dict[str, str]:
    if isinstance(value, Mapping):
        return {key.upper(): str(item) for key, item in value.items()}
    return str(value)


def merge_raw(typed: Mapping[str, Value], raw: Mapping[str, Value], grammar: Grammar = ONED) -> dict[str, Value]:
    """Typed entries plus the operator's raw ones.

    Raises GrammarError with every raw entry that fights a typed one or the file, so that one look shows them all.
    """
    sentences = [
        f"{name}{place} {text}"
        for name, value in raw.items()
        for place, text in _objections(name, value, typed, grammar)
    ]
    if sentences:
        raise GrammarError("; ".join(sentences))
    return {**typed, **raw}


def raw_problems(
    typed: Mapping[str, Value],
    raw: Mapping[str, Value],
    grammar: Grammar = ONED,
    unread: Callable[[str], str | None] = lambda _name: None,
) -> Iterator[tuple[str, str]]:
    """(path below `raw`, sentence) for each raw entry that may not stand there, or that has no spelling.

    `unread` is a sentence about a name that the daemon does not read.
    """
    for name, value in raw.items():
        found = list(_objections(name, value, typed, grammar))
        if name not in typed and name not in grammar.fixed and (text := unread(name)):
            found = [("", text)]
        if not found:
            found = [("", text) for _, text in spelling_problems({name: value})]
        yield from ((f"{name}{place}", text) for place, text in found)


def spelling_problems(entries: Mapping[str, Value]) -> Iterator[tuple[str, str]]:
    """(name, sentence) for each entry that the grammar has no spelling for."""
    for name, value in entries.items():
        try:
            render({name: value})
        except GrammarError as error:
            yield name, str(error)


def _objections(name: str, value: Value, typed: Mapping[str, Value], grammar: Grammar) -> Iterator[tuple[str, str]]:
    """(path below the name, sentence)."""
    whole = grammar.vectors.get(name)
    if reason := grammar.fixed.get(name):
        yield "", f"cannot be changed: {reason}; remove it"
    elif name in typed:
        yield "", f"is decided by typed settings; change {name} there"
    elif grammar.is_list(name):
        if not isinstance(value, tuple) or not value:
            yield "", f"is a list in {grammar.file}: give all of its entries as a list; they replace every shipped one"
        elif grammar.entries:
            yield from _entries(value, grammar.needed(name))
    elif isinstance(value, tuple):
        yield "", f"is no list in {grammar.file}: only its first entry would count"
    elif whole is not None and not isinstance(value, Mapping):
        yield "", f"is a vector in {grammar.file}: give it as {name}: {{KEY: value}}"
    elif whole is not None and isinstance(value, Mapping) and (missing := sorted(whole - set(value))):
        keys = ", ".join(missing)
        yield "", f"needs its whole vector, since vectors do not merge with defaults; missing: {keys}"
    elif whole is None and grammar.singles and isinstance(value, Mapping):
        yield "", f"is a plain value in {grammar.file}: give it as {name}: value"


def _entries(entries: tuple[Scalar | Vector, ...], needed: frozenset[str] | None) -> Iterator[tuple[str, str]]:
    """What is wrong with the entries of a list."""
    first: dict[str, int] = {}
    for number, entry in enumerate(entries):
        place = f"[{number}]"
        if needed is None:
            if isinstance(entry, Mapping):
                yield place, "is a plain value in this list, not a vector"
        elif not isinstance(entry, Mapping):
            yield place, f"is a vector in this list: {{{', '.join(f'{key}: …' for key in sorted(needed))}}}"
        elif missing := sorted(key for key in needed if not str(entry.get(key, "")).strip()):
            yield place, f"lacks {', '.join(missing)}: the daemon has no default for an entry's keys"
        elif (earlier := first.setdefault(str(entry["NAME"]), number)) != number:
            yield place, f"{entry['NAME']} is already entry [{earlier}]; each name once"


# The lexer's rules. In either state the longest match counts and, among equals, the first rule.
_INITIAL: Final = (
    ("skip", re.compile(r"[ \t]*#[^\n]*\n|[ \t\n]+")),
    ("variable", re.compile(r"[A-Za-z0-9_]+")),
    ("equal_empty", re.compile(r"[ \t]*=[ \t]*\n")),
    ("equal", re.compile(r"[ \t]*=[ \t]*")),
    ("comma", re.compile(r"[ \t\n]*,[ \t\n]*")),
    ("close", re.compile(r"[ \t\n]*\][ \t\n]*")),
)
_VALUE: Final = (
    ("open", re.compile(r"[ \t]*\[[ \t\n]*")),
    ("cdata", re.compile(r"[^\n]*\]\]>[^\n]*")),
    ("string", re.compile(r'"(?:\\"|[^"])*"')),
    ("string", re.compile(r"[^=# \t\n,\[\]]+")),
)


def parse(text: str) -> list[tuple[str, str | dict[str, str]]]:
    """Every statement of a file, in order, as the daemon's parser reads it: names upper-case, values as text.

    Raises GrammarError with the line for what the parser refuses, and for characters that its lexer would only echo.
    """
    return _Parser(text).statements()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._lex()
        self._next = 0

    def _lex(self) -> list[tuple[str, str, int]]:
        tokens: list[tuple[str, str, int]] = []
        at, in_value = 0, False
        while at < len(self._text):
            best: tuple[str, str] | None = None
            for kind, pattern in _VALUE if in_value else _INITIAL:
                match = pattern.match(self._text, at)
                if match and match.group() and (best is None or len(match.group()) > len(best[1])):
                    best = kind, match.group()
            line = self._text.count("\n", 0, at) + 1
            if best is None:
                raise GrammarError(f"line {line}: {self._text[at]!r} cannot stand here")
            kind, found = best
            if kind == "cdata":
                raise GrammarError(f"line {line}: ']]>' stops the parser")
            if kind != "skip":
                tokens.append((kind, found, line))
            # After `equal` the lexer is in its value state until one value or bracket was read.
            in_value = kind == "equal" if kind != "skip" else in_value
            at += len(found)
        return tokens

    def _take(self, *kinds: str) -> tuple[str, str]:
        kind, text, line = self._tokens[self._next] if self._next < len(self._tokens) else ("end", "", 0)
        if kind not in kinds:
            where = f"line {line}: found {text.strip()!r}" if line else "the file ends"
            raise GrammarError(f"{where} where {' or '.join(kinds)} is due")
        self._next += 1
        return kind, text

    def statements(self) -> list[tuple[str, str | dict[str, str]]]:
        found: list[tuple[str, str | dict[str, str]]] = []
        while self._next < len(self._tokens):
            name = self._take("variable")[1].upper()
            if self._take("equal", "equal_empty")[0] == "equal_empty":
                found.append((name, ""))
                continue
            kind, text = self._take("string", "open")
            found.append((name, self._vector() if kind == "open" else _unquote(text)))
        return found

    def _vector(self) -> dict[str, str]:
        vector: dict[str, str] = {}
        kind, text = self._take("variable", "close")
        while kind != "close":
            self._take("equal")
            vector.setdefault(text.upper(), _unquote(self._take("string")[1]))
            if self._take("comma", "close")[0] == "close":
                break
            kind, text = self._take("variable")
        return vector


def _unquote(text: str) -> str:
    return text[1:-1].replace('\\"', '"') if text.startswith('"') else text
