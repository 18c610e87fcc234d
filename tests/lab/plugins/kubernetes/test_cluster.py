"""What an operation does when somebody else writes the same object."""

from __future__ import annotations

import pytest

from lab.plugins.kubernetes.api import ApiError
from lab.plugins.kubernetes.cluster import _again_on_conflict


def attempts(*reasons: str) -> list[str]:
    """Reasons of the failures, in order; then it succeeds."""
    left = list(reasons)

    def attempt() -> list[str]:
        if left:
            raise ApiError(409, left.pop(0), "refused", {})
        return left

    return _again_on_conflict(attempt)


def test_a_write_in_between_is_tried_again() -> None:
    assert attempts("Conflict", "Conflict") == []


def test_a_write_that_never_gets_through_fails() -> None:
    with pytest.raises(ApiError, match="refused"):
        attempts(*["Conflict"] * 6)


def test_another_refusal_is_final() -> None:
    with pytest.raises(ApiError) as caught:
        attempts("AlreadyExists", "Conflict")
    assert caught.value.reason == "AlreadyExists"
