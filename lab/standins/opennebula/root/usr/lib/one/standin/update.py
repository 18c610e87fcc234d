"""`one.<kind>.update`: a text that becomes an object's template, or is merged into it."""

from __future__ import annotations

from typing import Any, Final

from standin.pool import Pool
from standin.request import Code, Refused, missing
from standin.template import Template, TemplateError

REPLACE: Final = 0
APPEND: Final = 1


def check_kind(how: int) -> None:
    """:raises Refused: RPC_API, for what is neither REPLACE nor APPEND."""
    if how not in (REPLACE, APPEND):
        raise Refused(Code.RPC_API, "Wrong update type")


def updated(before: Template, text: str, how: int) -> Template:
    """The template after the update.

    :raises Refused: INTERNAL, with the parser's words.
    """
    try:
        template = Template.parse(text)
    except TemplateError as error:
        raise Refused(Code.INTERNAL, f"Cannot update template. {error}") from None
    if how == REPLACE:
        return template
    merged = Template(before)
    merged.merge(template)
    return merged


def update_template(pool: Pool[Any], word: str, oid: int, text: str, how: int) -> int:
    """The whole update of an object that nothing else hangs on; `word` is what oned calls it.

    :raises Refused: RPC_API, NO_EXISTS or INTERNAL.
    """
    check_kind(how)
    with pool.locked(oid) as item:
        if item is None:
            raise missing(word, oid)
        item.template = updated(item.template, text, how)
        pool.update(item)
    return oid
