"""The reader of oned's grammar, and what raw keys it lets through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.oned_conf import MONITORD, SCHED, GrammarError, Value, merge_raw, parse, render

_texts = st.text(
    alphabet=st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=20
).filter(lambda value: "]]>" not in value and not value.endswith("\\"))
_names = st.sampled_from(["A", "B", "C_D", "PORT", "LOG", "X1"])
_items = _texts | st.dictionaries(_names, _texts, max_size=3)


@given(st.dictionaries(_names, _items | st.lists(_items, min_size=1, max_size=3).map(tuple), max_size=4))
def test_what_is_rendered_is_read_back(entries: dict[str, Value]) -> None:
    expected = []
    for name, value in entries.items():
        expected += [(name, item) for item in value] if isinstance(value, tuple) else [(name, value)]
    assert parse(render(entries)) == expected


def test_the_shipped_spellings_are_read() -> None:
    text = (
        '# head\nLOG = [\n  system = "FILE", # a ] in a comment\n  debug_level = 3\n]\nSCRIPTS_REMOTE_DIR=/var/tmp/one\n'
        'EMPTY =\nA = [ ]\nVM_MAD = [ NAME = "kvm", NAME = "qemu" ]\nVM_MAD = [ NAME = "lxc" ]\n'
        'OPS = "migrate, delete,\n    recover"\nRAW = "type=\\"pty\\""\n'
    )
    assert parse(text) == [
        ("LOG", {"SYSTEM": "FILE", "DEBUG_LEVEL": "3"}),
        ("SCRIPTS_REMOTE_DIR", "/var/tmp/one"),
        ("EMPTY", ""),
        ("A", {}),
        ("VM_MAD", {"NAME": "kvm"}),
        ("VM_MAD", {"NAME": "lxc"}),
        ("OPS", "migrate, delete,\n    recover"),
        ("RAW", 'type="pty"'),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A = [ B = 1, ]\n", "line 1.*variable"),
        ("A = [ B = ]\n", "cannot stand|string"),
        ("A = [ B =\n 1 ]\n", "equal"),
        ('A = 1\nB = "x]]>y"\n', "line 2.*stops"),
        ("A = two words\n", "'words'|equal|end"),
        ("A\n", "ends"),
        ("= 1\n", "variable"),
        ("A = 1 # a comment without its newline", "cannot stand|found|where"),
        ("A = [ B = 1\nC = 2\n", "comma or close"),
        ("A-B = 1\n", "cannot stand"),
    ],
)
def test_what_the_parser_refuses_is_refused(text: str, said: str) -> None:
    with pytest.raises(GrammarError, match=said):
        parse(text)


TWO: Value = ({"NAME": "x", "BRIDGE_TYPE": "linux"}, {"NAME": "y", "BRIDGE_TYPE": "linux"})


@pytest.mark.parametrize(
    ("name", "two"),
    [
        *(("VN_MAD_CONF", TWO), ("DS_MAD_CONF", TWO)),
        *((name, ("x", "y")) for name in ("VM_RESTRICTED_ATTR", "DOCUMENT_ENCRYPTED_ATTR", "INHERIT_VNET_ATTR")),
    ],
)
def test_a_list_is_given_whole_or_not_at_all(name: str, two: tuple[Any, ...]) -> None:
    for lone in ("x", {"NAME": "x"}, ()):
        with pytest.raises(GrammarError, match="list"):
            merge_raw({}, {name: lone})
    merged = merge_raw({}, {name: two})
    assert parse(render(merged)) == [(name, two[0]), (name, two[1])]


def test_a_list_where_none_may_stand_is_refused() -> None:
    with pytest.raises(GrammarError, match="only its first"):
        merge_raw({}, {"PORT_BASE": (1, 2)})


def test_each_file_has_lists_of_its_own() -> None:
    with pytest.raises(GrammarError, match=r"list in monitord\.conf"):
        merge_raw({}, {"IM_MAD": {"NAME": "kvm"}}, MONITORD)
    with pytest.raises(GrammarError, match="missing: EXECUTABLE"):
        merge_raw({}, {"IM_MAD": {"NAME": "monitord", "ARGUMENTS": "", "THREADS": 8}})
    assert merge_raw({}, {"VM_ATTRIBUTE": ("//CPU",)}, SCHED)


@pytest.mark.parametrize("value", [{"ELECTION_TIMEOUT_MS": 5000}, 5000])
def test_vectors_whole_or_refused(value: Value) -> None:
    with pytest.raises(GrammarError, match="vector"):
        merge_raw({}, {"RAFT": value})


def test_every_wrong_entry_is_named_at_once() -> None:
    with pytest.raises(GrammarError) as caught:
        merge_raw({"PORT": 1}, {"PORT": 2, "VM_MAD": "x", "RAFT": 1, "FINE": 3})
    assert [part.split()[0] for part in str(caught.value).split("; ") if part[0].isupper()] == [
        "PORT",
        "VM_MAD",
        "RAFT",
    ]
