"""Between a client and oned: how many calls, and how many connections at once. Seen from outside, whatever the client says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

_CALL = b"<methodName>"


class Counter:
    """What went through, so far."""

    def __init__(self) -> None:
        self.calls = 0
        self.most = 0
        """Connections that were open at the same time."""
        self._open = 0
        self._lock = threading.Lock()

    def opened(self, by: int) -> None:
        with self._lock:
            self._open += by
            self.most = max(self.most, self._open)

    def called(self, times: int) -> None:
        with self._lock:
            self.calls += times


@contextmanager
def counting(port: int) -> Iterator[tuple[str, Counter]]:
    """A door of its own to oned on loopback: its URL, and what is counted there."""
    counter = Counter()
    with closing(socket.create_server(("127.0.0.1", 0), backlog=128)) as door:
        threading.Thread(target=_serve, args=(door, port, counter), daemon=True).start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}/RPC2", counter


def _serve(door: socket.socket, port: int, counter: Counter) -> None:
    while True:
        try:
            client, _ = door.accept()
        except OSError:  # the door is closed
            return
        server = socket.create_connection(("127.0.0.1", port))
        counter.opened(1)
        threading.Thread(target=_requests, args=(client, server, counter), daemon=True).start()
        threading.Thread(target=_answers, args=(server, client), daemon=True).start()


def _requests(client: socket.socket, server: socket.socket, counter: Counter) -> None:
    rest = b""
    with suppress(OSError):  # one of them has gone, which ends the connection as well
        while data := client.recv(65536):
            server.sendall(data)
            seen = rest + data
            counter.called(seen.count(_CALL))
            rest = seen[-len(_CALL) + 1 :]  # shorter than the word: what is counted is not counted again
    counter.opened(-1)
    _end(server)


def _answers(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):  # likewise
        while data := server.recv(65536):
            client.sendall(data)
    _end(client)


def _end(end: socket.socket) -> None:
    with suppress(OSError):  # it has gone already
        end.shutdown(socket.SHUT_RDWR)
    end.close()
