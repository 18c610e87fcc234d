"""The kubeconfig that the Kubernetes provider will take: which one it is, and what is said when it will not do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components import kubeconfig_check
from components.kubeconfig_check import look

GOOD = {
    "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1"}}],
    "contexts": [{"name": name, "context": {"cluster": "c"}} for name in ("one", "two")],
    "current-context": "two",
}
POD = {"KUBERNETES_SERVICE_HOST": "192.0.2.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, and no pod around it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(kubeconfig_check, "POD_TOKEN", tmp_path / "token")
    return tmp_path


def write(file: Path, text: str | None = None) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(GOOD) if text is None else text)
    return str(file)


def test_what_is_set_goes_before_the_environment_and_that_before_home(home: Path) -> None:
    good, bad = write(home / "good"), write(home / "bad", "junk")
    assert look(good, None, {"KUBECONFIG": bad}) is None
    assert look(None, "one", {"KUBECONFIG": good}) is None
    found = look(None, None, {"KUBECONFIG": bad})
    assert found is not None and found.what == f"KUBECONFIG: {bad} is no kubeconfig"
    assert look("~/good", None, {}) is None
    write(home / ".kube/config")
    assert look(None, None, {}) is None
    # Empty is not set: the provider's SDK hands it on, and the plugin passes over it.
    assert look(None, None, {"KUBECONFIG": ""}) is None
    found = look(None, "prod", {})
    assert found is not None and found.what == "the kubeconfig ~/.kube/config has no context prod"
    assert (found.key, found.cause) == ("context", "opennebula:kubernetes.context asks for it; there are: one, two")


def test_none_at_all_is_said_but_in_a_pod(home: Path) -> None:
    found = look(None, None, {})
    assert found is not None and found.what == "there is no kubeconfig" and "~/.kube/config is not there" in found.cause
    assert look(None, None, POD) is not None, "the variables alone are no account"
    write(home / "token", "t")
    assert look(None, None, {}) is not None
    assert look(None, None, POD) is None
    # There too, a file that somebody named is the one.
    assert look(str(home / "gone"), None, POD) is not None
    assert look(None, None, POD | {"KUBECONFIG": str(home / "gone")}) is not None


def test_a_list_is_no_file_to_the_provider(home: Path) -> None:
    good = write(home / "good")
    for value in (f"{good}:{good}", f"{good}:", f":{good}"):
        found = look(None, None, {"KUBECONFIG": value})
        assert found is not None and found.what == "KUBECONFIG is a list of files" and "one file" in found.fix
        assert look(good, None, {"KUBECONFIG": value}) is None
    assert look(None, None, {"KUBECONFIG": write(home / "a:b")}) is None, "a file of that very name"


def test_a_kubeconfig_given_as_text_is_not_looked_at(home: Path) -> None:
    assert look(yaml.safe_dump(GOOD), "gone", {}) is None
    assert look(None, None, {"KUBECONFIG": '{"clusters": []}'}) is None


@pytest.mark.parametrize("text", ["a: [", "junk", "", "clusters: {}", "\x00"])
def test_its_text_is_never_shown(text: str, home: Path) -> None:
    found = look(write(home / "k", f"{text}\n# MARKER"), None, {})
    assert found is not None and "is no kubeconfig" in found.what
    assert "MARKER" not in str(found)


def test_the_sdk_hands_the_variable_on_as_one_path() -> None:
    """What the list is refused for, at the pinned version."""
    import inspect

    from pulumi_kubernetes import provider

    assert "kubeconfig = _utilities.get_env('KUBECONFIG')" in inspect.getsource(provider)
