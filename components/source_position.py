"""Less of the call stack in the state.

The SDK sends the whole call stack with every resource, and the engine keeps it there (`stackTrace`, pulumi 3.255
`_get_stack_trace`): some 2.6 kB a resource, with paths of the machine, rewritten with each checkpoint. For a thousand
hosts that is more than everything else about them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# The SDK's own frames up to a resource's constructor. One that is a call shorter than the others keeps its own place.
_FRAMES = 6


@contextmanager
def short() -> Iterator[None]:
    """Resources that are declared inside keep nothing of how the program came there.

    `sys.tracebacklimit` is what `traceback.extract_stack` goes by, and what the SDK calls.
    """
    before = getattr(sys, "tracebacklimit", None)
    sys.tracebacklimit = _FRAMES
    try:
        yield
    finally:
        if before is None:
            del sys.tracebacklimit
        else:
            sys.tracebacklimit = before
