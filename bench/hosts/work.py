"""The remote work that all contenders do: five small idempotent steps below $ONE_ROOT, and the proof that they were done."""

from __future__ import annotations

from collections.abc import Sequence

from bench.hosts.endpoints import Host

FILES = {
    "etc/passwd": "oneadmin:x:9869:9869::/var/lib/one:/bin/bash\n",
    "var/lib/one/.ssh/authorized_keys": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIbench oneadmin\n",
    "etc/sudoers.d/opennebula": "oneadmin ALL=(ALL) NOPASSWD: /usr/bin/virsh\n",
    "var/lib/one/.ssh/known_hosts": "front ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIbench\n",
    "etc/one/node.conf": "MODE = host\n",
}


def script(seconds: float) -> str:
    """The steps in shell; `seconds` stands for what a real package installation would take."""
    steps = ["set -eu", f"sleep {seconds:g}" if seconds else ":"]
    for path, text in FILES.items():
        file = f'"$ONE_ROOT/{path}"'
        quoted = "'" + text.rstrip("\n") + "'"
        steps.append(f"printf '%s\\n' {quoted} | cmp -s - {file} || printf '%s\\n' {quoted} >{file}")
    return "\n".join([*steps, "echo '{\"changed\": true}'", ""])


def undone(hosts: Sequence[Host]) -> list[str]:
    """Names of the hosts on which not everything is as it should be."""
    return [
        host.name
        for host in hosts
        if not all(
            (host.root / path).is_file() and (host.root / path).read_text() == text for path, text in FILES.items()
        )
    ]


def forget(hosts: Sequence[Host]) -> None:
    """As before the first step."""
    for host in hosts:
        for path in FILES:
            (host.root / path).unlink(missing_ok=True)
