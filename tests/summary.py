"""The number of tests by layer, what was skipped and what failed, from the reports of the pytest runs: the last lines of
`make test`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from lab.paths import STATE

# Reports of tests.run, in .state/tests.
FAST = ("fast-standins.xml", "fast-others.xml")
ENGINE = ("engine-stack.xml", "engine-parts.xml")

# First match wins. A layer is named after what a test needs.
LAYERS = (
    ("tests.engine", "engine: real engine, cluster, hosts"),
    ("tests.faults", "faults: real engine and sshd, things break"),
    ("tests.contract", "contract: oned's behaviour over XML-RPC"),
    ("tests.program", "program: dev and prod graphs"),
    ("tests.components", "component: settings, files, recorded graph"),
    ("tests.lab.plugins", "plugins: stand-ins of the engine's"),
    ("tests.policy", "policy: rules and network edges"),
    ("tests.images", "images: entrypoints and builds"),
    ("tests.lab.standins", "stand-ins: OpenNebula's programs"),
    ("tests.lab", "lab: parts of the rehearsal"),
    ("tests.", "pure"),
)

_CAUSE_LETTERS = 200


def main() -> int:
    """0 when every test passed and in every layer some really ran."""
    reports = [STATE / "tests" / name for name in (*FAST, *ENGINE)]
    for path in reports:
        if not path.exists():
            print(f"{path.name} is missing: run `make test`", file=sys.stderr)
            return 1
    lines, sound = summary(reports)
    print("\n".join(lines))
    return 0 if sound else 1


def summary(reports: Sequence[Path]) -> tuple[list[str], bool]:
    """What to print of pytest's reports, and whether it is all right: a layer of which every test was skipped is not."""
    counts: dict[str, Counter[str]] = {layer: Counter() for _, layer in reversed(LAYERS)}
    skips: Counter[tuple[str, str]] = Counter()
    failures: list[str] = []
    for case in (case for path in reports for case in _cases(path)):
        module = case.get("classname") or case.get("name") or ""  # a module that is skipped as a whole has no class
        layer = next(name for prefix, name in LAYERS if module.startswith(prefix))
        kinds = {child.tag: child for child in case}
        outcome = "failed" if {"failure", "error"} & set(kinds) else "skipped" if "skipped" in kinds else "passed"
        counts[layer][outcome] += 1
        if outcome == "failed":
            failures.append(f"  failed {module}.{case.get('name', '')}: {_cause(kinds)}")
        if outcome == "skipped":
            skips[f"{module}.{case.get('name', '').partition('[')[0]}", kinds["skipped"].get("message", "")] += 1
    lines = []
    sound = True
    for layer, found in counts.items():
        line = f"{layer:<42} {found['passed']:>5} passed, {found['failed']} failed, {found['skipped']} skipped"
        if not found["passed"]:
            line += "  <- no test of this layer ran to its end"
        sound = sound and found["passed"] > 0 and not found["failed"]
        lines.append(line)
    total = sum(counts.values(), Counter[str]())
    lines.append(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    lines += [f"  skipped {number}x {test}: {reason}" for (test, reason), number in sorted(skips.items())]
    return lines + sorted(failures), sound


def _cause(kinds: Mapping[str, ElementTree.Element]) -> str:
    """The first line of what pytest says, as much of it as a terminal shows: what came before may have scrolled away."""
    told = kinds["failure"] if "failure" in kinds else kinds["error"]
    return (told.get("message") or told.text or "no message").strip().partition("\n")[0][:_CAUSE_LETTERS]


def _cases(path: Path) -> list[ElementTree.Element]:
    # The file was written a moment ago by our own pytest run.
    return list(ElementTree.parse(path).getroot().iter("testcase"))  # noqa: S314


if __name__ == "__main__":
    sys.exit(main())
