"""A machine of its own for a test: this one's files under a throw-away overlay, its own mounts, processes and host
name.

The network is shared, so servers in a box listen on loopback and must take free ports. Needs root. Everything ends with
the box's first process.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_BOOT = """
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount --rbind /sys "$1/root/sys"
for directory in tmp var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$1/root/$directory"; done
mount -t tmpfs -o mode=755 tmpfs "$1/root/run"
hostname "$2"
echo ready
exec sleep infinity
"""


class Box:
    """One running box. `root` is its file system as seen from outside only by way of `write` and `run`."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self._base = directory
        self._base.mkdir(parents=True)
        self._init = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child=SIGKILL", "--propagation=private",
             "sh", "-euc", _BOOT, "box", str(directory), name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self._init.stdout is not None
        if self._init.stdout.readline() != "ready\n":
            self._init.wait(10)
            raise RuntimeError("the box did not come up: see stderr; it needs root, overlayfs and unshare")
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()
        self._enter = ["nsenter", f"--target={children[0]}", "--mount", "--pid", "--uts", "chroot", f"{directory}/root"]

    def close(self) -> None:
        self._init.kill()
        self._init.wait(10)
        if self._init.stdout is not None:
            self._init.stdout.close()
        shutil.rmtree(self._base, ignore_errors=True)

    def command(self, *words: str) -> list[str]:
        """The words that run `words` inside, for subprocess."""
        return [*self._enter, *words]

    def run(self, *words: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), input=stdin, capture_output=True, text=True, check=check, timeout=60
        )

    def sh(self, script: str, *, check: bool = True) -> str:
        """Output of a shell script inside."""
        return self.run("sh", "-eu", stdin=script, check=check).stdout

    def write(self, path: str, content: str, *, mode: str = "644", owner: str = "root") -> None:
        self.run(
            "sh", "-euc", 'mkdir -p "$(dirname "$1")"; cat > "$1"; chmod "$2" "$1"; chown "$3" "$1"', "sh",
            path, mode, owner, stdin=content,
        )  # fmt: skip

    def read(self, path: str) -> str:
        return self.run("cat", path).stdout

    def spawn(self, *words: str, log: str) -> subprocess.Popen[bytes]:
        """Start a process inside, its output in a file inside; it ends with the box at the latest."""
        return subprocess.Popen(
            self.command("sh", "-c", f'exec "$@" >>{log} 2>&1', "sh", *words),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
