"""The provider host ends with its engine. Pulumi's own loop waits for ever, whoever started it.

A killed engine would leave it behind with what it had begun: an operation that waits for oned, and registers a host minutes
later, beside the next run. Nothing is left undone that the next run does not do.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from typing import Final

_HOST: Final = "pulumi.dynamic.__main__"
_LOOK_AGAIN: Final = 0.5
_ANSWER: Final = 5.0
"""Seconds for a listener of this machine to take a connection."""

_once = threading.Lock()


def end_with_engine() -> None:
    """Watch the parent from now on; only in the provider host, and once. Where a shell stands between, that one counts."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name == _HOST and _once.acquire(blocking=False):
        parent = os.getppid()
        if _engine_is_gone(sys.argv[1:]):
            # Killed between its last request and now: the parent is somebody else already, who may live for ever.
            os._exit(1)
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _engine_is_gone(arguments: list[str]) -> bool:
    """Whether nobody listens any more where the engine said that it does, which is the host's first argument."""
    host, _, port = (arguments or [""])[0].rpartition(":")
    if not host or not port.isdigit():
        return False
    try:
        socket.create_connection((host, int(port)), _ANSWER).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False  # that says nothing about the engine
    return False


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_AGAIN)
    os._exit(1)
