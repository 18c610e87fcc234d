"""One ssh process from its start to its end: the script by standard input, and every wait bounded.

Three limits: until the login is through, for the script on the host, and for silence, which ssh itself looks after
(ServerAlive). The process ends with its parents: a killed engine leaves no ssh at work.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from shutil import which
from typing import NamedTuple

MARK = "one-connected"
"""First line that the host's side prints: both handshakes are through, and the shell runs."""
_LINE = f"{MARK}\n".encode()
_KEPT = 16384  # bytes of each stream
_TICK = 1.0  # seconds between looks whether the parent lives
_REMOTE_GRACE = 30  # seconds by which this side waits longer than the host's own limit


class Ended(NamedTuple):
    """How an attempt went. `late`: this side ended it."""

    code: int
    connected: bool
    out: str
    err: str
    late: bool


def run(
    argv: list[str],
    script: int,
    environ: Mapping[str, str],
    *,
    login: float,
    limit: float,
    connected: Callable[[], None],
) -> Ended:
    """Run ssh with the open file `script` as its input. `connected` is called once the login is through."""
    parent = os.getppid()
    os.lseek(script, 0, os.SEEK_SET)
    tied = ["setpriv", "--pdeathsig", "TERM", "--"] if which("setpriv") else []
    process = subprocess.Popen(
        [*tied, *argv],
        stdin=script,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environ),
        start_new_session=True,  # no terminal to ask on
    )
    assert process.stdout and process.stderr  # noqa: S101 -- both are pipes
    kept = {process.stdout.fileno(): b"", process.stderr.fileno(): b""}
    out = process.stdout.fileno()
    poll = select.poll()
    for stream in kept:
        poll.register(stream, select.POLLIN)
    open_streams, marked, late = len(kept), False, False
    deadline = time.monotonic() + login
    while open_streams:
        for stream, _ in poll.poll(_TICK * 1000):
            data = os.read(stream, 65536)
            if not data:
                poll.unregister(stream)
                open_streams -= 1
                continue
            kept[stream] += data
            if not marked and stream == out and _LINE in kept[out]:
                marked, deadline = True, time.monotonic() + limit + _REMOTE_GRACE
                kept[out] = kept[out].partition(_LINE)[2]
                connected()
            kept[stream] = kept[stream][-_KEPT:]
        if not late and (time.monotonic() > deadline or os.getppid() != parent):
            late = True
            # With it the hop to the bastion, which would hold our streams until its own limit.
            os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    texts = [text.decode(errors="replace") for text in kept.values()]
    return Ended(code, marked, texts[0], texts[1], late)
