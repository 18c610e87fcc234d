"""Groups and ranges: what a pattern stands for, what an entry of a group is, and where its values were written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.host_groups import LIMIT, expand, fold, numbers


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("kvm-1", ["kvm-1"]),
        ("kvm-[008-011]", ["kvm-008", "kvm-009", "kvm-010", "kvm-011"]),
        ("kvm-[8-11]", ["kvm-8", "kvm-9", "kvm-10", "kvm-11"]),
        ("kvm-[1-2,7].example", ["kvm-1.example", "kvm-2.example", "kvm-7.example"]),
        ("r[1-2]-h[01-02]", ["r1-h01", "r1-h02", "r2-h01", "r2-h02"]),
        ("10.0.[1-2].5", ["10.0.1.5", "10.0.2.5"]),
        ("kvm-[0-1]", ["kvm-0", "kvm-1"]),
    ],
)
def test_a_pattern_stands_for_names_in_order(pattern: str, names: list[str]) -> None:
    assert numbers(pattern) == names


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "is no name"),
        ("kvm-[1-", "is no name"),
        ("kvm-1]", "is no name"),
        ("kvm-[]", "is no range"),
        ("kvm-[a-c]", "is no range"),
        ("kvm-[1-2-3]", "is no range"),
        ("kvm-[9-3]", "counts down"),
        ("kvm-[008-11]", "different widths"),
        ("kvm-[1-999999999]", "more than"),
        ("a[1-200]b[1-200]c", "more than"),
    ],
)
def test_a_pattern_that_means_nothing_is_refused_with_the_reason(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        numbers(pattern)


_names = st.lists(st.from_regex(r"[a-c-]{0,3}[0-9]{0,4}(\.x)?", fullmatch=True).filter(bool), max_size=30)


@given(_names)
def test_folding_loses_no_name(names: list[str]) -> None:
    parts = fold(names, limit=1000)
    found = [name for part in parts.split(", ") if part for name in numbers(part)]
    assert sorted(found) == sorted(set(names))


def test_folding_is_short() -> None:
    assert fold(numbers("kvm-[001-120]")) == "kvm-[001-120]"
    assert fold([*numbers("kvm-[1-3]"), "lxc-1", "kvm-7"]) == "kvm-[1-3,7], lxc-1"
    assert fold([f"{letter}x" for letter in "abcdef"], limit=2) == "ax, bx and 4 more"


def one(**group: Any) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Entries and problems of one group `a`."""
    members, problems = expand({"a": group})
    return [dict(member.entry) for member in members], dict(problems)


def test_common_values_are_in_every_entry_and_addresses_are_counted() -> None:
    entries, problems = one(members="kvm-[01-03]", kind="kvm", addresses="10.0.0.254", labels={"RACK": "a"})
    assert problems == {}
    assert [entry["address"] for entry in entries] == ["10.0.0.254", "10.0.0.255", "10.0.1.0"]
    assert all(entry["kind"] == "kvm" and entry["labels"] == {"RACK": "a"} for entry in entries)


@pytest.mark.parametrize(
    ("addresses", "first", "last"),
    [
        ("10.0.0.0/29", "10.0.0.1", "10.0.0.6"),
        ("10.0.0.8/28", "10.0.0.8", "10.0.0.13"),
        ("10.0.0.[11-16]", "10.0.0.11", "10.0.0.16"),
        (["10.0.0.1", "10.0.0.[3-7]"], "10.0.0.1", "10.0.0.7"),
        ("kvm-[1-6].mgmt.example", "kvm-1.mgmt.example", "kvm-6.mgmt.example"),
    ],
)
def test_ways_to_write_addresses(addresses: Any, first: str, last: str) -> None:
    entries, problems = one(members="kvm-[1-6]", addresses=addresses)
    assert problems == {}
    assert (entries[0]["address"], entries[-1]["address"]) == (first, last)


@pytest.mark.parametrize(
    ("addresses", "words"),
    [
        ("10.0.0.0/29", "10.0.0.0/29 has room for 6 hosts from 10.0.0.1 on, and the group has 7 members"),
        ("10.0.0.250/24", "has room for 5 hosts from 10.0.0.250 on"),
        ("255.255.255.250", "has room for 6 hosts"),
        ("10.0.0.[1-6]", "stands for 6 addresses, and the group has 7 members"),
        (7, "must be a name, a range"),
    ],
)
def test_addresses_that_do_not_fit(addresses: Any, words: str) -> None:
    assert words in one(members="kvm-[1-7]", addresses=addresses)[1]["hostGroups.a.addresses"]


