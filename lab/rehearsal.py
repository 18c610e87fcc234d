"""The whole of `make up` and `make down`: lab, engine, program. Phases are timed and written to a file.

Two modes. The lab: everything on this machine, stack `lab`, a stack file of its own. CLUSTER=existing: only the engine
and the program, on the operator's cluster and stack file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.domain import Version
from components.host_groups import fold
from components.naming import PROJECT as PROJECT_NAME
from lab import configfile, hosts, kubeconfig, process, stackfile
from lab.console import say
from lab.errors import LabError
from lab.paths import LAB, PROJECT, STATE, Instance
from stacks.secrets import SECRETS

if TYPE_CHECKING:
    from lab.engine.stack import Outcome, ProgramStack
    from lab.hosts import Kind, LabHost
    from lab.repository import RepositoryInfo

HOSTS: dict[str, Kind] = hosts.kinds(2)
_CLOCK_SET = 60  # seconds by which the clock may have been set since a lock was written


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the environment of `make` says."""

    existing: bool
    stack: str
    opennebula_root: Path | None
    version: Version = Version.V7_4
    instance: Instance = LAB
    hosts: Mapping[str, Kind] = field(default_factory=lambda: HOSTS)

    @staticmethod
    def from_environment(environ: Mapping[str, str]) -> Options:
        """Raises LabError for values that mean nothing."""
        cluster = environ.get("CLUSTER", "")
        if cluster not in ("", "lab", "existing"):
            raise LabError(f"CLUSTER={cluster} is unknown", fix="leave it out for the lab, or CLUSTER=existing")
        existing = cluster == "existing"
        if existing and not environ.get("KUBECONFIG"):
            raise LabError(
                "CLUSTER=existing needs KUBECONFIG", fix="make up CLUSTER=existing KUBECONFIG=PATH STACK=NAME"
            )
        if existing and not Path(environ["KUBECONFIG"]).expanduser().is_file():
            raise LabError(f"KUBECONFIG={environ['KUBECONFIG']} is no file", fix="correct the path")
        if existing and not environ.get("STACK"):
            # No default: an up writes an encryption salt into its stack's file, and Pulumi.dev.yaml is a tracked example.
            raise LabError(
                "CLUSTER=existing needs STACK", fix="write Pulumi.NAME.yaml after Pulumi.prod.yaml, then STACK=NAME"
            )
        if not existing and environ.get("STACK", "lab") not in ("", "lab"):
            raise LabError(
                "STACK goes with CLUSTER=existing; the lab's stack is `lab`",
                fix=f"leave STACK out for the lab, or CLUSTER=existing KUBECONFIG=PATH STACK={environ['STACK']}",
            )
        root = environ.get("OPENNEBULA_ROOT")
        if root and not (Path(root) / "usr/bin/oned").exists():
            raise LabError(f"OPENNEBULA_ROOT={root} holds no usr/bin/oned", fix="give a tree with OpenNebula installed")
        version = environ.get("VERSION") or Version.V7_4.value
        if version not in set(Version):
            raise LabError(f"VERSION={version} is unknown", fix=f"one of {', '.join(Version)}")
        if existing and environ.get("VERSION"):
            raise LabError("VERSION is of the lab", fix=f"set opennebula:version in Pulumi.{environ['STACK']}.yaml")
        if existing and environ.get("HOSTS"):
            raise LabError(
                "HOSTS is of the lab", fix=f"the hosts of Pulumi.{environ['STACK']}.yaml are what it declares"
            )
        return Options(
            hosts=_kinds(environ.get("HOSTS", "")),
            existing=existing,
            stack=configfile.check_name(environ["STACK"]) if existing else "lab",
            opennebula_root=Path(root).resolve() if root else None,
            version=Version(version),
        )


def _kinds(count: str) -> Mapping[str, Kind]:
    if not count:
        return HOSTS
    if not count.isascii() or not count.isdigit() or not 1 <= int(count) <= hosts.MOST:
        raise LabError(
            f"HOSTS={count} must be 1 to {hosts.MOST}", fix="make up HOSTS=20 starts 10 KVM and 10 LXC hosts"
        )
    return hosts.kinds(int(count))


