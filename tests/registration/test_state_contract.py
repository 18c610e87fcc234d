"""What every state file relies on, and what importing the provider costs."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import dill  # type: ignore[import-untyped]
import pytest
from pulumi.dynamic.dynamic import serialize_provider

from components.registration.gate import OnedReadyProvider
from components.registration.provider import FleetReadyProvider, HostProvider
from components.registration.resource import FleetReady, Host

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("provider", [HostProvider, FleetReadyProvider])
def test_state_holds_a_reference_and_no_code(provider: type[HostProvider | FleetReadyProvider]) -> None:
    text = serialize_provider(provider())
    raw = base64.b64decode(text)
    assert len(text) <= 120
    assert b"components.registration.provider" in raw
    assert provider.__name__.encode() in raw
    assert type(dill.loads(raw)) is provider  # noqa: S301 - made above
    assert provider.serialize_as_secret_always is False


def test_a_configured_provider_would_not_be_a_reference() -> None:
    """Otherwise the length above would prove nothing: state in the instance makes the text grow."""
    provider = HostProvider()
    provider._settings = None
    assert len(serialize_provider(provider)) > len(serialize_provider(HostProvider()))


def test_the_paths_are_a_contract() -> None:
    """They stand in the state of every host: renaming one breaks refresh and destroy."""
    assert f"{HostProvider.__module__}.{HostProvider.__qualname__}" == "components.registration.provider.HostProvider"
    gate = f"{OnedReadyProvider.__module__}.{OnedReadyProvider.__qualname__}"
    assert gate == "components.registration.gate.OnedReadyProvider"
    assert len(serialize_provider(OnedReadyProvider())) <= 120
    assert FleetReadyProvider.__module__ == "components.registration.provider"
    assert Host._resource_type_name == "dynamic/opennebula:Host"
    assert FleetReady._resource_type_name == "dynamic/opennebula:FleetReady"


def test_the_packages_on_the_way_import_nothing() -> None:
    assert (PROJECT / "components/__init__.py").read_text() == ""
    assert (PROJECT / "components/registration/__init__.py").read_text() == ""


def test_importing_the_provider_is_light() -> None:
    """Clients are imported with the first call: a preview pays for none of them."""
    heavy = (
        "pulumi_kubernetes",
        "pulumi_command",
        "pydantic",
        "pyone",
        "kubernetes",
        "requests",
        "lxml",
        "stacks",
        "websocket",
    )
    program = (
        "import sys, pulumi.dynamic; before = set(sys.modules); import time; begun = time.process_time()\n"
        "import components.registration.provider, components.registration.resource\n"
        "print(time.process_time() - begun)\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    assert not set(heavy) & set(out[1].split())
    assert float(out[0]) < 0.5


def test_no_module_of_the_package_imports_them_at_the_top() -> None:
    for path in sorted((PROJECT / "components/registration").glob("*.py")):
        for line in path.read_text().splitlines():
            if line.startswith(("import ", "from ")):
                assert not any(
                    f" {name}" in line for name in ("pyone", "kubernetes", "requests", "pydantic", "stacks", "lxml")
                ), line
