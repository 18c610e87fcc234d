"""The pyone adapter: `OnedClient` over XML-RPC.

pyone supplies the calling convention (`one.` prefix, session first, parameter conversion); bytes, limits and the
reading of answers are ours (`transport`, `records`), because pyone's hang on a silent peer and bind answers to classes
that expand entities. What may be repeated is decided by meaning, never by exception type: a request that was not
executed is sent again while there is patience; a read whose answer is lost is sent again; a write whose answer is lost
raises `Ambiguous`; a refused credential is tried again only if the Secret has changed meanwhile.
"""

from __future__ import annotations

import importlib
import xmlrpc.client
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from components.registration import records, template
from components.registration.client import AdminState, ClusterRecord, HostRecord, MachineRecord, Sample
from components.registration.clock import SYSTEM_CLOCK, Clock
from components.registration.errors import Ambiguous, AuthenticationError, ProtocolError, Unavailable
from components.registration.pace import MAX_CONNECTIONS, Pace, Patience
from components.registration.refusals import refusal
from components.registration.transport import AnswerBroken, AnswerLost, Dialer, NotSent, exchange, unmarshal

_T = TypeVar("_T")
APPEND, REPLACE = 1, 0
"""How an update takes a template: merged into the present one, or instead of it."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0
_SAVE, _POWEROFF = 0, 1
"""How `one.vm.migrate` moves a running VM that is not moved live: saved with its memory, or shut down by its guest."""
_PRESENT_DATASTORE = -1


class Credential(Protocol):
    def session(self) -> str:
        """`user:password`, read when first needed."""

    def renewed(self) -> bool:
        """Read it again; whether it differs now."""

    def known(self) -> tuple[str, ...]:
        """The secret texts that it holds so far, longest first. No I/O."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds, and how much at once."""

    connect: float = 5.0
    read: float = 30.0
    wait: float = 300.0
    connections: int = MAX_CONNECTIONS
    per_second: float = 30.0


