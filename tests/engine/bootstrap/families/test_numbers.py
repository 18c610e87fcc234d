"""Monitoring clients of a number that is not this host's any more are ended; all others go on."""

from __future__ import annotations

import pytest

from components.bootstrap.peers import render_peers
from tests.engine.bootstrap.families.roots import Root, start

pytestmark = pytest.mark.engine

NUMBERS = {"kvm-1": 7, "kvm-2": 0}
# driver, number, name; whether it goes on
CLIENTS = {
    "kvm 7 kvm-1": True,
    "kvm 0 kvm-1": False,  # its number of before, which is another host's now
    "kvm 3 kvm-1": False,  # its number of before, which nobody has
    "kvm 7 kvm-9": False,  # a name that has left, under a number that was given again
    "kvm 3 kvm-9": True,  # of another control plane, for all that is known here
}


CLIENT = "/srv/monitord-client.rb"
_START = f"setpriv --reuid {{user}} --clear-groups {CLIENT} {{words}} </dev/null >/dev/null 2>&1 &"
_AWAIT = "until grep -qas 'client.rb.{pattern}' /proc/[0-9]*/cmdline; do sleep 0.05; done"
_LIST = f"for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null | sed -n 's|^/bin/sh {CLIENT} |left: |p'"


def told(root: Root, user: str) -> tuple[list[str], str]:
    """Which clients go on after the hosts were told, and all that was said. In one run, as processes last no longer."""
    root.root(f"printf '#!/bin/sh\nwhile :; do sleep 5; done\n' >{CLIENT}; chmod 755 {CLIENT}")
    text = render_peers([], NUMBERS, lock_wait=3)
    assert text.endswith("peers </dev/null\n")
    script = [
        *(_START.format(user=user, words=words) for words in CLIENTS),
        # Each is there, under its own words, before the script looks.
        *(_AWAIT.format(pattern=words.replace(" ", ".")) for words in CLIENTS),
        "PLAN_NAME=kvm-1",
        text.replace("peers </dev/null\n", "(peers) </dev/null"),
        _LIST,
    ]
    run = root.prepare("\n".join(script) + "\n")
    assert run.code == 0, run
    lines = run.stdout.splitlines()
    return [line.removeprefix("left: ").strip() for line in lines if line.startswith("left: ")], run.stdout


def test_clients_that_report_under_a_wrong_number_are_ended() -> None:
    with start("debian:12") as root:
        root.prepare()
        left, said = told(root, "oneadmin")
        assert sorted(left) == sorted(words for words, stays in CLIENTS.items() if stays)
        assert '{"changed": true}' in said


def test_processes_of_anybody_else_are_left_alone() -> None:
    with start("debian:12") as root:
        root.prepare()
        left, _said = told(root, "nobody")
        assert sorted(left) == sorted(CLIENTS)
