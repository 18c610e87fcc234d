"""The engine as the plugin sees it: a place to log to.

Sending happens on one thread of its own, in order, so that no operation waits for the display; each operation ends only
when its lines are sent.
"""

from __future__ import annotations

import queue
import sys
import threading

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

_SEND_LIMIT = 5  # seconds; the engine answers in microseconds or is gone


class Host:
    """Log of one plugin. `urn` ties a line to a resource; a status is shown beside it and not kept."""

    def __init__(self, engine_address: str | None) -> None:
        self._queue: queue.SimpleQueue[engine_pb2.LogRequest | threading.Event] = queue.SimpleQueue()
        self._address = engine_address
        self._quiet = True
        if engine_address:
            threading.Thread(target=self._send_all, name="engine-log", daemon=True).start()

    def status(self, urn: str, text: str) -> None:
        """Show what is going on now. An empty text clears it."""
        self._put(engine_pb2.INFO, urn, text, ephemeral=True)

    def warn(self, urn: str, text: str) -> None:
        """A line that stays, as a warning."""
        self._put(engine_pb2.WARNING, urn, text)

    def debug(self, urn: str, text: str) -> None:
        """A line for `pulumi --debug`."""
        self._put(engine_pb2.DEBUG, urn, text)

    def flush(self) -> None:
        """Return when everything said so far is sent, or the engine does not take it."""
        if self._quiet:
            return
        sent = threading.Event()
        self._queue.put(sent)
        sent.wait(_SEND_LIMIT)

    def _put(self, severity: engine_pb2.LogSeverity.ValueType, urn: str, text: str, ephemeral: bool = False) -> None:
        if self._address:
            self._quiet = False
            self._queue.put(engine_pb2.LogRequest(severity=severity, urn=urn, message=text, ephemeral=ephemeral))

    def _send_all(self) -> None:
        stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(str(self._address)))
        gone = False
        while True:
            item = self._queue.get()
            if isinstance(item, threading.Event):
                item.set()
            elif not gone:
                try:
                    stub.Log(item, timeout=_SEND_LIMIT)
                except grpc.RpcError as error:
                    print(f"log line not taken by the engine: {error}", file=sys.stderr)
                    gone = True
