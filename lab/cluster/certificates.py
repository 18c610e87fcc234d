"""The cluster's own certificate authority and the certificates its parts know each other by.

Made once for a lab and kept with its state.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from lab import certificates as made
from lab.box import NODE
from lab.paths import Instance


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One certificate: who it names, as a user and group of Kubernetes, and which addresses it serves."""

    name: str
    common_name: str
    organization: str = ""
    dns: tuple[str, ...] = ()
    addresses: tuple[IPv4Address, ...] = ()


def subjects(instance: Instance) -> tuple[Subject, ...]:
    """All leaf certificates; the common names and groups are the ones that Kubernetes' built-in roles name."""
    loopback = IPv4Address("127.0.0.1")
    return (
        Subject(
            name="apiserver",
            common_name="kube-apiserver",
            dns=(
                *("localhost", NODE, "kubernetes", "kubernetes.default", "kubernetes.default.svc"),
                "kubernetes.default.svc.cluster.local",
            ),
            addresses=(loopback, instance.services[1], instance.node_ip, instance.box_ip),
        ),
        Subject(name="kubelet-server", common_name=NODE, dns=(NODE,), addresses=(instance.node_ip, loopback)),
        Subject(name="admin", common_name="onelab-admin", organization="system:masters"),
        Subject(name="apiserver-kubelet", common_name="kube-apiserver-kubelet", organization="system:masters"),
        Subject(name="kube-controller-manager", common_name="system:kube-controller-manager"),
        Subject(name="kube-scheduler", common_name="system:kube-scheduler"),
        Subject(name="kube-proxy", common_name="system:kube-proxy"),
        Subject(name="kubelet", common_name=f"system:node:{NODE}", organization="system:nodes"),
    )


@dataclass(frozen=True)
class Pki:
    """The directory with ca.crt, <name>.crt, <name>.key and the service accounts' key pair."""

    directory: Path

    def certificate(self, name: str) -> Path:
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.directory / f"{name}.key"

    @property
    def ca(self) -> Path:
        return self.certificate("ca")


def ensure(instance: Instance) -> Pki:
    """The lab's certificates, made anew unless a complete set is there."""
    pki = Pki(instance.state / "pki")
    pki.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (pki.directory / "complete").exists():
        authority = made.new_key()
        root = made.authority("onelab-ca", authority)
        made.write(pki.key("ca"), authority)
        made.write(pki.ca, root)
        for subject in subjects(instance):
            key = made.new_key()
            made.write(pki.key(subject.name), key)
            made.write(pki.certificate(subject.name), _leaf(subject, key, root, authority))
        made.write(pki.key("service-accounts"), made.new_key())
        (pki.directory / "complete").touch()
    return pki


def _leaf(subject: Subject, key: made.Key, root: x509.Certificate, authority: made.Key) -> x509.Certificate:
    """A certificate for servers if the subject has addresses, for clients otherwise."""
    serves = bool(subject.dns or subject.addresses)
    return made.leaf(
        made.name(subject.common_name, subject.organization),
        key,
        issuer=root,
        signer=authority,
        purpose=ExtendedKeyUsageOID.SERVER_AUTH if serves else ExtendedKeyUsageOID.CLIENT_AUTH,
        alternatives=_alternatives(subject),
    )


def _alternatives(subject: Subject) -> Sequence[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in subject.dns]
    return [*names, *(x509.IPAddress(ipaddress.ip_address(address)) for address in subject.addresses)]