@dataclass
class Phases:
    """Named stretches of time, in seconds since the beginning; they may overlap."""

    began: float = field(default_factory=time.monotonic)
    spans: list[dict[str, float | str]] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a stretch."""
        start = time.monotonic() - self.began
        try:
            yield
        finally:
            ended = time.monotonic() - self.began
            self.spans.append({"phase": name, "began": round(start, 2), "ended": round(ended, 2)})
            say(f"{name}: {ended - start:.1f} s")

    def write(self, file: Path) -> None:
        """Keep the times. A file that cannot be written is said and no more: how the run ended counts, not how long it took."""
        try:
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(self.spans, indent=1))
        except OSError as error:
            say(f"the times of this run are not kept: {file} cannot be written: {error.strerror}")


def up(options: Options) -> Outcome:
    """Bring everything up; the second time nothing changes. Raises LabError."""
    phases = Phases()
    try:
        outcome = _up(options, phases)
    finally:
        phases.write(STATE / "phases.json")
    many = "" if outcome.changed == 1 else "s"
    done = "no changes" if outcome.changed == 0 else f"{outcome.changed} resource{many} changed, components included"
    say(f"{done}; {time.monotonic() - phases.began:.1f} s")
    return outcome


def _up(options: Options, phases: Phases) -> Outcome:
    if options.existing:
        configfile.require(stack_file(options.stack))
        check_kubeconfig(configfile.config(stack_file(options.stack)))
        with phases.phase("engine"):
            stack = open_stack(options.stack, throw_away=False)
    else:
        # Both are read once the cluster is there, which takes a while.
        for name in ("dev", options.stack):
            configfile.read(stack_file(name))
        lab = start_lab(
            options.instance, options.hosts, phases, opennebula_root=options.opennebula_root, version=options.version
        )
        with phases.phase("stack"):
            stack = lab.stack(options.stack)
    say("pulumi up")
    with phases.phase("pulumi up"):
        outcome = stack.up()
    if not options.existing:
        retire(options.instance, options.hosts, phases)
    return outcome


def check_kubeconfig(config: Mapping[str, Any]) -> None:
    """Before anything is made: the kubeconfig of these values, by full key, is one, with their context. Raises LabError."""
    section = config.get(f"{PROJECT_NAME}:kubernetes")
    kubeconfig.check(section if isinstance(section, Mapping) else {}, os.environ)


def retire(instance: Instance, kinds: Mapping[str, Kind], phases: Phases) -> None:
    """Stop and forget the lab hosts that are not named. After an `up` without them: then oned has let go of them.

    A host on which machines still ran has stopped that run, and nothing comes here.
    """
    if gone := hosts.others(instance, kinds):
        with phases.phase(f"stopping {fold(gone)}"):
            hosts.stop(instance, gone, forget=True)


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A running lab: what a stack on it needs to know."""

    instance: Instance
    images: Mapping[str, str]
    hosts: tuple[LabHost, ...]
    repository: RepositoryInfo
    version: Version

    def stack(self, name: str, changes: Mapping[str, Any] | None = None) -> ProgramStack:
        """The stack `name` on this lab, its file written. `changes` replaces config values, by full key."""
        file = stack_file(name)
        from lab import ca

        certificate = ca.ensure(self.instance)
        config = stackfile.lab_config(
            self.instance, self.images, self.hosts, self.repository, self.version, certificate=certificate.certificate
        )
        stackfile.write(file, {**config, **(changes or {})})
        stack = open_stack(name, throw_away=True)
        ensure_secret(stack, file, stackfile.SSH_KEY, self.hosts[0].private_key_path.read_text())
        ensure_secret(stack, file, stackfile.INGRESS_KEY, certificate.key)
        return stack


