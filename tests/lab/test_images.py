"""What a tree of OpenNebula says about the packages it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import images
from lab.errors import LabError


def test_packages_one_a_line_with_comments(tmp_path: Path) -> None:
    (tmp_path / "packages.txt").write_text("# what oned links\nlibmariadb3\n\nruby  # and its drivers\nlibstdc++6\n")
    assert images.read_packages(tmp_path / "packages.txt") == ("libmariadb3", "ruby", "libstdc++6")


@pytest.mark.parametrize("line", ["ruby rake", "--option", "Ruby", "x; reboot", "$(id)"])
def test_anything_else_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "packages.txt").write_text(f"ruby\n{line}\n")
    with pytest.raises(LabError, match=r"packages\.txt:2: "):
        images.read_packages(tmp_path / "packages.txt")


def test_a_tree_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="is missing") as failed:
        images.read_packages(tmp_path / "packages.txt")
    assert "OPENNEBULA_ROOT" in failed.value.fix


def test_the_stand_in_names_its_packages() -> None:
    assert images.read_packages(images.STANDIN / "packages.txt")
