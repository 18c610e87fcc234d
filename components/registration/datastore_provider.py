"""The dynamic provider of datastores: property bags in, rules called, property bags out. No rule of its own.

`components.registration.datastore_provider.DatastoreProvider` is written into the state of every datastore; see
`provider` for what follows from that.
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

from components.registration import datastore_inputs as inputs
from components.registration.inputs import Props, adopt_policy, changed
from components.registration.provider import DeclaredProvider, plainly

log = logging.getLogger("opennebula.registration")


class DatastoreProvider(DeclaredProvider):
    """One datastore in oned."""

    def check(self, _olds: Props, news: Props) -> CheckResult:
        normal = inputs.normal_datastore(news)
        return CheckResult(normal, [CheckFailure(key, text) for key, text in inputs.datastore_problems(news, normal)])

    def diff(self, id_: str, olds: Props, news: Props) -> DiffResult:
        before, after = inputs.normal_datastore(olds), inputs.normal_datastore(news)
        replaces = inputs.replacing(int(id_), before, after)
        changes = bool(changed(before, after, (*inputs.REPLACING, *inputs.IN_PLACE)))
        # oned would refuse a second datastore of the name: the old one goes first.
        return DiffResult(changes=changes, replaces=replaces, delete_before_replace=True)

    @plainly
    def create(self, props: Props) -> CreateResult:
        spec = inputs.datastore_spec(props)
        datastore_id = self._runtime().datastores.register(spec, adopt_policy(props))
        return CreateResult(str(datastore_id), _outputs(datastore_id, props))

    @plainly
    def update(self, id_: str, olds: Props, news: Props) -> UpdateResult:
        self._runtime().datastores.update(int(id_), inputs.datastore_spec(olds), inputs.datastore_spec(news))
        return UpdateResult(_outputs(int(id_), news))

    @plainly
    def read(self, id_: str, props: Props) -> ReadResult:
        rules = self._runtime().datastores
        record = rules.observe(int(id_), inputs.datastore_spec(props))
        if record is None:
            return ReadResult(None, {})
        seen = inputs.datastore_props(rules.seen(inputs.datastore_spec(props), record))
        seen["adopt"] = adopt_policy(props).value
        return ReadResult(id_, _outputs(record.id, seen), seen)

    @plainly
    def delete(self, id_: str, props: Props) -> None:
        spec = inputs.datastore_spec(props)
        if self._declared.keeps_datastore(spec):
            log.info("datastore %s (id %s) stays: the configuration still declares it", spec.name, id_)
            return
        self._runtime().datastores.remove(int(id_), spec.name)


def _outputs(datastore_id: int, props: Props) -> Props:
    return {**inputs.normal_datastore(props), "datastore_id": datastore_id}
