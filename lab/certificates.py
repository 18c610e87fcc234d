"""How the lab makes certificates; its authorities (cluster, public names, directory server) are where they are used.

Keys are elliptic (P-256), because a dozen RSA keys would take longer than the API server's start. Everything is valid for
a year, which no lab outlives, and files can be read by root only.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey
_VALID = datetime.timedelta(days=365)
_SKEW = datetime.timedelta(hours=1)


def new_key() -> Key:
    """A private key."""
    return ec.generate_private_key(ec.SECP256R1())


def name(common_name: str, organization: str = "") -> x509.Name:
    """Whom a certificate names."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def authority(common_name: str, key: Key) -> x509.Certificate:
    """A self-signed authority that signs leaves and nothing else."""
    usage = x509.KeyUsage(
        digital_signature=False,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    subject = name(common_name)
    builder = _builder(subject, subject, key)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())


def leaf(
    subject: x509.Name,
    key: Key,
    *,
    issuer: x509.Certificate,
    signer: Key,
    purpose: x509.ObjectIdentifier,
    alternatives: Sequence[x509.GeneralName] = (),
) -> x509.Certificate:
    """A certificate for one purpose (an extended key usage), signed by the key of `issuer`."""
    builder = _builder(subject, issuer.subject, key)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(identifier, critical=False)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _builder(subject: x509.Name, issuer: x509.Name, key: Key) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def pem(thing: x509.Certificate | Key) -> bytes:
    """A certificate, or a private key without a passphrase.

    A key in the older form (EC PRIVATE KEY): in PKCS #8 the API server does not find its service accounts' public half.
    """
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    return thing.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def write(path: Path, thing: x509.Certificate | Key) -> None:
    """A file in place of the one before. Also certificates are kept shut: a directory with keys is easiest shut whole."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(pem(thing))
