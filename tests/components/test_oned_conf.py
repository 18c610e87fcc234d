"""Texts for oned's grammar: quoting, whole vectors, and the awk that takes shipped twins out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.oned_conf import GrammarError, merge_raw, quote, render

AWK = Path("images/oned/without.awk").resolve()

_values = st.text(alphabet=st.characters(min_codepoint=32, blacklist_characters="\x7f"), max_size=30)


def read(text: str) -> dict[str, str | dict[str, str]]:
    """A reader of the grammar's quoted subset, written apart from the writer; the first of two names wins."""
    found: dict[str, str | dict[str, str]] = {}
    position = 0

    def skip() -> None:
        nonlocal position
        while position < len(text) and text[position] in " \t\n":
            position += 1

    def word() -> str:
        nonlocal position
        start = position
        while text[position].isalnum() or text[position] == "_":
            position += 1
        assert position > start, text[start : start + 20]
        return text[start:position].upper()

    def expect(character: str) -> None:
        nonlocal position
        skip()
        assert text[position] == character, (character, text[position : position + 20])
        position += 1
        skip()

    def quoted() -> str:
        nonlocal position
        expect('"') if text[position] != '"' else None
        position += 1
        out = ""
        while text[position] != '"':
            if text.startswith('\\"', position):
                position += 1
            out += text[position]
            position += 1
        position += 1
        return out

    skip()
    while position < len(text):
        name = word()
        expect("=")
        if text[position] == "[":
            position += 1
            vector: dict[str, str] = {}
            skip()
            while text[position] != "]":
                key = word()
                expect("=")
                vector[key] = quoted()
                skip()
                if text[position] == ",":
                    position += 1
                    skip()
                    assert text[position] != "]", "trailing comma"
            position += 1
            found.setdefault(name, vector)
        else:
            found.setdefault(name, quoted())
        skip()
    return found


@given(_values)
def test_every_value_comes_back_or_is_refused(value: str) -> None:
    try:
        text = render({"KEY": value, "VECTOR": {"A": value, "B": 1}})
    except GrammarError:
        surrogates = any(0xD800 <= ord(character) <= 0xDFFF for character in value)
        assert "]]>" in value or value.endswith("\\") or surrogates
        return
    assert read(text) == {"KEY": value, "VECTOR": {"A": value, "B": "1"}}


def test_text_ends_with_a_newline_and_vectors_have_no_trailing_comma() -> None:
    assert render({"A": {"X": 1, "Y": "z"}, "B": {}}) == 'A = [\n    X = "1",\n    Y = "z"\n]\nB = [ ]\n'


def test_control_characters_are_refused() -> None:
    with pytest.raises(GrammarError):
        quote("a\x07")


def test_raw_keys_add_but_never_override() -> None:
    assert merge_raw({"A": 1}, {"B": 2}) == {"A": 1, "B": 2}
    with pytest.raises(GrammarError, match="typed"):
        merge_raw({"A": 1}, {"A": 2})
    with pytest.raises(GrammarError, match="list"):
        merge_raw({}, {"VM_MAD": {"NAME": "x"}})


def without(tmp_path: Path, ours: str, shipped: str) -> str:
    (tmp_path / "ours").write_text(ours)
    (tmp_path / "shipped").write_text(shipped)
    command = ["awk", "-f", str(AWK), str(tmp_path / "ours"), str(tmp_path / "shipped")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_shipped_twins_are_taken_out_and_nothing_else(tmp_path: Path) -> None:
    ours = render({"LOG": {"SYSTEM": "std"}, "PORT": 1, "DB": {"A": "]#"}})
    shipped = (
        '# head\nPORT = 2633 # the port\nLOG = [\n  SYSTEM = "file", # ] in a comment\n  LEVEL = 3\n]\n'
        'VM_MAD = [ NAME = "kvm" ]\nPORTS = 7\nDB =\n[ X = "]",\n  Y = 1 ]\nKEEP = "PORT = 3\nLOG = 4"\nport = 5\nLAST = 1\n'
    )
    kept = without(tmp_path, ours, shipped)
    assert kept == '# head\nVM_MAD = [ NAME = "kvm" ]\nPORTS = 7\nKEEP = "PORT = 3\nLOG = 4"\nLAST = 1\n'


_writable = st.text(
    alphabet=st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=30
).filter(lambda value: "]]>" not in value and not value.endswith("\\"))
_names = st.sampled_from(["A", "B", "C_D", "PORT", "LOG"])
_conf = st.dictionaries(_names, _writable | st.dictionaries(_names, _writable, min_size=1, max_size=3), max_size=4)


@given(ours=_conf, shipped=_conf)
def test_ours_win_and_the_rest_of_the_shipped_file_stays(
    tmp_path_factory: pytest.TempPathFactory, ours: dict[str, str], shipped: dict[str, str]
) -> None:
    mine = render(ours)
    kept = without(tmp_path_factory.mktemp("conf"), mine, render(shipped))
    expected = {**{k: v for k, v in shipped.items() if k not in ours}}
    assert read(kept) == expected
    assert read(mine + kept) == {**shipped, **ours}
