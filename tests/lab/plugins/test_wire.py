"""Properties survive the way to the engine and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.plugins.wire import UNKNOWN, Secret, decode, encode, has_secret, has_unknown, plain

_leaf = st.text() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
_value = st.recursive(
    _leaf | st.just(UNKNOWN),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.builds(Secret, inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), _value))
def test_there_and_back(properties: dict[str, object]) -> None:
    assert decode(encode(properties)) == properties


def test_whole_numbers_become_integers() -> None:
    number = decode(encode({"replicas": 3.0, "ratio": 0.5}))
    assert isinstance(number["replicas"], int)
    assert number == {"replicas": 3, "ratio": 0.5}


def test_null_members_are_dropped_and_null_items_kept() -> None:
    assert decode(encode({"a": None, "b": [None, 1], "c": {"d": None}})) == {"b": [None, 1], "c": {}}


def test_marks_are_seen_at_any_depth() -> None:
    value = {"a": [{"b": Secret({"c": UNKNOWN})}]}
    assert has_secret(value)
    assert has_unknown(value)
    assert plain(value) == {"a": [{"b": {"c": UNKNOWN}}]}
    assert not has_secret({"a": ["b"]})
    assert not has_unknown({"a": ["b"]})


def test_a_secret_does_not_show_itself() -> None:
    assert "hunter2" not in repr({"password": Secret("hunter2")})


def test_what_is_no_property_is_refused() -> None:
    with pytest.raises(TypeError, match="object is not a property"):
        encode({"a": object()})
