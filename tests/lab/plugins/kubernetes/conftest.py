"""A real cluster, a namespace of its own for each test, and kubectl as the other party.

The cluster is the one of ONELAB_TEST_KUBECONFIG, else the lab's test instance, started if it does not run.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.plugins.wire import plain
from tests.kubectl import Kubectl
from tests.lab.plugins.harness import Plugin


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """Path of an administrator's kubeconfig."""
    given = os.environ.get("ONELAB_TEST_KUBECONFIG")
    if given:
        yield Path(given)
        return
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    from lab import cluster
    from lab.paths import TEST

    running = TEST.kubeconfig.exists()
    cluster.start(TEST, report=lambda _: None)
    yield TEST.kubeconfig
    if not running:
        cluster.stop(TEST)


@pytest.fixture
def kubectl(kubeconfig: Path) -> Iterator[Kubectl]:
    """kubectl in a fresh namespace under Pod Security `restricted`."""
    namespace = f"plugin-test-{secrets.token_hex(4)}"
    run = Kubectl(kubeconfig, namespace)
    run("create", "namespace", namespace)
    run("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    yield run
    run("delete", "namespace", namespace, "--wait=false")


class Objects:
    """Plugins for the kinds a test needs, and objects in its namespace."""

    def __init__(
        self, start: Callable[..., Plugin], kubeconfig: Path, namespace: str, settings: dict[str, str]
    ) -> None:
        self._start, self._kubeconfig, self.namespace, self._settings = start, kubeconfig, namespace, settings

    def plugin(self, module: str, kind: str, **settings: str) -> Plugin:
        plugin = self._start(f"kubernetes:{module}:{kind}")
        plugin.configure(kubeconfig=str(self._kubeconfig), namespace=self.namespace, **(self._settings | settings))
        return plugin


@pytest.fixture
def objects(start: Callable[..., Plugin], kubeconfig: Path, kubectl: Kubectl) -> Objects:
    return Objects(start, kubeconfig, kubectl.namespace, {})


@pytest.fixture(scope="session")
def image(kubeconfig: Path) -> str:
    """An image with a shell that the node has; nothing can be pulled."""
    node = json.loads(Kubectl(kubeconfig, "default")("get", "nodes", "-o", "json"))["items"][0]
    names = [name for found in node["status"]["images"] for name in found["names"]]
    return next(str(name) for name in names if "/mariadb:" in name)


def pod_spec(image: str, script: str = "sleep 600", **more: Any) -> dict[str, Any]:
    """A pod that `restricted` admits and that ends quickly when told to."""
    container = {
        "name": "main",
        "image": image,
        "command": ["sh", "-c", f"trap exit TERM; {script} & wait $!"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 10999, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 2,
        "securityContext": security,
        "containers": [container | more],
    }


def workload(pod: dict[str, Any], name: str = "it", **spec: Any) -> dict[str, Any]:
    """Inputs of a Deployment, StatefulSet or DaemonSet."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": template} | spec}


def bare(state: dict[str, Any]) -> dict[str, Any]:
    """State without secret marks."""
    found: dict[str, Any] = plain(state)
    return found
