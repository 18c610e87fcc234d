"""What a plan accepts: nothing that could become a second line, a second word or another key where it is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.bootstrap.plan import parse_known_host, parse_public_key
from components.bootstrap.script import HostPlan, Repository
from tests.bootstrap.examples import KEY, OTHER_KEY, plan, repository
from tests.openpgp_key import FINGERPRINT


def test_a_fingerprint_may_be_written_as_gpg_prints_it() -> None:
    spaced = " ".join(FINGERPRINT[at : at + 4] for at in range(0, 40, 4)).lower()
    assert repository(key_fingerprint=spaced).key_fingerprint == FINGERPRINT


def test_a_key_with_another_fingerprint_is_refused_before_any_host_is_touched() -> None:
    wrong = FINGERPRINT[:-1] + "0"
    with pytest.raises(ValueError, match=f"{FINGERPRINT}, the config says {wrong}"):
        repository(key_fingerprint=wrong)


@pytest.mark.parametrize("short", ["", FINGERPRINT[-16:], FINGERPRINT + "00", "G" * 40])
def test_only_the_full_fingerprint_counts(short: str) -> None:
    with pytest.raises(ValueError, match="full one"):
        repository(key_fingerprint=short)


def test_without_a_key_the_host_has_to_bring_it() -> None:
    assert repository(key_armored=None).key == ""


def test_a_token_in_the_url_would_be_readable_by_everybody_on_the_host() -> None:
    with pytest.raises(ValueError, match=r"auth\.conf\.d"):
        repository(url="https://token@repo.example/7.4")


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://repo.example/a b"},
        {"url": "https://repo.example/a\ndeb http://evil.example stable main"},
        {"url": "https://repo.example/x] y"},
        {"url": "repo.example"},
        {"url": "ftp://repo.example"},
        {"suite": "stable main"},
        {"suite": ""},
        {"component": "a\nb"},
    ],
)
def test_the_package_source_stays_one_line_of_five_words(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"no http|no name"):
        repository(**changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "control"),
        ({"kind": "xen"}, "kvm, lxc"),
        ({"version": "7"}, "no version"),
        ({"version": "5.12"}, "6.10, 7.4"),
        ({"version": "7.4; reboot"}, "no version"),
        ({"oneadmin_public_key": ""}, "public key"),
        ({"oneadmin_public_key": "-----BEGIN OPENSSH PRIVATE KEY-----"}, "public key"),
        ({"oneadmin_public_key": f"{KEY}\n{OTHER_KEY}"}, "one line"),
        ({"oneadmin_public_key": KEY.replace("ssh-ed25519", "ssh-rsa")}, "says otherwise"),
        ({"oneadmin_public_key": f'command="reboot" {KEY}'}, "public key"),
        ({"also_accepted_keys": ("ssh-ed25519 ???",)}, "base64"),
        ({"frontend_known_hosts": (f"* {KEY}",)}, "no plain name"),
        ({"frontend_known_hosts": (f"|1|abc=|def= {KEY}",)}, "no plain name"),
        ({"frontend_known_hosts": (f"oned,[oned]:30022 {KEY}",)}, "same port"),
        ({"frontend_known_hosts": (f"[oned]:99999 {KEY}",)}, "no plain name"),
        ({"frontend_known_hosts": ("oned",)}, "public key"),
        ({"frontend_address": "10.0.0.1\n  ProxyCommand reboot"}, "no name or address"),
        ({"lock_wait": -1}, "negative"),
    ],
)
def test_what_cannot_be_written_safely_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        plan(**changes)


@pytest.mark.parametrize("version", ["7.4", "7.4.0", "7.4.0-1", "6.10", "6.10.5-1", "7.4.1~rc1-1"])
def test_versions_may_be_as_exact_as_wanted(version: str) -> None:
    assert "debian:12" in [system.key for system in plan(version=version).systems]


def test_keys_of_one_endpoint_come_together() -> None:
    names = "[oned.example]:30022,[10.0.0.1]:30022"
    lines = (f"{names} {KEY}", f"{names} {OTHER_KEY} comment")
    (pin,) = plan(frontend_known_hosts=lines).pins
    assert (pin.names, pin.port, pin.keys) == (("oned.example", "10.0.0.1"), 30022, (KEY, OTHER_KEY))


@given(st.text())
def test_no_text_breaks_the_readers_otherwise(text: str) -> None:
    for read in (parse_public_key, parse_known_host):
        try:
            read(text)
        except ValueError:
            continue
        assert "\n" not in text.strip()


def test_plans_are_values() -> None:
    assert plan() == plan()
    assert hash(plan()) == hash(plan())
    assert isinstance(plan(), HostPlan)
    assert isinstance(plan().repository, Repository)
