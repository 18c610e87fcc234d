"""The documents hang together: decisions have one number each and an index, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_decisions_are_numbered_without_gap_or_twin_and_listed() -> None:
    titles = [path.read_text().splitlines()[0] for path in DECISIONS]
    numbers = [int(path.name[:4]) for path in DECISIONS]
    assert numbers == list(range(1, len(DECISIONS) + 1))
    assert [int(title.removeprefix("# ").split(".")[0]) for title in titles] == numbers
    listed = (ROOT / "docs/adr/README.md").read_text().splitlines()
    for path, title in zip(DECISIONS, titles, strict=True):
        number, words = title.removeprefix("# ").split(". ", 1)
        assert f"{number}. [{words}]({path.name})" in listed


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_inside_the_checkout_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith(("http:", "https:")):
            continue
        place, _, heading = target.partition("#")
        file = document.parent / place if place else document
        assert file.exists(), target
        if heading:
            assert heading in headings(file), target


def headings(document: Path) -> set[str]:
    """Anchors as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in found}


def test_every_target_that_make_promises_has_a_rule() -> None:
    text = (ROOT / "Makefile").read_text()
    (promised,) = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    rules = set(re.findall(r"^([a-z-]+):(?!=)", text, re.MULTILINE))
    assert set(promised.split()) == rules
