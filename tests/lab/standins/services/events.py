"""The test's handle on publisher.py: publish events, and wait until a daemon has subscribed."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lab.standins.opennebula.database import free_port

_SECONDS: Final = 20.0


class Events:
    def __init__(self) -> None:
        self.port = free_port()
        self.reply_port = free_port()
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["/usr/bin/python3", str(Path(__file__).with_name("publisher.py")), str(self.port), str(self.reply_port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        self.expect("ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def replier(self) -> str:
        return f"tcp://127.0.0.1:{self.reply_port}"

    def publish(self, topic: str, content: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(f"{topic}\t{content}\n")
        self._process.stdin.flush()

    def subscribed(self, topic: str) -> None:
        """Wait until somebody follows the topic."""
        self.expect(f"subscribed {topic}")

    def expect(self, start: str) -> str:
        """The first line that starts so, as soon as there is one; an AssertionError after 20 s."""
        deadline = time.monotonic() + _SECONDS
        with self._changed:
            while True:
                for line in self._lines:
                    if line.startswith(start):
                        return line
                left = deadline - time.monotonic()
                assert left > 0, f"no '{start}' in {self._lines}"
                self._changed.wait(left)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
