"""Network policies are in force on the real cluster: real packets meet what the pure computation says, and nothing else."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import cluster, process
from lab.box import Box
from lab.cluster import policy
from lab.cluster.certificates import Pki
from lab.cluster.daemons import Daemons
from lab.paths import Instance
from tests.engine.reachability import probe
from tests.lab.cluster.packets import INSTANCE, NAMESPACES, PODS, Cluster, check, kubectl, look, manifest, server, wrong
from tests.lab.cluster.policies import EXAMPLES, any_policy, deny, rule


def test_the_controller_reads_the_cluster_and_has_tables_of_its_own(
    instance: Instance, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "tool", Path)
    daemon = policy.controller(instance, pki)
    assert f"--services={instance.services}" in daemon.argv
    assert "xtables-legacy-multi" in daemon.argv[2]
    assert daemon.files[policy.ready_file(instance)] == ""


def test_it_is_in_force_when_the_running_controller_says_so(instance: Instance) -> None:
    assert not policy.in_force(instance)
    file = policy.ready_file(instance)
    file.parent.mkdir(parents=True)
    file.touch()
    assert not policy.in_force(instance)
    file.write_text("ready\n")
    assert policy.in_force(instance)


# From here on: the real cluster


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    cluster.stop(INSTANCE)
    images = cluster.start(INSTANCE, {})
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        for name, labels in NAMESPACES.items()
    ]
    items += [manifest(name, namespace, labels, images["pause"]) for name, (namespace, labels) in PODS.items()]
    kubectl("apply", "-f", "-", manifest={"apiVersion": "v1", "kind": "List", "items": items})
    for name, (namespace, _) in PODS.items():
        kubectl(f"--namespace={namespace}", "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s", limit=70)
    yield look(images)
    cluster.stop(INSTANCE)
    shutil.rmtree(INSTANCE.state, ignore_errors=True)


@pytest.mark.engine
def test_without_policies_everybody_talks(running: Cluster) -> None:
    check(running, [])
    assert running.expected([]) == running.probes


@pytest.mark.engine
def test_denied_pods_are_reached_by_their_node_only(running: Cluster) -> None:
    policies = [deny("a")]
    check(running, policies)
    inside = {each.client for each in running.expected(policies) if each.server in ("a1", "a2", "a3")}
    assert inside == {"node"}


@pytest.mark.engine
@pytest.mark.parametrize("name", EXAMPLES)
def test_packets_meet_what_the_edges_say(running: Cluster, name: str) -> None:
    check(running, EXAMPLES[name])


@pytest.mark.engine
@pytest.mark.parametrize("seed", range(12))
def test_packets_meet_what_the_edges_say_of_any_policies(running: Cluster, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test case that can be repeated
    check(running, [any_policy(chance, number) for number in range(chance.randint(2, 4))])


@pytest.mark.engine
def test_probes_commands_dns_and_services_work_in_a_denied_namespace(running: Cluster) -> None:
    dns = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    ports = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    allow = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [dns], "ports": ports}]}
    check(running, [deny("a"), rule("dns", "a", allow)])
    kubectl("apply", "-f", "-", manifest=server(running.images["oned"]))
    try:
        # The kubelet's probe comes from the node.
        kubectl("--namespace=a", "wait", "--for=condition=Ready", "pod/web", "--timeout=60s", limit=70)
        answer = kubectl("--namespace=a", "exec", "web", "--", "getent", "hosts", "web.a.svc.cluster.local")
        assert answer.split()[-1] == "web.a.svc.cluster.local"
        forward = subprocess.Popen(
            kubectl.command("--namespace=a", "port-forward", "pod/web", ":8080"),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert forward.stdout is not None
            port = forward.stdout.readline().rsplit(":", maxsplit=1)[-1].split()[0]
            done = subprocess.run(
                ["curl", "--silent", "--http0.9", "--max-time", "10", f"http://127.0.0.1:{port}/"],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
            assert done.stdout == "hello"
        finally:
            forward.kill()
            forward.wait()
    finally:
        kubectl("--namespace=a", "delete", "pod/web", "service/web", "--wait")


@pytest.mark.engine
def test_the_rules_stay_when_the_controller_dies_and_it_comes_back(running: Cluster) -> None:
    policies = [deny("a")]
    check(running, policies)
    daemons = Daemons(Box(INSTANCE))
    before = daemons.identity(policy.NAME)
    assert before is not None
    process.kill(before)
    assert wrong(probe(running.parties, running.probes), running.expected(policies)) == []
    cluster.start(INSTANCE, {})
    after = daemons.identity(policy.NAME)
    assert after not in (None, before)
    check(running, [])


@pytest.mark.engine
def test_nothing_reaches_the_machines_own_filter(running: Cluster) -> None:
    check(running, [deny("a")])
    for command in (["iptables-save"], ["iptables-legacy-save"], ["ipset", "list", "-name"]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert "KUBE-" not in done.stdout, command
