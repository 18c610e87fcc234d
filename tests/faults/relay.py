"""A small TCP proxy on loopback, for sshd: passes on, refuses, falls silent, cuts. It has one fixed port for its life.

What is in front of oned understands requests (`front.py`); this one only moves bytes.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable
from enum import Enum, auto
from types import TracebackType
from typing import Self

_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: a close that sends RST
_TICK = 0.2
_LIMIT = 600.0  # seconds that one connection may last


class Way(Enum):
    OPEN = auto()
    REFUSED = auto()
    """No listener, as after a reboot: connection refused."""
    SILENT = auto()
    """Connections are taken, and nothing ever comes."""


class Listener:
    """Accepts on one port of 127.0.0.1, a thread for each connection; `refuse` and `listen` close and open the port."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._ended = threading.Event()
        self._socket = _listen(0)
        self.port = int(self._socket.getsockname()[1])
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.refuse()
        self.cut()
        self._thread.join(5)

    def refuse(self) -> None:
        with self._guard:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # at once, though another thread waits for it
            self._socket.close()

    def listen(self) -> None:
        with self._guard:
            if self._socket.fileno() < 0:
                self._socket = _listen(self.port)

    def cut(self) -> None:
        """End every connection now, with RST."""
        with self._guard:
            open_, self._open = self._open, set()
        for connection in open_:
            abort(connection)

    def _accept(self) -> None:
        while not self._ended.is_set():
            with self._guard:
                server = self._socket
            try:
                ready, _, _ = select.select([server], [], [], _TICK)
                if not ready:
                    continue
                connection, _ = server.accept()
            except (OSError, ValueError):  # the port is closed
                self._ended.wait(_TICK / 4)
                continue
            with self._guard:
                self._open.add(connection)
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            connection.settimeout(_LIMIT)
            self._serve(connection)
        with self._guard:
            self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.close()


class Relay(Listener):
    """In front of one sshd."""

    def __init__(self, address: str, port: int) -> None:
        self._to = (address, port)
        self._silent = threading.Event()
        super().__init__(self._pass_on)

    def set(self, way: Way) -> None:
        """From now on. Connections that are open are cut unless they are to fall silent."""
        if way is Way.SILENT:
            self._silent.set()
            self.listen()
            return
        self._silent.clear()
        if way is Way.REFUSED:
            self.refuse()
            self.cut()
        else:
            self.listen()

    def _pass_on(self, client: socket.socket) -> None:
        with socket.create_connection(self._to, timeout=10) as server:
            while True:
                ready, _, _ = select.select([client, server], [], [], _TICK)
                if self._silent.is_set():
                    self._ended.wait(_TICK)
                    if client.fileno() < 0 or self._ended.is_set():
                        return
                    continue
                for source in ready:
                    data = source.recv(65536)
                    if not data:
                        return
                    (server if source is client else client).sendall(data)


def abort(connection: socket.socket) -> None:
    """Close with RST."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        connection.shutdown(socket.SHUT_RD)
    with contextlib.suppress(OSError):
        connection.close()


def _listen(port: int) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen(64)
    return server
