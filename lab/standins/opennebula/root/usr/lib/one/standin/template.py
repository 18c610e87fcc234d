"""An OpenNebula template: names to values, each value a string or one level of names to strings; names may repeat.

Kept sorted by name as the real container is. Knows its XML form and how updates combine; knows nothing of restricted or
encrypted attributes (the stand-in stores every attribute in clear).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from xml.etree import ElementTree

from standin import grammar
from standin.grammar import Value, attribute_name

Hidden = Mapping[str, frozenset[str]]

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class TemplateError(ValueError):
    """A template that cannot be read; `str()` is oned's own wording."""


def cdata(text: str) -> str:
    """Text as oned writes values into XML, without the characters that XML cannot hold."""
    return "<![CDATA[" + _NOT_XML.sub("", text).replace("]]>", "]]]]><![CDATA[>") + "]]>"


class Template:
    """A multimap of attributes. Reading a repeated name gives the first one."""

    def __init__(self, attributes: Iterable[tuple[str, Value]] = ()) -> None:
        self._values: dict[str, list[Value]] = {}
        for name, value in attributes:
            self.add(name, value)

    @classmethod
    def parse(cls, text: str) -> Template:
        """A template from either notation.

        :raises TemplateError: "Parse error…", as an API call reports it.
        """
        if text.startswith("<"):
            try:
                template = cls.from_element(ElementTree.fromstring(text))
            except ElementTree.ParseError:
                raise TemplateError("Parse error: XML Template malformed.") from None
        else:
            try:
                parsed = grammar.parse(text, first_line=0)
            except grammar.GrammarError as error:
                raise TemplateError(f"Parse error: {error}") from None
            if parsed.aborted:
                raise TemplateError("Parse error.")
            template = cls(parsed.attributes)
        return cls((name, _trim(value)) for name, value in template)

    @classmethod
    def from_element(cls, element: ElementTree.Element) -> Template:
        return cls((attribute_name(child.tag), _from_element(child)) for child in element)

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        for name in sorted(self._values):
            for value in self._values[name]:
                yield name, value

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def add(self, name: str, value: Value) -> None:
        self._values.setdefault(name.upper(), []).append(value)

    def replace(self, name: str, value: Value) -> None:
        self._values[name.upper()] = [value]

    def erase(self, *names: str) -> None:
        for name in names:
            self._values.pop(name, None)

    def get(self, name: str, default: str = "") -> str:
        """The first value of this name that is a string."""
        return next((value for value in self._values.get(name, ()) if isinstance(value, str)), default)

    def vector(self, name: str) -> dict[str, str] | None:
        return next(iter(self.vectors(name)), None)

    def vectors(self, name: str) -> list[dict[str, str]]:
        return [value for value in self._values.get(name, ()) if isinstance(value, dict)]

    def merge(self, other: Template) -> None:
        """Take over every name of `other`, dropping all earlier values of that name."""
        for name, values in other._values.items():
            self._values[name] = list(values)

    def xml(self, root: str = "TEMPLATE", hidden: Hidden | None = None) -> str:
        body = "".join(_to_xml(name, value, (hidden or {}).get(name)) for name, value in self)
        return f"<{root}>{body}</{root}>"

    def text(self, hidden: Hidden | None = None) -> str:
        """One `NAME=value` a line: the form of /var/lib/one/config and of the log at start."""
        return "".join(f"{name}={_to_text(value, (hidden or {}).get(name))}\n" for name, value in self)


def _trim(value: Value) -> Value:
    return value.strip() if isinstance(value, str) else {name: text.strip() for name, text in value.items()}


def _from_element(element: ElementTree.Element) -> Value:
    if len(element):
        return {child.tag.upper(): child.text or "" for child in element}
    return element.text or ""


def _to_xml(name: str, value: Value, hidden: frozenset[str] | None) -> str:
    if isinstance(value, str):
        return f"<{name}>{'***' if hidden is not None else cdata(value)}</{name}>"
    pairs = "".join(
        f"<{key}>{'***' if hidden and key in hidden else cdata(text)}</{key}>" for key, text in sorted(value.items())
    )
    return f"<{name}>{pairs}</{name}>"


def _to_text(value: Value, hidden: frozenset[str] | None) -> str:
    if isinstance(value, str):
        return "***" if hidden is not None else value
    return ",".join(f"{key}={'***' if hidden and key in hidden else text}" for key, text in sorted(value.items()))
