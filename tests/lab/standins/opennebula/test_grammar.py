"""The grammar of oned.conf: what it takes, what it refuses and in which words."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin.grammar import GrammarError, Value, attribute_name, parse
from standin.template import Template

# Texts and what OpenNebula 7.4.0's own parser, built from its release, made of them.
RECORDED = json.loads((Path(__file__).parent / "recorded_grammar.json").read_text())
NAMES = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=12)
QUOTED = st.text(st.characters(codec="utf-8", exclude_characters='"\\\r'), max_size=40).filter(
    lambda text: "]]>" not in text
)
UNQUOTED = st.text(string.ascii_letters + string.digits + "_-./:@%;'", min_size=1, max_size=20)


def read(text: str) -> list[tuple[str, Value]]:
    return parse(text).attributes


def test_scalars_quoted_and_not() -> None:
    assert read('A = 1\nb="two words"\nC = /var/tmp/one\n') == [("A", "1"), ("B", "two words"), ("C", "/var/tmp/one")]


def test_names_that_xml_could_not_take_get_a_prefix() -> None:
    names = {written: attribute_name(written) for written in ("a", "_a", "1a", "XMLa", "xmla")}
    assert names == {"a": "A", "_a": "_A", "1a": "ONE_1A", "XMLa": "ONE_XMLA", "xmla": "XMLA"}


def test_vectors() -> None:
    text = 'DB = [ backend = "mysql",\n  PORT=3306 ]\nEMPTY = [ ]\n'
    assert read(text) == [("DB", {"BACKEND": "mysql", "PORT": "3306"}), ("EMPTY", {})]


def test_repeated_names_are_all_kept_and_in_a_vector_the_first_wins() -> None:
    assert read("A = 1\nA = 2\nV = [ K = 1, K = 2 ]\n") == [("A", "1"), ("A", "2"), ("V", {"K": "1"})]


def test_only_the_quote_is_escaped() -> None:
    assert read(r'A = "say \"yes\" C:\new"' + "\n") == [("A", r"say " + '"yes"' + r" C:\new")]


def test_a_quoted_value_spans_lines() -> None:
    assert read('A = "one\n two"\nB = 3\n') == [("A", "one\n two"), ("B", "3")]


def test_an_empty_value_needs_quotes_in_a_vector_only() -> None:
    assert read('A =\nB = ""\nV = [ K = "" ]\n') == [("A", ""), ("B", ""), ("V", {"K": ""})]
    with pytest.raises(GrammarError, match="unexpected EQUAL_EMPTY, expecting EQUAL"):
        read("V = [ K =\n ]\n")


def test_comments_take_the_rest_of_a_line_that_ends() -> None:
    assert read("# one\nA = 1 # two\nV = [ # three\n K = 1 ]\n") == [("A", "1"), ("V", {"K": "1"})]


def test_a_comment_without_its_newline_is_no_comment() -> None:
    with pytest.raises(GrammarError, match=r"unexpected \$end, expecting EQUAL or EQUAL_EMPTY"):
        read("A = 1\n# end")


def test_a_comment_where_a_value_should_be_becomes_the_value() -> None:
    parsed = parse("A = # none\n")
    assert (parsed.attributes, parsed.echo) == ([("A", "none")], "# ")


def test_characters_that_nothing_wants_are_copied_to_stdout() -> None:
    parsed = parse("A = 1;\nB = x\r\n@\nV = [ [ ]\n")
    assert (parsed.attributes, parsed.echo) == ([("A", "1;"), ("B", "x\r"), ("V", {})], "@[")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("V = [ K = 1, ]\n", "syntax error, unexpected CBRACKET, expecting VARIABLE at line 2, columns 14:16"),
        (
            "V = [ K = 1\n L = 2 ]\n",
            "syntax error, unexpected VARIABLE, expecting COMMA or CBRACKET at line 2, columns",
        ),
        ("A = a b\nC = 1\n", "syntax error, unexpected VARIABLE, expecting EQUAL or EQUAL_EMPTY at line 2, columns"),
        ("= 1\n", "syntax error, unexpected EQUAL, expecting $end at line 1, columns 1:3"),
        ("A = 1\n]\n", "syntax error, unexpected CBRACKET, expecting $end at line 3, columns"),
        ("A\n", "syntax error, unexpected $end, expecting EQUAL or EQUAL_EMPTY at line 2, columns"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(GrammarError) as error:
        read(text)
    assert str(error.value).startswith(message)


def test_the_cdata_end_stops_the_parser_without_a_word() -> None:
    parsed = parse('A = 1\nB = "x ]]> y"\nC = 3\n')
    assert (parsed.attributes, parsed.aborted) == ([("A", "1")], True)


def test_the_longest_match_wins() -> None:
    assert read('A = "x"y\n') == [("A", '"x"y')]
    assert read('A = "open\nB = 2\n') == [("A", '"open'), ("B", "2")]


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: repr(case["text"]))
def test_what_the_parser_of_7_4_0_said(case: dict[str, Any]) -> None:
    try:
        parsed = parse(case["text"])
    except GrammarError as error:
        assert (case["refused"], case["message"]) == (True, str(error))
        return
    assert (parsed.aborted, "") == (case["refused"], case["message"])
    assert [list(attribute) for attribute in Template(parsed.attributes)] == case["attributes"]
    assert parsed.echo == case["echo"] or parsed.aborted


@given(st.lists(st.tuples(NAMES, st.one_of(QUOTED, st.dictionaries(NAMES.map(str.upper), QUOTED, max_size=4)))))
def test_what_is_quoted_comes_back(items: list[tuple[str, str | dict[str, str]]]) -> None:
    def write(value: str | dict[str, str]) -> str:
        if isinstance(value, str):
            return f'"{value}"'
        return "[" + ",\n".join(f'{key} = "{text}"' for key, text in value.items()) + " ]"

    text = "".join(f"{name} = {write(value)}\n" for name, value in items)
    assert read(text) == [(attribute_name(name), value) for name, value in items]


@given(NAMES, UNQUOTED)
def test_plain_values_need_no_quotes(name: str, value: str) -> None:
    assert read(f"{name}={value}\n") == [(attribute_name(name), value)]


@given(st.text(alphabet=st.sampled_from('Aa1 =[],#"\\\n]>;'), max_size=60))
def test_every_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except GrammarError as error:
        assert "syntax error, unexpected" in str(error)
