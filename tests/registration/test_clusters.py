"""Clusters: the rules against oned in memory, the provider as the engine calls it, what state and destroy rely on."""

from __future__ import annotations

import base64
import json
from typing import Any

import dill  # type: ignore[import-untyped]
import pytest
from pulumi.dynamic.dynamic import serialize_provider

from components.registration import names
from components.registration.cluster_inputs import ClusterSpec, cluster_problems, normal_cluster
from components.registration.cluster_provider import ClusterProvider
from components.registration.cluster_reconcile import ClusterRegistrar
from components.registration.cluster_resource import Cluster
from components.registration.cluster_xmlrpc import parse_clusters
from components.registration.declared import Declared
from components.registration.errors import (
    Ambiguous,
    ClusterInUse,
    ClusterTaken,
    DuplicateClusters,
    Inconsistent,
    NotFound,
)
from components.registration.lease import ProcessLocks
from components.registration.pool import Listing
from components.registration.provider import ProviderError
from components.registration.refusals import refusal
from components.registration.spec import AdoptPolicy
from tests.registration.cluster_memory import MemoryClusters
from tests.registration.memory import ManualClock

PROD = ClusterSpec(name="prod", attributes={"RESERVED_CPU": "10%", "RACK": "r1"})
ALWAYS = AdoptPolicy.ALWAYS


class Rules(ClusterRegistrar):
    """One process; `clock` is moved by the test."""

    def __init__(self, oned: MemoryClusters) -> None:
        self.clock = ManualClock()
        super().__init__(oned, Listing(oned.all_clusters, self.clock), ProcessLocks(), self.clock)


@pytest.fixture
def oned() -> MemoryClusters:
    return MemoryClusters()


def test_a_new_cluster_is_made_once_confirmed_and_given_its_attributes(oned: MemoryClusters) -> None:
    cluster_id = Rules(oned).register(PROD, ALWAYS)
    assert PROD.as_seen(oned.rows[cluster_id]) == PROD
    assert oned.counted() == {"all_clusters": 2, "allocate": 1, "update": 1}


def test_lost_state_is_healed_by_adoption_and_the_policy_may_forbid_it(oned: MemoryClusters) -> None:
    there = oned.insert("prod", hosts=(1, 2), template={"NOTE": "by hand"})
    assert Rules(oned).register(PROD, ALWAYS) == there
    assert oned.rows[there].template == {"NOTE": "by hand", **PROD.attributes}
    with pytest.raises(ClusterTaken, match=r"taken by cluster 100: the policy is to take over no cluster.*adopt"):
        Rules(oned).register(PROD, AdoptPolicy.REFUSE)


def test_a_name_that_differs_in_case_is_refused(oned: MemoryClusters) -> None:
    oned.insert("PROD")
    with pytest.raises(ClusterTaken, match="without regard to case"):
        Rules(oned).register(PROD, ALWAYS)


def test_two_of_one_name_are_an_error_and_nothing_is_deleted(oned: MemoryClusters) -> None:
    oned.in_the_race = lambda: oned.insert("prod")
    with pytest.raises(DuplicateClusters, match=r"exists 2 times.*ids 100, 101"):
        Rules(oned).register(PROD, ALWAYS)
    with pytest.raises(DuplicateClusters):
        Rules(oned).register(PROD, ALWAYS)
    assert oned.ids("prod") == [100, 101]


@pytest.mark.parametrize("executed", [True, False])
def test_a_lost_answer_to_an_allocate_is_looked_for_and_never_sent_again(oned: MemoryClusters, executed: bool) -> None:
    oned.lose("allocate", executed=executed)
    if executed:
        assert Rules(oned).register(PROD, ALWAYS) == 100
    else:
        with pytest.raises(Ambiguous):
            Rules(oned).register(PROD, ALWAYS)
    assert oned.counted()["allocate"] == 1


def test_one_that_vanishes_at_once_is_an_error(oned: MemoryClusters) -> None:
    oned.all_clusters = tuple  # type: ignore[method-assign]
    rules = Rules(oned)
    rules.clock.at_tick = oned.rows.clear
    with pytest.raises(Inconsistent, match="is not listed 15 s later"):
        rules.register(PROD, ALWAYS)


