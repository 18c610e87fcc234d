"""Lines between daemons and drivers, and datagrams from hosts: blank-separated words, the payload packed.

`<TYPE> <STATUS> <id> <payload>` between oned and onemonitord, with a Unix timestamp before the payload everywhere else.
The payload is base64 of zlib of text, `-` when there is none.
"""

from __future__ import annotations

import base64
import binascii
import time
import zlib
from dataclasses import dataclass

SUCCESS = "SUCCESS"
FAILURE = "FAILURE"


class MessageError(ValueError):
    """A line or datagram that is no message."""


@dataclass(frozen=True)
class Message:
    """`timestamp` is in seconds since 1970, 0 where the message has none."""

    kind: str
    status: str
    oid: int
    payload: str = ""
    timestamp: int = 0

    def line(self, *, timestamp: bool = False) -> str:
        words = [self.kind, self.status or "-", str(self.oid)]
        if timestamp:
            words.append(str(self.timestamp or int(time.time())))
        return " ".join([*words, pack(self.payload)]) + "\n"


def pack(payload: str) -> str:
    return base64.b64encode(zlib.compress(payload.encode(errors="replace"), 9)).decode() if payload else "-"


def unpack(packed: str) -> bytes:
    """:raises MessageError: for anything that `pack` (or the host's client) does not make."""
    if packed in ("", "-"):
        return b""
    try:
        return zlib.decompress(base64.b64decode(packed, validate=True))
    except (binascii.Error, zlib.error) as error:
        raise MessageError(f"payload is not base64 of zlib: {error}") from None


def read(line: str, *, timestamp: bool = False) -> Message:
    """:raises MessageError: for a line that is no message."""
    words = line.split()
    least = 4 if timestamp else 3
    if len(words) < least:
        raise MessageError(f"{len(words)} words, at least {least} expected")
    try:
        oid = int(words[2])
        stamp = int(words[3]) if timestamp else 0
    except ValueError:
        raise MessageError("host id or timestamp is not a number") from None
    packed = words[least] if len(words) > least else "-"
    return Message(words[0], words[1], oid, unpack(packed).decode(errors="replace"), stamp)
