"""The dynamic provider of clusters: property bags in, rules called, property bags out. No rule of its own.

`components.registration.cluster_provider.ClusterProvider` is written into the state of every cluster; see `provider` for
what follows from that.
"""

from __future__ import annotations

import logging

from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    UpdateResult,
)

from components.registration import cluster_inputs as inputs
from components.registration.inputs import Props, adopt_policy, changed
from components.registration.provider import DeclaredProvider, plainly

log = logging.getLogger("opennebula.registration")


class ClusterProvider(DeclaredProvider):
    """One cluster in oned."""

    def check(self, _olds: Props, news: Props) -> CheckResult:
        normal = inputs.normal_cluster(news)
        return CheckResult(normal, [CheckFailure(key, text) for key, text in inputs.cluster_problems(normal)])

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        before, after = inputs.normal_cluster(olds), inputs.normal_cluster(news)
        return DiffResult(changes=bool(changed(before, after, inputs.IN_PLACE)))

    @plainly
    def create(self, props: Props) -> CreateResult:
        cluster_id = self._runtime().clusters.register(inputs.cluster_spec(props), adopt_policy(props))
        return CreateResult(str(cluster_id), _outputs(cluster_id, props))

    @plainly
    def update(self, id_: str, olds: Props, news: Props) -> UpdateResult:
        self._runtime().clusters.update(int(id_), inputs.cluster_spec(olds), inputs.cluster_spec(news))
        return UpdateResult(_outputs(int(id_), news))

    @plainly
    def read(self, id_: str, props: Props) -> ReadResult:
        record = self._runtime().clusters.observe(int(id_), inputs.cluster_spec(props).name)
        if record is None:
            return ReadResult(None, {})
        seen = inputs.cluster_spec(props).as_seen(record)
        bag = {"name": seen.name, "attributes": dict(seen.attributes), "adopt": inputs.normal_cluster(props)["adopt"]}
        return ReadResult(id_, _outputs(record.id, bag), bag)

    @plainly
    def delete(self, id_: str, props: Props) -> None:
        name = inputs.cluster_spec(props).name
        if self._declared.keeps_cluster(name):
            log.info("cluster %s (id %s) stays: the configuration still declares it", name, id_)
            return
        self._runtime().clusters.remove(int(id_), name)


def _outputs(cluster_id: int, props: Props) -> Props:
    return {**inputs.normal_cluster(props), "cluster_id": cluster_id}
