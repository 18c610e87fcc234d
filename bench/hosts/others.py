"""The other contenders. None of them keeps a state, shows a preview, or sees drift; what each lacks stands with its figures.

All of them end with the same files on every endpoint and the same hosts in oned, and all check host keys against pins.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.hosts import tools, work
from bench.hosts.endpoints import Fleet, Host
from bench.hosts.oned import DRIVER, Oned

LIMIT = 1800  # seconds for one playbook
WIDTH = 64
"""Hosts at once, of the floor and of ours when tuned."""
_HERE = Path(__file__).resolve().parent
_OPTIONS = ("BatchMode=yes", "StrictHostKeyChecking=yes", "GlobalKnownHostsFile=none", "ConnectTimeout=30")


def known_hosts(fleet: Fleet, place: Path) -> Path:
    """The pins, as ssh and Ansible read them."""
    file = place / "known_hosts"
    lines = [f"[{host.endpoint.address}]:{host.endpoint.port} {host.endpoint.host_key}" for host in fleet.hosts]
    file.write_text("\n".join(lines) + "\n")
    return file


def ssh(fleet: Fleet, known: Path, host: Host, *more: str) -> list[str]:
    """Words of OpenSSH's client for one endpoint, with `more` options."""
    options = [f"-o{option}" for option in (*more, *_OPTIONS, f"UserKnownHostsFile={known}")]
    where = ["-p", str(host.endpoint.port), f"root@{host.endpoint.address}"]
    return ["ssh", "-F", "none", "-i", str(fleet.key_file), *options, *where]


def register(new: Callable[[], Oned], names: Sequence[str], width: int) -> None:
    """Allocate in threads, one connection each; existing ones are left."""
    there = set(new().hosts().values())
    local = threading.local()

    def one(name: str) -> None:
        if not hasattr(local, "oned"):
            local.oned = new()
        local.oned.call("host.allocate", name, DRIVER, DRIVER, 0)

    with ThreadPoolExecutor(width) as pool:
        list(pool.map(one, [name for name in names if name not in there]))


def floor(fleet: Fleet, new: Callable[[], Oned], place: Path, *, seconds: float = 0) -> None:
    """One ssh for each host with one script, 64 at once, then eight threads that register. Nothing can do less."""
    known, text = known_hosts(fleet, place), work.script(seconds)

    def prepare(host: Host) -> None:
        subprocess.run([*ssh(fleet, known, host), "sh -s"], input=text, text=True, check=True, capture_output=True)

    with ThreadPoolExecutor(WIDTH) as pool:
        list(pool.map(prepare, fleet.hosts))
    register(new, [host.name for host in fleet.hosts], 8)


def undone(fleet: Fleet, place: Path, names: Collection[str]) -> list[str]:
    """Names of the hosts that do not show all that should be there, asked by ssh."""
    known, text = known_hosts(fleet, place), work.look()

    def wrong(host: Host) -> bool:
        # A key exchange that costs this machine a sixth of OpenSSH's own choice: what is asked is the host, not ssh.
        done = subprocess.run(
            [*ssh(fleet, known, host, "KexAlgorithms=curve25519-sha256"), "sh -s"],
            input=text,
            text=True,
            check=False,
            capture_output=True,
        )
        return (done.returncode, done.stdout) != (0, "looked\n")

    asked = [host for host in fleet.hosts if host.name in names]
    with ThreadPoolExecutor(8) as pool:
        return [host.name for host, found in zip(asked, pool.map(wrong, asked), strict=True) if found]


def loop(fleet: Fleet, new: Callable[[], Oned], place: Path, *, seconds: float = 0) -> None:
    """What people write first: one host after the other, ssh and a call."""
    known, text = known_hosts(fleet, place), work.script(seconds)
    for host in fleet.hosts:
        subprocess.run([*ssh(fleet, known, host), "sh -s"], input=text, text=True, check=True, capture_output=True)
        register(new, [host.name], 1)


def ansible(
    fleet: Fleet,
    new: Callable[[], Oned],
    place: Path,
    *,
    forks: int,
    playbook: str = "playbook.yaml",
    tags: str = "all",
    seconds: float = 0,
) -> None:
    """A playbook of this directory with one-deploy's settings (pipelining, ControlPersist 60 s); then the same threads."""
    python = tools.python(tools.ANSIBLE)
    known = known_hosts(fleet, place)
    # A path of its own: ControlPersist's sockets must be new for every run, or the second would find them open.
    control = place / f"cp-{os.getpid()}-{len(list(place.glob('cp-*')))}"
    control.mkdir()
    common = " ".join(f"-o {option}" for option in (*_OPTIONS, f"UserKnownHostsFile={known}"))
    settings = f"""\
[defaults]
forks = {forks}
gathering = explicit
host_key_checking = True
interpreter_python = /usr/bin/python3
local_tmp = {place}/ansible
[ssh_connection]
pipelining = True
ssh_args = -F none -o ControlMaster=auto -o ControlPersist=60s {common}
control_path_dir = {control}
"""
    (place / "ansible.cfg").write_text(settings)
    (place / "script.sh").write_text(work.script(seconds))
    inventory = {
        "all": {
            "vars": {
                "ansible_user": "root",
                "ansible_port": fleet.hosts[0].endpoint.port,
                "ansible_ssh_private_key_file": str(fleet.key_file),
                "script": str(place / "script.sh"),
                "seconds": seconds,
            },
            "hosts": {
                host.name: {"ansible_host": host.endpoint.address, "root": str(host.root)} for host in fleet.hosts
            },
        }
    }
    (place / "inventory.json").write_text(json.dumps(inventory))
    environ = {**os.environ, "ANSIBLE_CONFIG": str(place / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    command = [
        str(python.parent / "ansible-playbook"),
        "-i",
        str(place / "inventory.json"),
        "--tags",
        f"{tags},wait" if seconds else tags,
        *([] if seconds else ["--skip-tags", "wait"]),  # a skipped condition would cost a process for each host
        str(_HERE / playbook),
    ]
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LIMIT, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-1000:])
    finally:
        for socket in control.glob("*"):
            stop = ["ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "any"]
            subprocess.run(stop, capture_output=True, check=False)
    register(new, [host.name for host in fleet.hosts], 8)
