"""What the environment of `make` may say, and a lab that stays with its release."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from components.domain import Version
from lab import paths, rehearsal
from lab.errors import LabError
from lab.paths import Instance
from lab.rehearsal import Options


def test_the_release_is_7_4_unless_the_environment_says_otherwise() -> None:
    assert Options.from_environment({}).version is Version.V7_4
    assert Options.from_environment({"VERSION": "6.10"}).version is Version.V6_10


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"VERSION": "5.12"}, "VERSION=5.12 is unknown"),
        ({"CLUSTER": "mine"}, "CLUSTER=mine is unknown"),
        ({"CLUSTER": "existing"}, "needs KUBECONFIG"),
        ({"STACK": "prod"}, "STACK goes with CLUSTER=existing"),
    ],
)
def test_what_means_nothing_is_refused(environment: dict[str, str], words: str) -> None:
    with pytest.raises(LabError, match=words):
        Options.from_environment(environment)


def test_a_lab_stays_with_its_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "STATE", tmp_path)
    instance = Instance(name="release", index=40)
    rehearsal.keep_release(instance, Version.V6_10)
    rehearsal.keep_release(instance, Version.V6_10)
    with pytest.raises(LabError, match=r"made with OpenNebula 6\.10, not 7\.4"):
        rehearsal.keep_release(instance, Version.V7_4)


def test_hosts_are_two_unless_the_environment_says_otherwise() -> None:
    assert dict(Options.from_environment({}).hosts) == {"kvm-1": "kvm", "lxc-1": "lxc"}
    twenty = Options.from_environment({"HOSTS": "20"}).hosts
    assert sorted(twenty.values()) == ["kvm"] * 10 + ["lxc"] * 10
    assert dict(Options.from_environment({"HOSTS": "1"}).hosts) == {"kvm-1": "kvm"}
    assert list(Options.from_environment({"HOSTS": "3"}).hosts) == ["kvm-1", "kvm-2", "lxc-1"]


@pytest.mark.parametrize("count", ["0", "-1", "101", "many", "1.5", "²"])
def test_a_number_of_hosts_that_means_nothing_is_refused(count: str) -> None:
    with pytest.raises(LabError, match="must be 1 to 100"):
        Options.from_environment({"HOSTS": count})


def test_a_smaller_fleet_is_part_of_a_larger_one() -> None:
    """So that fewer hosts than before means: some leave, none is new."""
    sizes = [set(Options.from_environment({"HOSTS": str(count)}).hosts) for count in range(1, 30)]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(sizes))
