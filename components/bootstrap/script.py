"""The text that prepares a hypervisor host, piped over SSH into a root shell.

Pure: a plan goes in, text comes out; the same plan gives the same text everywhere. Plan values appear only as quoted
assignments, never as code. The shell parts beside this file hold the steps; this file holds no step.
Registering the host in oned is not its business; taking all this back is `undo.py`.
"""

from __future__ import annotations

import re
import shlex
from functools import cache
from importlib.resources import files
from ipaddress import IPv4Network, collapse_addresses

from components.bootstrap.plan import Firewall, HostPlan, Kind, Mount, Pin, Repository, parse_public_key
from components.bootstrap.systems import Family

__all__ = ["Firewall", "HostPlan", "Kind", "Mount", "Pin", "Repository", "remote_command", "render"]

# Functions before it only define; what they run must not read the rest of the script from standard input.
_CALL = "main </dev/null\n"
# No sane clock is behind this: 2026-01-01T00:00:00Z.
_EARLIEST_CLOCK = 1_767_225_600
# Agent forwarding stays: the transfer drivers copy between hosts with the control plane's agent.
_KEY_OPTIONS = "no-port-forwarding,no-X11-forwarding"
# Arguments: the host's name, the limit in seconds, the sender's clock or nothing.
_START = r"""
say() { printf 'one-bootstrap: %s: %s: %s; next: %s\n' "$name" "$1" "$2" "$3" >&2; }
name=$1 limit=$2 now=$3 user=$(id -un)
if [ "$(id -u)" -eq 0 ]; then
    set --
elif why=$(sudo -n true 2>&1 </dev/null); then
    set -- sudo -n
else
    say sudo "$user cannot become root without a password: $(printf %s "$why" | tr -s '[:cntrl:]' ' ')" \
        "put '$user ALL=(ALL) NOPASSWD: ALL' into /etc/sudoers.d/$user on the host"
    exit 1
fi
code=0
"$@" env "PLAN_NOW=$now" timeout -k 10 "$limit" sh -s || code=$?
case $code in
    124 | 137) say limit "not done within $limit s" "see with 'ps' what the host is waiting for, then run again" ;;
esac
exit "$code"
"""
_HYPERVISORS = "Include config_hypervisors"  # beside it: the other hosts, by peers.py
_PINNED = "/var/lib/one/.ssh/known_hosts_control_plane"
_REMARK = re.compile(r" +# [\w .,:;-]+$")  # behind a command; no character in it that could be code


def render(plan: HostPlan) -> str:
    """The script for one host. It prints `one-bootstrap: <step>` lines, then one JSON object of facts.

    On failure the exit code is not 0 and the last line on standard error is
    `one-bootstrap: <host>: <step>: <cause>; next: <command>`.
    """
    values = {
        "NAME": plan.name,
        "KIND": plan.kind,
        "VERSION": plan.version,
        "DRIVER": plan.driver or plan.kind,
        "OS": plan.os or "",
        "SYSTEMS": _systems(plan),
        "OWNERS": "\n".join(plan.owners),
        "TAKE_OVER": "yes" if plan.take_over else "",
        "STEPS": " ".join(steps(plan)),
        "URL": plan.repository.url,
        "SUITE": plan.repository.suite,
        "COMPONENT": plan.repository.component,
        "FINGERPRINT": plan.repository.key_fingerprint,
        "KEY": plan.repository.key,
        "ENABLE": "yes" if plan.repository.enable_dependencies else "",
        "AUTHORIZED_KEYS": _authorized_keys(plan),
        "KNOWN_HOSTS": _known_hosts(plan),
        "SSH_CONFIG": _ssh_config(plan),
        "CEPH": "yes" if plan.ceph else "",
        "MOUNTS": "\n".join(f"{each.source} {each.target} {each.options}" for each in plan.mounts),
        "EARLIEST": str(_EARLIEST_CLOCK),
        "CLOCK_SKEW": str(plan.clock_tolerance),
        "FREE_MIB": str(plan.minimum_free_mib),
        "LOCK_WAIT": str(plan.lock_wait),
        "INSTALL_LIMIT": str(plan.install_limit),
        "FIREWALL": "" if plan.firewall is None else "yes",
    }
    if plan.firewall is not None:
        values["CONSOLES"] = f"{plan.firewall.first_console}-{plan.firewall.last_console}"
        values["SSH_PORT"] = str(plan.firewall.ssh_port)
        values["SOURCES"] = _networks(plan.firewall)
    header = "".join(f"PLAN_{key}={shlex.quote(value)}\n" for key, value in values.items())
    return header + shell_text(_parts(plan)) + _CALL


