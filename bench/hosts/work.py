"""The remote work that all contenders do: small idempotent steps below $ONE_ROOT, and the proof that they were done.

They are what `components/bootstrap/shell` does to a KVM host of Debian, as far as it can be done below a directory: the
package source, the account, keys and pins, directories, libvirt, AppArmor, and a look at what system it is. `FIVE` of
them (user, authorized keys, sudoers, known hosts, one file of configuration) are a smaller job that comparisons of others
use. What a package installation takes is left out: it would be the same for all, and hide what differs.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.hosts.endpoints import Host


class Step(NamedTuple):
    """One directory, or one file of one line; `mode` as chmod takes it."""

    path: str
    mode: str
    text: str | None = None


_SSH = "var/lib/one/.ssh"
_APPARMOR = "etc/apparmor.d/abstractions/libvirt-qemu.d"
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIbench"
STEPS = (
    Step("etc/apt/keyrings", "0755"),
    Step("etc/apt/keyrings/opennebula.asc", "0644", "mDMEZbench"),
    Step("etc/apt/sources.list.d/opennebula.list", "0644", "deb https://packages.example.com/one stable opennebula"),
    Step("etc/group", "0644", "oneadmin:x:9869:"),
    Step("etc/passwd", "0644", "oneadmin:x:9869:9869::/var/lib/one:/bin/bash"),
    Step("etc/shadow", "0640", "oneadmin:*:20000:0:99999:7:::"),
    Step("etc/sudoers.d/opennebula", "0440", "oneadmin ALL=(ALL) NOPASSWD: /usr/bin/virsh"),
    Step("etc/sudoers.d/opennebula-node-kvm", "0440", "oneadmin ALL=(ALL) NOPASSWD: /usr/sbin/ip"),
    Step(_SSH, "0700"),
    Step(f"{_SSH}/authorized_keys", "0600", f"{_KEY} oneadmin"),
    Step(f"{_SSH}/known_hosts", "0644", f"front {_KEY}"),
    Step(f"{_SSH}/config", "0600", "StrictHostKeyChecking yes"),
    Step("var/tmp/one", "0755"),
    Step("var/tmp/one_db", "0755"),
    Step("etc/libvirt/libvirtd.conf", "0644", 'unix_sock_group = "oneadmin"'),
    Step("etc/libvirt/qemu.conf", "0644", 'user = "oneadmin"'),
    Step(_APPARMOR, "0755"),
    Step(f"{_APPARMOR}/opennebula", "0644", "  /var/lib/one/datastores/** rwk,"),
)
FIVE = tuple(
    step
    for step in STEPS
    if step.path
    in (
        "etc/passwd",
        f"{_SSH}/authorized_keys",
        "etc/sudoers.d/opennebula",
        f"{_SSH}/known_hosts",
        "etc/libvirt/libvirtd.conf",
    )
)

_FUNCTIONS = r"""set -eu
cd "$ONE_ROOT"
mode() { [ "$(stat -c 0%a "$1")" = "$2" ] || chmod "$2" "$1"; }
directory() { [ -d "$1" ] || mkdir "$1"; mode "$1" "$2"; }
line() { printf '%s\n' "$3" | cmp -s - "$1" || printf '%s\n' "$3" >"$1"; mode "$1" "$2"; }
"""
_FACTS = r"""
. /etc/os-release
printf '{"os": "%s %s", "changed": true}\n' "$ID" "$VERSION_ID"
"""


def script(seconds: float = 0) -> str:
    """The steps in shell, and so long a wait: what the host itself takes for whatever else there is to do."""
    calls = [
        shlex.join(["directory", step.path, step.mode])
        if step.text is None
        else shlex.join(["line", step.path, step.mode, step.text])
        for step in STEPS
    ]
    wait = [f"sleep {seconds:g}"] if seconds else []
    return _FUNCTIONS + "\n".join([*calls, *wait]) + _FACTS


def look() -> str:
    """The steps as questions, in a shell of their own: prints the path of each that is not done, and nothing else."""
    lines = ['cd "$ONE_ROOT" || exit']
    for step in STEPS:
        path = shlex.quote(step.path)
        kind = f"-d {path}" if step.text is None else f"-f {path}"
        same = "" if step.text is None else f' && [ "$(cat {path})" = {shlex.quote(step.text)} ]'
        lines.append(f'[ {kind} ] && [ "$(stat -c 0%a {path})" = {step.mode} ]{same} || echo {path}')
    return "\n".join([*lines, "echo looked"])


def undone(hosts: Sequence[Host], steps: Iterable[Step] = STEPS) -> list[str]:
    """Names of the hosts on which not everything is as it should be."""
    return [host.name for host in hosts if not all(_done(host.root, step) for step in steps)]


def _done(root: Path, step: Step) -> bool:
    path = root / step.path
    if not path.exists() or path.stat().st_mode & 0o7777 != int(step.mode, 8):
        return False
    return path.is_dir() if step.text is None else path.read_text() == f"{step.text}\n"


def forget(hosts: Sequence[Host]) -> None:
    """As before the first step: what a freshly installed machine has, and nothing else."""
    made = {step.path for step in STEPS if step.text is None}
    for host in hosts:
        for step in STEPS:
            path = host.root / step.path
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
        for parent in {str(Path(step.path).parent) for step in STEPS} - made:
            (host.root / parent).mkdir(parents=True, exist_ok=True)
