"""The grammar of oned.conf, monitord.conf and every template that crosses the API.

A longest-match scanner with two states and the small grammar above it, so that the surprises of the real one come out
by themselves: an unquoted value ends at the first blank, a comment needs its newline, a trailing comma in a vector is
an error, characters that no rule wants are copied to stdout and skipped, and `]]>` on a value's line stops the parser
without a message. Does not resolve duplicates: it returns attributes in file order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

Value = str | dict[str, str]
Rule = tuple[re.Pattern[str], str]

_INITIAL: Final[tuple[Rule, ...]] = (
    (re.compile(r"[ \t]*#[^\n]*\n"), ""),
    (re.compile(r"[ \t\n]+"), ""),
    (re.compile(r"[A-Za-z0-9_]+"), "VARIABLE"),
    (re.compile(r"[ \t]*=[ \t]*"), "EQUAL"),
    (re.compile(r"[ \t]*=[ \t]*\n"), "EQUAL_EMPTY"),
    (re.compile(r"[ \t\n]*,[ \t\n]*"), "COMMA"),
    (re.compile(r"[ \t\n]*\][ \t\n]*"), "CBRACKET"),
)
_VALUE: Final[tuple[Rule, ...]] = (
    (re.compile(r"[ \t]*\[[ \t\n]*"), "OBRACKET"),
    (re.compile(r"[^\n]*\]\]>[^\n]*"), "CCDATA"),
    (re.compile(r'"(?:\\"|[^"])*"'), "QUOTED"),
    (re.compile(r"[^=# \t\n,\[\]]+"), "STRING"),
)
_END: Final = "$end"


class GrammarError(ValueError):
    """A syntax error; `str()` is the parser's own wording with line and columns."""


@dataclass
class Parsed:
    """What a text holds: `aborted` when `]]>` stopped the parser, `echo` what the scanner copied to stdout."""

    attributes: list[tuple[str, Value]] = field(default_factory=list)
    aborted: bool = False
    echo: str = ""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


class _Scanner:
    def __init__(self, text: str, first_line: int) -> None:
        self._text = text
        self._at = 0
        self._rules = _INITIAL
        self._line = first_line
        self._first_column = 1
        self._last_column = 1
        self.echo: list[str] = []

    def next(self) -> _Token:
        """The next token; the longest match wins, the earlier rule among equals."""
        while self._at < len(self._text):
            length, kind = 0, "ECHO"
            for pattern, name in self._rules:
                match = pattern.match(self._text, self._at)
                if match and match.end() - self._at > length:
                    length, kind = match.end() - self._at, name
            lexeme = self._text[self._at : self._at + (length or 1)]
            self._at += len(lexeme)
            if kind == "ECHO":
                self._echo(lexeme)
                continue
            self._line += lexeme.count("\n")
            self._move(len(lexeme.encode()))
            if kind:
                return self._token(kind, lexeme)
        return _Token(_END, "")

    def where(self) -> str:
        return f"at line {self._line}, columns {self._first_column}:{self._last_column}"

    def _echo(self, character: str) -> None:
        """One character that no rule wants: copied byte by byte, and a newline among them is not counted."""
        self.echo.append(character)
        for _ in character.encode():
            self._move(1)

    def _move(self, columns: int) -> None:
        self._first_column = self._last_column
        self._last_column += columns

    def _token(self, kind: str, lexeme: str) -> _Token:
        self._rules = _VALUE if kind == "EQUAL" else _INITIAL
        if kind == "QUOTED":
            return _Token("STRING", lexeme[1:-1].replace('\\"', '"'))
        if kind == "STRING":
            return _Token("STRING", lexeme.replace('\\"', '"'))
        return _Token(kind, lexeme)


class _Parser:
    def __init__(self, text: str, first_line: int) -> None:
        self._scanner = _Scanner(text, first_line)
        self._token = self._scanner.next()

    def run(self) -> Parsed:
        parsed = Parsed()
        while self._token.kind != _END:
            name = attribute_name(self._take("VARIABLE", expecting=(_END,)))
            if self._token.kind == "EQUAL_EMPTY":
                self._token = self._scanner.next()
                parsed.attributes.append((name, ""))
                continue
            self._take("EQUAL", expecting=("EQUAL", "EQUAL_EMPTY"))
            if self._token.kind == "CCDATA":
                parsed.aborted = True
                break
            if self._token.kind == "OBRACKET":
                parsed.attributes.append((name, self._vector()))
            else:
                parsed.attributes.append((name, self._take("STRING", expecting=("OBRACKET", "CCDATA", "STRING"))))
        parsed.echo = "".join(self._scanner.echo)
        return parsed

    def _vector(self) -> dict[str, str]:
        self._token = self._scanner.next()
        pairs: dict[str, str] = {}
        if self._token.kind == "CBRACKET":
            self._token = self._scanner.next()
            return pairs
        expecting: tuple[str, ...] = ("CBRACKET", "VARIABLE")
        while True:
            name = self._take("VARIABLE", expecting=expecting).upper()
            self._take("EQUAL", expecting=("EQUAL",))
            pairs.setdefault(name, self._take("STRING", expecting=("STRING",)))
            if self._token.kind == "CBRACKET":
                self._token = self._scanner.next()
                return pairs
            self._take("COMMA", expecting=("COMMA", "CBRACKET"))
            expecting = ("VARIABLE",)

    def _take(self, kind: str, *, expecting: tuple[str, ...]) -> str:
        if self._token.kind != kind:
            wanted = " or ".join(expecting)
            raise GrammarError(
                f"syntax error, unexpected {self._token.kind}, expecting {wanted} {self._scanner.where()}"
            )
        text = self._token.text
        self._token = self._scanner.next()
        return text


def attribute_name(written: str) -> str:
    """The name of an attribute: upper case, and with ONE_ in front of what XML would not take. Not for names in
    vectors.
    """
    fit = written[:1].isalpha() or written[:1] in ("_", "")
    return written.upper() if fit and not written.startswith("XML") else f"ONE_{written.upper()}"


def parse(text: str, *, first_line: int = 1) -> Parsed:
    """Read a configuration file, whose first line is 1, or a template of the API, whose first line is 0.

    :raises GrammarError: where the real parser reports a syntax error.
    Source: OpenNebula 7.4.0 src/parsers/template_parser.l and template_syntax.y.
    """
    return _Parser(text, first_line).run()
