"""The lab's certificates: checked by a real TLS handshake, made once, and kept shut."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.ingress_annotations import Controller
from components.ingress_settings import IngressSettings, problems
from lab import ca, ingress, paths
from lab.ca import ServerCertificate
from lab.paths import Instance


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    return Instance(name="sample", index=5)


def shake_hands(server: ServerCertificate, trusted: str, name: str, directory: Path) -> str:
    """The TLS version of a handshake over a socket pair; raises ssl.SSLError when the client refuses the server."""
    files = directory / "tls.crt", directory / "tls.key"
    for file, text in zip(files, (server.certificate, server.key), strict=True):
        file.write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            context.wrap_socket(far, server_side=True).close()
        except (ssl.SSLError, OSError):
            far.close()

    serving = threading.Thread(target=serve)
    serving.start()
    client = ssl.create_default_context(cadata=trusted)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        with client.wrap_socket(near, server_hostname=name) as secured:
            return str(secured.version())
    finally:
        near.close()
        serving.join(10)


@pytest.mark.parametrize("name", ["fireedge.lab.test", "api.lab.test", "lab.test"])
def test_a_client_that_trusts_the_authority_accepts_the_server(instance: Instance, tmp_path: Path, name: str) -> None:
    server = ca.ensure(instance)
    assert shake_hands(server, server.authority, name, tmp_path) == "TLSv1.3"


def test_other_names_and_other_authorities_are_refused(instance: Instance, tmp_path: Path) -> None:
    server = ca.ensure(instance)
    for name in ("deep.fireedge.lab.test", "fireedge.example"):
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            shake_hands(server, server.authority, name, tmp_path)
    stranger = ca.ensure(Instance(name="other", index=6)).authority
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        shake_hands(server, stranger, "lab.test", tmp_path)


def test_it_is_made_once_and_each_list_of_names_has_its_own(instance: Instance) -> None:
    first = ca.ensure(instance)
    assert ca.ensure(instance) == first
    other = ca.ensure(instance, ("ldap.lab.test",))
    assert other.authority == first.authority
    assert other.key != first.key
    assert first.authority_file.read_text() == first.authority


def test_nobody_else_reads_a_key(instance: Instance) -> None:
    ca.ensure(instance)
    files = [path for path in (instance.state / "tls").rglob("*") if path.suffix in {".key", ".crt"}]
    assert len(files) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_the_program_accepts_it_for_every_daemon(instance: Instance) -> None:
    server = ca.ensure(instance)
    settings = IngressSettings.model_validate(
        {
            "enabled": True,
            "class_name": ingress.CLASS,
            "controller": Controller(ingress.CONTROLLER),
            "controller_namespace": ingress.NAMESPACE,
            "tls": {"kind": "inline", "certificate": server.certificate},
            "hosts": {name.partition(".")[0]: name for name in ingress.hosts(instance)},
        }
    )
    enabled = dict.fromkeys(ingress.DAEMONS, True)
    assert list(problems(settings, enabled, key=server.key, now=datetime.now(UTC))) == []
