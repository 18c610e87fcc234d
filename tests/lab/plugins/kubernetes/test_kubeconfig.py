"""Kubeconfigs and provider settings, without a cluster."""

from __future__ import annotations

import base64
import datetime
import json
import stat
import textwrap
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.plugins.errors import PluginError, Unsupported
from lab.plugins.kubernetes import kubeconfig, settings


def config(user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "ns"}},
            {"name": "there", "context": {"cluster": "d", "user": "u"}},
        ],
        "clusters": [
            {"name": "c", "cluster": {"server": "https://c:6443"} | (cluster or {})},
            {"name": "d", "cluster": {"server": "http://d:8080"}},
        ],
        "users": [{"name": "u", "user": user or {}}],
    }


def pair() -> tuple[bytes, bytes]:
    """A certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "u")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def test_content_and_path_are_the_same(tmp_path: Path) -> None:
    text = json.dumps(config())
    (tmp_path / "config").write_text(text)
    assert kubeconfig.parse(text) == kubeconfig.parse(str(tmp_path / "config"))


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(json.dumps(config({"tokenFile": "token"})))
    (tmp_path / "token").write_text("t0\n")
    found = kubeconfig.target(kubeconfig.parse(str(tmp_path / "config")))
    assert found.authorization() == "Bearer t0"


def test_context_cluster_and_namespace_can_be_chosen() -> None:
    found = config()
    assert kubeconfig.target(found).server == "https://c:6443"
    assert kubeconfig.target(found).namespace == "ns"
    assert kubeconfig.target(found, context="there").server == "http://d:8080"
    assert kubeconfig.target(found, context="there").namespace == "default"
    assert kubeconfig.target(found, cluster="d", namespace="mine").server == "http://d:8080"
    assert kubeconfig.target(found, cluster="d", namespace="mine").namespace == "mine"


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"current-context": "nowhere"}, "no context 'nowhere'"),
        ({"clusters": []}, "no cluster 'c'"),
        ({"clusters": [{"name": "c", "cluster": {"server": "c:6443"}}]}, "not an http"),
    ],
)
def test_what_is_missing_is_named(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(PluginError, match=text):
        kubeconfig.target(config() | changed)


@pytest.mark.parametrize("content", ["a: [", "just text\n", "clusters: none\n"])
def test_what_is_no_kubeconfig(content: str) -> None:
    with pytest.raises(PluginError, match="kubeconfig given as text"):
        kubeconfig.parse(content + "\n")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="No such file"):
        kubeconfig.parse(str(tmp_path / "none"))


def test_client_certificates(tmp_path: Path) -> None:
    certificate, key = pair()
    encoded = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    assert kubeconfig.target(config(encoded)).tls
    with pytest.raises(PluginError, match="do not fit together"):
        kubeconfig.target(config(encoded | {"client-key-data": base64.b64encode(pair()[1]).decode()}))
    with pytest.raises(PluginError, match="client-key-data is not base64"):
        kubeconfig.target(config(encoded | {"client-key-data": "%"}))
    with pytest.raises(PluginError, match="No such file"):
        kubeconfig.target(config({"client-certificate": str(tmp_path / "c"), "client-key": str(tmp_path / "k")}))


def test_certificate_authority() -> None:
    assert kubeconfig.target(config(cluster={"certificate-authority-data": base64.b64encode(pair()[0]).decode()})).tls
    with pytest.raises(PluginError, match="no certificate"):
        kubeconfig.target(config(cluster={"certificate-authority-data": base64.b64encode(b"nonsense").decode()}))


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({}, None),
        ({"token": "t"}, "Bearer t"),
        ({"username": "u", "password": "p"}, "Basic dTpw"),
    ],
)
def test_headers(user: dict[str, Any], header: str | None) -> None:
    assert kubeconfig.target(config(user)).authorization() == header


def plugin_script(directory: Path, body: str) -> dict[str, Any]:
    script = directory / "credential"
    script.write_text(f"#!/bin/sh\n{textwrap.dedent(body)}")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script), "args": ["now"]}
    return {"exec": command | {"env": [{"name": "WHO", "value": "me"}]}}


def test_exec_plugin(tmp_path: Path) -> None:
    user = plugin_script(tmp_path, 'echo x >> "$0.calls"; echo "{\\"status\\": {\\"token\\": \\"$WHO-$1\\"}}"')
    found = kubeconfig.target(config(user))
    assert [found.authorization(), found.authorization()] == ["Bearer me-now"] * 2
    assert (tmp_path / "credential.calls").read_text() == "x\n", "asked once while it is valid"


def test_exec_plugin_that_fails(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="credential failed: no login"):
        kubeconfig.target(config(plugin_script(tmp_path, "echo no login >&2; exit 1")))


def test_ambient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kubeconfig.ambient({}) == str(tmp_path / ".kube" / "config")
    assert kubeconfig.ambient({"KUBECONFIG": "/a"}) == "/a"
    with pytest.raises(Unsupported):
        kubeconfig.ambient({"KUBECONFIG": "/a:/b"})


def loaded(environment: dict[str, str] | None = None, **given: str) -> settings.Settings:
    return settings.load({f"kubernetes:config:{name}": value for name, value in given.items()}, environment or {})


def test_settings() -> None:
    assert loaded() == settings.Settings()
    found = loaded(namespace="one", enableSecretMutable="true", deleteUnreachable="false")
    assert (found.namespace, found.secret_mutable, found.delete_unreachable) == ("one", True, False)


def test_environment_counts_where_the_program_is_silent() -> None:
    environment = {"PULUMI_K8S_DELETE_UNREACHABLE": "true"}
    assert loaded(environment).delete_unreachable
    assert not loaded(environment, deleteUnreachable="false").delete_unreachable


@pytest.mark.parametrize(
    ("environment", "given"),
    [
        ({}, {"enableServerSideApply": "false"}),
        ({}, {"renderYamlToDirectory": "out"}),
        ({"PULUMI_K8S_AWAIT_ALL": "true"}, {}),
    ],
)
def test_what_is_not_supported_is_refused(environment: dict[str, str], given: dict[str, str]) -> None:
    with pytest.raises(Unsupported):
        loaded(environment, **given)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(PluginError, match="nonsense"):
        loaded(nonsense="1")
