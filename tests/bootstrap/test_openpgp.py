"""Fingerprints of repository keys: right for a real key, refused for anything that apt would read differently."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.bootstrap import openpgp
from tests.openpgp_key import ARMORED, FINGERPRINT

_HEAD, _TAIL = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"


def _armor(packets: bytes) -> str:
    return f"{_HEAD}\n\n{base64.b64encode(packets).decode()}\n{_TAIL}\n"


def test_the_fingerprint_is_the_one_that_gpg_prints() -> None:
    assert openpgp.fingerprint(ARMORED) == FINGERPRINT


def test_armor_headers_and_surrounding_blanks_do_not_matter() -> None:
    commented = ARMORED.replace(_HEAD, f"{_HEAD}\nComment: from a web page\nVersion: 1")
    assert openpgp.fingerprint(f"\n  {commented}\n\n") == FINGERPRINT


def test_a_second_key_in_the_block_is_refused() -> None:
    packets = openpgp.dearmor(ARMORED)
    with pytest.raises(ValueError, match="2 keys, it must have one"):
        openpgp.fingerprint(_armor(packets + packets))


def test_a_block_without_a_key_is_refused() -> None:
    user_id_only = bytes([0xB4, 3]) + b"who"
    with pytest.raises(ValueError, match="0 keys"):
        openpgp.fingerprint(_armor(user_id_only))


def test_another_key_version_is_refused() -> None:
    packets = bytearray(openpgp.dearmor(ARMORED))
    packets[2] = 6
    with pytest.raises(ValueError, match="version 4"):
        openpgp.fingerprint(_armor(bytes(packets)))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected one armored public key"),
        ("not a key", "expected one armored public key"),
        (ARMORED + ARMORED, "damaged"),
        (ARMORED.replace("=CETu", "=CETv"), "checksum"),
        (ARMORED.replace("RYJKwYB", "RYJKw*B"), "damaged"),
        (_armor(openpgp.dearmor(ARMORED)[:-4]), "cut off"),
        (_armor(b"\x00\x01"), "no packet"),
        (ARMORED.replace("PUBLIC KEY", "PRIVATE KEY"), "expected one armored public key"),
    ],
)
def test_a_damaged_block_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        openpgp.fingerprint(text)


@given(st.binary(max_size=64))
def test_no_bytes_make_it_fail_otherwise(packets: bytes) -> None:
    try:
        found = openpgp.fingerprint(_armor(packets))
    except ValueError:
        return
    assert len(found) == 40


@given(st.integers(0, 39), st.sampled_from("0123456789ABCDEF"))
def test_every_digit_counts(place: int, digit: str) -> None:
    other = FINGERPRINT[:place] + digit + FINGERPRINT[place + 1 :]
    assert (openpgp.fingerprint(ARMORED) == other) == (digit == FINGERPRINT[place])
