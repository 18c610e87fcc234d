"""What a URL is found to be, against real TLS servers on loopback."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from lab import ca, paths, reach
from lab.ca import ServerCertificate
from lab.paths import Instance


class Answers(BaseHTTPRequestHandler):
    """Answers with the statuses of a list, the last one for ever."""

    statuses: ClassVar[list[int]]
    seen: ClassVar[list[tuple[str, str]]]

    def do_GET(self) -> None:
        self.seen.append((self.headers["Host"], self.path))
        self.send_response(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the tests' output."""


class Server(ThreadingHTTPServer):
    """Clients that break off are what the tests are about."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing on the tests' output."""


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerCertificate:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    return ca.ensure(Instance(name="sample", index=5))


@pytest.fixture
def port(certificate: ServerCertificate, tmp_path: Path) -> Iterator[int]:
    """A server with the lab's certificate that answers 200."""
    (tmp_path / "tls.crt").write_text(certificate.certificate)
    (tmp_path / "tls.key").write_text(certificate.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    Answers.statuses, Answers.seen = [200], []
    server = Server(("127.0.0.1", 0), Answers)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def ask(url: str, certificate: ServerCertificate | None, patience: float = 0.0) -> reach.Answer:
    authority = None if certificate is None else certificate.authority_file
    return reach.ask(url, address="127.0.0.1", authority=authority, patience=patience)


@pytest.mark.parametrize("status", [200, 204, 302, 401, 403, 405])
def test_a_daemon_that_answers_is_ready(certificate: ServerCertificate, port: int, status: int) -> None:
    Answers.statuses = [status]
    assert ask(f"https://api.lab.test:{port}/RPC2", certificate) == reach.Answer(True)
    assert Answers.seen == [("api.lab.test", "/RPC2")]


@pytest.mark.parametrize(("status", "says"), [(404, "its Ingress"), (502, "answers 502"), (503, "answers 503")])
def test_a_controller_without_a_daemon_behind_it_is_not(
    certificate: ServerCertificate, port: int, status: int, says: str
) -> None:
    Answers.statuses = [status]
    found = ask(f"https://api.lab.test:{port}/RPC2", certificate)
    assert found.ready is False and says in found.why


def test_a_controller_may_still_be_learning(certificate: ServerCertificate, port: int) -> None:
    Answers.statuses = [404, 503, 200]
    assert ask(f"https://api.lab.test:{port}/RPC2", certificate, patience=60) == reach.Answer(True)
    assert len(Answers.seen) == 3


def test_a_certificate_for_another_name_or_from_another_authority_is_not_good(
    certificate: ServerCertificate, port: int
) -> None:
    other = ask(f"https://api.example.com:{port}/", certificate)
    assert other.ready is False
    assert "is not good for api.example.com" in other.why and "SSL_CERT_FILE" not in other.why
    stranger = ask(f"https://api.lab.test:{port}/", None)
    assert stranger.ready is False and "SSL_CERT_FILE" in stranger.why
    assert Answers.seen == [], "nothing is asked of a server that is not who it should be"


def test_nobody_there_and_somebody_without_tls_are_not_ready(certificate: ServerCertificate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        plain = listener.getsockname()[1]

        def serve() -> None:
            near, _ = listener.accept()
            with near:
                near.recv(1)
                near.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        found = ask(f"https://api.lab.test:{plain}/", certificate)
        thread.join()
    assert found.ready is False and "breaks off the connection" in found.why
    gone = ask(f"https://api.lab.test:{plain}/", certificate)
    assert gone.ready is False and "does not take connections" in gone.why


def test_a_server_that_says_nothing_is_given_up(
    certificate: ServerCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = ask(f"https://api.lab.test:{listener.getsockname()[1]}/", certificate)
    assert found.ready is False and "says nothing" in found.why


def test_a_name_that_is_not_known_here_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> socket.socket:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    found = reach.ask("https://api.example.com/", patience=60)
    assert found == reach.Answer(
        None, "the name api.example.com is not known on this machine, so its URL was not asked"
    )


def test_all_are_asked_at_once_and_a_resolver_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    both, end = threading.Barrier(2), threading.Event()

    def answer(url: str, **_: object) -> reach.Answer:
        if "hangs" in url:
            end.wait()
        else:
            both.wait()  # broken off unless the other one is asked beside it
        return reach.Answer(True)

    monkeypatch.setattr(reach, "ask", answer)
    monkeypatch.setattr(reach, "_LIMIT", 0.5)
    found = reach.ask_all({"a": "https://a", "b": "https://b", "c": "https://hangs"})
    end.set()
    assert found["a"] == found["b"] == reach.Answer(True)
    assert found["c"].ready is None and "no answer of DNS" in found["c"].why
    assert list(found) == ["a", "b", "c"]
