"""The text that every host is told about all of them, piped over SSH into a root shell: how hosts reach each other by pinned
keys, and which number each has in oned. Pure.

OpenNebula's drivers copy disks and migrate guests from host to host, by ssh as oneadmin with the control plane's agent lent to it
(`ssh_forward` in scripts_common.sh, one_vmm_exec's `delegate_actions`; 5.12 and newer). Where the other host is, and by which
key it is known, its own settings must say: OpenNebula's take whatever key is shown first.

A host's monitoring client reports under the number that it was started with and outlives that number: oned ends it with neither
`host.delete` nor a new database, and a start ends only clients of the same number (monitord-client_control.sh, run_monitord_client;
7.4.0). monitord believes any number, so a host that has another one now would be taken for whoever has the old one.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from components.bootstrap.plan import HostPlan, parse_public_key
from components.bootstrap.script import shell_text

_CALL = "peers </dev/null\n"
_PINNED = "/var/lib/one/.ssh/known_hosts_hypervisors"


class Peer(NamedTuple):
    """A host as the others reach it. `name` is what oned calls it by, and what the drivers hand to ssh."""

    name: str
    address: str
    port: int
    host_key: str


def render_peers(peers: Sequence[Peer], numbers: Mapping[str, int], lock_wait: int = HostPlan.lock_wait) -> str:
    """One script for all of them, to be given PLAN_NAME in front. `numbers` are oned's, by name.

    Raises ValueError for a key that is none.
    """
    values = {
        "LOCK_WAIT": f"{lock_wait:d}",
        "KNOWN_HOSTS": "\n".join(f"{peer.name} {parse_public_key(peer.host_key)}" for peer in peers),
        "SSH_CONFIG": "\n".join(_stanza(peer) for peer in peers),
        "NUMBERS": "\n".join(f"{number:d} {name}" for name, number in sorted(numbers.items())),
    }
    header = "".join(f"PLAN_{key}={shlex.quote(value)}\n" for key, value in values.items())
    return header + shell_text(("common", "account", "peers")) + _CALL


def _stanza(peer: Peer) -> str:
    return (
        f"Host {peer.name}\n  HostName {peer.address}\n  Port {peer.port}\n  HostKeyAlias {peer.name}\n"
        f"  UserKnownHostsFile {_PINNED}\n  StrictHostKeyChecking yes"
    )
