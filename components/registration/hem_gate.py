"""`HemConfigured`: the hook execution manager works with the configuration that the program has written.

That is a file of a ConfigMap, mounted into a container of oned's pod, which must not be restarted for it (ADR 16). The
kubelet would bring a change within two minutes, and the container's start script starts the manager anew and notes what
it has read (`images/oned/hem-start`). This resource has it come at once and waits until it is so.

`components.registration.hem_gate.HemConfiguredProvider` is a reference in the state, as in `provider.py`.
"""

from __future__ import annotations

import logging
from typing import Any, Final, Protocol

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from components.registration.clock import SYSTEM_CLOCK, Clock
from components.registration.errors import AccessError, OnedError
from components.registration.exec import in_pod
from components.registration.inputs import Props
from components.registration.kube import Cluster, PodPort
from components.registration.names import ONED_SERVICE, XMLRPC_PORT
from components.registration.provider import OnedProvider, plainly
from components.registration.transport import NotSent

CONTAINER: Final = "hem"
TAKEN: Final = "/run/one/hem-taken"
_ID: Final = "hem"
_POLL: Final = 0.5
_TOUCH: Final = 5.0
_LIMIT: Final = 180.0

log = logging.getLogger("opennebula.registration")


class NotTaken(OnedError):
    """The manager does not work with the configuration that was written."""


class Pods(Protocol):
    """What the wait needs of a cluster: `kube.Cluster`, and a file of a container."""

    def pod_behind(self, service: str, port: int) -> PodPort: ...

    def touch_pod_behind(self, service: str, port: int) -> None: ...

    def taken(self, pod: str) -> str: ...


class _Pods:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.pod_behind, self.touch_pod_behind = cluster.pod_behind, cluster.touch_pod_behind

    def taken(self, pod: str) -> str:
        return in_pod(self._cluster, pod, CONTAINER, ("cat", TAKEN))


def wait_until_taken(pods: Pods, text: str, *, limit: float = _LIMIT, clock: Clock = SYSTEM_CLOCK) -> None:
    """Return once the manager has read `text`. Raises NotTaken after `limit` seconds, AccessError where nobody may look."""
    end, touch = clock.monotonic() + limit, clock.monotonic()
    while True:
        try:
            pod = pods.pod_behind(ONED_SERVICE, XMLRPC_PORT).pod
            if clock.monotonic() >= touch:
                # More than once: the kubelet may look before it has heard of the change.
                _touch(pods)
                touch = clock.monotonic() + _TOUCH
            if pods.taken(pod) == text:
                return
            seen = "the manager that runs there was started with another one, or does not reach oned"
        except NotSent as error:
            seen = str(error)
        if clock.monotonic() >= end:
            raise NotTaken(
                f"the hook execution manager does not work with its new configuration after {limit:g} s",
                seen,
                then=f"`kubectl logs {ONED_SERVICE}-0 -c {CONTAINER}` in the stack's namespace, then `pulumi up`",
            )
        clock.sleep(_POLL)


def _touch(pods: Pods) -> None:
    try:
        pods.touch_pod_behind(ONED_SERVICE, XMLRPC_PORT)
    except AccessError as error:
        log.info("the hook execution manager hears of its configuration a little later: %s", error)


class HemConfiguredProvider(OnedProvider):
    """`text` is the file. Nothing in oned belongs to it."""

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        return DiffResult(changes=olds.get("text") != news.get("text"))

    @plainly
    def create(self, props: Props) -> CreateResult:
        self._wait(props)
        return CreateResult(_ID, props)

    @plainly
    def update(self, _id: str, _olds: Props, news: Props) -> UpdateResult:
        self._wait(news)
        return UpdateResult(news)

    def read(self, id_: str, props: Props) -> ReadResult:
        return ReadResult(id_, props)

    def _wait(self, props: Props) -> None:
        cluster = self._runtime().cluster
        if cluster is None:
            log.info("no kubeconfig: the hook execution manager takes its configuration within two minutes")
            return
        try:
            wait_until_taken(_Pods(cluster), str(props["text"]))
        except AccessError as error:
            log.warning("the hook execution manager takes its configuration within two minutes, unseen: %s", error)


class HemConfigured(Resource, module="opennebula", name="HemConfigured"):
    """See the module. What must be there before comes as `depends_on`."""

    text: pulumi.Output[str]

    def __init__(self, name: str, text: Any, opts: pulumi.ResourceOptions) -> None:
        super().__init__(HemConfiguredProvider(), name, {"text": text}, opts)
