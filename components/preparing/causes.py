"""Why there is no connection, from what ssh says: which hop, what, whether to try again, and what to do. Pure.

ssh ends with 255 for all of it; only its texts tell. They are matched by words that OpenSSH 8 to 10 have in common.
"""

from __future__ import annotations

import base64
import hashlib
import re
from enum import IntEnum
from typing import NamedTuple

from components.preparing.values import Endpoint, Target, Way


class Code(IntEnum):
    """Exit codes of a preparation."""

    DONE = 0
    UNREACHABLE = 3
    HOST_KEY = 4
    LOGIN = 5
    SCRIPT = 6
    """The host's own step failed, sudo included; its last line says which."""
    LOST = 7
    """The connection, or the time, was lost while the script ran."""
    HERE = 8
    """Something on this machine."""


class Cause(NamedTuple):
    """`again`: another attempt may succeed. `bastion`: it concerns every host behind it."""

    code: Code
    text: str
    then: str
    again: bool = False
    bastion: bool = False


_FORWARD = re.compile(r"open failed: ([\w ]+?): ?(.*)")
_OFFERED = re.compile(r"SHA256:[A-Za-z0-9+/]+")
_NO_TYPE = re.compile(r"no matching host key type found\. Their offer: (\S+)")
_CHANGED = ("HOST IDENTIFICATION HAS CHANGED", "Host key verification failed", "host key is known for")
_REFUSED = ("Permission denied (", "Too many authentication failures")


def why(target: Target, way: Way, said: str, bastion_said: str, *, late: bool = False) -> Cause:
    """The cause of an attempt that came to no login. `late`: it was ended because its time was up."""
    if way.bastion is not None and bastion_said.strip():
        forward = _FORWARD.search(bastion_said)
        if forward is None:
            found = _of(way.bastion, way, bastion_said, "the bastion ")._replace(bastion=True)
            return found._replace(then=found.then.replace("opennebula:hosts", "opennebula:ssh bastion"))
        reason = _plain(forward[2] or forward[1])
        text = f"the bastion {way.bastion} cannot reach {_place(target.endpoint)}: {reason}"
        return Cause(Code.UNREACHABLE, text, _REACH, again=True)
    if late and not said.strip():
        text = f"no answer within {way.login} s from {target.endpoint}"
        return Cause(Code.UNREACHABLE, text + (f" through {way.bastion}" if way.bastion else ""), _REACH, again=True)
    return _of(target.endpoint, way, said, "")


_REACH = "try `ssh` to that address from here; mend the network, or correct or take out the host in opennebula:hosts"


def _of(hop: Endpoint, way: Way, said: str, prefix: str) -> Cause:
    no_type = _NO_TYPE.search(said)
    if no_type or any(mark in said for mark in _CHANGED):
        offered = _OFFERED.search(said)
        offers = offered[0] if offered else f"no key of the pinned type ({no_type[1]})" if no_type else "another one"
        text = f"{prefix}host key mismatch: {_place(hop)} offers {offers}, pinned is {fingerprint(hop.host_key)}"
        then = "compare the fingerprint on the console; if the machine was reinstalled, set its new hostKey"
        return Cause(Code.HOST_KEY, text, f"{then} in opennebula:hosts")
    if any(mark in said for mark in _REFUSED):
        then = f"put the public half of opennebula:sshPrivateKey, or a key of your agent, into ~{hop.user}/.ssh/authorized_keys there"
        return Cause(Code.LOGIN, f"{prefix}login refused: {hop} takes none of the keys", then)
    return Cause(Code.UNREACHABLE, f"{prefix}{hop}: {_transport(said, way)}", _REACH, again=True)


def _transport(said: str, way: Way) -> str:
    text = _plain(said)
    if "timed out" in text or "Timeout" in text:
        return f"no answer within {way.connect} s"
    for mark, words in (
        ("Connection refused", "connection refused: no sshd listens there"),
        ("resolve hostname", "the name cannot be resolved"),
        ("No route to host", "no route to host"),
        ("unreachable", "network is unreachable"),
        ("kex_exchange_identification", "sshd closed the connection before the login (its MaxStartups, or a penalty)"),
        ("closed by", "sshd closed the connection before the login"),
        ("reset by", "the connection was cut before the login"),
    ):
        if mark in text:
            return words
    return text or "ssh ended without a word"


def fingerprint(host_key: str) -> str:
    """As OpenSSH prints it."""
    blob = base64.b64decode(host_key.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _place(hop: Endpoint) -> str:
    return f"{hop.address}:{hop.port}"


def _plain(text: str) -> str:
    return " ".join(text.split())[-300:]