def start_lab(
    instance: Instance,
    kinds: Mapping[str, Kind],
    phases: Phases,
    *,
    opennebula_root: Path | None = None,
    version: Version = Version.V7_4,
) -> Lab:
    """Cluster and hosts, side by side. Idempotent. Raises LabError."""
    from lab import cluster, images, ingress, packages, repository
    from lab.box import Box

    packages.ensure_system_packages()
    keep_release(instance, version)
    with phases.phase("images and packages"):
        references = images.ensure_images(opennebula_root, version=version)
        apt = repository.ensure_repository(opennebula_root, version=version)
    Box(instance).start()

    def start_hosts() -> list[LabHost]:
        with phases.phase("hosts"):
            repository.serve(instance, apt)
            return hosts.start_hosts(instance, kinds)

    with ThreadPoolExecutor(max_workers=1) as pool:
        started = pool.submit(start_hosts)
        with phases.phase("cluster"):
            cluster.start(instance, ingress.hosts(instance), opennebula_root=opennebula_root, version=version)
        with phases.phase("ingress controller"):
            ingress.apply(instance, references)
        found = started.result()
    return Lab(instance=instance, images=references, hosts=tuple(found), repository=apt, version=version)


def keep_release(instance: Instance, version: Version) -> None:
    """A lab stays with the release that it was made with. Raises LabError.

    oned of one release refuses the database of another, and nothing here upgrades one.
    """
    record = instance.state / "release"
    if record.exists() and record.read_text() != version.value:
        raise LabError(
            f"the lab was made with OpenNebula {record.read_text()}, not {version.value}",
            cause="oned refuses the database of another release, and the lab upgrades none",
            fix="make down, then make up again; or give the same VERSION as before",
        )
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(version.value)


def stack_file(name: str) -> Path:
    """Where the engine looks for a stack's configuration."""
    return PROJECT / f"Pulumi.{name}.yaml"


def open_stack(name: str, *, throw_away: bool) -> ProgramStack:
    """The engine, its plugins and a workspace, ready for one stack."""
    import sys

    from lab.engine import install, workspace
    from lab.engine.stack import ProgramStack
    from lab.plugins.install import ensure_plugins

    engine = install.ensure_engine()
    install.ensure_official_plugins(engine)
    plugins = STATE / "bin"
    for plugin in ensure_plugins(plugins, Path(sys.executable)):
        say(f"pulumi-resource-{plugin}: the official plugin is not to be had here; a rehearsal stand-in does its work")
    return ProgramStack(name, workspace.prepare(engine, plugins, throw_away=throw_away), say)


def ensure_secret(stack: ProgramStack, file: Path, key: str, value: str) -> None:
    """Encrypt one of the lab's private keys into the stack file, again only when it changed."""
    mark = STATE / "pulumi" / f"{stack.name}-{key.partition(':')[2]}.sha256"
    digest = hashlib.sha256(value.encode()).hexdigest()
    if stackfile.has_secret(file, key) and mark.exists() and mark.read_text() == digest:
        return
    stack.set_secret(key, value)
    mark.write_text(digest)


def down(options: Options) -> None:
    """Remove all that `up` made. With CLUSTER=existing: a destroy, which keeps what the stack retains."""
    if options.existing:
        # Without its file the engine would make a new, empty stack of that name.
        configfile.require(stack_file(options.stack))
        open_stack(options.stack, throw_away=False).destroy()
        return
    stop_lab(options.instance, options.stack)
    say("the lab is gone; builds stay in the cache")


def stop_lab(instance: Instance, stack: str) -> None:
    """End a lab and forget the stack that lived on it: a state about a cluster that is gone would only mislead."""
    from lab import cluster, packages

    packages.require_root()
    holder = running_operation(stack)
    if holder is not None:
        raise LabError(
            f"stack {stack} is at work (process {holder})",
            fix="wait for it or end it, then make down; if that process is no run of this checkout: make unlock, then make down",
        )
    cluster.stop(instance)
    shutil.rmtree(instance.state, ignore_errors=True)
    pulumi = STATE / "pulumi"
    place = f"backend/.pulumi/*/{PROJECT_NAME}"
    for path in (
        *pulumi.glob(f"{place}/{stack}"),
        *pulumi.glob(f"{place}/{stack}.*"),
        # A run that was killed leaves its lock.
        *pulumi.glob(f"backend/.pulumi/locks/*/{PROJECT_NAME}/{stack}"),
        *pulumi.glob(f"{stack}-*.sha256"),
    ):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    stack_file(stack).unlink(missing_ok=True)


