"""A hypervisor host for tests of the bootstrap: real Debian, real sshd, real apt, in a lab without a cluster.

The lab has an index of its own, so that neither a running `make up` nor the tests with a cluster notice it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.bootstrap.script import HostPlan, Repository, remote_command, render
from lab import cache, debs, host_root, hosts, repository
from lab.box import Box
from lab.host_keys import authorized_line, ensure_key
from lab.hosts import Kind, LabHost
from lab.paths import Instance
from lab.repository import RepositoryInfo

INSTANCE = Instance(name="bootstrap", index=2)
STEPS = [
    "preflight",
    "repository",
    "package",
    "account",
    "authorized-keys",
    "known-hosts",
    "directories",
    "storage",
    "kvm",
    "confinement",
    "firewall",
    "checks",
]

_LIMIT = 120  # seconds for one run of the script


@dataclass(frozen=True)
class Run:
    """What one run of the script said."""

    code: int
    stdout: str
    stderr: str

    @property
    def steps(self) -> list[str]:
        lines = self.stdout.splitlines()
        return [line.removeprefix("one-bootstrap: ") for line in lines if line.startswith("one-bootstrap: ")]

    @property
    def facts(self) -> dict[str, Any]:
        assert self.code == 0, self.stderr
        found: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return found

    @property
    def complaint(self) -> str:
        """The one line for the operator; a test that asks for it expects a failure."""
        assert self.code != 0, self.stdout
        last = self.stderr.splitlines()[-1]
        assert last.startswith("one-bootstrap: "), self.stderr
        assert "; next: " in last
        return last


@dataclass(frozen=True)
class Bench:
    """One host, and the means to prepare it and to look at it."""

    host: LabHost
    packages: RepositoryInfo

    @property
    def keys(self) -> Path:
        return INSTANCE.state / "keys"

    def public_key(self, name: str = "oneadmin") -> str:
        return authorized_line(ensure_key(self.keys / name))

    def plan(self, **changes: Any) -> HostPlan:
        values: dict[str, Any] = {
            "name": self.host.name,
            "kind": self.host.kind,
            "version": "7.4",
            "repository": self.repository(),
            "oneadmin_public_key": self.public_key(),
            "frontend_known_hosts": (f"[{INSTANCE.node_ip}]:30022,[oned]:30022 {self.host.host_key_public}",),
            "frontend_address": str(INSTANCE.node_ip),
            "lock_wait": 20,
        }
        return HostPlan(**(values | changes))

    def repository(self, **changes: Any) -> Repository:
        values: dict[str, Any] = {
            "url": repository.url(INSTANCE),
            "key_armored": self.packages.key_armored,
            "key_fingerprint": self.packages.fingerprint,
        }
        return Repository(**(values | changes))

    def prepare(self, script: str | None = None, limit: int = 90, **changes: Any) -> Run:
        """Run the script as the program does: one SSH connection, the script on standard input."""
        text = render(self.plan(**changes)) if script is None else script
        done = self._ssh(self.host.user, self.host.private_key_path, remote_command(self.host.name, limit), text)
        return Run(done.returncode, done.stdout, done.stderr)

    def start_preparing(self, until: str) -> subprocess.Popen[bytes]:
        """The same, waited for only until the step has begun."""
        script = INSTANCE.state / "script"
        script.write_text(render(self.plan()))
        command = [*self._client(self.host.user, self.host.private_key_path), remote_command(self.host.name, 90)]
        with script.open("rb") as stdin:
            running = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert running.stdout is not None
        while (line := running.stdout.readline().decode()) != f"one-bootstrap: {until}\n":
            assert line.startswith("one-bootstrap: "), f"it ended before {until}: {line}"
        return running

    @property
    def files(self) -> Path:
        """The host's root directory, as seen from outside of it."""
        return Path(f"/proc/{self._pid()}/root")

    def as_oneadmin(self, command: str, key: str = "oneadmin") -> subprocess.CompletedProcess[str]:
        return self._ssh("oneadmin", ensure_key(self.keys / key), command, "")

    def root(self, command: str) -> str:
        """Run a shell command in the host as root, beside SSH and sudo. CalledProcessError if it fails."""
        argv = [*hosts.inside(INSTANCE, self.host.name), "sh", "-euc", command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout

    @contextlib.contextmanager
    def holding_lock(self, path: str) -> Iterator[None]:
        """Another package manager at work: a process in the host that holds the record lock which apt and dpkg take."""
        taker = (
            "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX);"
            "print('held', flush=True); sys.stdin.read()"
        )
        argv = ["python3", "-c", taker, f"{self.files}{path}"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            try:
                yield
            finally:
                holder.kill()

    def with_packages(self, packages: RepositoryInfo) -> Bench:
        """The same host with another archive behind the package source's address."""
        repository.serve(INSTANCE, packages)
        return Bench(self.host, packages)

    def power_cut(self) -> Bench:
        """Kill everything in the host at once, start it again with the files that it had."""
        namespace = _namespace(Path(f"/proc/{self._pid()}"))
        hosts.stop(INSTANCE, [self.host.name])
        assert not [each for each in Path("/proc").glob("[0-9]*") if _namespace(each) == namespace]
        return start(self.host.name, self.host.kind, self.packages)

    def assert_whole(self) -> None:
        """Another run ends well, the one after it changes nothing, and nothing is left over."""
        assert self.prepare().facts["version"] == "7.4.0-1"
        assert self.prepare().facts["changed"] is False
        assert self.as_oneadmin("id -un").stdout == "oneadmin\n"
        assert self.root("dpkg --audit") == ""
        assert self.root("ls -A /run/one-bootstrap 2>/dev/null || true") == ""

    def assert_untouched(self) -> None:
        """No step after preflight left a trace."""
        self.root("! getent passwd oneadmin")
        self.root("test ! -e /etc/apt/sources.list.d/opennebula.list && test ! -e /var/tmp/one")

    def _pid(self) -> int:
        words = hosts.inside(INSTANCE, self.host.name)
        return int(words[words.index("--target") + 1])

    def _client(self, user: str, key: Path) -> list[str]:
        known = INSTANCE.state / "known_hosts"
        known.write_text(f"{self.host.ip} {self.host.host_key_public}\n")
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "GlobalKnownHostsFile": "none",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(known),
        }
        words = [f"-o{name}={value}" for name, value in options.items()]
        return ["ssh", "-F", "none", "-i", str(key), *words, f"{user}@{self.host.ip}"]

    def _ssh(self, user: str, key: Path, command: str, text: str) -> subprocess.CompletedProcess[str]:
        argv = [*self._client(user, key), command]
        return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=_LIMIT, check=False)