class XmlRpcClient:
    """Thread-safe; holds no connection between calls."""

    def __init__(self, dialer: Dialer, credential: Credential, limits: Limits, clock: Clock = SYSTEM_CLOCK) -> None:
        self._dialer, self._credential, self._limits, self._clock = dialer, credential, limits, clock
        self._pace = Pace(limits.connections, limits.per_second, clock)
        self._patience = Patience(limits.wait, clock)
        target = urlsplit(dialer.url)
        self._host, self._path = target.netloc.rpartition("@")[2], target.path or "/"

    def hosts(self) -> tuple[HostRecord, ...]:
        return self.read("list the hosts", records.parse_hosts, "hostpool.info")

    def host(self, host_id: int) -> HostRecord:
        return self.read(f"read host {host_id}", records.parse_host, "host.info", host_id)

    def monitoring(self, seconds: int) -> tuple[Sample, ...]:
        return self.read("read the hosts' monitoring", records.parse_samples, "hostpool.monitoring", seconds)

    def clusters(self) -> tuple[ClusterRecord, ...]:
        return self.read("list the clusters", records.parse_clusters, "clusterpool.info")

    def allocate(self, name: str, im_mad: str, vm_mad: str, cluster_id: int, *, within: float) -> int:
        what = f"register host {name!r}"
        return self.call(
            what, "host.allocate", name, im_mad, vm_mad, cluster_id, convert=new_id, writes=True, within=within
        )

    def update(self, host_id: int, attributes: Mapping[str, str]) -> None:
        text = template.render(attributes)
        self.write(f"update host {host_id}", "host.update", host_id, text, APPEND)

    def set_state(self, host_id: int, state: AdminState) -> None:
        self.write(f"set host {host_id} {state}", "host.status", host_id, state.code)

    def move(self, host_id: int, cluster_id: int) -> None:
        self.write(f"put host {host_id} into cluster {cluster_id}", "cluster.addhost", cluster_id, host_id)

    def delete(self, host_id: int) -> None:
        self.write(f"delete host {host_id}", "host.delete", host_id)

    def vms(self, vm_ids: Collection[int]) -> tuple[MachineRecord, ...]:
        if not vm_ids:
            return ()
        wanted = ",".join(str(vm_id) for vm_id in sorted(vm_ids))
        return self.read("read VMs", records.parse_machines, "vmpool.infoset", wanted, True)

    def migrate(self, vm_id: int, host_id: int, *, live: bool) -> None:
        enforce, how = True, _SAVE if live else _POWEROFF
        what = f"migrate VM {vm_id} to host {host_id}"
        self.write(what, "vm.migrate", vm_id, host_id, live, enforce, _PRESENT_DATASTORE, how)

    def read(self, what: str, parse: Callable[[str], _T], method: str, *args: object) -> _T:
        """A call that changes nothing and answers with XML."""

        def parsed(answer: object) -> _T:
            if not isinstance(answer, str):
                raise AnswerBroken("no XML inside the answer")
            return parse(answer)

        return self.call(what, method, *args, convert=parsed)

    def write(self, what: str, method: str, *args: object) -> None:
        """A write whose answer says nothing more. Raises Ambiguous when the answer is lost."""
        self.call(what, method, *args, convert=lambda _answer: None, writes=True)

    def call(
        self,
        what: str,
        method: str,
        *args: object,
        convert: Callable[[object], _T],
        writes: bool = False,
        within: float | None = None,
    ) -> _T:
        """One call, repeated where repeating is safe. `within` shortens the patience for this call."""
        begun = self._clock.monotonic()
        pause = _FIRST_PAUSE
        renewed = False
        while True:
            try:
                answer = convert(self._attempt(what, method, args))
            except AuthenticationError:
                if renewed or not self._credential.renewed():
                    raise
                renewed = True
                continue
            except NotSent as error:
                cause = str(error)
            except AnswerLost as error:
                if writes:
                    raise self._ambiguous(what, f"the answer is lost ({error})") from None
                cause = str(error)
            except AnswerBroken as error:
                if writes:
                    raise self._ambiguous(what, f"the answer is unreadable ({error})") from None
                strange = f"{self._dialer.where} does not answer as oned does: {error}"
                raise ProtocolError(what, strange, then=self._dialer.hint) from None
            else:
                self._patience.answered()
                return answer
            left = self._patience.left()
            if within is not None:
                left = min(left, begun + within - self._clock.monotonic())
            if left <= 0:
                raise Unavailable(what, f"{self._dialer.where}: {cause}", then=self._dialer.hint)
            self._clock.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _ambiguous(self, what: str, cause: str) -> Ambiguous:
        return Ambiguous(what, f"{self._dialer.where}: {cause}, so it may have happened", then="`pulumi up` again")

    def _attempt(self, what: str, method: str, args: tuple[object, ...]) -> object:
        """One exchange. Raises NotSent, AnswerLost, AnswerBroken and the typed refusals."""

        def send(name: str, params: tuple[Any, ...]) -> list[Any]:
            body = xmlrpc.client.dumps(params, name, encoding="utf-8").encode()
            with self._pace.slot():
                channel = self._dialer.dial(self._limits.connect)
                try:
                    raw = exchange(channel, host=self._host, path=self._path, body=body, seconds=self._limits.read)
                finally:
                    channel.close()
            try:
                return _accepted(what, unmarshal(raw))
            except xmlrpc.client.Fault as fault:
                text = f"oned refuses the call: fault {fault.faultCode}, {fault.faultString}"
                raise ProtocolError(what, text[:500], then="compare oned's version with the supported ones") from None

        server: Any = importlib.import_module("pyone").OneServer(self._dialer.url, self._credential.session())
        # pyone's own hook for the exchange (server_xrpc.py, 7.2.0): prefix, session and conversion stay pyone's.
        server._do_request = send
        (answer,) = reduce(getattr, method.split("."), server)(*args)
        return answer


def new_id(answer: object) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int) or answer < 0:
        raise AnswerBroken("no id")
    return answer


def _accepted(what: str, answer: object) -> list[Any]:
    """oned's `[ok, value, code, …]`; the value boxed, so that pyone does not bind it to its own XML classes."""
    match answer:
        case [True, value, *_]:
            return [True, (value,), 0]
        case [False, str(message), int(code), *_]:
            raise refusal(what, code, message)
        case _:
            raise AnswerBroken("an XML-RPC value that is no result of oned")
