"""oned's refusals to typed errors: by error code first, by text only where one code means several things.

Codes: include/Request.h. Texts: RequestXRPC.cc (Raft), HostPool.cc, HostAPI.cc, Cluster.cc, DatastorePool.cc and Datastore.cc of
7.4; 6.10 has the same. `NotSent` and `AnswerLost` are raised for refusals that only report what happened to a request
which a follower passed on to the leader, so that they are treated as the same fault on our own connection would be.
"""

from __future__ import annotations

import re
from typing import Final

from components.registration.errors import (
    ActionRefused,
    AuthenticationError,
    AuthorizationError,
    ClusterInUse,
    ClusterTaken,
    DatastoreInUse,
    DatastoreTaken,
    HostInUse,
    NameTaken,
    NotFound,
    OnedError,
    ProtocolError,
)
from components.registration.transport import AnswerLost, NotSent

AUTHENTICATION: Final = 0x0100
AUTHORIZATION: Final = 0x0200
NO_EXISTS: Final = 0x0400
ACTION: Final = 0x0800
RPC_API: Final = 0x1000
INTERNAL: Final = 0x2000
ALLOCATE: Final = 0x4000
LOCKED: Final = 0x8000
REPLICATION: Final = 0x10000

_NO_LEADER = ("no leader found", "election mode", "is replicating log")
_NEVER_REACHED = re.compile(r"failed to connect|could ?n[o']t connect|connection refused|could ?n[o']t resolve", re.I)
_TRANSPORT = re.compile(r"libcurl|timed? ?out|empty reply|recv failure|connection reset", re.I)
_TAKEN = re.compile(r"NAME is already taken by HOST (\d+)")
_DATASTORE_TAKEN = re.compile(r"NAME is already taken by DATASTORE (\d+)")
_CLUSTER_TAKEN = re.compile(r"NAME is already taken by CLUSTER (\d+)")
_CLUSTER_FULL = re.compile(r"Cluster \d+ is not empty")
_DATASTORE_FULL = re.compile(r"Datastore \d+ is not empty")
_DATASTORE_WRONG = re.compile(r"is not defined in oned\.conf|Datastore template is missing|TM_MAD_CONF for|DISK_TYPE")


def refusal(what: str, code: int, message: str) -> Exception:
    """The exception for a refused call. `what` names the call and its object, `message` is oned's text."""
    text = " ".join(message.split())[:500] or f"error code {code:#x} without a text"
    if code in (ALLOCATE, INTERNAL) and (refused := _datastore(what, text)):
        return refused
    if code in (INTERNAL, REPLICATION):
        return _internal(what, code, text)
    if code == ALLOCATE:
        return _taken(what, text)
    if code == ACTION and (used := _in_use(what, text)):
        return used
    kind, then = _PLAIN.get(code, (OnedError, "look for the call in oned's log"))
    if kind is AuthenticationError:
        text = "oned does not accept oneadmin's credential"
    return kind(what, text, then=then)


def _taken(what: str, text: str) -> OnedError:
    if cluster := _CLUSTER_TAKEN.search(text):
        return ClusterTaken(what, text, cluster_id=int(cluster[1]), then=f"`onecluster show {cluster[1]}`")
    if host := _TAKEN.search(text):
        return NameTaken(what, text, host_id=int(host[1]), then=f"`onehost show {host[1]}`")
    return ActionRefused(what, text, then="correct it in the stack's configuration")


def _in_use(what: str, text: str) -> OnedError | None:
    if "running VMs" in text:
        return HostInUse(what, text)
    if _CLUSTER_FULL.search(text):
        return ClusterInUse(what, text, then="`onecluster list`; empty it, then repeat the command")
    if _DATASTORE_FULL.search(text):
        return DatastoreInUse(what, text, then="`oneimage list`; delete its images, then repeat the command")
    return None


def _datastore(what: str, text: str) -> OnedError | None:
    """What an allocate or update of a datastore was refused for (DatastorePool.cc, Datastore.cc)."""
    if taken := _DATASTORE_TAKEN.search(text):
        return DatastoreTaken(what, text, datastore_id=int(taken[1]), then=f"`onedatastore show {taken[1]}`")
    if _DATASTORE_WRONG.search(text):
        return ActionRefused(what, text, then="correct the datastore, or oned's TM_MAD_CONF and DS_MAD_CONF")
    return None


def _internal(what: str, code: int, text: str) -> Exception:
    if any(part in text for part in _NO_LEADER) or ("libcurl" in text and _NEVER_REACHED.search(text)):
        return NotSent(text)
    if code == REPLICATION or _TRANSPORT.search(text):
        return AnswerLost(text)
    if "zone disabled" in text:
        return ActionRefused(what, text, then="`onezone enable 0`, then `pulumi up`")
    if "gRPC leader" in text:
        return ActionRefused(what, text, then="give every server of the zone an XML-RPC ENDPOINT (`onezone show 0`)")
    return OnedError(what, text, then="look for the call in oned's log")


_PLAIN: Final[dict[int, tuple[type[OnedError], str]]] = {
    AUTHENTICATION: (AuthenticationError, "compare the Secret `oned-oneadmin` with oned's own one_auth file"),
    AUTHORIZATION: (AuthorizationError, "use oneadmin, or a user of group oneadmin"),
    NO_EXISTS: (NotFound, "`pulumi refresh`, then `pulumi up`"),
    ACTION: (ActionRefused, "`onehost list` shows the host's state"),
    LOCKED: (ActionRefused, "unlock the object, then `pulumi up`"),
    RPC_API: (ProtocolError, "compare oned's version with the supported ones"),
}