def steps(plan: HostPlan) -> tuple[str, ...]:
    """The names of the steps that this host goes through, in order."""
    return (
        "preflight",
        "repository",
        "package",
        "account",
        "authorized-keys",
        "known-hosts",
        "directories",
        "storage",
        plan.kind,
        "confinement",
        "firewall",
        "checks",
    )


def remote_command(name: str, limit: int = 1500, now: str = "") -> str:
    """The command to run on the host, with the script on its standard input; `limit` in seconds bounds the whole.

    It words what the script cannot say: that sudo refuses, so that it never starts, and that its time is up. `now` is
    the sender's clock when it is sent, in seconds since 1970, for the preflight to compare: it is no part of the
    script, so the same plan gives the same text at any time.
    """
    words = shlex.join([_START, "one-bootstrap", name, f"{limit:d}", now])
    return f"exec sh -c {words}"


def _authorized_keys(plan: HostPlan) -> str:
    keys = dict.fromkeys(parse_public_key(key) for key in (plan.oneadmin_public_key, *plan.also_accepted_keys))
    return "\n".join(f"{_KEY_OPTIONS} {key}" for key in keys)


def _known_hosts(plan: HostPlan) -> str:
    return "\n".join(f"{pin.names[0]} {key}" for pin in plan.pins for key in pin.keys)


def _ssh_config(plan: HostPlan) -> str:
    stanzas = [_stanza(pin, plan.frontend_address) for pin in plan.pins]
    # What is to be included may not be there yet. Our block stands first in the file: options that follow without a Host
    # line must apply to all hosts, as before.
    return "\n".join([_HYPERVISORS, *stanzas, "Host *"]) if stanzas else ""


def _stanza(pin: Pin, address: str | None) -> str:
    """HostKeyAlias makes the pin hold whatever address or port the endpoint is reached by."""
    where = [] if address is None else [f"  HostName {address}"]
    return "\n".join(
        [
            f"Host {' '.join(pin.names)}",
            *where,
            f"  Port {pin.port}",
            f"  HostKeyAlias {pin.names[0]}",
            f"  UserKnownHostsFile {_PINNED}",
            "  StrictHostKeyChecking yes",
        ]
    )


def _systems(plan: HostPlan) -> str:
    """A line a system: key, family, directory, libvirt's shape."""
    return "\n".join(f"{each.key} {each.family} {each.directory} {each.libvirt(plan.release)}" for each in plan.systems)


def _networks(firewall: Firewall) -> str:
    """In one spelling and order, however often and narrowly the config names them."""
    return " ".join(str(network) for network in collapse_addresses(map(IPv4Network, firewall.sources)))


def _parts(plan: HostPlan) -> tuple[str, ...]:
    """The shell files that this host needs; the families that it can be of, when its system is not declared."""
    rpm = any(family is not Family.DEBIAN for family in plan.families)
    return (
        "common",
        "packages",
        *(["rpm"] if rpm else []),
        *plan.families,
        "account",
        "withdraw",
        "storage",
        "confinement",
        "firewall",
        plan.kind,
        "main",
    )


@cache
def shell_text(parts: tuple[str, ...]) -> str:
    """The shell parts in order, without indentation and comments: the text travels to every host."""
    folder = files(__package__).joinpath("shell")
    lines = [line.strip() for part in parts for line in folder.joinpath(f"{part}.sh").read_text().splitlines()]
    return "".join(f"{_REMARK.sub('', line)}\n" for line in lines if line and not line.startswith("#"))
