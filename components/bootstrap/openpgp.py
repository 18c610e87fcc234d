"""The fingerprint of an armored OpenPGP public key, and its armor, without gpg.

So a wrong key is told while settings are read, before any host is touched. Signatures are not checked here: the
host's package manager does that, with this key and no other. Source of the format: RFC 4880, chapters 4, 5.5.2, 6.2 and 12.2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator

_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END = "-----END PGP PUBLIC KEY BLOCK-----"
_PUBLIC_KEY = 6  # packet tag of a primary public key
_CRC_INIT, _CRC_POLYNOMIAL = 0xB704CE, 0x1864CFB


def dearmor(armored: str) -> bytes:
    """The key's packets. Raises ValueError if the text is no single armored public key block."""
    lines = [line.strip() for line in armored.strip().splitlines()]
    if not lines or lines[0] != _BEGIN or lines[-1] != _END:
        raise ValueError(f"expected one armored public key, from the line '{_BEGIN}' to the line '{_END}'")
    body = lines[1:-1]
    if "" in body:  # armor headers, such as Comment:, end with an empty line
        body = body[body.index("") + 1 :]
    checksum = body.pop()[1:] if body and body[-1].startswith("=") else None
    try:
        packets = base64.b64decode("".join(body), validate=True)
        expected = None if checksum is None else int.from_bytes(base64.b64decode(checksum, validate=True), "big")
    except binascii.Error as broken:
        raise ValueError(f"the armored key is damaged: {broken}") from broken
    if expected is not None and expected != _crc24(packets):
        raise ValueError("the armored key is damaged: its checksum does not match")
    return packets


def armor(packets: bytes) -> str:
    """The packets as one armored public key block, with checksum: rpm takes no other form, and none without it."""
    body = base64.b64encode(packets).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    checksum = base64.b64encode(_crc24(packets).to_bytes(3, "big")).decode()
    return "\n".join([_BEGIN, "", *lines, f"={checksum}", _END])


def fingerprint(armored: str) -> str:
    """The full fingerprint of the only primary key in the block, as 40 upper-case hex digits.

    Raises ValueError for a damaged block, for several keys (each of them would be trusted) and for other key versions
    than 4 (Debian 12 knows no other).
    """
    primaries = [body for tag, body in _packets(dearmor(armored)) if tag == _PUBLIC_KEY]
    if len(primaries) != 1:
        raise ValueError(f"the armored block has {len(primaries)} keys, it must have one: export just that key")
    (key,) = primaries
    if key[:1] != b"\x04":
        raise ValueError("the key is no OpenPGP version 4 key, the only version that every supported host reads")
    return hashlib.sha1(b"\x99" + len(key).to_bytes(2, "big") + key, usedforsecurity=False).hexdigest().upper()


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        head = data[at]
        if not head & 0x80:
            raise ValueError("the armored key is damaged: no packet where one should start")
        tag, length, at = _new_header(data, at) if head & 0x40 else _old_header(data, at)
        if at + length > len(data):
            raise ValueError("the armored key is damaged: its last packet is cut off")
        yield tag, data[at : at + length]
        at += length


def _old_header(data: bytes, at: int) -> tuple[int, int, int]:
    head = data[at]
    size = 1 << (head & 3)
    if size == 8:
        raise ValueError("the armored key has a packet of unknown length, as no key has")
    return head >> 2 & 15, int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size


def _new_header(data: bytes, at: int) -> tuple[int, int, int]:
    tag, first = data[at] & 63, int.from_bytes(data[at + 1 : at + 2], "big")
    if first < 192:
        return tag, first, at + 2
    if first < 224:
        return tag, (first - 192 << 8) + int.from_bytes(data[at + 2 : at + 3], "big") + 192, at + 3
    if first == 255:
        return tag, int.from_bytes(data[at + 2 : at + 6], "big"), at + 6
    raise ValueError("the armored key has a packet of unknown length, as no key has")


def _crc24(data: bytes) -> int:
    crc = _CRC_INIT
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= _CRC_POLYNOMIAL
    return crc & 0xFFFFFF
