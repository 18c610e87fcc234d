"""Decryption of what hosts encrypt with PUBKEY: RSA with PKCS#1 v1.5 padding, block after block.

Written out here so that the daemon needs no cryptography library for an option that few switch on. It is not constant-
time and keeps no real secret: never use it outside a rehearsal.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PEM: Final = re.compile(r"-----BEGIN (?:RSA )?PRIVATE KEY-----(.*?)-----END (?:RSA )?PRIVATE KEY-----", re.DOTALL)
_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30


class KeyFileError(ValueError):
    """A file that holds no RSA private key in PEM (PKCS#1 or unencrypted PKCS#8)."""


@dataclass(frozen=True)
class PrivateKey:
    """Modulus and private exponent."""

    modulus: int
    exponent: int

    @classmethod
    def load(cls, path: Path) -> PrivateKey:
        """:raises KeyFileError: for anything but an RSA private key.
        :raises OSError: for a file that cannot be read.
        """
        found = _PEM.search(path.read_text(errors="replace"))
        if found is None:
            raise KeyFileError(f"{path} is no PEM file of an RSA private key")
        try:
            items = _items(base64.b64decode(found.group(1)))
            if items[2][0] == _OCTETS:  # PKCS#8 wraps PKCS#1
                items = _items(items[2][1])
            return cls(int.from_bytes(items[1][1]), int.from_bytes(items[3][1]))
        except (IndexError, binascii.Error):
            raise KeyFileError(f"{path} is no RSA private key") from None

    def decrypt(self, data: bytes) -> bytes | None:
        """The plain text; None when `data` was not encrypted for this key."""
        size = (self.modulus.bit_length() + 7) // 8
        if len(data) % size:
            return None
        plain = b""
        for at in range(0, len(data), size):
            block = pow(int.from_bytes(data[at : at + size]), self.exponent, self.modulus).to_bytes(size)
            end = block.find(b"\0", 2)
            if block[:2] != b"\0\2" or end < 10:
                return None
            plain += block[end + 1 :]
        return plain


def _items(data: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of every element in the outer DER sequence."""
    tag, content, _ = _element(data)
    if tag != _SEQUENCE:
        raise IndexError
    items: list[tuple[int, bytes]] = []
    while content:
        tag, inner, content = _element(content)
        items.append((tag, inner))
    return items


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    length, at = data[1], 2
    if length & 0x80:
        at += length & 0x7F
        length = int.from_bytes(data[2:at])
    if len(data) < at + length:
        raise IndexError
    return data[0], data[at : at + length], data[at + length :]
