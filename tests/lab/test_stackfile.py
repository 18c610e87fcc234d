"""The lab's own stack file, by release."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from components import naming
from components.domain import Version
from components.versions import RELEASES
from lab import ca, paths
from lab.paths import Instance
from lab.repository import RepositoryInfo
from lab.stackfile import INGRESS_KEY, lab_config, write
from stacks.settings import StackSettings, parse
from tests.openpgp_key import ARMORED, FINGERPRINT


@pytest.fixture
def certificate(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> ca.ServerCertificate:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    return ca.ensure(Instance(name="sample", index=5))


def settings(version: Version, certificate: ca.ServerCertificate, tmp_path: Any) -> StackSettings:
    daemons = ["oned", "fireedge", "oneflow", "onegate", *(["sunstone"] if RELEASES[version].ruby_sunstone else [])]
    images = {name: f"localhost/onelab/{name}:{version.value}" for name in (*daemons, "mariadb")}
    repository = RepositoryInfo(directory=tmp_path, key_armored=ARMORED, fingerprint=FINGERPRINT)
    instance = Instance(name="sample", index=5)
    values = lab_config(instance, images, (), repository, version, certificate=certificate.certificate)
    texts = {key.partition(":")[2]: each if isinstance(each, str) else json.dumps(each) for key, each in values.items()}
    return parse(texts | {INGRESS_KEY.partition(":")[2]: certificate.key})


@pytest.mark.parametrize("version", Version)
def test_what_the_lab_writes_is_accepted_and_exposes_every_daemon(
    version: Version, certificate: ca.ServerCertificate, tmp_path: Any
) -> None:
    found = settings(version, certificate, tmp_path)
    assert found.version is version
    assert found.sunstone.enabled is RELEASES[version].ruby_sunstone
    exposed = {naming.FIREEDGE, naming.ONEFLOW, naming.ONEGATE, "api"}
    assert set(found.ingress.hosts.named) == exposed | ({naming.SUNSTONE} if found.sunstone.enabled else set())


def test_sunstone_sends_browsers_to_names_that_the_certificate_holds(
    certificate: ca.ServerCertificate, tmp_path: Any
) -> None:
    found = settings(Version.V6_10, certificate, tmp_path)
    assert found.sunstone.public_url == f"https://{found.ingress.hosts.sunstone}"
    assert found.sunstone.public_fireedge_url == f"https://{found.ingress.hosts.fireedge}"


def test_what_the_engine_encrypted_stays_whole_or_in_parts(tmp_path: Any) -> None:
    file = tmp_path / "Pulumi.sample.yaml"
    salt = {"encryptionsalt": "v1:x"}
    secure = {"secure": "v1:abc"}
    config = {"opennebula:a": secure, "opennebula:b": {"main": secure, "more": {"x": secure}}, "opennebula:c": {"x": 1}}
    file.write_text(yaml.safe_dump({**salt, "config": {**config, "opennebula:d": {"x": secure, "y": 2}}}))
    write(file, {"opennebula:c": {"x": 2}})
    found = yaml.safe_load(file.read_text())
    assert found == {**salt, "config": {**config, "opennebula:c": {"x": 2}}}
