"""Names of objects."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from lab.plugins.errors import PluginError
from lab.plugins.kubernetes import names
from lab.plugins.kubernetes.objects import AUTONAMED, Kind
from lab.plugins.wire import UNKNOWN

Options = provider_pb2.CheckRequest.AutonamingOptions


def assigned(
    inputs: dict[str, Any], old: dict[str, Any] | None = None, seed: bytes = b"", **more: Any
) -> dict[str, Any]:
    names.assign(inputs, old or {}, "web", seed, **more)
    meta: dict[str, Any] = inputs["metadata"]
    return meta


def test_generated_name_and_its_mark() -> None:
    meta = assigned({})
    assert re.fullmatch(r"web-[0-9a-f]{8}", meta["name"])
    assert meta["annotations"] == {AUTONAMED: "true"}


def test_the_same_seed_gives_the_same_name_and_another_another() -> None:
    assert assigned({}, seed=b"one")["name"] == assigned({}, seed=b"one")["name"]
    assert assigned({}, seed=b"one")["name"] != assigned({}, seed=b"two")["name"]
    assert assigned({})["name"] != assigned({})["name"]


def test_a_given_name_stays_unmarked() -> None:
    assert assigned({"metadata": {"name": "mine"}}) == {"name": "mine"}


def test_a_name_not_known_yet_is_left_alone() -> None:
    assert assigned({"metadata": {"name": UNKNOWN}}) == {"name": UNKNOWN}


def test_the_old_generated_name_is_kept() -> None:
    old: dict[str, Any] = {}
    assigned(old)
    assert assigned({}, old) == old["metadata"]


def test_a_name_that_was_given_is_not_kept_when_it_is_taken_out() -> None:
    assert assigned({}, {"metadata": {"name": "mine"}})["name"].startswith("web-")


def test_the_engines_proposal_and_prohibition() -> None:
    proposed = Options(proposed_name="theirs", mode=Options.PROPOSE)
    assert assigned({}, autonaming=proposed)["name"] == "theirs"
    with pytest.raises(PluginError, match=r"set metadata\.name"):
        assigned({}, autonaming=Options(mode=Options.DISABLE))


def test_generate_name_is_refused() -> None:
    with pytest.raises(PluginError, match="generateName"):
        assigned({"metadata": {"generateName": "x-"}})


_CONFIG_MAP, _SERVICE = Kind("", "v1", "ConfigMap"), Kind("", "v1", "Service")
_NAMESPACE, _ROLE = Kind("", "v1", "Namespace"), Kind("rbac.authorization.k8s.io", "v1", "Role")


@pytest.mark.parametrize(
    ("kind", "name", "good"),
    [
        (_CONFIG_MAP, "a.b-c.1", True),
        (_CONFIG_MAP, "a_b", False),
        (_CONFIG_MAP, "Abc", False),
        (_CONFIG_MAP, "a..b", False),
        (_CONFIG_MAP, "-a", False),
        (_CONFIG_MAP, "a" * 253, True),
        (_CONFIG_MAP, "a" * 254, False),
        (_SERVICE, "web", True),
        (_SERVICE, "1web", False),
        (_SERVICE, "web.one", False),
        (_SERVICE, "w" * 64, False),
        (_NAMESPACE, "1one", True),
        (_NAMESPACE, "one.two", False),
        (_ROLE, "system:One/two", False),
        (_ROLE, "system:One", True),
    ],
)
def test_names_the_server_refuses(kind: Kind, name: str, good: bool) -> None:
    assert (names.problem(kind, name) is None) is good
