"""Keys as text: making a pair, and the public half of an operator's own key. Pure but for the random source.

Two kinds: OpenSSH's (Ed25519), and onemonitord's RSA pair. The latter's formats are onemonitord's own: the private half
is what OpenSSL's PEM_read_PrivateKey takes (src/common/SSLUtil.cc), the public one must say BEGIN RSA PUBLIC KEY, which
the agents on the hosts look for by name (src/im_mad/remotes/common.d/monitord-client.rb).
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MONITOR_KEY_BITS = 2048  # the agents take any size; a larger one only makes each message's many blocks slower


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """`private_key` in OpenSSH's PEM, `public_key` as `type base64`, `fingerprint` as ssh-keygen -l prints it."""

    private_key: str
    public_key: str

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.public_key)


def new_key_pair() -> KeyPair:
    """A fresh Ed25519 pair."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return KeyPair(private_key=private.decode(), public_key=public.decode())


def public_half(private_key: str) -> str:
    """The public key, `type base64`, of an OpenSSH private key.

    Raises ValueError when the text is no OpenSSH private key or asks for a passphrase; the text is never quoted.
    """
    try:
        key = serialization.load_ssh_private_key(private_key.encode(), password=None)
    except TypeError:
        raise ValueError("is protected by a passphrase, which nobody could type; give a key without one") from None
    except Exception:  # the library raises several kinds; none of their texts may show key material
        raise ValueError("is not an OpenSSH private key (ssh-keygen -t ed25519 -N '' -f FILE makes one)") from None
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return public.decode()


def fingerprint(public_key: str) -> str:
    """SHA256 fingerprint of a public key."""
    digest = hashlib.sha256(base64.b64decode(public_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True, kw_only=True)
class MonitorKeyPair:
    """Both halves in PEM: `private_key` as PKCS#8, `public_key` as PKCS#1."""

    private_key: str
    public_key: str


def new_monitor_key_pair() -> MonitorKeyPair:
    """A fresh RSA pair for the messages from hosts to onemonitord."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=MONITOR_KEY_BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return MonitorKeyPair(private_key=private.decode(), public_key=_pkcs1(key.public_key()))


def monitor_public_half(private_key: str) -> str:
    """The public half of an RSA private key in PEM.

    Raises ValueError when the text is no such key, is too short or asks for a passphrase; the text is never quoted.
    """
    try:
        key = serialization.load_pem_private_key(private_key.encode(), password=None)
    except TypeError:
        raise ValueError("is protected by a passphrase, which nobody could type; give a key without one") from None
    except Exception:  # the library raises several kinds; none of their texts may show key material
        raise ValueError("is not an RSA private key in PEM (openssl genrsa 2048 makes one)") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("is not an RSA key; onemonitord takes no other kind (openssl genrsa 2048 makes one)")
    if key.key_size < MONITOR_KEY_BITS:
        raise ValueError(f"has {key.key_size} bits; give one of {MONITOR_KEY_BITS} or more")
    return _pkcs1(key.public_key())


def _pkcs1(key: rsa.RSAPublicKey) -> str:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1).decode()
