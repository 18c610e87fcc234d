"""The table of configuration keys in docs/configuration.md, made from the models: `python -m stacks.reference` rewrites it."""

from __future__ import annotations

import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from stacks.host_list import KEYS
from stacks.secrets import SECRETS
from stacks.settings import StackSettings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
BEGIN, END = "<!-- config keys: made by `python -m stacks.reference` -->", "<!-- end of config keys -->"


def table() -> str:
    """Markdown rows of every key, in the order of the models."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    rows += [f"| `{path}` | {default} | {text} |" for path, default, text in _rows(StackSettings, "")]
    rows += [f"| `{path}` | {default} | {text} |" for path, (default, text) in KEYS.items()]
    rows += [f"| `{key}` (secret) | – | {rule.description} |" for key, rule in SECRETS.items()]
    return "\n".join(rows)


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for field in model.model_fields.values():
        path = f"{prefix}{field.alias}"
        models = list(_models(field.annotation))
        if not models:
            yield path, _default(field), _text(field)
            continue
        many = "[]" if get_origin(field.annotation) is tuple else ""
        if field.description:
            yield path, _default(field), _text(field)
        seen: set[str] = set()
        for part in models:
            for row in _rows(part, f"{path}{many}."):
                if row[0] not in seen:
                    seen.add(row[0])
                    yield row


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (tuple, Union, types.UnionType, Annotated):
        for part in get_args(annotation):
            yield from _models(part)


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    value = field.default.value if isinstance(field.default, Enum) else field.default
    if value is None:
        return "–"
    if isinstance(value, BaseModel):
        return "see below"
    if value in ((), {}):
        return "none"
    if isinstance(value, tuple):
        return f"`[{', '.join(str(getattr(item, 'value', item)) for item in value)}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _text(field: FieldInfo) -> str:
    text = (field.description or "").replace("|", "\\|")
    annotation = field.annotation
    choices: list[str] = []
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        choices = [str(item.value) for item in annotation]
    elif get_origin(annotation) is Literal:
        choices = [str(getattr(item, "value", item)) for item in get_args(annotation)]
    if len(choices) > 1 and not all(choice in text for choice in choices):
        text = f"{text + '; ' if text else ''}{', '.join(choices)}"
    return text


def insert(page: str) -> str:
    """The page with a fresh table. Raises ValueError when the marks are gone."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} lost its marks {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(insert(PAGE.read_text()))