def test_overrides_win_merge_labels_and_take_ranges() -> None:
    entries, problems = one(
        members="kvm-[1-3]",
        cluster="prod",
        labels={"RACK": "a"},
        overrides={"kvm-2": {"cluster": "old"}, "kvm-[2-3]": {"labels": {"GPU": "yes"}, "state": "offline"}},
    )
    assert problems == {}
    assert [entry["cluster"] for entry in entries] == ["prod", "old", "prod"]
    assert [entry["labels"] for entry in entries] == [{"RACK": "a"}, *[{"RACK": "a", "GPU": "yes"}] * 2]
    assert [entry.get("state") for entry in entries] == [None, "offline", "offline"]


def test_every_value_knows_where_it_was_written() -> None:
    (first, second), _ = expand(
        {
            "a": {
                "members": "kvm-[1-2]",
                "kind": "kvm",
                "addresses": "10.0.0.1",
                "labels": {"RACK": "a"},
                "overrides": {"kvm-2": {"kind": "lxc", "labels": {"GPU": "x"}}},
            }
        }
    )
    assert (first.place("name"), first.place("address")) == ("hostGroups.a.members", "hostGroups.a.addresses")
    assert (first.place("kind"), second.place("kind")) == ("hostGroups.a.kind", "hostGroups.a.overrides.kvm-2.kind")
    assert second.place("labels", "GPU") == "hostGroups.a.overrides.kvm-2.labels"
    assert second.place("labels", "RACK") == "hostGroups.a.labels"
    assert second.place("hostKey") == "hostGroups.a"


@pytest.mark.parametrize(
    ("groups", "path", "words"),
    [
        ([], "hostGroups", "must be a mapping"),
        ({"a b": {}}, "hostGroups.a b", "letters, digits"),
        ({"a": []}, "hostGroups.a", "must be a mapping"),
        ({"a": {}}, "hostGroups.a.members", "is required"),
        ({"a": {"members": []}}, "hostGroups.a.members", "must be a name"),
        ({"a": {"members": [1]}}, "hostGroups.a.members", "must be a name"),
        ({"a": {"members": "k-[3-1]"}}, "hostGroups.a.members", "counts down"),
        ({"a": {"members": ["a[1-9000]", "b[1-9000]"]}}, "hostGroups.a.members", f"more than {LIMIT}"),
        ({"a": {"members": "k-1", "name": "x"}}, "hostGroups.a.name", "is what members gives"),
        ({"a": {"members": "k-1", "address": "x"}}, "hostGroups.a.address", "use addresses"),
        ({"a": {"members": "k-1", "hostKey": "x"}}, "hostGroups.a.hostKey", "hostKeysFile"),
        ({"a": {"members": "k-1", "overrides": []}}, "hostGroups.a.overrides", "must be a mapping"),
        ({"a": {"members": "k-1", "overrides": {"k-1": 1}}}, "hostGroups.a.overrides.k-1", "must be a mapping"),
        ({"a": {"members": "k-1", "overrides": {"k-[1-3]": {}}}}, "hostGroups.a.overrides.k-[1-3]", "k-[2-3] is not"),
        ({"a": {"members": "k-1", "overrides": {"k-[": {}}}}, "hostGroups.a.overrides.k-[", "is no name"),
        ({"a": {"members": "k-1", "overrides": {"k-1": {"name": "x"}}}}, "hostGroups.a.overrides.k-1.name", "keeps"),
    ],
)
def test_what_is_wrong_with_a_group_has_its_path(groups: Any, path: str, words: str) -> None:
    assert words in dict(expand(groups)[1])[path]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["members", "addresses", "overrides", "labels", "kind"]), _json | st.just("k-[1-3]")
    )
)
def test_any_group_is_entries_or_problems(group: dict[str, Any]) -> None:
    members, problems = expand({"a": group})
    assert members or problems
    assert all("\n" not in text for _, text in problems)
