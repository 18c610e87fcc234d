"""What pydantic finds wrong with a value, in the operator's words: the path that stands in the file, and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import ValidationError

from components.domain import SHAPE
from stacks.problem import Problem

# Where a value's `kind` decides which model it is, and the kinds. pydantic puts the kind into an error's place, right
# after the value's own; a YAML path has none there.
UNIONS: dict[str, tuple[str, ...]] = {
    "ingress.tls": ("secret", "certManager", "inline"),
    "datastores[]": ("local", "nfs", "ceph"),
    "hosts[]": ("kvm", "lxc"),
}


def from_pydantic(error: ValidationError) -> Iterator[Problem]:
    """One problem for each of its finds."""
    items = error.errors(include_url=False, include_context=True)
    for item in items:
        place = item["loc"]
        # A list whose entries are wrong counts as empty too, and that would be a second line about one mistake.
        if item["type"] == "too_short" and any(
            other["loc"] != place and other["loc"][: len(place)] == place for other in items
        ):
            continue
        path = general = ""
        inside = False  # of a union's member: what follows is a key, even one that is spelled like a kind
        for part in item["loc"]:
            # pydantic's mark for a mapping's key that is wrong, not its value; and ours for a union of plain values
            if part == "[key]" or str(part).startswith(SHAPE):
                continue
            if part in UNIONS.get(general, ()) and not inside:
                inside = True
                continue
            inside = False
            path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
            general += "[]" if isinstance(part, int) else f".{part}" if general else str(part)
        context = item.get("ctx", {})
        kinds = re.findall(r"'([^']+)'", str(context.get("expected_tags", ""))) or UNIONS.get(general, ())
        text = _words(item["type"], item["msg"], kinds)
        if item["type"] == "missing" and general == _BASTION_KEY:
            text += f": {pin_bastion(item['input'])}"
        yield Problem(path, text)


_BASTION_KEY: Final = "ssh.bastion.hostKey"


def pin_bastion(section: object) -> str:
    """How to come by the key of a bastion that has none yet. Without a stack, because that one's hosts are behind it."""
    given = section if isinstance(section, Mapping) else {}
    host, port = given.get("host", "…"), given.get("port", 22)
    return f"make pin HOST='{host}'{'' if port == 22 else f' PORT={port}'} (without STACK) prints it for review"


_MAPPING: Final = "must be a mapping: KEY: value lines below it, or {KEY: value}"
_LIST: Final = "must be a list: lines that begin with '- ', or [a, b]"
_PLAIN: Final[Mapping[str, str]] = {
    "extra_forbidden": "unknown key; remove it or check its spelling (docs/configuration.md lists all keys)",
    "missing": "is required",
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dict_type": _MAPPING,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "string_type": "must be a text; write a number, yes, no or a date in quotes",
    "int_type": "must be an integer: a whole number, not in quotes",
    "int_from_float": "must be an integer: a whole number, not in quotes",
    "float_type": "must be a number, not in quotes",
    "bool_type": "must be a boolean: true or false, not in quotes",
}
"""By pydantic's name of the mistake: JSON's words ("object") mean nothing in a YAML file."""


def _words(error: str, message: str, kinds: Sequence[str]) -> str:
    if error == "union_tag_not_found":
        return f"needs {_choice([f'kind: {kind}' for kind in kinds])}"
    if error == "union_tag_invalid":
        return f"kind must be {_choice(kinds)}"
    found = _PLAIN.get(error) or message.removeprefix("Value error, ")
    # The rest says what is expected and not of whom.
    return re.sub(r"^(Input|String|Value|Number) should ", "must ", found)


def _choice(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), *words[-1:]] if len(words) > 1 else words)
