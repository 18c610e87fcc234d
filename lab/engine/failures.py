"""What went wrong in one operation of the engine, for people: which host, why, what to do next. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from components.host_groups import fold
from lab.engine.fleet import host_step

_LISTED: Final = 20  # failed hosts that are told one by one
_WHOLE: Final = 3  # failed hosts up to which each is told with all that it said
_INDENT: Final = "\n         "


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One error of the engine; `urn` empty where it belongs to no resource."""

    urn: str
    text: str

    @property
    def name(self) -> str:
        """The resource's, unless it is the stack itself."""
        return self.urn.split("::")[-1] if self.urn and not self.urn.split("::")[2].endswith("pulumi:Stack") else ""

    @property
    def host(self) -> str | None:
        found = host_step(self.urn) if self.urn else None
        return found[1] if found else None

    @property
    def of_hosts(self) -> bool:
        """Whether it concerns hosts alone: one of them, what each is told of the others, or the wait for their monitoring."""
        return self.host is not None or "opennebula:FleetReady::" in self.urn or self.urn.endswith("::hosts-peers")

    @property
    def line(self) -> str:
        return f"{self.name}: {self.text}" if self.name else self.text


# What is seen in an error → what to do about it. The first match of each error counts.
_HINTS: Final = (
    ("next:", ""),  # the error brings its own, as those of preparing a host do
    ("Next:", ""),
    ("ErrImage", "correct opennebula:images, or bring the image to the registry or node"),
    ("ImagePullBackOff", "correct opennebula:images, or bring the image to the registry or node"),
    ("see: kubectl", "run the command after `see:`"),
    ("incorrect passphrase", "give the passphrase that this stack was made with (PULUMI_CONFIG_PASSPHRASE or …_FILE)"),
)


def hint(text: str) -> str:
    """What to do about one error; empty when it says so itself, or nobody knows."""
    return next((words for mark, words in _HINTS if mark in text), "")


def next_steps(errors: Sequence[str], operation: str) -> str:
    """One sentence: what to do about these errors, then that the operation goes on where it stopped."""
    if any("nothing was touched" in error for error in errors):
        return "mend these lines, then run it again"
    found: list[str] = []
    for error in errors:
        text = hint(error)
        if text and text not in found:
            found.append(text)
    return "; ".join(
        [
            *(found or ["mend what is named above"]),
            f"then run it again: what was done stays done, `{operation}` goes on from there",
        ]
    )


def explain(failures: Sequence[Failure], operation: str, *, hosts: int, commands: Mapping[str, str]) -> tuple[str, str]:
    """Cause and next step of a failed operation. Failed hosts come first, each with its own cause and command.

    `hosts`: how many are declared. `commands`: by host name, a command line that logs in to it.
    """
    broken: dict[str, Failure] = {}
    for failure in failures:
        if failure.host is not None:
            broken.setdefault(failure.host, failure)
    others = [failure.line for failure in failures if failure.host is None]
    if not broken:
        return _INDENT.join(others), next_steps(others, operation)
    lines = [f"{len(broken)} of {max(hosts, len(broken))} hosts failed{'' if others else ', the others are done'}:"]
    for name in sorted(broken)[:_LISTED]:
        failure = broken[name]
        lines.append(f"  {name}: {_told(failure.text, whole=len(broken) <= _WHOLE)}")
        ssh = commands.get(name, "")
        if ssh and ssh not in failure.text:
            lines.append(f"    by hand: {ssh}")
    if rest := sorted(broken)[_LISTED:]:
        lines.append(f"  and {len(rest)} more: {fold(rest)}")
    tail = f"mend these hosts, then run it again: what was done stays done, `{operation}` touches only what is missing"
    return _INDENT.join([*lines, *others]), "; ".join([*_own(others), tail])


def _told(text: str, *, whole: bool) -> str:
    """An error as one of few, or as one of many: then only the line that ends with what to do."""
    lines = text.strip().splitlines()
    telling = [line.strip() for line in lines if "next: " in line]
    if telling and not whole:
        return telling[-1]
    return f"{_INDENT}    ".join(lines)


def _own(lines: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(text for line in lines if (text := hint(line))))
