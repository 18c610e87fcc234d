"""The policy pack over gRPC: nothing to say of the recorded graphs, and each rule's own word about one broken resource."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from policy.rules import RULES, unbudgeted
from tests.graph import Secret, reveal
from tests.policy.engine_side import PACK, UNKNOWN, Finding, Pack, Resource, running
from tests.program.test_program import graph

Change = Callable[[dict[str, Any]], object]
NAMES = [rule.__name__.replace("_", "-") for rule in RULES]


@pytest.fixture(scope="module")
def pack() -> Iterator[Pack]:
    with running() as started:
        yield started


def resources(stack: str) -> list[Resource]:
    return [Resource.of(record) for record in graph(stack).records]


def broken(kind: str, name: str, change: Change) -> Resource:
    """One of prod, with something changed."""
    record = graph("prod").one(kind, name)
    properties = copy.deepcopy(reveal(dict(record.inputs)))
    change(properties)
    return Resource(type=record.type, name=name, urn=record.urn, properties=properties)


def elsewhere(resource: Resource) -> Resource:
    """The same in a program of somebody else, whose project may be called as it likes."""
    urn = f"urn:pulumi:prod::opennebula::acme:index:Shop${resource.type}::{resource.name}"
    return Resource(type=resource.type, name=resource.name, urn=urn, properties=resource.properties)


def pod(properties: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = properties["spec"]["template"]["spec"]
    return found


def first(properties: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = pod(properties)["containers"][0]
    return container


DEPLOYMENT = ("Deployment", "oneflow-deployment")

# policy → the resource, what becomes of it, what is said
BROKEN: dict[str, tuple[tuple[str, str], Change, str]] = {
    "restricted": (
        DEPLOYMENT,
        lambda p: first(p)["securityContext"]["capabilities"].update(drop=["NET_RAW"]),
        "oneflow-deployment/oneflow: capabilities are not all dropped",
    ),
    "unprivileged-uid": (
        DEPLOYMENT,
        lambda p: pod(p)["securityContext"].update(runAsUser=999),
        "oneflow-deployment: runs as uid 999",
    ),
    "no-token": (
        ("ServiceAccount", "oned-account"),
        lambda p: p.pop("automountServiceAccountToken"),
        "oned-account: mounts its token by default",
    ),
    "bounded": (
        DEPLOYMENT,
        lambda p: first(p)["resources"]["limits"].pop("memory"),
        "oneflow-deployment/oneflow: no limits.memory",
    ),
    "probed": (
        DEPLOYMENT,
        lambda p: first(p).update(
            {probe: {"exec": {"command": ["x"]}} for probe in ("readinessProbe", "livenessProbe")}
        ),
        "oneflow-deployment/oneflow: liveness equals readiness",
    ),
    "pinned-image": (
        DEPLOYMENT,
        lambda p: first(p).update(image="registry.example/one/oneflow:latest"),
        "oneflow-deployment/oneflow: image registry.example/one/oneflow:latest is not pinned",
    ),
    "labelled": (
        ("Service", "oned-peers"),
        lambda p: p["metadata"]["labels"].pop("app.kubernetes.io/part-of"),
        "oned-peers: label app.kubernetes.io/part-of is missing",
    ),
    "no-environment-secret": (
        DEPLOYMENT,
        lambda p: first(p).setdefault("envFrom", []).append({"secretRef": {"name": "x"}}),
        "oneflow-deployment/oneflow: takes a whole Secret into the environment",
    ),
    "encrypted": (
        ("Ingress", "ingress-fireedge"),
        lambda p: p["spec"].pop("tls"),
        "ingress-fireedge: cloud.example.com has no certificate",
    ),
    "private-api": (
        ("Service", "oned-service"),
        lambda p: p["spec"].update(type="NodePort"),
        "oned-service: a NodePort opens oned's XML-RPC API in plain text",
    ),
    "pinned-host-keys": (
        ("Command", "hosts-prepare-kvm-01.example.com"),
        lambda p: p["environment"].pop("ONE_HOST_KEY"),
        "hosts-prepare-kvm-01.example.com: deploy@198.51.100.11:22 has no pinned host key",
    ),
    "narrow-grants": (
        ("ConfigMap", "mariadb-config"),
        lambda p: p["data"].update({"start.sh": "mariadb -e \"GRANT ALL ON *.* TO 'one'@'%'\""}),
        "mariadb-config: start.sh grants rights on every schema",
    ),
    "own-passwords": (
        ("Secret", "oned-oneadmin"),
        lambda p: p.update(stringData=Secret({"one_auth": "oneadmin:opennebula"})),
        "oned-oneadmin: one_auth is empty, or a password that everybody knows",
    ),
}


def test_every_rule_is_a_policy_with_a_description(pack: Pack) -> None:
    info = pack.info()
    assert [policy.name for policy in info.policies] == [*NAMES, unbudgeted.__name__]
    assert {policy.enforcementLevel for policy in info.policies} == {1}  # mandatory
    assert [policy.policy_type for policy in info.policies] == [1] * len(NAMES) + [2]  # resources', then the stack's
    assert [p.description for p in info.policies if not re.fullmatch(r"\S.{40,}\.", p.description)] == []
    assert info.supportsConfig


@pytest.mark.parametrize("stack", ["dev", "prod", "lab", "lts"])
def test_the_program_obeys_its_own_policies(pack: Pack, stack: str) -> None:
    assert [found for each in resources(stack) for found in pack.analyze(each)] == []
    assert pack.analyze_stack(resources(stack)) == []


@pytest.mark.parametrize("policy", NAMES)
def test_a_broken_resource_is_named(pack: Pack, policy: str) -> None:
    (kind, name), change, sentence = BROKEN[policy]
    [found] = [each for each in pack.analyze(broken(kind, name, change)) if each.message.endswith(f"\n{sentence}")]
    assert (found.policy, found.level) == (policy, "mandatory")


def test_a_password_is_in_no_message(pack: Pack) -> None:
    secret = broken("Secret", "oned-oneadmin", lambda p: p.update(stringData=Secret({"one_auth": "oneadmin:changeme"})))
    assert [found.policy for found in pack.analyze(secret)] == ["own-passwords"]
    assert "changeme" not in repr(pack.analyze(secret))


def test_the_whole_stack_is_looked_at(pack: Pack) -> None:
    left = [each for each in resources("prod") if not each.type.endswith(":PodDisruptionBudget")]
    [found] = pack.analyze_stack(left)
    assert (found.policy, found.level) == ("unbudgeted", "mandatory")
    assert found.message.endswith("\nfireedge-deployment: has several pods and no PodDisruptionBudget")


def test_a_budget_counts_whoever_made_it(pack: Pack) -> None:
    moved = [elsewhere(each) if each.type.endswith(":PodDisruptionBudget") else each for each in resources("prod")]
    assert pack.analyze_stack(moved) == []


def test_other_programs_are_left_alone(pack: Pack) -> None:
    for policy, ((kind, name), change, _) in BROKEN.items():
        told = {found.policy for found in pack.analyze(elsewhere(broken(kind, name, change)))}
        assert told == ({policy} if policy == "private-api" else set()), policy
    several = [elsewhere(each) for each in resources("prod") if each.type.endswith(":Deployment")]
    assert pack.analyze_stack(several) == []


@pytest.mark.parametrize("token", ["aws:batch/job:Job", "pulumi:providers:kubernetes", "kubernetes:core/v1:Service"])
def test_resources_of_any_kind_and_content_pass(pack: Pack, token: str) -> None:
    one = Resource(type=token, name="x", urn=f"urn:pulumi:a::b::{token}::x", properties={"spec": None, "n": [None, 1]})
    assert pack.analyze(one) == []
    assert pack.analyze_stack([one]) == []


def test_what_only_the_update_knows_is_an_advice(pack: Pack) -> None:
    unknown = broken("Secret", "oned-oneadmin", lambda p: p.update(stringData=Secret(UNKNOWN)))
    [found] = pack.analyze(unknown)
    assert (found.policy, found.level) == ("own-passwords", "advisory")
    assert "can't be known during preview" in found.message


def test_unknown_values_hide_nothing_else(pack: Pack) -> None:
    def change(properties: dict[str, Any]) -> None:
        properties["spec"]["template"]["metadata"]["annotations"] = UNKNOWN
        first(properties)["image"] = UNKNOWN
        pod(properties)["hostNetwork"] = True

    found = {(each.policy, each.level) for each in pack.analyze(broken(*DEPLOYMENT, change))}
    assert found == {("restricted", "mandatory"), ("pinned-image", "advisory")}


def test_an_object_that_is_not_whole_is_told_and_stops_nothing(pack: Pack) -> None:
    told = pack.analyze(broken(*DEPLOYMENT, lambda p: p.pop("spec")))
    assert {found.message.rsplit("\n")[-1] for found in told} == {"oneflow-deployment: has no 'spec'"}
    assert pack.analyze_stack([broken(*DEPLOYMENT, lambda p: p.pop("spec"))])[0].message.endswith("has no 'spec'")


def test_pulumis_policy_config_sets_the_levels() -> None:
    with running(folder=".") as pack:  # as an analyzer plugin calls it
        pack.configure({"labelled": "advisory", "probed": "disabled"})
        found: list[Finding] = []
        for policy in ("labelled", "probed", "bounded"):
            (kind, name), change, _ = BROKEN[policy]
            found += pack.analyze(broken(kind, name, change))
        assert [(each.policy, each.level) for each in found] == [("labelled", "advisory"), ("bounded", "mandatory")]


def test_the_packs_folder_is_one_that_the_engine_takes() -> None:
    project = yaml.safe_load((PACK / "PulumiPolicy.yaml").read_text())
    assert project["runtime"] == {"name": "python", "options": {"toolchain": "pip", "virtualenv": ".venv"}}
    assert (PACK / "__main__.py").is_file()


def test_the_packs_packages_are_pinned_and_pulumi_is_the_programs() -> None:
    def pins(file: Path) -> dict[str, str]:
        return dict(re.findall(r"^([\w.-]+)==([^\s#]+)", file.read_text().replace("_", "-"), re.MULTILINE))

    wanted, locked = pins(PACK / "requirements.txt"), pins(PACK / "requirements.lock")
    assert set(wanted) == {"pulumi", "pulumi-policy"}
    assert wanted.items() <= locked.items()
    assert wanted["pulumi"] == pins(PACK.parent / "requirements.txt")["pulumi"]