def running_operation(stack: str) -> int | None:
    """Pid of a living engine that holds the lock of a stack on the lab's own backend.

    A killed engine leaves its lock, and its pid goes to another process: that is no engine, or it began after the lock was
    written. A lock that cannot be read was being written by an engine that was killed.
    """
    for lock in (STATE / "pulumi").glob(f"backend/.pulumi/locks/*/{PROJECT_NAME}/{stack}/*.json"):
        holder = _holder(lock)
        if holder is not None and _is_engine(*holder):
            return holder[0]
    return None


def _holder(lock: Path) -> tuple[int, datetime] | None:
    """Pid and time in a lock file, as pulumi 3.255 pkg/backend/diy/lock.go writes them; None for one that says neither."""
    try:
        content = json.loads(lock.read_text())
        pid, written = content["pid"], datetime.fromisoformat(content["timestamp"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return (pid, written) if isinstance(pid, int) and pid > 0 and written.tzinfo is not None else None


def _is_engine(pid: int, written: datetime) -> bool:
    """Whether this process is an engine that was there when its lock was written."""
    try:
        name = (process.PROC / str(pid) / "comm").read_text()
    except OSError:
        return False
    began = process.began(pid)
    return began is not None and "pulumi" in name and began <= written.timestamp() + _CLOCK_SET


def secret(options: Options) -> None:
    """Encrypt standard input into the stack's file, under the key of KEY. It stays there at the next `up`.

    Raises LabError before anything is read or written for a key that is none, for one that the lab sets itself, and where the
    stack has no file.
    """
    key = os.environ.get("KEY", "")
    _check_secret_key(key, options)
    value = sys.stdin.read()
    try:
        SECRETS[key].check(value.rstrip("\n") if "PRIVATE KEY" not in value else value)
    except ValueError as error:
        raise LabError(
            f"the value of {key} {error}", fix=f"{_secret_command(key, options)}, with another FILE"
        ) from None
    stack = open_stack(options.stack, throw_away=not options.existing)
    stack.set_secret(f"{PROJECT_NAME}:{key}", value if "PRIVATE KEY" in value else value.rstrip("\n"))
    kept = "" if options.existing else ", which `make down` removes"
    say(f"{key} is encrypted in {stack_file(options.stack).name}{kept}")


def _check_secret_key(key: str, options: Options) -> None:
    own = {} if options.existing else {name.partition(":")[2]: of for name, of in stackfile.OWN_SECRETS.items()}
    if key not in SECRETS:
        known = ", ".join(name for name in SECRETS if name not in own)
        raise LabError(f"KEY={key} is no secret key", fix=f"one of {known}: {_secret_command('…', options)}")
    elsewhere = _secret_command(key, replace(options, existing=True, stack="NAME"))
    if key in own:
        raise LabError(
            f"{key} of the lab is not to be set", cause=f"the lab makes it itself: {own[key]}", fix=elsewhere
        )
    file = stack_file(options.stack)
    if not options.existing and not file.exists():
        raise LabError(
            "the lab has no stack file yet",
            cause=f"`make up` writes {file.name}, and keeps the secrets that are set in it",
            fix=f"make up, then this again; or for a stack of your own: {elsewhere}",
        )
    configfile.require(file)


def _secret_command(key: str, options: Options) -> str:
    where = f" CLUSTER=existing KUBECONFIG=PATH STACK={options.stack}" if options.existing else ""
    return f"make secret KEY={key}{where} < FILE"


def refresh(options: Options) -> None:
    """Read the world into the state, and say what was found otherwise; the next `up` mends it. Raises LabError."""
    if not options.existing and not stack_file(options.stack).exists():
        raise LabError(f"{stack_file(options.stack).name} does not exist: nothing was brought up", fix="make up")
    configfile.require(stack_file(options.stack))
    if options.existing:
        check_kubeconfig(configfile.config(stack_file(options.stack)))
    stack = open_stack(options.stack, throw_away=not options.existing)
    say("pulumi refresh")
    found = stack.refresh()
    many = "" if found.changed == 1 else "s"
    say(
        f"{found.changed} resource{many} not as known; make up mends that"
        if found.changed
        else "all is as the state knows it"
    )


def unlock(options: Options) -> None:
    """Take away the lock of a killed run."""
    if options.existing:
        configfile.require(stack_file(options.stack))
    open_stack(options.stack, throw_away=not options.existing).unlock()
    say(f"stack {options.stack} is unlocked")
