"""`OnedReady`: all of oned is there, and it answers. One resource that every host waits for.

A host that depended on the component itself would list each of its parts among its dependencies, in the state, a
hundred bytes each and for every host. On the way down it keeps oned whole until the last host is removed.

`components.registration.gate.OnedReadyProvider` is a reference in the state, as in `provider.py`.
"""

from __future__ import annotations

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource

from components.registration.inputs import Props
from components.registration.provider import OnedProvider, plainly

_ID = "oned"


class OnedReadyProvider(OnedProvider):
    """Waits once for an answer, as long as any operation does. Nothing in oned belongs to it."""

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        return DiffResult(changes=False)

    @plainly
    def create(self, props: Props) -> CreateResult:
        self._runtime().client.clusters()
        return CreateResult(_ID, props)

    def read(self, id_: str, props: Props) -> ReadResult:
        return ReadResult(id_, props)


class OnedReady(Resource, module="opennebula", name="OnedReady"):
    """See the module. What must be there comes as `depends_on`."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__(OnedReadyProvider(), name, {}, opts)
