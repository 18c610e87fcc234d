"""Server accounts as FireEdge, OneFlow and OneGate use them: one that a test made itself, and tokens of it.

serveradmin's own secret is whatever the endpoint's first boot or its operator chose, so the tests bring an account.
"""

from __future__ import annotations

import hashlib
import time

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from tests.contract.endpoint import Endpoint, unique

BLOCK = 16


class ServerAccount:
    """A user of the driver `server_cipher` in group oneadmin, gone after the test."""

    def __init__(self, api: Endpoint) -> None:
        self.name = unique()
        self._shared = hashlib.sha256(unique().encode()).hexdigest()
        self.oid = int(api.ok("user.allocate", self.name, self._shared, "server_cipher", [0]))
        api.later(lambda: api.call("user.delete", self.oid))

    def session(self, target: str, *, seconds: int = 1800, signer: str | None = None, secret: str | None = None) -> str:
        """A session that acts as `target`."""
        import base64

        shared = self._shared if secret is None else secret
        text = f"{self.name if signer is None else signer}:{target}:{int(time.time()) + seconds}".encode()
        padder = PKCS7(8 * BLOCK).padder()
        cipher = Cipher(algorithms.AES(shared[:32].encode()), modes.CBC(shared[:BLOCK].encode())).encryptor()
        token = cipher.update(padder.update(text) + padder.finalize()) + cipher.finalize()
        return f"{self.name}:{target}:{base64.b64encode(token).decode()}"
