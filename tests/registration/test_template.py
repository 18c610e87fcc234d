"""No value becomes another attribute: what is rendered reads back as it was, or is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings, strategies

from components.registration.errors import Unexpressible
from components.registration.template import name_problem, render, value_problem
from tests.registration.probes import names, probed

_LEXER = re.compile(r'"((?:\\"|[^"])*)"')
"""oned's value rule: `\\"` before `[^"]` takes as much as flex's longest match does."""


def parse(text: str) -> dict[str, str]:
    """template_parser.l and template_syntax.y of 7.4, for single attributes."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        if text[at] in " \t\n":
            at += 1
            continue
        head = re.compile(r"[A-Za-z0-9_]+[ \t]*=[ \t]*").match(text, at)
        assert head, f"syntax error at {text[at:]!r}"
        at = head.end()
        assert not re.compile(r"[^\n]*]]>").match(text, at), "CDATA is refused"
        value = _LEXER.match(text, at)
        assert value, f"no string at {text[at:]!r}"
        at = value.end()
        name = head[0].split("=")[0].strip().upper()
        assert name not in found, "an attribute came from nowhere"
        found[name] = value[1].replace('\\"', '"').strip()
    return found


NAMES = strategies.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)
NASTY = strategies.lists(
    strategies.sampled_from(
        ['"', "\\", '\\"', "\n", "]]>", "=", ",", "[", "]", "#", "<", "&", "VM_MAD=", " ", "é", "x"]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=2_000, deadline=None)
@given(strategies.dictionaries(NAMES, NASTY | strategies.text(max_size=30), max_size=4))
@example({"NOTE": 'x"\nVM_MAD="kvm'})
@example({"A": "ends with \\", "B": "y"})
@example({"A": 'say \\"hello\\"'})
def test_what_is_rendered_reads_back_or_is_refused(attributes: dict[str, str]) -> None:
    try:
        text = render(attributes)
    except Unexpressible:
        assert any(value_problem(value) for value in attributes.values())
        return
    assert parse(text) == attributes


def test_the_reader_above_does_see_an_injection() -> None:
    assert parse('NOTE="x"\nVM_MAD="kvm"\n') == {"NOTE": "x", "VM_MAD": "kvm"}


@pytest.mark.parametrize("value", ['quote " inside', "back\\slash", "a, b = [c]", "# no comment", "日本", "", '\\"'])
def test_ordinary_values_pass(value: str) -> None:
    assert parse(render({"NOTE": value})) == {"NOTE": value}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("two\nlines", "line break"),
        ("nul\0", "control character"),
        ("lone \ud800", "control character"),
        ("ends with \\", "backslash"),
        ("a ]]> b", "]]>"),
        (" blank", "white space"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(value: str, reason: str) -> None:
    with pytest.raises(Unexpressible, match="attribute 'NOTE'") as caught:
        render({"NOTE": value})
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", ["VM_MAD", "ERROR", "9LIVES", "WITH SPACE", "", "É", 'A"="'])
def test_names_that_are_not_labels(name: str) -> None:
    assert name_problem(name)


def test_no_label_can_have_the_name_of_what_a_probe_prints() -> None:
    found = names(probed("kvm-1", 1))
    assert len(found) == 25
    assert {name for name in found if not name_problem(name)} == set()


@pytest.mark.parametrize("name", ["PCI_FILTER", "PCI_SHORT_ADDRESS", "RACK"])
def test_what_oned_only_reads_can_be_a_label(name: str) -> None:
    assert name_problem(name) is None


def test_a_name_from_elsewhere_cannot_smuggle_anything_either() -> None:
    with pytest.raises(Unexpressible):
        render({'A="1"\nVM_MAD': "kvm"})
