"""The lab's public certificate authority, and server certificates for names that people and VMs use.

Apart from the cluster's own (lab/cluster/certificates.py): whoever trusts this one, a browser or a VM, must not by that
trust anything to log in to Kubernetes. Made once for a lab and kept with its state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from lab import cache, certificates
from lab.paths import Instance

DOMAIN = "lab.test"  # `.test` is nobody's (RFC 6761)


@dataclass(frozen=True, kw_only=True)
class ServerCertificate:
    """PEM texts: a certificate, its key, and the authority that whoever checks it must trust (also as a file)."""

    certificate: str
    key: str
    authority: str
    authority_file: Path


def ensure(instance: Instance, names: Sequence[str] = (f"*.{DOMAIN}", DOMAIN)) -> ServerCertificate:
    """A server certificate for DNS names, by default for all of the lab's; the same one whenever it is asked for again."""
    authority = cache.entry("tls", "authority", _make_authority, cache=instance.state)
    key = f"server-{cache.digest(name.encode() for name in names)}"
    server = cache.entry("tls", key, lambda into: _make_server(into, authority, names), cache=instance.state)
    return ServerCertificate(
        certificate=(server / "tls.crt").read_text(),
        key=(server / "tls.key").read_text(),
        authority=(authority / "ca.crt").read_text(),
        authority_file=authority / "ca.crt",
    )


def _make_authority(into: Path) -> None:
    key = certificates.new_key()
    certificates.write(into / "ca.crt", certificates.authority("OpenNebula lab", key))
    certificates.write(into / "ca.key", key)


def _make_server(into: Path, authority: Path, names: Sequence[str]) -> None:
    root = x509.load_pem_x509_certificate((authority / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((authority / "ca.key").read_bytes(), password=None)
    if not isinstance(signer, certificates.Key):
        raise TypeError(f"{authority}/ca.key is not this module's")
    key = certificates.new_key()
    certificate = certificates.leaf(
        certificates.name(names[0]),
        key,
        issuer=root,
        signer=signer,
        purpose=ExtendedKeyUsageOID.SERVER_AUTH,
        alternatives=[x509.DNSName(name) for name in names],
    )
    certificates.write(into / "tls.crt", certificate)
    certificates.write(into / "tls.key", key)
