"""One run of a local command."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

from lab.plugins.command.output import CommandFailed, Output
from lab.plugins.errors import PluginError

_CHUNK = 65536  # bytes
_END_GRACE = 5  # seconds between asking a cancelled command to end and killing it


def run(
    command: str,
    inputs: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    show: Callable[[str], None],
    cancelled: threading.Event,
) -> Output:
    """Run `command` with the inputs' interpreter, dir and stdin. CommandFailed or PluginError say what went wrong."""
    output = Output(inputs.get("logging"), show)
    argv = [*(inputs.get("interpreter") or ("/bin/sh", "-c")), command]
    try:
        process = subprocess.Popen(
            argv,
            cwd=inputs.get("dir"),
            env=os.environ | environment,
            stdin=subprocess.PIPE if inputs.get("stdin") else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise PluginError(f"cannot run {argv[0]} in {inputs.get('dir') or '.'}: {error}") from error
    threads = [
        threading.Thread(target=_read, args=(process.stdout, output, "stdout"), daemon=True),
        threading.Thread(target=_read, args=(process.stderr, output, "stderr"), daemon=True),
        threading.Thread(target=_feed, args=(process.stdin, inputs.get("stdin")), daemon=True),
    ]
    for thread in threads:
        thread.start()
    _wait(process, threads, cancelled)
    output.finish()
    if process.returncode:
        ended = "exit status" if process.returncode > 0 else "signal"
        raise CommandFailed(f"{ended} {abs(process.returncode)}", command, output)
    return output


def _read(stream: IO[bytes], output: Output, name: str) -> None:
    with stream:
        while data := os.read(stream.fileno(), _CHUNK):
            output.write(name, data)


def _feed(stream: IO[bytes] | None, text: str | None) -> None:
    if stream is None or text is None:
        return
    try:
        with stream:
            stream.write(text.encode())
    except BrokenPipeError:  # the command need not read what it is given
        return


def _wait(process: subprocess.Popen[bytes], threads: list[threading.Thread], cancelled: threading.Event) -> None:
    """Until the command and everybody who holds its output are done, or the engine cancels."""
    while process.poll() is None or any(thread.is_alive() for thread in threads):
        if cancelled.wait(0.05):
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                    process.wait(_END_GRACE)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
            return
