"""The settings that keep the lab inside its box and as strict as a real cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.cluster import control_plane, node
from lab.cluster.certificates import Pki
from lab.cluster.daemons import Daemon
from lab.paths import Instance


@pytest.fixture(autouse=True)
def _no_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (control_plane, node):
        if hasattr(module, "tool"):
            monkeypatch.setattr(module, "tool", lambda name: Path("/tools") / name)
        monkeypatch.setattr(module, "system_program", lambda name: Path("/usr/bin") / name)


def file(daemon: Daemon, name: str) -> Any:
    (text,) = [content for path, content in daemon.files.items() if path.name == name]
    return json.loads(text)


def all_daemons(instance: Instance, pki: Pki) -> list[Daemon]:
    return [
        control_plane.etcd(instance),
        control_plane.apiserver(instance, pki),
        control_plane.controller_manager(instance, pki),
        control_plane.scheduler(instance, pki),
        node.containerd(instance, "pause:1"),
        node.kubelet(instance, pki),
        node.proxy(instance, pki),
    ]


def test_admission_is_as_strict_as_upstream(instance: Instance, pki: Pki) -> None:
    argv = control_plane.apiserver(instance, pki).argv
    assert "--enable-admission-plugins=NodeRestriction,PodSecurity,ServiceAccount" in argv
    assert "--authorization-mode=Node,RBAC" in argv
    assert not any("disable-admission" in word or "insecure" in word for word in argv)


def test_the_kubelet_stays_in_the_labs_cgroups_and_leaves_the_machines_sysctls_alone(
    instance: Instance, pki: Pki
) -> None:
    config = file(node.kubelet(instance, pki), "kubelet.json")
    assert config["cgroupRoot"] == "/onelab-sample/kube"
    assert config["protectKernelDefaults"] is True
    assert config["imageGCHighThresholdPercent"] == 100
    assert config["authentication"]["anonymous"]["enabled"] is False


def test_pods_get_addresses_of_their_own_network(instance: Instance) -> None:
    config = file(node.containerd(instance, "pause:1"), "10-onelab.conflist")
    bridge = config["plugins"][0]
    assert bridge["ipam"]["ranges"] == [[{"subnet": str(instance.pods)}]]
    assert bridge["ipMasq"] is True


def test_no_secret_is_in_a_command_line(instance: Instance, pki: Pki) -> None:
    keys = [path.read_text() for path in pki.directory.glob("*.key")]
    words = [word for daemon in all_daemons(instance, pki) for word in daemon.argv]
    assert not any(line in word for key in keys for line in key.splitlines() for word in words)


def test_every_file_is_in_the_labs_state(instance: Instance, pki: Pki) -> None:
    for daemon in all_daemons(instance, pki):
        assert all(path.is_relative_to(instance.state) for path in daemon.files)


def test_unchanged_settings_give_the_same_digest(instance: Instance, pki: Pki) -> None:
    first, second = all_daemons(instance, pki), all_daemons(instance, pki)
    assert [each.digest for each in first] == [each.digest for each in second]
    assert len({each.digest for each in first}) == len(first)
