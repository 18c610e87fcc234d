"""Two processes, one name at a time, both let go at the same moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


class Racers:
    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def race(self, name: str) -> list[str]:
        """What each process answered for `name`: an id, or an error."""
        for process in self._processes:
            assert process.stdin
            process.stdin.write(f"{name}\n")
            process.stdin.flush()
        answers = []
        for process in self._processes:
            assert process.stdout
            answers.append(process.stdout.readline().strip())
        return answers


@contextmanager
def racers(url: str, password: str, kubeconfig: str) -> Iterator[Racers]:
    command = [sys.executable, "-m", "tests.registration.racer", url, password, kubeconfig]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(2)
        ]
        try:
            yield Racers(processes)
        finally:
            for process in processes:
                process.kill()
