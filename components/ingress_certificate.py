"""Does a certificate fit its key, its host names and the day? Pure; the answers are sentences for an operator.

An ingress controller that cannot use a certificate quietly serves one of its own, and browsers, hosts and VMs then fail with
messages that name neither the Secret nor the reason. Deliberately not here: whether a client trusts the issuer, which only
the clients know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

Chain = tuple[x509.Certificate, ...]  # the server's own first


def read_chain(pem: str) -> Chain:
    """The certificates of a PEM text, the server's own first. ValueError says what it is instead."""
    if "PRIVATE KEY-----" in pem:
        raise ValueError("holds a private key, which must not stand in clear: put it into the secret ingressKey")
    try:
        return tuple(x509.load_pem_x509_certificates(pem.encode()))
    except ValueError:
        raise ValueError(
            "must be PEM, -----BEGIN CERTIFICATE----- and so on: the server's certificate, then its intermediates"
        ) from None


def read_key(pem: str) -> PrivateKeyTypes:
    """A private key of PEM text. ValueError says how to make it one."""
    try:
        return serialization.load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise ValueError("is protected by a passphrase; take it away with: openssl pkey -in KEYFILE") from None
    except ValueError:
        raise ValueError("must be a private key in PEM, -----BEGIN PRIVATE KEY----- and so on") from None


def chain_problems(chain: Chain, hosts: Mapping[str, str], now: datetime) -> Iterator[tuple[str, str]]:
    """(daemon or "", sentence): hosts by daemon that the certificate does not name, and dates that are not now."""
    own = chain[0]
    begins, ends = own.not_valid_before_utc, own.not_valid_after_utc
    if now >= ends:
        yield "", f"the certificate of {_names_shown(own)} expired on {ends:%Y-%m-%d %H:%M} UTC; renew it"
    elif now < begins:
        yield (
            "",
            f"the certificate of {_names_shown(own)} is valid from {begins:%Y-%m-%d %H:%M} UTC on, which is not yet",
        )
    names = _names(own)
    for daemon, host in hosts.items():
        if not any(_covers(name, host) for name in names):
            yield daemon, f"the certificate does not cover {host}; it is for {_names_shown(own)}"


def key_problem(chain: Chain, key: PrivateKeyTypes) -> str | None:
    """Why a key does not belong to the server's certificate, if it does not."""
    wanted = _public(key.public_key())
    for place, certificate in enumerate(chain):
        if _public(certificate.public_key()) == wanted:
            if place == 0:
                return None
            return f"belongs to certificate {place + 1} of the chain; the server's own must stand first"
    return f"is not the key of the certificate of {_names_shown(chain[0])}; take the pair that was made together"


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _names(certificate: x509.Certificate) -> list[str]:
    """Subject alternative names only: no client has looked at the common name for years (RFC 9525)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]


def _names_shown(certificate: x509.Certificate) -> str:
    return ", ".join(_names(certificate)) or f"{certificate.subject.rfc4514_string()} (no subject alternative name)"


def _covers(name: str, host: str) -> bool:
    """A wildcard stands for exactly one label (RFC 9525)."""
    if name.startswith("*."):
        label, _, rest = host.partition(".")
        return bool(label) and rest == name[2:]
    return name == host
