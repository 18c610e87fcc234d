"""The dynamic providers: property bags in, rules called, property bags out. No rule of its own.

`components.registration.provider.HostProvider` is written into the state of every host: the class is stored as a
reference to this path, so state holds no code, and `destroy` and `refresh` import it from the checkout. Therefore the
path stays, the classes have no constructor arguments, and this module is light to import.

`configure` only parses settings. `check` and `diff` do no I/O, so a preview needs no oned.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection
from typing import Concatenate, Final, ParamSpec, TypeVar

from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)

from components.registration import fleet_inputs, inputs
from components.registration.declared import Declared
from components.registration.drain import DrainPolicy
from components.registration.errors import OnedError
from components.registration.inputs import Props
from components.registration.orphan import end_with_engine
from components.registration.progress import counting
from components.registration.readiness import wait_for_fleet
from components.registration.reconcile import NO_DRAIN
from components.registration.runtime import Runtime, known_secrets, runtime
from components.registration.settings import ProviderSettings

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Self = TypeVar("_Self", bound="OnedProvider")
_FLEET_ID: Final = "fleet"

log = logging.getLogger("opennebula.registration")


class ProviderError(Exception):
    """An error as the operator reads it: no credential, no traceback."""


class OnedProvider(ResourceProvider):
    """Settings and errors, common to all providers."""

    serialize_as_secret_always = False  # nothing is captured, and a secret would hide the reference in every diff
    _settings: ProviderSettings | None = None

    def configure(self, req: ConfigureRequest) -> None:
        self._settings = ProviderSettings.read(req.config.get)
        end_with_engine()

    def _runtime(self) -> Runtime:
        if self._settings is None:
            raise ProviderError("the provider was not configured; Next: use the pulumi version in requirements.txt")
        return runtime(self._settings)

    def scrubbed(self, text: str) -> str:
        """`text` without the credential, should anything have put it there."""
        known = known_secrets(self._settings) if self._settings else ()
        return functools.reduce(lambda cleaned, secret: cleaned.replace(secret, "[secret]"), known, text)


def plainly(
    operation: Callable[Concatenate[_Self, _P], _T],
) -> Callable[Concatenate[_Self, _P], _T]:
    """Errors of this package as one scrubbed text."""

    @functools.wraps(operation)
    def run(self: _Self, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return operation(self, *args, **kwargs)
        except OnedError as error:
            raise ProviderError(self.scrubbed(str(error))) from None

    return run


class DeclaredProvider(OnedProvider):
    """For what stays in oned when a whole stack is destroyed: knows what the configuration declares."""

    _declared = Declared(drivers={}, retain=True)

    def configure(self, req: ConfigureRequest) -> None:
        super().configure(req)
        self._declared = Declared.read(req.config.get)


class HostProvider(DeclaredProvider):
    """One host in oned."""

    def check(self, _olds: Props, news: Props) -> CheckResult:
        normal = inputs.normal_host(news)
        return CheckResult(normal, [CheckFailure(key, text) for key, text in inputs.host_problems(news, normal)])

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        before, after = inputs.normal_host(olds), inputs.normal_host(news)
        replaces = inputs.changed(before, after, inputs.REPLACING)
        changes = bool(replaces or inputs.changed(before, after, inputs.IN_PLACE))
        # oned would refuse, or duplicate, a second host of the name: the old one goes first.
        return DiffResult(changes=changes, replaces=replaces, delete_before_replace=True)

    @plainly
    def create(self, props: Props) -> CreateResult:
        spec = inputs.host_spec(props)
        self._runtime().before_registering()
        host_id = self._runtime().registrar.register(spec, inputs.adopt_policy(props), self._drain(props))
        return CreateResult(str(host_id), _outputs(host_id, props, marked=spec.owner))

    @plainly
    def update(self, id_: str, olds: Props, news: Props) -> UpdateResult:
        rules = self._runtime().registrar
        before, after = inputs.written(olds), inputs.host_spec(news)
        rules.update(int(id_), before, after, self._drain(news), inputs.adopt_policy(news))
        return UpdateResult(_outputs(int(id_), news, marked=after.owner))

    @plainly
    def read(self, id_: str, props: Props) -> ReadResult:
        was = inputs.written(props)
        record = self._runtime().registrar.observe(int(id_), was, self._declared.leaves)
        if record is None:
            return ReadResult(None, {})
        seen = inputs.host_props(inputs.host_spec(props).as_seen(record))
        seen |= {key: props[key] for key in inputs.NOT_IN_ONED if props.get(key)}
        return ReadResult(id_, _outputs(record.id, seen, marked=was.owner), seen)

    @plainly
    def delete(self, id_: str, props: Props) -> None:
        spec = inputs.written(props)
        if self._declared.keeps(spec):
            log.info("host %s (id %s) stays registered: the configuration still declares it", spec.name, id_)
            return
        # With everything else going, VMs have nowhere to go.
        with_the_stack = self._declared.declares(spec)
        drain = NO_DRAIN if with_the_stack else self._drain(props)
        rules = self._runtime().registrar
        gone = rules.remove(int(id_), spec.name, drain, avoid=self._declared.leaves, owner=spec.owner)
        if gone and (with_the_stack or self._declared.leaves(spec.name)):  # else it comes back with another driver
            self._declared.departure.take_back(props, with_the_stack=with_the_stack)

    def _drain(self, props: Props) -> DrainPolicy:
        """The host's own way of being emptied, else the fleet's as it is configured now."""
        return inputs.drain_policy(props.get("drain")) or self._declared.drain


def _outputs(host_id: int, props: Props, *, marked: str | None) -> Props:
    return {**inputs.normal_host(props), "host_id": host_id, **({inputs.MARKED: marked} if marked else {})}


class FleetReadyProvider(OnedProvider):
    """The wait until the fleet is monitored. Nothing in oned belongs to it."""

    def check(self, _olds: Props, news: Props) -> CheckResult:
        normal = fleet_inputs.normal_fleet(news)
        return CheckResult(normal, [CheckFailure(key, text) for key, text in fleet_inputs.fleet_problems(normal)])

    def diff(self, _id: str, olds: Props, news: Props) -> DiffResult:
        before, after = fleet_inputs.normal_fleet(olds), fleet_inputs.normal_fleet(news)
        return DiffResult(changes=bool(inputs.changed(before, after, fleet_inputs.WAITED_FOR)))

    @plainly
    def create(self, props: Props) -> CreateResult:
        # Also after a lost state, where hosts are old and keys are new.
        return CreateResult(_FLEET_ID, self._wait(props))

    @plainly
    def update(self, _id: str, olds: Props, news: Props) -> UpdateResult:
        before, after = fleet_inputs.normal_fleet(olds), fleet_inputs.normal_fleet(news)
        if inputs.changed(before, after, fleet_inputs.PROBED_FOR):
            return UpdateResult(self._wait(news))
        # Who was missing, because it could not be prepared, missed whatever changed since.
        known = {host.id for host in fleet_inputs.fleet(before)} & {host.id for host in fleet_inputs.fleet(after)}
        return UpdateResult(self._wait(news, known))

    def read(self, id_: str, props: Props) -> ReadResult:
        return ReadResult(id_, props)

    def _wait(self, props: Props, known: Collection[int] = ()) -> Props:
        """Of all hosts but those `known` the probes must have been started since whatever changed."""
        normal = fleet_inputs.normal_fleet(props)
        parts = self._runtime()
        hosts = fleet_inputs.fleet(normal)
        states = wait_for_fleet(
            parts.client,
            hosts,
            fleet_inputs.cadence(normal),
            stale={host.id for host in hosts}.difference(known, parts.registrar.started),
            # A host that was added with this run is pinned in a ConfigMap that the pod may not have seen yet.
            first_error=parts.refresh_pod_files,
            progress=counting(),
        )
        return {**normal, "states": states}
