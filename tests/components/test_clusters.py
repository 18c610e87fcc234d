"""Declared clusters: settings, cross-field rules, and the order that the recorded graph gives them."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest
from pydantic import TypeAdapter, ValidationError

from components.clusters import Clusters, ClustersArgs, ClusterSettings, problems
from components.datastores import Datastores, DatastoresArgs
from components.domain import Version
from components.registration.resource import Host, HostArgs
from tests.components.test_datastores import load as load_datastores
from tests.components.test_datastores import local
from tests.graph import Graph, deploy

ADAPTER: TypeAdapter[tuple[ClusterSettings, ...]] = TypeAdapter(tuple[ClusterSettings, ...])


def load(*items: dict[str, Any]) -> tuple[ClusterSettings, ...]:
    return ADAPTER.validate_json(json.dumps(items))


class _Oned(pulumi.CustomResource):
    def __init__(self) -> None:
        super().__init__("test:index:Oned", "oned")


def graph(*items: dict[str, Any], seen: list[Any] | None = None) -> Graph:
    def program() -> None:
        oned = _Oned()
        made = Clusters("clusters", ClustersArgs(clusters=load(*items), oned=(oned,)))
        made.clusters.apply((seen if seen is not None else []).append)
        for cluster in ("prod", "elsewhere"):
            Host(f"in-{cluster}", HostArgs(name="kvm-1", im_mad="kvm", vm_mad="kvm", cluster=made.name_of(cluster)))
        stores = load_datastores(local("fast", clusters=["prod", "elsewhere"]), local("other"))
        Datastores(
            "datastores",
            DatastoresArgs(datastores=stores, version=Version.V7_4, oned=(oned,), cluster=made.name_of),
        )

    return deploy(program)


def test_clusters_come_after_oned_and_before_what_is_in_them() -> None:
    recorded = graph({"name": "prod", "reservedCpu": -100, "reservedMemory": 1024, "attributes": {"RACK": "r1"}})
    cluster = recorded.one("Cluster", "clusters-prod")
    assert "oned" in cluster.depends_on
    told = {key: value for key, value in cluster.inputs.items() if key != "__provider"}
    assert told == {
        "name": "prod",
        "attributes": {"RACK": "r1", "RESERVED_CPU": "-100", "RESERVED_MEM": "1024"},
        "adopt": "always",
    }
    host = recorded.one("Host", "in-prod")
    assert "clusters-prod" in host.depends_on, "a data edge: made before, removed after"
    assert host.inputs["cluster"] == "prod"
    assert "clusters-prod" not in recorded.one("Host", "in-elsewhere").depends_on
    datastore = recorded.one("Datastore", "datastores-fast")
    assert "clusters-prod" in datastore.depends_on
    assert datastore.inputs["clusters"] == ["prod", "elsewhere"]
    assert "clusters-prod" not in recorded.one("Datastore", "datastores-other").depends_on


def test_the_output_is_id_by_name() -> None:
    seen: list[Any] = []
    graph({"name": "prod"}, {"name": "test"}, seen=seen)
    assert [list(outputs) for outputs in seen] == [["prod", "test"]]


def test_values_that_one_cluster_gets_wrong() -> None:
    for item, text in (
        ({"name": "a;b"}, "which oned refuses in a name"),
        ({"name": ""}, "must not be empty"),
        ({"name": "prod", "adopt": "matching"}, "refuse"),
        ({"name": "prod", "attributes": {"lower": "x"}}, "attribute name"),
    ):
        with pytest.raises(ValidationError, match=text):
            load(item)


def test_rules_between_values() -> None:
    assert list(problems(load({"name": "prod"}, {"name": "default", "reservedCpu": 10}))) == []
    found = dict(
        problems(load({"name": "a"}, {"name": "A", "attributes": {"RESERVED_CPU": "1", "NAME": "x", "B": " "}}))
    )
    assert found == {
        "clusters[1].name": "already the name of clusters[0]",
        "clusters[1].attributes.RESERVED_CPU": "has a setting of its own: reservedCpu",
        "clusters[1].attributes.NAME": "is the cluster's name",
        "clusters[1].attributes.B": "begins or ends with white space, which oned cuts off",
    }
