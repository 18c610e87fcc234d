"""What the stack tells its users, of the whole program."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest

from tests.program.test_program import config_of, run

SYSTEM = {"name": "fast", "type": "system", "kind": "nfs", "transfer": "shared"}
IMAGE = {"name": "images", "type": "image", "kind": "nfs", "transfer": "shared", "compatibleSystem": ["fast"]}


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Values of `pulumi.export`, as far as they are known: the recorded graph has no stack that would take them."""
    found: dict[str, Any] = {}

    def export(name: str, value: Any) -> None:
        pulumi.Output.from_input(value).apply(lambda known: found.__setitem__(name, known))

    monkeypatch.setattr("pulumi.export", export)
    return found


def test_declared_datastores_are_exported_with_their_ids(exported: dict[str, Any]) -> None:
    run(config_of("lab") | {"opennebula:datastores": json.dumps([IMAGE, SYSTEM])})
    assert exported["datastores"] == {"images": 104, "fast": 104}  # the id that tests/graph.py gives to each


def test_without_declared_datastores_the_list_is_empty_and_the_rest_is_there(exported: dict[str, Any]) -> None:
    run(config_of("lab"))
    assert exported["datastores"] == {}
    assert set(exported) == {
        *("version", "namespace", "endpoints", "hosts", "datastores", "passwordCommand", "oneadminPublicKey")
    }
    assert exported["hosts"]["kvm-1"]["kind"] == "kvm"
    assert "fireedge" in exported["endpoints"]
