"""The real cluster, started, hurt, started again and stopped; an instance of its own beside the engine tests' lab."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import cgroups, cluster, process
from lab.box import Box
from lab.cluster.daemons import Daemons
from lab.paths import Instance
from tests.kubectl import Kubectl

pytestmark = pytest.mark.engine

INSTANCE = Instance(name="clustertest", index=21)
kubectl = Kubectl(INSTANCE.kubeconfig)
PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet", "kube-proxy")
HOSTS = {"kvm-1": INSTANCE.host_ip(1)}

START = """
from lab import cluster
from lab.paths import Instance
cluster.start(Instance(name="clustertest", index=21), {})
"""


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, str]]:
    cluster.stop(INSTANCE)
    yield cluster.start(INSTANCE, HOSTS)
    cluster.stop(INSTANCE)
    shutil.rmtree(INSTANCE.state, ignore_errors=True)


def identities() -> dict[str, process.Identity | None]:
    daemons = Daemons(Box(INSTANCE))
    return {name: daemons.identity(name) for name in PARTS}


def test_it_comes_up_with_one_ready_node(images: dict[str, str]) -> None:
    (node,) = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    ready = {each["type"]: each["status"] for each in node["status"]["conditions"]}
    assert ready["Ready"] == "True"
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.34.0"
    assert all(identities().values())
    services = {"mariadb", "oned", "fireedge", "oneflow", "onegate"}
    assert set(images) == {"pause", "coredns", "provisioner", "skipper", *services}


def test_starting_again_starts_nothing_and_is_quick(images: dict[str, str]) -> None:
    before = identities()
    began = time.monotonic()
    assert cluster.start(INSTANCE, HOSTS) == images
    assert time.monotonic() - began < 5
    assert identities() == before


def workload(image: str) -> dict[str, Any]:
    """A namespace under `restricted`, two claims, a server on both of them, and its Service."""
    labels = {"app": "web"}
    script = (
        "id -u; touch /one/mine /many/ours; "
        "exec ruby -rsocket -e 's = TCPServer.new(8080); loop { c = s.accept; c.gets; c.write(\"hello\\n\"); c.close }'"
    )
    container = {
        "name": "web",
        "image": image,
        "command": ["sh", "-c", script],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "one", "mountPath": "/one"}, {"name": "many", "mountPath": "/many"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 9869,
            "fsGroup": 9869,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in ("one", "many")],
    }

    def claim(name: str, mode: str, storage_class: str | None) -> dict[str, Any]:
        spec = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}
        if storage_class:
            spec["storageClassName"] = storage_class
        metadata = {"name": name, "namespace": "try"}
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}

    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    meta = {"name": "web", "namespace": "try"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "try", "labels": enforce}},
        claim("one", "ReadWriteOnce", None),
        claim("many", "ReadWriteMany", "shared"),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {
                "type": "NodePort",
                "selector": labels,
                "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}],
            },
        },
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


@pytest.fixture(scope="module")
def web(images: dict[str, str]) -> str:
    kubectl("apply", "-f", "-", manifest=workload(images["oned"]))
    kubectl("--namespace=try", "rollout", "status", "deployment/web", "--timeout=60s", limit=70)
    return kubectl("--namespace=try", "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")


def ask(address: str, port: int) -> str:
    done = subprocess.run(
        ["curl", "--silent", "--http0.9", "--max-time", "5", f"http://{address}:{port}/"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.stdout


def inside(*command: str) -> str:
    return kubectl("--namespace=try", "exec", "deployment/web", "--", *command)


def test_a_restricted_pod_runs_on_both_kinds_of_volume(web: str) -> None:
    assert kubectl("--namespace=try", "logs", "deployment/web").strip() == "9869"
    assert inside("stat", "-c", "%u:%g", "/one/mine").strip() == "9869:9869"
    assert inside("stat", "-c", "%g", "/one").strip() == "9869"  # fsGroup holds on volumes of one node
    assert inside("stat", "-c", "%a", "/many").strip() == "777"
    assert (INSTANCE.state / "volumes" / "local-path").is_dir()


def test_services_answer_in_the_root_namespace(web: str) -> None:
    assert ask(web, 80) == "hello\n"
    assert ask(str(INSTANCE.box_ip), 30080) == "hello\n"
    assert ask(str(INSTANCE.node_ip), 30080) == "hello\n"


def test_names_resolve_for_pods_and_unknown_ones_fail_at_once(web: str) -> None:
    assert web in inside("getent", "hosts", "web")
    assert str(INSTANCE.host_ip(1)) in inside("getent", "hosts", "kvm-1")
    began = time.monotonic()
    assert "none" in inside("sh", "-c", "getent hosts no-such-name.example || echo none")
    assert time.monotonic() - began < 3


def test_new_names_resolve_within_a_moment(web: str) -> None:
    cluster.update_hosts(INSTANCE, {**HOSTS, "lxc-1": INSTANCE.host_ip(2)})
    deadline = time.monotonic() + 5
    while str(INSTANCE.host_ip(2)) not in inside("sh", "-c", "getent hosts lxc-1 || true"):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_claim_for_many_on_a_volume_of_one_node_is_refused(web: str) -> None:
    bad = workload("none")["items"][2] | {"metadata": {"name": "bad", "namespace": "try"}}
    bad["spec"] = bad["spec"] | {"storageClassName": "local-path"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bad", "namespace": "try"},
        "spec": workload("none")["items"][3]["spec"]["template"]["spec"]
        | {"volumes": [{"name": name, "persistentVolumeClaim": {"claimName": "bad"}} for name in ("one", "many")]},
    }
    kubectl("apply", "-f", "-", manifest={"apiVersion": "v1", "kind": "List", "items": [bad, pod]})
    deadline = time.monotonic() + 20
    while "makes volumes for one node, not ReadWriteMany" not in kubectl("--namespace=try", "get", "events"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    kubectl("--namespace=try", "delete", "pod/bad", "pvc/bad", "--wait=false")


@pytest.mark.parametrize("name", ["kube-scheduler", "kubelet", "containerd", "etcd", "kube-apiserver"])
def test_a_dead_part_is_started_again_and_pods_live_on(web: str, name: str) -> None:
    before = kubectl("--namespace=try", "get", "pods", "-o", "jsonpath={.items[*].metadata.uid}")
    victim = identities()[name]
    assert victim is not None
    process.kill(victim)
    cluster.start(INSTANCE, HOSTS)
    assert all(identities().values())
    assert kubectl("--namespace=try", "get", "pods", "-o", "jsonpath={.items[*].metadata.uid}") == before
    # While its runtime was away the kubelet may have called the pod unready, and the Service lost it for a moment.
    deadline = time.monotonic() + 30
    while ask(web, 80) != "hello\n":
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_lab_is_small(web: str) -> None:
    assert 0 < cluster.memory(INSTANCE)["resident"] < 900 * 2**20


def test_a_start_killed_at_any_moment_is_completed_by_the_next(images: dict[str, str]) -> None:
    chance = random.Random(7)  # noqa: S311 moments, not secrets
    for _ in range(4):
        cluster.stop(INSTANCE)
        starting = subprocess.Popen([sys.executable, "-c", START], stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.2, 5.0))
        starting.send_signal(signal.SIGKILL)
        starting.wait(10)
        assert cluster.start(INSTANCE, HOSTS) == images
        assert all(identities().values())


def test_stopping_leaves_nothing(images: dict[str, str]) -> None:
    mine = cgroups.pids(INSTANCE)
    assert len(mine) > len(PARTS)
    cluster.stop(INSTANCE)
    assert cgroups.pids(INSTANCE) == set()
    assert not any((root / INSTANCE.cgroup).exists() for root in cgroups.hierarchies())
    assert [path.name for path in INSTANCE.state.iterdir()] == ["logs"]
    assert str(INSTANCE.state) not in Path("/proc/self/mountinfo").read_text()
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, timeout=20, check=True).stdout
    assert f"{INSTANCE.uplink}:" not in links.replace("@", ":")
    cluster.stop(INSTANCE)  # and again, with nothing to stop
