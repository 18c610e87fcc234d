"""Pins in known_hosts format: which key a host has, and what no pin may be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.generated.keys import new_key_pair
from components.host_pins import fingerprint, line, names_of, parse

KEY, OTHER = new_key_pair().public_key, new_key_pair().public_key


def test_a_key_is_found_by_name_by_address_and_by_port() -> None:
    pins, problems = parse(f"# comment\n\nKVM-1,10.0.0.1 {KEY} # words\n[10.0.0.2]:2222 {OTHER}\n")
    assert problems == []
    assert pins.of(names_of("kvm-1", "10.0.0.9", 22)) == {"ssh-ed25519": KEY}
    assert pins.of(names_of("other", "10.0.0.1", 22)) == {"ssh-ed25519": KEY}
    assert pins.of(names_of("kvm-2", "10.0.0.2", 2222)) == {"ssh-ed25519": OTHER}
    assert pins.of(names_of("kvm-2", "10.0.0.2", 22)) == {}
    assert pins.of(names_of("kvm-3", "10.0.0.1", 2222)) == {}, "another port is another machine"


def test_what_is_written_is_what_is_read_and_what_ssh_understands(tmp_path: Path) -> None:
    file = tmp_path / "pins"
    file.write_text(line("kvm-1", KEY) + "\n")
    assert parse(file.read_text())[0].of(["kvm-1"]) == {"ssh-ed25519": KEY}
    found = subprocess.run(
        ["ssh-keygen", "-l", "-F", "kvm-1", "-f", str(file)], capture_output=True, text=True, check=False
    )
    assert fingerprint(KEY) in found.stdout


def test_the_preferred_kind_comes_first_and_what_cannot_be_pinned_is_passed_over() -> None:
    ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA=="  # right kind, never used
    pins, problems = parse(f"a {ecdsa}\na ssh-dss AAAAB3NzaC1kc3M=\na {KEY}\n")
    assert problems == []
    assert list(pins.of(["a"])) == ["ssh-ed25519", "ecdsa-sha2-nistp256"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"|1|abc=|def= {KEY}", "hashed"),
        (f"*.example {KEY}", "several machines"),
        (f"!a {KEY}", "several machines"),
        (f"@cert-authority a {KEY}", "by its own key"),
        ("a ssh-ed25519", "NAME TYPE KEY"),
        ("a ssh-ed25519 AAAA", "its contents do not"),
        ("a ssh-ed25519 %%%%", "damaged"),
    ],
)
def test_what_no_pin_may_be(text: str, words: str) -> None:
    pins, ((number, problem),) = parse(f"\n{text}\n")
    assert number == 2 and words in problem
    assert pins.keys == {}


def test_two_keys_for_one_name_are_told_with_both_lines() -> None:
    pins, problems = parse(f"a {KEY}\nb {KEY}\na {OTHER}\na {KEY}\n")
    assert problems == [(3, "a has another ssh-ed25519 key in line 1; keep the reviewed one")]
    assert pins.of(["a"]) == {"ssh-ed25519": KEY}
