"""The rules that need more than a pod: an Ingress always has a certificate, several pods always a disruption budget."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from policy.rules import EXEMPTION, NOT_PROBED, probed, unbudgeted, unprivileged_uid
from policy.ways_in import encrypted
from tests.graph import reveal
from tests.program.test_program import graph

INGRESS = "kubernetes:networking.k8s.io/v1:Ingress"


def resources(stack: str = "prod") -> list[tuple[str, str, dict[str, Any]]]:
    return [(r.type, r.name, copy.deepcopy(reveal(dict(r.inputs)))) for r in graph(stack).records]


def ingress(**spec: Any) -> list[str]:
    return list(encrypted(INGRESS, "i", {"spec": spec}))


COVERED = {"hosts": ["a.example"], "secretName": "a-tls"}


def test_an_ingress_with_a_certificate_for_its_host_is_fine() -> None:
    assert ingress(rules=[{"host": "a.example"}], tls=[COVERED]) == []


@pytest.mark.parametrize(
    "tls",
    [[], [{"hosts": ["b.example"], "secretName": "a-tls"}], [{"hosts": ["a.example"]}], [{"secretName": "a-tls"}]],
)
def test_a_host_without_a_certificate_is_found(tls: list[dict[str, Any]]) -> None:
    assert ingress(rules=[{"host": "a.example"}], tls=tls) == ["i: a.example has no certificate"]


def test_an_ingress_for_any_host_is_found() -> None:
    assert ingress(rules=[{"http": {}}], tls=[COVERED]) == ["i: a rule without a host answers for all of them"]
    assert "any host" in ingress(defaultBackend={}, tls=[COVERED])[0]


def test_the_real_ones_are_looked_at() -> None:
    found = [(name, properties) for token, name, properties in resources() if token == INGRESS]
    assert len(found) == 3
    for name, properties in found:
        assert list(encrypted(INGRESS, name, properties)) == []
        assert list(encrypted(INGRESS, name, {"spec": {**properties["spec"], "tls": []}}))


def test_a_low_uid_is_for_oned_alone() -> None:
    def said(name: str, uid: int | None) -> list[str]:
        pod = {"spec": {"template": {"spec": {"securityContext": {"runAsUser": uid}}}}, "metadata": {"name": name}}
        return list(unprivileged_uid("kubernetes:apps/v1:StatefulSet", f"{name}-statefulset", pod))

    assert said(EXEMPTION[1], 9869) == []
    assert said(EXEMPTION[1], 999) == ["oned-statefulset: runs as uid 999"]
    assert said("mariadb", 9869) == ["mariadb-statefulset: runs as uid 9869"]
    assert said("mariadb", None) == ["mariadb-statefulset: runs as uid None"]
    assert said("mariadb", 10999) == []


@pytest.mark.parametrize("stack", ["dev", "prod", "lab"])
def test_several_pods_have_a_budget(stack: str) -> None:
    assert list(unbudgeted(resources(stack))) == []


def test_several_pods_without_a_budget_are_found() -> None:
    left = [item for item in resources() if not item[0].endswith(":PodDisruptionBudget")]
    assert list(unbudgeted(left)) == ["fireedge-deployment: has several pods and no PodDisruptionBudget"]


@pytest.mark.parametrize("field", ["namespace", "selector"])
def test_a_budget_of_other_pods_does_not_count(field: str) -> None:
    given = resources()
    for token, _, properties in given:
        if token.endswith(":PodDisruptionBudget"):
            if field == "namespace":
                properties["metadata"]["namespace"] = "elsewhere"
            else:
                properties["spec"]["selector"]["matchLabels"] = {"app.kubernetes.io/name": "other"}
    assert list(unbudgeted(given)) == ["fireedge-deployment: has several pods and no PodDisruptionBudget"]


def test_every_lasting_container_is_probed_for_life_and_not_one_of_the_pod() -> None:
    looked = set()
    for token, name, properties in resources():
        if not token.endswith((":StatefulSet", ":Deployment")):
            continue
        pod = properties["spec"]["template"]["spec"]
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            if container.pop("livenessProbe", None):
                looked.add(container["name"])
                assert list(probed(token, name, properties)) == [f"{name}/{container['name']}: has no liveness probe"]
                container["livenessProbe"] = {"exec": {"command": ["x"]}}
    assert {"mariadb", "oned", "ssh-agent", "hem", "fireedge", "guacd", "oneflow", "onegate"} <= looked


def test_what_is_not_probed_is_named_with_its_workload() -> None:
    def said(workload: str, container: str) -> list[str]:
        pod = {"containers": [{"name": container, "readinessProbe": {"tcpSocket": {}}}]}
        properties = {"metadata": {"name": workload}, "spec": {"template": {"spec": pod}}}
        return list(probed("kubernetes:apps/v1:StatefulSet", "x", properties))

    assert all(said(*place) == [] and reason for place, reason in NOT_PROBED.items())
    assert said("oned", "oned") == ["x/oned: has no liveness probe"]
    assert said("mariadb", "keeper") == ["x/keeper: has no liveness probe"]


def test_a_budget_may_select_by_expressions_and_one_without_a_selector_selects_nothing() -> None:
    given = resources()
    for token, _, properties in given:
        if token.endswith(":PodDisruptionBudget"):
            expression = {"key": "app.kubernetes.io/name", "operator": "In", "values": ["fireedge"]}
            properties["spec"]["selector"] = {"matchExpressions": [expression]}
    assert list(unbudgeted(given)) == []
    empty: list[dict[str, Any]] = [{}, {"spec": None}, {"spec": {}}]
    none = [("kubernetes:policy/v1:PodDisruptionBudget", "x", properties) for properties in empty]
    left = [item for item in given if not item[0].endswith(":PodDisruptionBudget")]
    assert len(list(unbudgeted([*left, *none]))) == 1