def test_an_update_writes_only_what_differs_empties_what_is_gone_and_takes_a_name_back(oned: MemoryClusters) -> None:
    rules = Rules(oned)
    cluster_id = rules.register(PROD, ALWAYS)
    oned.change(cluster_id, name="renamed", template={**oned.rows[cluster_id].template, "NOTE": "x"})
    oned.calls.clear()
    with pytest.raises(Inconsistent, match=r"called 'renamed' and not 'prod'.*another cluster's now.*pulumi refresh"):
        rules.update(cluster_id, PROD, ClusterSpec(name="prod", attributes={"RACK": "r2"}))
    seen = rules.observe(cluster_id, "prod")
    assert seen is not None
    oned.calls.clear()
    rules.update(cluster_id, PROD.as_seen(seen), ClusterSpec(name="prod", attributes={"RACK": "r2"}))
    assert oned.calls[1:] == [
        ("update", cluster_id, {"RESERVED_CPU": "", "RACK": "r2"}),
        ("rename", cluster_id, "prod"),
    ]
    assert oned.rows[cluster_id].attribute("NOTE") == "x"


def test_removal_only_when_empty_with_the_list_and_never_of_oneds_own(oned: MemoryClusters) -> None:
    full = oned.insert("prod", hosts=(3, 1), datastores=(104,), networks=(7,))
    with pytest.raises(ClusterInUse) as caught:
        Rules(oned).remove(full, "prod")
    assert "2 hosts (ids 1, 3); 1 datastores (ids 104); 1 virtual networks (ids 7). Next: `onecluster show" in str(
        caught.value
    )
    oned.change(full, hosts=(), datastores=(), networks=())
    Rules(oned).remove(full, "prod")
    Rules(oned).remove(full, "prod")
    Rules(oned).remove(0, "default")
    assert set(oned.rows) == {0}
    assert oned.counted()["delete"] == 3


def test_a_number_that_is_another_clusters_now_is_only_forgotten(
    oned: MemoryClusters, caplog: pytest.LogCaptureFixture
) -> None:
    """After another database. A refresh that learned its name would make the next run rename it."""
    other = oned.insert("somebody-elses")
    Rules(oned).remove(other, "prod")
    assert other in oned.rows
    assert "cluster prod (id 100) is only forgotten by this stack" in caplog.text
    assert Rules(oned).observe(other, "prod") == oned.rows[other], "renamed, as far as anybody can tell"
    oned.insert("prod")
    assert Rules(oned).observe(other, "prod") is None


def test_one_taken_over_in_this_run_survives_the_deletion_of_its_old_resource(oned: MemoryClusters) -> None:
    rules = Rules(oned)
    cluster_id = rules.register(PROD, ALWAYS)
    rules.remove(cluster_id, "prod")
    assert cluster_id in oned.rows


# ---- adapter


def test_a_pool_is_read_element_by_element() -> None:
    xml = (
        "<CLUSTER_POOL><CLUSTER><ID>100</ID><NAME>prod</NAME><HOSTS><ID>4</ID><ID>2</ID></HOSTS><DATASTORES/>"
        "<VNETS><ID>1</ID></VNETS><TEMPLATE><RACK>r1</RACK><PLAN><A>1</A></PLAN><RESERVED_CPU></RESERVED_CPU></TEMPLATE>"
        "</CLUSTER></CLUSTER_POOL>"
    )
    (record,) = parse_clusters(xml)
    assert (record.id, record.name, record.hosts, record.datastores, record.networks) == (100, "prod", (4, 2), (), (1,))
    assert record.template == {"RACK": "r1", "RESERVED_CPU": ""}


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (0x4000, "Error allocating a new cluster. NAME is already taken by CLUSTER 100.", ClusterTaken),
        (0x0800, "Cannot delete cluster. Cluster 100 is not empty, it contains 2 hosts.", ClusterInUse),
        (0x0400, "Error getting cluster [7].", NotFound),
    ],
)
def test_refusals_are_typed(code: int, text: str, kind: type[Exception]) -> None:
    found = refusal("x", code, text)
    assert type(found) is kind
    if isinstance(found, ClusterTaken):
        assert found.cluster_id == 100


