"""oned.log and monitor.log: one line an event, `<ctime> [Z0][<module>][<level>]: <message>`, to a file, syslog or
stderr.

The file is opened for every line, so it may be rotated or appear late; what cannot be written is lost, as in the real
one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ERROR, WARNING, INFO, DEBUG, DDEBUG, DDDEBUG = range(6)
_LETTERS: Final = ("E", "W", "I", "D", "DD", "DDD")
_SYSLOG_PRIORITY: Final = (3, 4, 6, 7, 7, 7)


class Log:
    """One daemon's log; `anew` empties the file of earlier runs first.

    :raises RuntimeError: "Could not open log file", at construction only.
    """

    def __init__(self, system: str, level: int, path: Path, label: str, *, anew: bool = False) -> None:
        self.system = system
        self._level = level
        self._path = path
        if system == "file":
            try:
                path.open("w" if anew else "a").close()
            except OSError:
                raise RuntimeError("Could not open log file") from None
        elif system == "syslog":
            import syslog

            syslog.openlog(label, syslog.LOG_PID, syslog.LOG_DAEMON)

    def write(self, level: int, module: str, message: str) -> None:
        if level > self._level:
            return
        tail = f"[Z0][{module}][{_LETTERS[level]}]: {message}"
        if self.system == "syslog":
            import syslog

            for line in tail.splitlines():
                syslog.syslog(_SYSLOG_PRIORITY[level], line)
            return
        line = f"{time.ctime()} {tail}\n"
        if self.system == "std":
            if sys.stderr is not None:
                sys.stderr.write(line)
                sys.stderr.flush()
            return
        try:
            with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(line)
        except OSError:
            return

    def error(self, module: str, message: str) -> None:
        self.write(ERROR, module, message)

    def warning(self, module: str, message: str) -> None:
        self.write(WARNING, module, message)

    def info(self, module: str, message: str) -> None:
        self.write(INFO, module, message)

    def debug(self, module: str, message: str) -> None:
        self.write(DEBUG, module, message)


@contextmanager
def surviving(log: Log, module: str, task: str) -> Iterator[None]:
    """For one round of a loop that must go on whatever happens in it: what goes wrong is logged, and only this round
    lost.
    """
    try:
        yield
    except Exception as error:
        log.error(module, f"Unexpected {type(error).__name__} while {task}: {error}")
