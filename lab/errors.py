"""The one exception a user of the lab is meant to read: what is wrong, why, and what to do next."""

from __future__ import annotations

from pathlib import Path


class LabError(Exception):
    """A failure with its cause and the next step; programming errors stay ordinary exceptions."""

    def __init__(self, what: str, *, cause: str = "", fix: str = "") -> None:
        self.what, self.cause, self.fix = what, cause, fix
        lines = [what]
        if cause:
            lines.append(f"  cause: {cause}")
        if fix:
            lines.append(f"  next:  {fix}")
        super().__init__("\n".join(lines))


class Incomplete(LabError):
    """Some hosts failed; everything else is as it was declared."""


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log file for an error text; says so when there is no log."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 64 * 1024))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return f"(no log at {log})"
    kept = [line for line in text.splitlines() if line.strip()][-lines:]
    return "\n    ".join([f"last lines of {log}:", *kept])
