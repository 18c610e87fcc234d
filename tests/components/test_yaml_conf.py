"""The YAML writer, checked against two parsers that are not ours: PyYAML, and Ruby's own where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.yaml_conf import Keys, YamlError, merge_raw, quote, render

# What YAML's own readers take for something else when it is not quoted.
TRAPS = [
    "no",
    "yes",
    "on",
    "Off",
    "~",
    "null",
    "",
    " ",
    "1",
    "1_000",
    "0x1f",
    "0o17",
    "1e3",
    ".inf",
    "1:20",
    "2026-01-01",
]
TRAPS += [
    "- a",
    "? b",
    "a: b",
    "# c",
    "a #b",
    "&x",
    "*x",
    "!x",
    "%x",
    "@x",
    "`x",
    "'",
    '"',
    "\\",
    "\t",
    "\n",
    "\r\n",
    "{}",
    "[]",
]
TRAPS += [":symbol", "=", "<<", "|", ">", "\x00", "\x7f", "\x85", " ", "﻿", "ü", "😀", "￾"]

texts = st.sampled_from(TRAPS) | st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
symbols = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)


def trees(keys: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    values = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
    )
    return st.dictionaries(keys, values, min_size=1, max_size=6)


def with_colons(value: Any) -> Any:
    """How PyYAML, which knows no symbols, reads them."""
    if isinstance(value, Mapping):
        return {f":{key}": with_colons(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_colons(item) for item in value]
    return value


@given(trees(texts))
@settings(max_examples=300)
def test_plain_files_come_back_as_they_were(entries: dict[str, Any]) -> None:
    assert yaml.safe_load(render(entries, Keys.PLAIN)) == entries


@given(trees(symbols))
@settings(max_examples=300)
def test_symbol_files_come_back_as_they_were(entries: dict[str, Any]) -> None:
    assert yaml.safe_load(render(entries, Keys.SYMBOLS)) == with_colons(entries)


@given(st.dictionaries(texts, scalars, min_size=2, max_size=6))
def test_order_is_kept(entries: dict[str, Any]) -> None:
    assert list(yaml.safe_load(render(entries, Keys.PLAIN))) == list(entries)


@pytest.mark.skipif(shutil.which("ruby") is None, reason="Ruby is not installed")
def test_ruby_reads_symbols_and_texts() -> None:
    entries: dict[str, Any] = {
        "a": {"b_1": TRAPS, "No": True, "a-b": 1, "a:b-c": 2},
        "n": None,
        "f": 1e-7,
        "i": -3,
        "e": [],
        "m": {},
    }
    program = "require 'yaml'; require 'json'; c = YAML.load(STDIN.read, permitted_classes: [Symbol]); " + (
        "raise 'no symbol' unless c.key?(:a) && c[:a].key?(:No); puts JSON.generate(c)"
    )
    done = subprocess.run(
        ["ruby", "-EUTF-8", "-e", program],
        input=render(entries, Keys.SYMBOLS).encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == entries


def test_the_shape_is_what_people_write() -> None:
    entries = {"log": {"level": 2}, "names": ["a", {"b": 1}], "none": [], "empty": {}}
    assert render(entries, Keys.SYMBOLS) == (
        ':log:\n  :level: 2\n:names:\n  - "a"\n  -\n    :b: 1\n:none: []\n:empty: {}\n'
    )


def test_half_a_character_is_refused() -> None:
    with pytest.raises(YamlError, match="half a character"):
        quote("\ud800")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), object(), {1: 2}])
def test_what_has_no_spelling_is_refused(value: Any) -> None:
    with pytest.raises(YamlError):
        render({"a": value}, Keys.PLAIN)


@pytest.mark.parametrize("key", ["", ":a", "a b", "1a", "a:", "a::b", "a: b"])
def test_what_is_no_symbol_is_refused(key: str) -> None:
    with pytest.raises(YamlError, match="no Ruby symbol"):
        render({"a": {key: 1}}, Keys.SYMBOLS)


def merged(raw: dict[str, Any]) -> dict[str, Any]:
    return merge_raw({"host": "0.0.0.0"}, raw, known={"host", "expire_delta"}, release="7.4")


def test_raw_keys_come_last() -> None:
    assert list(merged({"expire_delta": 60}).items()) == [("host", "0.0.0.0"), ("expire_delta", 60)]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"host": "::"}, "host is decided by the program"),
        ({"hots": "::"}, "OpenNebula 7.4 does not read hots there; raw keys it reads: expire_delta"),
        ({":expire_delta": 60}, "without its colon"),
    ],
)
def test_a_raw_key_that_fights_or_is_unknown_is_refused(raw: dict[str, Any], reason: str) -> None:
    with pytest.raises(YamlError, match=reason):
        merged(raw)
