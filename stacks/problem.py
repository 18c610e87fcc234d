"""One thing wrong with the configuration, and what a rule meets where it cannot tell."""

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


class Unsound(Exception):
    """A rule of two values needs a section that is wrong by itself."""
