"""The number of tests by layer, from the reports of the pytest runs: the last lines of `make test`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from lab.paths import STATE

# Reports of tests.run, in .state/tests.
FAST, DEPLOYED, PARTS = "fast.xml", "engine-stack.xml", "engine-parts.xml"

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


def main() -> int:
    """0 when every test passed and every layer ran."""
    counts: dict[str, Counter[str]] = {}
    for report in (FAST, DEPLOYED, PARTS):
        path = STATE / "tests" / report
        if not path.exists():
            print(f"{path.name} is missing: run `make test`", file=sys.stderr)
            return 1
        for case in _cases(path):
            layer = next(name for prefix, name in LAYERS if case.get("classname", "").startswith(prefix))
            kinds = {child.tag for child in case}
            outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            counts.setdefault(layer, Counter())[outcome] += 1
    total: Counter[str] = Counter()
    for _, layer in reversed(LAYERS):
        found = counts.get(layer, Counter())
        total += found
        print(f"{layer:<42} {found['passed']:>5} passed, {found['failed']} failed, {found['skipped']} skipped")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if total["failed"] or len(counts) < len(LAYERS) else 0


def _cases(path: Path) -> list[ElementTree.Element]:
    # The file was written a moment ago by our own pytest run.
    return list(ElementTree.parse(path).getroot().iter("testcase"))  # noqa: S314


if __name__ == "__main__":
    sys.exit(main())