def in_step(script: str, name: str, command: str) -> str:
    """The script with a command at the beginning of a step."""
    line = '\nstep "$each_step"\n'
    assert script.count(line) == 1
    return script.replace(line, f'{line}if [ "$each_step" = {name} ]; then {command}; fi\n')


def killed_before(script: str, name: str) -> str:
    return in_step(script, name, "kill -KILL $$")


def repository_of(version: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> RepositoryInfo:
    """The stand-ins once more, with another version, in a repository with another key."""
    sources = place / "node"
    shutil.copytree(debs.SOURCES, sources, symlinks=True)
    for control in sources.glob("*/DEBIAN/control"):
        control.write_text(control.read_text().replace("7.4.0", version))
    monkeypatch.setattr(debs, "SOURCES", sources)
    return repository.ensure_repository(None, root=place / "cache")


@contextlib.contextmanager
def laboratory() -> Iterator[RepositoryInfo]:
    """The box with the package repository; whatever a killed test run left is removed first."""
    _remove()
    try:
        Box(INSTANCE).start()
        host_root.ensure_root()
        packages = repository.ensure_repository(None)
        repository.serve(INSTANCE, packages)
        yield packages
    finally:
        _remove()


def start(name: str, kind: Kind, packages: RepositoryInfo) -> Bench:
    (host,) = hosts.start_hosts(INSTANCE, {name: kind})
    return Bench(host, packages)


def forget(bench: Bench) -> None:
    hosts.stop(INSTANCE, [bench.host.name], forget=True)


def _namespace(process: Path) -> Path | None:
    try:
        return (process / "ns/pid").readlink()
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # ended just now, or process 1 of a sandbox
        return None


def _remove() -> None:
    Box(INSTANCE).stop()
    cache.remove_tree(INSTANCE.state)
