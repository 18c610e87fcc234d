"""Single flight for the name of a host or datastore: between threads always, between stacks and machines where a cluster can give a Lease.

oned looks a name up and inserts the row without a lock across both, so two simultaneous registrations make two hosts.
The lock is the existence of a Lease named after the object: made before `allocate` (one call), deleted after it (one
call). A Lease whose maker died is taken over once it is older than its duration by the API server's clock. It is never
renewed; whoever holds it stops beginning an allocate long before it ends (`ALLOCATE_WITHIN` in reconcile).
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol
from uuid import uuid4

from components.registration.clock import SYSTEM_CLOCK, Clock
from components.registration.errors import AccessError, LockBusy
from components.registration.kube import Cluster, Conflict, Missing
from components.registration.transport import NotSent

LEASE_SECONDS: Final = 60
WAIT_SECONDS: Final = 3 * LEASE_SECONDS
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_GRACE: Final = 2.0
"""Creation times have whole seconds, and so has the Date header: two ages may be wrong by one each."""

log = logging.getLogger("opennebula.registration")


class Locks(Protocol):
    def hold(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock of a name. Raises LockBusy after a bounded wait."""


class ProcessLocks:
    """Between the threads of this process only."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        with self._guard:
            lock = self._locks[name]
        with lock:
            yield


class LeaseLocks:
    """Between everybody who uses the same namespace. Falls back to threads only where Leases are forbidden."""

    def __init__(self, cluster: Cluster, clock: Clock = SYSTEM_CLOCK, *, kind: str = "host") -> None:
        self._cluster, self._clock, self._kind = cluster, clock, kind
        self._local = ProcessLocks()
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
        self._forbidden = False

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        with self._local.hold(name):
            uid = None if self._forbidden else self._acquire(name)
            try:
                yield
            finally:
                if uid is not None:
                    self._release(name, uid)

    def _acquire(self, name: str) -> str | None:
        lease = _lease_name(self._kind, name)
        limit = self._clock.monotonic() + WAIT_SECONDS
        cause, pause = "", _FIRST_PAUSE
        while True:
            try:
                return self._cluster.create_lease(lease, self._holder, LEASE_SECONDS, name)
            except Conflict:
                cause = self._clear_if_dead(lease) or "it was just released"
            except NotSent as error:
                cause = str(error)
            except AccessError as error:
                self._fall_back(error)
                return None
            except Missing:
                raise AccessError(
                    f"no namespace {self._cluster.namespace}", "locks are kept there", then="`pulumi up`"
                ) from None
            if self._clock.monotonic() >= limit:
                raise LockBusy(
                    f"the lock of {self._kind} {name!r} is not free after {WAIT_SECONDS} s",
                    cause,
                    then=f"`{self._cluster.kubectl} get lease {lease} -o yaml`; delete it if its holder is gone",
                )
            self._clock.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _fall_back(self, error: AccessError) -> None:
        if not self._forbidden:
            self._forbidden = True
            log.warning("%s. Two stacks that register one name at the same moment are not kept apart", error)

    def _clear_if_dead(self, name: str) -> str:
        """Delete an expired Lease (the next create decides who gets it). Who holds it otherwise."""
        try:
            lease = self._cluster.read_lease(name)
            if lease.holder == self._holder or lease.age > lease.seconds + _GRACE:
                # Ours: the answer to our own create was lost.
                self._cluster.delete_lease(name, lease.uid)
                return ""
        except (Missing, Conflict):
            return ""
        except NotSent as error:
            return str(error)
        return f"held by {lease.holder} for {lease.age:.0f} s"

    def _release(self, name: str, uid: str) -> None:
        lease = _lease_name(self._kind, name)
        try:
            self._cluster.delete_lease(lease, uid)
        except (Missing, Conflict):
            log.warning("the lock of %s %s expired after %d s and was taken over", self._kind, name, LEASE_SECONDS)
        except (NotSent, AccessError) as error:
            log.warning("Lease %s stays until it expires in %d s: %s", lease, LEASE_SECONDS, error)


def _lease_name(kind: str, name: str) -> str:
    """A valid object name for any name (those may hold capitals and '_')."""
    return f"one{kind}-{hashlib.sha256(name.encode()).hexdigest()[:24]}"
