"""What can go wrong between this program and oned, as types.

Every message says three things: what failed, the cause, and the next command. The types are few and named after what a
caller may do next: ask again (`Unavailable`), look before doing anything else (`Ambiguous`), or tell the operator (the
rest). Texts never contain credentials; the adapter scrubs what comes from the network before it raises.
"""

from __future__ import annotations

from collections.abc import Sequence


class OnedError(Exception):
    """Base of all errors of this package. `what: cause. Next: then`"""

    def __init__(self, what: str, cause: str = "", *, then: str = "") -> None:
        self.what, self.cause, self.then = what, cause, then
        text = f"{what}: {cause}" if cause else what
        super().__init__(f"{text.rstrip('.')}. Next: {then}" if then else text)


class SettingsError(OnedError):
    """A configuration key that the provider reads cannot be used."""


class AccessError(OnedError):
    """The way to oned is closed and waiting does not open it: kubeconfig, permission, Secret, certificate."""


class AuthenticationError(OnedError):
    """oned does not know the credential. Never repeated with the same credential."""


class AuthorizationError(OnedError):
    """The user may not do this."""


class NotFound(OnedError):
    """No object of that id."""


class NameTaken(OnedError):
    """A host of that name exists and may not be used."""

    def __init__(self, what: str, cause: str = "", *, then: str = "", host_id: int | None = None) -> None:
        super().__init__(what, cause, then=then)
        self.host_id = host_id


class DuplicateHosts(OnedError):
    """More than one host row bears the name. Nothing is deleted: which row holds VMs is the operator's to judge."""

    def __init__(self, name: str, ids: Sequence[int]) -> None:
        listed = ", ".join(str(host_id) for host_id in sorted(ids))
        super().__init__(
            f"host {name!r} exists {len(ids)} times in oned",
            f"ids {listed}; oned does not guard host names against simultaneous registration. Nothing was deleted",
            then=f"`onehost show <id>` for {listed}, `onehost delete <id>` for those without VMs, then `pulumi up`",
        )
        self.ids = tuple(sorted(ids))


class DatastoreTaken(OnedError):
    """A datastore of that name exists and may not be used."""

    def __init__(self, what: str, cause: str = "", *, then: str = "", datastore_id: int | None = None) -> None:
        super().__init__(what, cause, then=then)
        self.datastore_id = datastore_id


class DuplicateDatastores(OnedError):
    """More than one datastore row bears the name. Nothing is deleted."""

    def __init__(self, name: str, ids: Sequence[int]) -> None:
        self.ids = tuple(sorted(ids))
        listed = ", ".join(map(str, self.ids))
        super().__init__(
            f"datastore {name!r} exists {len(ids)} times in oned",
            f"ids {listed}; oned does not guard names against simultaneous registration. Nothing was deleted",
            then=f"`onedatastore show <id>` for {listed}, `onedatastore delete <id>` for the empty ones, then `pulumi up`",
        )


class ClusterTaken(OnedError):
    """A cluster of that name exists and may not be used."""

    def __init__(self, what: str, cause: str = "", *, then: str = "", cluster_id: int | None = None) -> None:
        super().__init__(what, cause, then=then)
        self.cluster_id = cluster_id


class DuplicateClusters(OnedError):
    """More than one cluster row bears the name. Nothing is deleted."""

    def __init__(self, name: str, ids: Sequence[int]) -> None:
        self.ids = tuple(sorted(ids))
        listed = ", ".join(map(str, self.ids))
        super().__init__(
            f"cluster {name!r} exists {len(ids)} times in oned",
            f"ids {listed}; oned does not guard names against simultaneous registration. Nothing was deleted",
            then=f"`onecluster show <id>` for {listed}, `onecluster delete <id>` for the empty ones, then `pulumi up`",
        )


class ActionRefused(OnedError):
    """oned understood and said no: wrong state, locked object, disabled zone, refused name."""


class HostInUse(ActionRefused):
    """The host runs VMs."""


class HostNotCleaned(OnedError):
    """The host has left oned, and its preparation could not be taken back."""


class DatastoreInUse(ActionRefused):
    """The datastore holds images, or VMs have their disks on it."""


class ClusterInUse(ActionRefused):
    """Hosts, datastores or networks are in the cluster."""


class Unavailable(OnedError):
    """Nobody executed the request: connection refused, pod not ready, no Raft leader. Safe to ask again."""


class Ambiguous(OnedError):
    """The answer to a write is lost: it may or may not have been executed. Look before doing anything else."""


class ProtocolError(OnedError):
    """What came back is no answer of oned: HTML, an HTTP error, broken or hostile XML, too much data."""


class Inconsistent(OnedError):
    """oned's answers contradict each other, for instance an id that belongs to another host."""


class Unexpressible(OnedError):
    """A value that OpenNebula's template syntax cannot carry unchanged."""


class LockBusy(OnedError):
    """Another run holds the lock of a host name for longer than this one may wait."""


class FleetNotReady(OnedError):
    """Some enabled hosts are not monitored at the limit."""
