"""Reads a stack's file strictly: what is no YAML, or written twice, is told by file and line before anything is done.

PyYAML keeps the last of two equal keys without a word, and the engine refuses them in words that name neither; both are
told here. Deliberately not here: what the values mean (`stacks/settings.py`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

from components.naming import PROJECT
from lab.errors import LabError
from lab.paths import PROJECT as ROOT

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")  # of a stack: Pulumi's own rule, and never a path
_CONFIG: Final = f"config:, and below it indented lines such as `{PROJECT}:tier: small` (Pulumi.prod.yaml shows them)"


def check_name(name: str) -> str:
    """The name of a stack, which becomes part of a file's name. Raises LabError for one that cannot be a stack's."""
    if not _NAME.fullmatch(name):
        raise LabError(
            f"STACK={name} is no name of a stack",
            cause="a name has letters, digits, '-', '_' and '.', and begins with a letter or digit",
            fix="STACK=prod for Pulumi.prod.yaml of this checkout",
        )
    return name


def require(file: Path) -> None:
    """Raises LabError unless the stack's file is there and can be read."""
    if not file.exists():
        stacks = sorted(path.name.split(".")[1] for path in file.parent.glob("Pulumi.*.yaml"))
        raise LabError(
            f"{file.name} does not exist",
            cause=f"stacks with a file here: {', '.join(stacks)}" if stacks else "",
            fix="write it after Pulumi.prod.yaml, or name another stack with STACK=",
        )
    read(file)


def config(file: Path) -> dict[str, Any]:
    """The values below `config`, by full key; none where there is no file. Raises LabError."""
    found = read(file).get("config")
    return dict(found) if found else {}


def read(file: Path) -> dict[str, Any]:
    """The whole file; empty where there is none. Raises LabError that names file and line."""
    try:
        document = yaml.load(file.read_text(), Loader=_Strict)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        return {}
    except _Twice as error:
        raise LabError(
            f"{_place(file, error.second)}: {error.key} is written twice",
            cause=f"line {error.first.line + 1} has it already, and one of both would be lost",
            fix="remove one of the two, or put both values below one key",
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise LabError(
            f"{_place(file, mark) if mark else file.name} is not valid YAML", cause=_cause(error), fix=_mend(error)
        ) from None
    except (yaml.YAMLError, ValueError, OSError) as error:
        # Characters that no text has, a date such as 2026-13-45, a file that cannot be opened: none has a line.
        cause = " ".join(str(error).split())
        raise LabError(f"{file.name} cannot be read", cause=cause, fix=f"correct {file.name}, then again") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise LabError(f"{file.name} holds {_kind(document)}, not a mapping", fix=f"begin it with {_CONFIG}")
    found = document.get("config")
    if found is not None and not isinstance(found, dict):
        raise LabError(f"{file.name}: config is {_kind(found)}, not a mapping", fix=f"write {_CONFIG}")
    for key in found or ():
        if not isinstance(key, str):
            raise LabError(f"{file.name}: config has the key {key!r}, which is no text", fix=f"write {_CONFIG}")
    return document


class _Twice(Exception):
    def __init__(self, key: str, first: yaml.Mark, second: yaml.Mark) -> None:
        super().__init__(key)
        self.key, self.first, self.second = key, first, second


class _Strict(yaml.SafeLoader):
    """A SafeLoader that refuses a key which its mapping has already. Keys that `<<` merges in may be repeated."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # Called once for every mapping, before merged keys are put among its own.
        first: dict[tuple[str, str], yaml.Mark] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                known = first.setdefault((key.tag, key.value), key.start_mark)
                if known is not key.start_mark:
                    raise _Twice(key.value, known, key.start_mark)
        super().flatten_mapping(node)


def _place(file: Path, mark: yaml.Mark) -> str:
    name = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file.name
    return f"{name}, line {mark.line + 1}"


def _cause(error: yaml.MarkedYAMLError) -> str:
    said = error.problem or error.context or ""
    return "a tab stands where YAML takes only blanks" if "'\\t'" in said else said


def _mend(error: yaml.MarkedYAMLError) -> str:
    said = f"{error.problem} {error.context}"
    if "'\\t'" in said:
        return "indent with blanks; expand -i FILE shows the file without tabs"
    if "mapping values are not allowed" in said:
        return "put a value that holds ': ' in quotes, and begin keys of one mapping in the same column"
    if "expected <block end>" in said or "could not find expected ':'" in said:
        return "begin keys of one mapping in the same column, each with ':' and a blank behind it; look at the line above too"
    if "scanning a quoted scalar" in said or "expected ',' or" in said:
        return "close the quote or bracket that is open there"
    return "correct that line, or the one above it"


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else "plain text" if isinstance(value, str) else f"{value!r}"
