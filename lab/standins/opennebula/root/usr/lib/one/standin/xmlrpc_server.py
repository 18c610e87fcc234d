"""The XML-RPC server on LISTEN_ADDRESS:PORT: plain HTTP, one thread and one call a connection, never more than MAX_CONN
of them.

At the limit it stops accepting (callers queue in the kernel, MAX_CONN_BACKLOG deep), so connections that say nothing
keep others waiting until KEEPALIVE_TIMEOUT closes them. Every answer says `Connection: close`, whatever the caller
asked for: KEEPALIVE_MAX_CONN has no effect. All of that was tried on oned 7.4.0 with xmlrpc-c 1.33.14; the source is
src/rm/xml-rpc/RequestManagerXRPC.cc.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import Final

from standin.config import Config
from standin.log import Log
from standin.xmlrpc_codec import INTERNAL_FAULT, Fault, Param, read_call, write_fault, write_response

_LINE_BYTES: Final = 65536

Answer = Callable[[str, Sequence[Param], str], list[Param]]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds and counts of oned.conf: `idle_seconds` before a request begins, `read_seconds` between parts of one."""

    connections: int
    backlog: int
    idle_seconds: int
    read_seconds: int
    message_bytes: int

    @classmethod
    def of(cls, config: Config) -> Limits:
        """:raises ConfigError: for a key that is no number."""
        return cls(
            connections=config.integer("MAX_CONN"),
            backlog=config.integer("MAX_CONN_BACKLOG"),
            idle_seconds=config.integer("KEEPALIVE_TIMEOUT"),
            read_seconds=config.integer("TIMEOUT"),
            message_bytes=config.integer("MESSAGE_SIZE"),
        )


class Server:
    """Has its address from construction on, serves after `start`.

    :raises OSError: when the address cannot be had.
    """

    def __init__(self, config: Config, answer: Answer, log: Log) -> None:
        self._limits = Limits.of(config)
        self._answer = answer
        self._log = log
        self._slots = threading.BoundedSemaphore(self._limits.connections)
        self._socket = _listener(config.get("LISTEN_ADDRESS"), config.get("PORT"))

    def start(self) -> None:
        self._log.info("ReM", f"Starting XML-RPC server, port {self._socket.getsockname()[1]} ...")
        self._socket.listen(self._limits.backlog)
        threading.Thread(target=self._accept, name="xmlrpc", daemon=True).start()
        self._log.info("ReM", "Request Manager started")

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            self._slots.acquire()
            try:
                client, address = self._socket.accept()
            except OSError:
                self._log.info("ReM", "XML-RPC server stopped.")
                return
            threading.Thread(target=self._serve, args=(client, str(address[0])), daemon=True).start()

    def _serve(self, client: socket.socket, peer: str) -> None:
        try:
            with client:
                client.settimeout(self._limits.idle_seconds)
                if not client.recv(1, socket.MSG_PEEK):
                    return
                client.settimeout(self._limits.read_seconds)
                with client.makefile("rb") as stream:
                    try:
                        status, body = self._exchange(stream, peer)
                    except TimeoutError:
                        status, body = "408 Request Timeout", b""
                _reply(client, status, body)
        except (OSError, ValueError):
            return  # a caller that went away, stayed silent, or speaks something else
        finally:
            self._slots.release()

    def _exchange(self, stream: BufferedReader, peer: str) -> tuple[str, bytes]:
        """Status and body that answer the request."""
        request = stream.readline(_LINE_BYTES).decode("latin-1").split()
        if len(request) < 2:
            return "400 Bad Request", b""
        headers = _headers(stream)
        if request[0] != "POST":
            return "405 Method Not Allowed", b"POST is the only HTTP method this server understands"
        if request[1] != "/RPC2":
            return "404 Not Found", b"this server responds to /RPC2 only"
        if not headers.get("content-length", "").isdigit():
            return "411 Length Required", b"You must send a content-length HTTP header in an XML-RPC call."
        length = int(headers["content-length"])
        if length > self._limits.message_bytes:
            return "500 Internal Server Error", b"XML-RPC request too large (%d bytes)" % length
        body = stream.read(length)
        if len(body) < length:
            raise ValueError("the caller closed before the end of its request")
        return "200 OK", self._respond(body, peer)

    def _respond(self, body: bytes, peer: str) -> bytes:
        try:
            name, params = read_call(body)
            return write_response(self._answer(name, params, peer))
        except Fault as fault:
            return write_fault(fault)
        except Exception as error:  # one call that breaks must not take the daemon along; it is logged and answered
            self._log.error("ReM", f"Unexpected {type(error).__name__} while answering a call: {error}")
            return write_fault(Fault(INTERNAL_FAULT, f"{type(error).__name__}: {error}"))


def _headers(stream: BufferedReader) -> dict[str, str]:
    headers: dict[str, str] = {}
    while line := stream.readline(_LINE_BYTES).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _reply(client: socket.socket, status: str, body: bytes) -> None:
    client.sendall(
        (
            f"HTTP/1.1 {status}\r\nContent-type: text/xml; charset=utf-8\r\nContent-length: {len(body)}\r\n"
            "Connection: close\r\nServer: OpenNebula-rehearsal-stand-in\r\n\r\n"
        ).encode()
        + body
    )


def _listener(address: str, port: str) -> socket.socket:
    family, kind, _, _, target = socket.getaddrinfo(
        address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
    except OSError:
        listener.close()
        raise
    return listener
