"""kube-score, a scanner of Kubernetes objects that others wrote, over everything that the examples make.

It is asked without any of its ways to look aside: no check is ignored and annotations that ask for it have no effect. One
critical finding is known and wanted (policy.rules.EXEMPTION); any other fails, and so does the wanted one when it is gone.
Built once from its Go module and kept in the lab's cache (lab/toolchain.py).
"""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from components.namespace import POD_SECURITY_VERSION
from lab.toolchain import tool
from policy.rules import EXEMPTION, WORKLOADS
from tests.graph import Graph, reveal
from tests.program.test_program import config_of, graph, run

CRITICAL = 1
SCORED = {*WORKLOADS, "Service", "NetworkPolicy", "Ingress", "PodDisruptionBudget"}
Documents = list[dict[str, Any]]
Finding = tuple[str, str, str]  # kind, name of the object, check


def manifests(found: Graph) -> Documents:
    """Every Kubernetes object of a graph as `kubectl` would take it. The provider invents the names that are left out."""
    documents = []
    for record in found.records:
        if record.type.startswith("kubernetes:"):
            document = copy.deepcopy(reveal(dict(record.inputs)))
            document["metadata"].setdefault("name", f"{record.name}-a1b2c3d4")
            documents.append(document)
    return documents


def critical(documents: Documents) -> set[Finding]:
    """kube-score's critical findings. It must have looked at each object that it has checks for."""
    command = [str(tool("kube-score")), "score", "--output-format", "json", "--disable-ignore-checks-annotations"]
    # Secrets, which it has no checks for, stay away from its input.
    text = "\n---\n".join(json.dumps(document) for document in documents if document["kind"] != "Secret")
    done = subprocess.run(
        [*command, "--kubernetes-version", POD_SECURITY_VERSION, "-"],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr  # 1: there are critical findings
    scored = json.loads(done.stdout)
    looked_at = {(each["type_meta"]["kind"], each["object_meta"]["name"]) for each in scored}
    assert looked_at == {(each["kind"], each["metadata"]["name"]) for each in documents if each["kind"] in SCORED}
    return {
        (each["type_meta"]["kind"], each["object_meta"]["name"], check["check"]["id"])
        for each in scored
        for check in each["checks"]
        if check["grade"] <= CRITICAL and not check["skipped"]
    }


def lts() -> Graph:
    """6.10 with Sunstone, its certificates by DNS-01 as in prod: pods for HTTP-01 come and go, and no manifest has them."""
    config = config_of("lts")
    ingress = json.loads(config["opennebula:ingress"])
    ingress["tls"]["challenge"] = "dns01"
    return run(config | {"opennebula:ingress": json.dumps(ingress)})


@pytest.mark.parametrize("example", [lambda: graph("dev"), lambda: graph("prod"), lts], ids=["dev", "prod", "lts"])
def test_the_one_critical_finding_is_the_exempted_one(example: Callable[[], Graph]) -> None:
    assert critical(manifests(example())) == {EXEMPTION}


def daemons(documents: Documents, name: str) -> Iterator[dict[str, Any]]:
    """The containers of a workload."""
    spec = next(each for each in documents if each["kind"] in WORKLOADS and each["metadata"]["name"] == name)["spec"]
    yield from spec["template"]["spec"]["containers"]


def without_memory_limit(documents: Documents) -> None:
    del next(daemons(documents, "oneflow"))["resources"]["limits"]["memory"]


def without_scratch_limit(documents: Documents) -> None:
    del next(daemons(documents, "mariadb"))["resources"]["limits"]["ephemeral-storage"]


def without_readiness(documents: Documents) -> None:
    for container in daemons(documents, "onegate"):
        container.pop("readinessProbe", None)


def with_one_probe_for_two_questions(documents: Documents) -> None:
    container = next(daemons(documents, "mariadb"))
    container["readinessProbe"]["exec"] = container["livenessProbe"]["exec"]


def without_policies(documents: Documents) -> None:
    documents[:] = [each for each in documents if each["kind"] != "NetworkPolicy"]


def without_budget(documents: Documents) -> None:
    documents[:] = [each for each in documents if each["kind"] != "PodDisruptionBudget"]


def without_asking_the_registry(documents: Documents) -> None:
    next(daemons(documents, "fireedge"))["imagePullPolicy"] = "IfNotPresent"


def with_a_writable_root(documents: Documents) -> None:
    next(daemons(documents, "fireedge"))["securityContext"]["readOnlyRootFilesystem"] = False


def ignored_by_annotation(documents: Documents) -> None:
    """A pod that asks for the scanner's silence does not get it."""
    without_memory_limit(documents)
    for each in documents:
        each["metadata"]["annotations"] = {"kube-score/ignore": "container-resources"}


MUTANTS: dict[Callable[[Documents], None], set[Finding]] = {
    without_memory_limit: {("Deployment", "oneflow", "container-resources")},
    without_scratch_limit: {("StatefulSet", "mariadb", "container-ephemeral-storage-request-and-limit")},
    without_readiness: {("Deployment", "onegate", "pod-probes")},
    with_one_probe_for_two_questions: {("StatefulSet", "mariadb", "pod-probes-identical")},
    without_policies: {
        *(("Deployment", name, "pod-networkpolicy") for name in ("fireedge", "oneflow", "onegate")),
        *(("StatefulSet", name, "pod-networkpolicy") for name in ("mariadb", "oned")),
    },
    without_budget: {("Deployment", "fireedge", "deployment-has-poddisruptionbudget")},
    without_asking_the_registry: {("Deployment", "fireedge", "container-image-pull-policy")},
    with_a_writable_root: {("Deployment", "fireedge", "container-security-context-readonlyrootfilesystem")},
    ignored_by_annotation: {("Deployment", "oneflow", "container-resources")},
}


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_what_is_taken_away_is_found(mutate: Callable[[Documents], None]) -> None:
    documents = manifests(graph("prod"))
    mutate(documents)
    assert critical(documents) - {EXEMPTION} == MUTANTS[mutate]


def test_an_exemption_that_nothing_needs_any_more_would_show() -> None:
    documents = manifests(graph("prod"))
    oned = next(each for each in documents if (each["kind"], each["metadata"]["name"]) == EXEMPTION[:2])
    oned["spec"]["template"]["spec"]["securityContext"] |= {"runAsUser": 19869, "runAsGroup": 19869}
    assert critical(documents) == set()
