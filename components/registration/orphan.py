"""The provider host ends with its engine. Pulumi's own loop waits for ever, whoever started it.

A killed engine would leave it behind with what it had begun: an operation that waits for oned, and registers a host minutes
later, beside the next run. Nothing is left undone that the next run does not do.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Final

_HOST: Final = "pulumi.dynamic.__main__"
_LOOK_AGAIN: Final = 0.5

_once = threading.Lock()


def end_with_engine() -> None:
    """Watch the parent from now on; only in the provider host, and once. Where a shell stands between, that one counts."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name == _HOST and _once.acquire(blocking=False):
        threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_AGAIN)
    os._exit(1)
