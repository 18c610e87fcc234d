"""The policy pack in the real engine: a preview of a small program passes it, or is stopped by name.

The lab builds the engine without its language plugin for Python, which would start the pack. The engine then looks for an
executable of a fixed name on PATH (sdk/go/common/resource/plugin/analyzer_plugin.go) and calls it in the pack's folder; here
that is two lines of shell. Where the official CLI is installed, its own language plugin does it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pulumi
import pytest
from pulumi import automation
from pulumi_command import local

from components.naming import PROJECT as PROJECT_NAME
from lab.engine.install import ensure_engine
from lab.engine.workspace import file_backend
from lab.plugins.install import ensure_plugins
from tests.policy.engine_side import PACK, PYTHON

pytestmark = pytest.mark.engine
_ANALYZER = "pulumi-analyzer-policy-python"


def stack(place: Path, options: str) -> automation.Stack:
    """One component of this program's, with a command that calls ssh with these options."""

    def program() -> None:
        parent = pulumi.ComponentResource(f"{PROJECT_NAME}:index:Hosts", "hosts")
        local.Command("hosts-look", create=f"ssh {options} host true", opts=pulumi.ResourceOptions(parent=parent))

    plugins = place / "bin"
    ensure_plugins(plugins, Path(sys.executable))
    analyzer = plugins / _ANALYZER
    analyzer.write_text(f'#!/bin/sh\nexec {PYTHON} -u -m pulumi.policy "$1" "$2"\n')
    analyzer.chmod(0o755)
    state = place / "backend"
    state.mkdir()
    environment = {
        "PATH": f"{plugins}:{ensure_engine()}:/usr/bin:/bin",
        "PULUMI_HOME": str(place / "home"),
        "PULUMI_BACKEND_URL": file_backend(state),
        "PULUMI_CONFIG_PASSPHRASE": "throw-away",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_PYTHON_CMD": sys.executable,
    }
    project = automation.ProjectSettings(
        name=PROJECT_NAME, runtime="python", backend=automation.ProjectBackend(file_backend(state))
    )
    return automation.create_or_select_stack(
        "packed",
        project_name=PROJECT_NAME,
        program=program,
        opts=automation.LocalWorkspaceOptions(work_dir=str(place), env_vars=environment, project_settings=project),
    )


def test_the_engine_runs_the_pack_and_a_violation_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{ensure_engine()}:{os.environ['PATH']}")  # where the Automation API looks for it
    good = tmp_path / "good"
    good.mkdir()
    passed = stack(good, "-o StrictHostKeyChecking=yes").preview(policy_packs=[str(PACK)])
    assert "opennebula-on-kubernetes" in passed.stdout, "the engine says which packs it ran"

    bad = tmp_path / "bad"
    bad.mkdir()
    with pytest.raises(automation.CommandError) as caught:
        stack(bad, "-o StrictHostKeyChecking=no").preview(policy_packs=[str(PACK)])
    for word in ("mandatory", "pinned-host-keys", "hosts-look", "StrictHostKeyChecking no"):
        assert word in str(caught.value), str(caught.value)
