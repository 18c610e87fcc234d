"""As much of oned's hosts as the bench asks for, over real XML-RPC, in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from xml.sax.saxutils import escape
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

SESSION = "oneadmin:paper"
_STATES = {0: 2, 1: 4, 2: 8}


class PaperOned:
    """What LocalOned tells of itself, and the hosts: name, state and labels by id."""

    session = SESSION

    def __init__(self, port: int) -> None:
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}/RPC2"
        self.hosts: dict[int, tuple[str, int, dict[str, str]]] = {}
        self._ids = count()

    def add(self, name: str, labels: dict[str, str] | None = None) -> int:
        host_id = next(self._ids)
        self.hosts[host_id] = (name, 2, dict(labels or {}))
        return host_id

    def id_of(self, name: str) -> int:
        (found,) = (host_id for host_id, (other, _, _) in self.hosts.items() if other == name)
        return found

    def _dispatch(self, method: str, arguments: tuple[Any, ...]) -> list[Any]:
        session, *rest = arguments
        if session != SESSION:
            return [False, "[one] User couldn't be authenticated, aborting.", 256]
        return [True, getattr(self, f"_{method.removeprefix('one.').replace('.', '_')}")(*rest), 0]

    def _host_allocate(self, name: str, _im: str, _vm: str, _cluster: int) -> int:
        return self.add(name)

    def _host_delete(self, host_id: int) -> int:
        del self.hosts[host_id]
        return host_id

    def _host_status(self, host_id: int, status: int) -> int:
        name, _, labels = self.hosts[host_id]
        self.hosts[host_id] = (name, _STATES[status], labels)
        return host_id

    def _host_update(self, host_id: int, text: str, how: int) -> int:
        assert how == 1, "merged, not in place of what is there"
        key, _, value = text.partition("=")
        self.hosts[host_id][2][key] = value.strip('"')
        return host_id

    def _hostpool_info(self) -> str:
        rows = (
            f"<HOST><ID>{host_id}</ID><NAME>{name}</NAME><STATE>{state}</STATE><TEMPLATE>"
            + "".join(f"<{key}>{escape(value)}</{key}>" for key, value in labels.items())
            + "</TEMPLATE></HOST>"
            for host_id, (name, state, labels) in self.hosts.items()
        )
        return f"<HOST_POOL>{''.join(rows)}</HOST_POOL>"


class _Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)


@contextmanager
def paper_oned() -> Iterator[PaperOned]:
    """Serving on loopback for the block."""
    with SimpleXMLRPCServer(("127.0.0.1", 0), requestHandler=_Handler, logRequests=False) as server:
        oned = PaperOned(server.server_address[1])
        server.register_instance(oned)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield oned
        finally:
            server.shutdown()
