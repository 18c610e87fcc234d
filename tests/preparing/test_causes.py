"""What ssh says, in the operator's words. The texts are OpenSSH 8.4 to 10's own."""

from __future__ import annotations

from typing import Any

import pytest

from components.generated.keys import new_key_pair
from components.preparing.causes import Code, why
from components.preparing.values import Endpoint, Target, Way

KEY = new_key_pair().public_key
TARGET = Target("kvm-1", Endpoint("deploy", "10.0.0.11", 22, KEY), "0" * 64)
BASTION = Endpoint("jump", "bastion.example", 2222, KEY)


def way(bastion: Endpoint | None = None) -> Way:
    values: dict[str, Any] = {"connect": 5, "attempts": 3, "login": 30, "silence": 60, "limit": 900, "handshakes": 8}
    return Way(bastion=bastion, command="", **values)


@pytest.mark.parametrize(
    ("said", "code", "words", "again"),
    [
        ("ssh: connect to host 10.0.0.11 port 22: Connection refused", Code.UNREACHABLE, "connection refused", True),
        (
            "ssh: connect to host 10.0.0.11 port 22: Connection timed out",
            Code.UNREACHABLE,
            "no answer within 5 s",
            True,
        ),
        ("ssh: connect to host 10.0.0.11 port 22: No route to host", Code.UNREACHABLE, "no route", True),
        ("Connection timed out during banner exchange", Code.UNREACHABLE, "no answer within 5 s", True),
        (
            "ssh: Could not resolve hostname kvm: Name or service not known",
            Code.UNREACHABLE,
            "cannot be resolved",
            True,
        ),
        ("kex_exchange_identification: Connection closed by remote host", Code.UNREACHABLE, "MaxStartups", True),
        ("Connection reset by 10.0.0.11 port 22", Code.UNREACHABLE, "was cut", True),
        ("", Code.UNREACHABLE, "without a word", True),
        ("deploy@10.0.0.11: Permission denied (publickey).", Code.LOGIN, "takes none of the keys", False),
        ("Received disconnect: 2: Too many authentication failures", Code.LOGIN, "takes none of the keys", False),
        (
            "No ECDSA host key is known for target and you have requested strict",
            Code.HOST_KEY,
            "host key mismatch",
            False,
        ),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nThe fingerprint … is\nSHA256:abc+/1.\n",
            Code.HOST_KEY,
            "offers SHA256:abc+/1",
            False,
        ),
    ],
)
def test_the_hosts_own_hop(said: str, code: Code, words: str, again: bool) -> None:
    cause = why(TARGET, way(), said, "")
    assert (cause.code, cause.again, cause.bastion) == (code, again, False)
    assert words in cause.text and "10.0.0.11:22" in cause.text and cause.then


def test_the_bastions_hop_is_told_apart() -> None:
    cause = why(
        TARGET, way(BASTION), "Connection closed by UNKNOWN port 65535", "jump@x: Permission denied (publickey)."
    )
    assert (cause.code, cause.bastion) == (Code.LOGIN, True)
    assert "the bastion login refused: jump@bastion.example:2222" in cause.text


def test_a_host_that_the_bastion_cannot_reach_is_the_hosts_matter() -> None:
    said = "channel 0: open failed: connect failed: No route to host\nstdio forwarding failed"
    cause = why(TARGET, way(BASTION), "Connection closed by UNKNOWN port 65535", said)
    assert (cause.code, cause.bastion, cause.again) == (Code.UNREACHABLE, False, True)
    assert "cannot reach 10.0.0.11:22: No route to host" in cause.text


def test_a_peer_that_was_given_up_on() -> None:
    cause = why(TARGET, way(BASTION), "", "", late=True)
    assert "no answer within 30 s from deploy@10.0.0.11:22 through jump@bastion.example:2222" in cause.text
