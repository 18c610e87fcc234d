"""The certificates name what clients ask for, are signed by the lab's authority, and are readable by root only."""

from __future__ import annotations

import stat
from ipaddress import IPv4Address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.cluster import certificates
from lab.cluster.certificates import Pki
from lab.paths import LAB, TEST, Instance


def load(pki: Pki, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pki.certificate(name).read_bytes())


def test_the_api_server_answers_to_all_its_names(pki: Pki, instance: Instance) -> None:
    names = load(pki, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) >= {
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    }
    assert set(names.get_values_for_type(x509.IPAddress)) == {
        IPv4Address("127.0.0.1"),
        instance.services[1],  # the address of the Service `kubernetes`
        instance.node_ip,
        instance.box_ip,  # the way in from the root namespace
    }


@pytest.mark.parametrize("name", [subject.name for subject in certificates.subjects(LAB)])
def test_every_certificate_is_signed_by_the_authority_and_fits_its_key(pki: Pki, name: str) -> None:
    certificate = load(pki, name)
    certificate.verify_directly_issued_by(load(pki, "ca"))
    key = load_pem_private_key(pki.key(name).read_bytes(), password=None)
    assert key.public_key() == certificate.public_key()


@pytest.mark.parametrize("name", [subject.name for subject in certificates.subjects(LAB)])
def test_a_certificate_is_for_servers_or_for_clients(pki: Pki, name: str) -> None:
    usage = load(pki, name).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    serves = name in {"apiserver", "kubelet-server"}
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH if serves else ExtendedKeyUsageOID.CLIENT_AUTH]


def test_the_kubelet_is_its_node_and_nothing_more(pki: Pki) -> None:
    subject = load(pki, "kubelet").subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:onelab"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"


def test_only_the_authority_signs(pki: Pki) -> None:
    for name in ("ca", "admin", "apiserver"):
        constraints = load(pki, name).extensions.get_extension_for_class(x509.BasicConstraints).value
        assert constraints.ca == (name == "ca")


def test_files_are_for_root_only(pki: Pki) -> None:
    files = [path for path in pki.directory.iterdir() if path.name != "complete"]
    assert len(files) == 2 * (len(certificates.subjects(LAB)) + 1) + 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(pki.directory.stat().st_mode) == 0o700


def test_a_complete_set_is_kept_and_a_broken_one_made_anew(pki: Pki, instance: Instance) -> None:
    before = pki.ca.read_bytes()
    certificates.ensure(instance)
    assert pki.ca.read_bytes() == before
    (pki.directory / "complete").unlink()  # as after a kill in the middle
    certificates.ensure(instance)
    assert pki.ca.read_bytes() != before
    load(pki, "admin").verify_directly_issued_by(load(pki, "ca"))


def test_two_labs_do_not_serve_each_others_addresses() -> None:
    lab, test = ({address for s in certificates.subjects(each) for address in s.addresses} for each in (LAB, TEST))
    assert lab & test == {IPv4Address("127.0.0.1")}
