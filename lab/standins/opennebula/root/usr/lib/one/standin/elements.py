"""Reading and writing the few shapes of XML that object bodies are made of."""

from __future__ import annotations

from xml.etree import ElementTree


def text(element: ElementTree.Element, name: str, default: str = "") -> str:
    return element.findtext(name) or default


def number(element: ElementTree.Element, name: str, default: int = 0) -> int:
    found = element.findtext(name)
    return int(found) if found else default


def id_set(element: ElementTree.Element, name: str) -> set[int]:
    return {int(child.text or 0) for child in element.iterfind(f"{name}/ID")}


def ids_xml(name: str, ids: set[int]) -> str:
    return f"<{name}>{''.join(f'<ID>{oid}</ID>' for oid in sorted(ids))}</{name}>"
