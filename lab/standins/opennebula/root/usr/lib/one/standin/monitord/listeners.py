"""UDP and TCP on NETWORK/ADDRESS and NETWORK/PORT, THREADS threads each: one datagram or one connection is one
message.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Final

_DATAGRAM_BYTES: Final = 65536
_STREAM_SECONDS: Final = 15.0

Take = Callable[[str], None]


def listen(address: str, port: int, threads: int, take: Take) -> list[socket.socket]:
    """Bind both sockets and serve them until they are closed.

    :raises OSError: when an address cannot be had: "::" on a kernel without IPv6, a port that is taken.
    """
    datagrams = _bind(address, port, socket.SOCK_DGRAM)
    try:
        streams = _bind(address, port, socket.SOCK_STREAM)
    except OSError:
        datagrams.close()
        raise
    streams.listen(threads)
    for loop, endpoint in ((_datagrams, datagrams), (_streams, streams)):
        for _ in range(threads):
            threading.Thread(target=loop, args=(endpoint, take), daemon=True).start()
    return [datagrams, streams]


def _bind(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family, _, _, _, target = socket.getaddrinfo(address or None, port, type=kind, flags=socket.AI_PASSIVE)[0]
    endpoint = socket.socket(family, kind)
    try:
        if kind is socket.SOCK_STREAM:
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        endpoint.bind(target)
    except OSError:
        endpoint.close()
        raise
    return endpoint


def _datagrams(endpoint: socket.socket, take: Take) -> None:
    with contextlib.suppress(OSError):  # closed: the daemon ends
        while True:
            data = endpoint.recv(_DATAGRAM_BYTES)
            if data:
                take(data.decode(errors="replace"))


def _streams(endpoint: socket.socket, take: Take) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = endpoint.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_STREAM_SECONDS)
                received = b""
                while chunk := connection.recv(_DATAGRAM_BYTES):
                    received += chunk
                if received:
                    take(received.decode(errors="replace"))
