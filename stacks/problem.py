"""One thing wrong with the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from components.naming import PROJECT


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong with the configuration."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{PROJECT}:{self.path}: {self.text}"