# ---- provider


class Parts:
    def __init__(self, oned: MemoryClusters) -> None:
        self.clusters = Rules(oned)


def provider_of(oned: MemoryClusters, clusters: Any = (), storage: Any = None) -> Any:
    provider: Any = ClusterProvider()
    texts = {names.CONFIG_CLUSTERS: json.dumps(clusters), names.CONFIG_STORAGE: json.dumps(storage)}
    provider._declared = Declared.read(texts.get)
    provider._runtime = lambda: Parts(oned)
    return provider


def test_the_life_of_a_cluster(oned: MemoryClusters) -> None:
    provider = provider_of(oned)
    inputs = normal_cluster({"name": "prod", "attributes": {"rack": 7.0}})
    assert inputs == {"name": "prod", "attributes": {"RACK": "7"}, "adopt": "always"}
    created = provider.create(inputs)
    assert (created.id, created.outs) == ("100", {**inputs, "cluster_id": 100})
    assert provider.diff("100", created.outs, inputs).changes is False
    news = normal_cluster({"name": "prod", "attributes": {"RACK": "8"}})
    assert provider.diff("100", created.outs, news).changes is True
    updated = provider.update("100", created.outs, news).outs
    assert updated == {**news, "cluster_id": 100}
    read = provider.read("100", updated)
    assert (read.id, read.outs, read.inputs) == ("100", updated, news)
    oned.change(100, name="renamed", template={"RACK": "9", "FOREIGN": "x"})
    drifted = provider_of(oned).read("100", updated).inputs
    assert drifted == {"name": "renamed", "attributes": {"RACK": "9"}, "adopt": "always"}
    provider_of(oned).delete("100", updated)
    assert 100 in oned.rows, "what nobody has refreshed may be another's"
    provider_of(oned).delete("100", {**drifted, "cluster_id": 100})
    assert provider_of(oned).read("100", updated).id is None


@pytest.mark.parametrize(
    ("clusters", "storage", "kept"),
    [([{"name": "prod"}], None, True), ([{"name": "prod"}], {"retain": False}, False), ([], None, False)],
)
def test_a_destroy_keeps_what_the_configuration_still_declares(
    oned: MemoryClusters, clusters: Any, storage: Any, kept: bool
) -> None:
    oned.insert("prod")
    provider_of(oned, clusters, storage).delete("100", {"name": "prod"})
    assert (100 in oned.rows) is kept


def test_inputs_that_oned_would_refuse_are_named() -> None:
    assert cluster_problems(normal_cluster({"name": "prod", "attributes": {"A": "b"}})) == []
    bad = normal_cluster({"name": "a;b", "attributes": {"NAME": "x", "A-B": "x", "C": "a\nb"}, "adopt": "matching"})
    assert dict(cluster_problems(bad)).keys() == {
        "name", "adopt", "attributes.NAME", "attributes.A-B", "attributes.C",
    }  # fmt: skip
    assert dict(cluster_problems(normal_cluster({}))).keys() == {"name"}


def test_an_error_is_plain(oned: MemoryClusters) -> None:
    oned.insert("prod", hosts=(1,))
    with pytest.raises(ProviderError, match=r"'prod' \(id 100\) is not removed: in it are 1 hosts"):
        provider_of(oned).delete("100", {"name": "prod"})


def test_state_holds_a_reference_and_the_paths_are_a_contract() -> None:
    text = serialize_provider(ClusterProvider())
    raw = base64.b64decode(text)
    assert len(text) <= 120
    assert b"components.registration.cluster_provider" in raw
    assert type(dill.loads(raw)) is ClusterProvider  # noqa: S301 - made above
    assert Cluster._resource_type_name == "dynamic/opennebula:Cluster"
