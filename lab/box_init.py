"""Process 1 of the box: makes the mounts, says that it is ready, then only collects dead children.

Run by `box.py` inside fresh namespaces as a plain script of the standard library, with one JSON object as argument.
When it dies the kernel ends every process in the box, and with the last of them go all mounts, interfaces and packet
filter rules. It starts nothing by itself.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

# The kubelet sets these for the whole machine and insists on its values. It may have them on paper.
_PAPER_SYSCTLS = {
    "kernel/keys/root_maxbytes": "25000000",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}
_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/bridge/bridge-nf-call-iptables": "1",
}
# Fixed paths of the kubelet and of CNI lie here; what they write must not reach the machine.
_COVERED = ("/var/lib", "/var/log")


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _own_pid_outside() -> int:
    # /proc is still the machine's: it shows this process under the pid that the machine knows it by.
    return int(Path("/proc/self").readlink().name)


def _cover(kept: list[str]) -> None:
    """Put a throw-away layer over the fixed paths, with the lab's own directories showing through."""
    for number, path in enumerate(kept):
        behind = Path(f"/run/box/kept{number}")
        behind.mkdir(parents=True)
        _mount("--rbind", path, str(behind))
    for path in _COVERED:
        name = path.strip("/").replace("/", "-")
        upper, work = Path(f"/run/box/{name}/upper"), Path(f"/run/box/{name}/work")
        upper.mkdir(parents=True)
        work.mkdir()
        _mount("-t", "overlay", "overlay", "-o", f"lowerdir={path},upperdir={upper},workdir={work}", path)
    for number, path in enumerate(kept):
        if any(Path(path).is_relative_to(covered) for covered in _COVERED):
            _mount("--rbind", f"/run/box/kept{number}", path)


def _file_over(target: str, text: str) -> None:
    """Let `target` read as `text` in the box; the machine's file stays as it is."""
    source = Path("/run/box/files") / target.strip("/").replace("/", "-")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text)
    place = Path(target).resolve()
    if not place.exists():  # a link into /run, as systemd-resolved makes it: the box has a /run of its own
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    _mount("--bind", str(source), str(place))


def _mounts(plan: dict[str, object]) -> None:
    _mount("-t", "proc", "proc", "/proc")
    _mount("-t", "tmpfs", "-o", "mode=0755,size=256m", "tmpfs", "/run")
    Path("/run/box/cgroup").mkdir(parents=True)
    Path("/run/lock").mkdir()
    # What the first `ip netns add` would do: done after pods have started, it doubles the mounts of their namespaces, and
    # containerd could not take these away any more.
    Path("/run/netns").mkdir()
    _mount("--bind", "/run/netns", "/run/netns")
    _mount("--make-shared", "/run/netns")
    _mount("--rbind", "/sys/fs/cgroup", "/run/box/cgroup")
    _mount("-t", "sysfs", "sysfs", "/sys")  # a new one shows the interfaces of the box
    _mount("--rbind", "/run/box/cgroup", "/sys/fs/cgroup")
    _cover([str(path) for path in plan["kept"]])  # type: ignore[attr-defined]
    for name, value in _PAPER_SYSCTLS.items():
        if Path("/proc/sys", name).exists():
            _file_over(f"/proc/sys/{name}", value + "\n")
    for name, value in _SYSCTLS.items():
        Path("/proc/sys", name).write_text(value)
    _file_over("/etc/hosts", str(plan["hosts"]))
    _file_over("/etc/resolv.conf", str(plan["resolv"]))


def _reap_forever(ready: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    os.write(ready, b"ready")
    os.close(ready)
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            pass
        signal.sigwait({signal.SIGCHLD})


def main() -> None:
    plan = json.loads(sys.argv[1])
    pid = _own_pid_outside()
    # The answer goes through a pipe that was opened outside; a failure before it closes the pipe empty.
    ready = int(plan["ready"])
    os.write(ready, f"{pid}\n".encode())
    _mounts(plan)
    socket.sethostname(str(plan["name"]))
    os.chdir("/")
    _reap_forever(ready)


if __name__ == "__main__":
    main()
