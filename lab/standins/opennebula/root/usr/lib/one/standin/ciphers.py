"""AES-256-CBC as the daemons use it: with the C library that Python's own `ssl` is linked to, because Debian's Python has
no cipher and its OpenSSL is there anyway.
"""

from __future__ import annotations

import base64
import binascii
import ctypes
from typing import Final

_BLOCK: Final = 16


class CipherError(ValueError):
    """A text that was not made with this key; `str()` is OpenSSL's word for it."""


def encrypt(data: bytes, key: bytes, iv: bytes) -> bytes:
    """`data` with PKCS#7 padding, encrypted."""
    return _run(data, key, iv, encrypting=True)


def decrypt(data: bytes, key: bytes, iv: bytes) -> bytes:
    """:raises CipherError: for anything that `encrypt` did not make with this key and iv."""
    if not data or len(data) % _BLOCK:
        raise CipherError("wrong final block length")
    return _run(data, key, iv, encrypting=False)


def gate_token(text: str, password: str) -> str:
    """What a machine shows to OneGate: `text` (`<vm id>:<start time>`) under its owner's TOKEN_PASSWORD.

    Source: OpenNebula 7.4.0 src/common/NebulaUtil.cc, `aes256cbc_encrypt`: the password itself is the key, the iv is
    never set.
    """
    return base64.b64encode(encrypt(text.encode(), password.encode()[: 2 * _BLOCK], b"\0" * _BLOCK)).decode()


def open_server_token(shared: str, token: str) -> str:
    """The text inside a server token: the server account, whom it acts as, until when (Unix time).

    `shared` is the sha256 of the account's password, as the database holds it.

    :raises CipherError: for a token of another secret.
    """
    try:
        data = base64.b64decode(token)
    except binascii.Error:
        data = b""
    return decrypt(data, shared[:32].encode(), shared[:16].encode()).decode(errors="replace")


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libcrypto.so.3")
    library.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
    library.EVP_aes_256_cbc.restype = ctypes.c_void_p
    return library


_CRYPTO: Final = _library()


def _run(data: bytes, key: bytes, iv: bytes, *, encrypting: bool) -> bytes:
    if len(key) != 2 * _BLOCK or len(iv) != _BLOCK:
        raise CipherError("key must be 32 bytes")
    context = ctypes.c_void_p(_CRYPTO.EVP_CIPHER_CTX_new())
    target = ctypes.create_string_buffer(len(data) + _BLOCK)
    written, last = ctypes.c_int(0), ctypes.c_int(0)
    try:
        cipher = ctypes.c_void_p(_CRYPTO.EVP_aes_256_cbc())
        done = (
            _CRYPTO.EVP_CipherInit_ex(context, cipher, None, key, iv, int(encrypting)) == 1
            and _CRYPTO.EVP_CipherUpdate(context, target, ctypes.byref(written), data, len(data)) == 1
            and _CRYPTO.EVP_CipherFinal_ex(
                context, ctypes.byref(target, written.value), ctypes.byref(last)
            ) == 1
        )  # fmt: skip
    finally:
        _CRYPTO.EVP_CIPHER_CTX_free(context)
    if not done:
        raise CipherError("bad decrypt")
    return target.raw[: written.value + last.value]
