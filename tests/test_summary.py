"""The last lines of `make test`: when they are content, and what they say of skips and failures."""

from __future__ import annotations

from pathlib import Path

from tests.summary import LAYERS, summary

PASSED = ""
SKIPPED = '<skipped type="pytest.skip" message="needs a printer">tests/x.py:1: needs a printer</skipped>'
FAILED = '<failure message="assert False"/>'


def report(path: Path, *cases: tuple[str, str]) -> Path:
    tests = "".join(f'<testcase classname="{module}" name="test_it[1]">{body}</testcase>' for module, body in cases)
    path.write_text(f"<testsuites><testsuite>{tests}</testsuite></testsuites>")
    return path


def layers(*, but: str = "") -> list[tuple[str, str]]:
    """A test that passed in every layer, or in every other one."""
    return [(f"{prefix.rstrip('.')}.test_x", PASSED) for prefix, _ in LAYERS if prefix != but]


def test_all_layers_ran(tmp_path: Path) -> None:
    lines, sound = summary([report(tmp_path / "a.xml", *layers())])
    assert sound
    assert lines[-1] == f"{len(LAYERS)} passed, 0 failed, 0 skipped"
    assert len(lines) == len(LAYERS) + 1


def test_a_layer_of_skips_alone_is_a_failure(tmp_path: Path) -> None:
    cases = [*layers(but="tests.contract"), ("tests.contract.test_hosts", SKIPPED)]
    lines, sound = summary([report(tmp_path / "a.xml", *cases)])
    assert not sound
    assert [line for line in lines if line.startswith("contract") and "0 passed" in line and "no test" in line]


def test_so_is_a_layer_that_is_not_there(tmp_path: Path) -> None:
    assert not summary([report(tmp_path / "a.xml", *layers(but="tests.policy"))])[1]


def test_and_a_failure_in_any_report(tmp_path: Path) -> None:
    bad = report(tmp_path / "b.xml", ("tests.engine.test_x", FAILED))
    assert not summary([report(tmp_path / "a.xml", *layers()), bad])[1]


def test_failures_come_last_each_with_its_cause(tmp_path: Path) -> None:
    long = f'<failure message="{"x" * 999}&#10;more">a traceback</failure>'
    broken = '<error message="failed on setup: no cluster"/>'
    bad = report(tmp_path / "b.xml", ("tests.engine.test_y", long), ("tests.engine.test_x", broken))
    lines, sound = summary([report(tmp_path / "a.xml", *layers()), bad])
    assert not sound
    assert lines[-2] == "  failed tests.engine.test_x.test_it[1]: failed on setup: no cluster"
    assert lines[-1] == f"  failed tests.engine.test_y.test_it[1]: {'x' * 200}"


def test_every_skip_is_told_with_its_reason(tmp_path: Path) -> None:
    cases = [*layers(), ("tests.images.test_y", SKIPPED), ("tests.images.test_y", SKIPPED)]
    lines, sound = summary([report(tmp_path / "a.xml", *cases)])
    assert sound
    assert lines[-1] == "  skipped 2x tests.images.test_y.test_it: needs a printer"


def test_a_module_that_is_skipped_as_a_whole_counts_for_its_layer(tmp_path: Path) -> None:
    path = report(tmp_path / "a.xml", *layers())
    whole = f'<testcase classname="" name="tests.contract.test_z">{SKIPPED}</testcase></testsuite>'
    path.write_text(path.read_text().replace("</testsuite>", whole))
    lines, _ = summary([path])
    assert lines[-1].startswith("  skipped 1x tests.contract.test_z")
