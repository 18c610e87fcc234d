"""oned behind TLS: only a certificate that this machine trusts, and that names the host, gets the credential."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable
from pathlib import Path
from socket import socket

import pytest

from components.registration.errors import AccessError
from tests.certificates import self_signed
from tests.registration.servers import answer, client_of, peer, request_of


def certificate(directory: Path, name: str) -> Path:
    today, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    made, private = self_signed(name, name, begins=today - day, ends=today + day)
    path = directory / f"{name}.pem"
    path.write_text(private + made)
    return path


def serving(pem: Path, seen: list[bytes]) -> Callable[[socket], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def behave(connection: socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            seen.append(request_of(secured))
            secured.sendall(answer([True, "<HOST_POOL/>", 0]))

    return behave


@pytest.mark.parametrize(("name", "trusted"), [("localhost", True), ("localhost", False), ("elsewhere", True)])
def test_a_certificate_must_be_trusted_and_name_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, trusted: bool
) -> None:
    pem = certificate(tmp_path, name)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    seen: list[bytes] = []
    with peer(serving(pem, seen)) as url:
        client = client_of(url.replace("http://127.0.0.1", "https://localhost"))
        if name == "localhost" and trusted:
            assert client.hosts() == ()
            return
        with pytest.raises(AccessError, match="oned's certificate is refused: localhost"):
            client.hosts()
    assert seen == [], "no credential for a stranger"
