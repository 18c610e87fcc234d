"""`make pin`: fetch the SSH host keys of hosts, show them for review, and write them down only when told to.

Which hosts: HOST (names, ranges, addresses), GROUP, or else every declared host without a pin. A key that differs from
the pinned one is shouted about and never written: somebody has to look at the machine first.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from components.domain import Address
from components.host_groups import fold, numbers
from components.host_pins import fingerprint, line, names_of, parse
from components.host_settings import SshSettings
from lab import configfile
from lab.console import say
from lab.engine.logins import plain_config
from lab.errors import LabError
from lab.keyscan import Bastion, Offer, Place, scan
from lab.paths import PROJECT
from stacks.host_list import Entry, KnownKeys, known_keys, listed, read_file, ways
from stacks.mistakes import pin_bastion
from stacks.problem import Problem

_HEAD: Final = "# SSH host keys of hosts, reviewed; `make pin` adds to them. One line a key.\n"
_ADDRESS: Final[TypeAdapter[str]] = TypeAdapter(Address)


@dataclass(frozen=True, kw_only=True)
class Target:
    """One host to ask. `written`: the name that its pin gets. `known`: its pinned keys by type."""

    name: str
    address: str
    port: int
    written: str
    known: Mapping[str, str]
    declared: bool
    bastion: bool = False

    @property
    def place(self) -> Place:
        return self.address, self.port


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came of one host: `new`, `same`, `changed` or `silent`."""

    target: Target
    state: str
    key: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the environment of `make pin` says."""

    stack: str
    hosts: str
    group: str
    port: int | None
    write: bool
    identity: Path | None

    @staticmethod
    def from_environment(environ: Mapping[str, str]) -> Request:
        """Raises LabError for values that mean nothing."""
        port = environ.get("PORT", "")
        if port and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
            raise LabError(f"PORT={port} is no port", fix="make pin HOST=… PORT=2222")
        write = environ.get("WRITE", "")
        if write not in ("", "0", "1"):
            raise LabError(f"WRITE={write} is unknown", fix="WRITE=1 writes new keys down")
        identity = environ.get("IDENTITY")
        if identity and not Path(identity).expanduser().is_file():
            raise LabError(f"IDENTITY={identity} is no file", fix="the private key that the bastion lets in")
        return Request(
            stack=environ.get("STACK", ""),
            hosts=environ.get("HOST", ""),
            group=environ.get("GROUP", ""),
            port=int(port) if port else None,
            write=write == "1",
            identity=Path(identity).expanduser() if identity else None,
        )


def run(environ: Mapping[str, str] = os.environ) -> None:
    """The whole command. Raises LabError, also when a host is silent or its key has changed."""
    request = Request.from_environment(environ)
    name = configfile.check_name(request.stack or "lab")
    file = PROJECT / f"Pulumi.{name}.yaml"
    if request.stack:
        configfile.require(file)
    config = plain_config(file)
    problems: list[Problem] = []
    keys = known_keys(config, read_file, problems)
    # A pins file that is not there yet is what this command is for.
    broken = [problem for problem in problems if "does not exist" not in problem.text]
    ssh = _ssh(config)
    targets = choose(listed(config, []), keys, ssh, request)
    if request.write:
        _writable(config, file, broken)
    offers = _ask(targets, ssh, request)
    findings = [judge(target, offers[target.place]) for target in targets]
    for text in [*report(findings, keys.file), *map(str, broken)]:
        say(text)
    for found in findings:
        if found.state in ("new", "same"):
            print(line(found.target.written, found.key))
    _finish(findings, request, config, name)


def choose(entries: Sequence[Entry], keys: KnownKeys, ssh: SshSettings | None, request: Request) -> list[Target]:
    """The hosts that are meant. Raises LabError for names and groups that nothing stands for."""
    declared: dict[str, Target] = {}
    groups: dict[str, list[str]] = {}
    for entry in entries:
        if (way := ways(entry)) is not None:
            name, address, port = way
            declared.setdefault(
                name.lower(),
                _target(name, address or name, port, names_of(*way)[0], keys.of(entry), declared=True),
            )
            if entry.member is not None:
                groups.setdefault(entry.member.group, []).append(name.lower())
    found: list[Target] = []
    if request.group:
        if request.group not in groups:
            known = f"one of {', '.join(groups)}" if groups else "hostGroups has none"
            raise LabError(f"GROUP={request.group} is no group of the stack", fix=known)
        found += [declared[name] for name in groups[request.group]]
    for name in _names(request.hosts):
        found.append(_named(name, declared, ssh, request.port))
    if not request.hosts.strip() and not request.group:
        found = [target for target in declared.values() if not target.known]
        if not found:
            text = f"all {len(declared)} declared hosts are pinned" if declared else "no host is declared"
            raise LabError(f"{text}: nothing to ask", fix="make pin HOST=… or GROUP=… asks named ones again")
    return list({(target.name, *target.place): target for target in found}.values())


def _names(words: str) -> list[str]:
    """Names of `HOST='kvm-[1-4,7] 10.0.0.5'`: blanks and commas outside brackets divide."""
    try:
        return [name for word in re.split(r"[\s,]+(?![^\[]*\])", words) if word for name in numbers(word)]
    except ValueError as error:
        raise LabError(f"HOST={words}: {error}", fix="make pin HOST='kvm-[001-010] 192.0.2.7'") from None


def _named(name: str, declared: Mapping[str, Target], ssh: SshSettings | None, port: int | None) -> Target:
    target = declared.get(name.lower())
    if target is not None:
        if port not in (None, target.port):
            raise LabError(f"{target.name} is declared with port {target.port}, not {port}", fix="leave PORT out")
        return target
    bastion = ssh.bastion if ssh else None
    if bastion is not None and name.lower() == bastion.host.lower():
        known = {bastion.host_key.split()[0]: bastion.host_key}
        return _target(name, name, bastion.port, name, known, declared=True, bastion=True)
    number = port or 22
    return _target(name, name, number, names_of(name, None, number)[-1], {}, declared=False)


def _target(
    name: str, address: str, port: int, written: str, known: Mapping[str, str], *, declared: bool, bastion: bool = False
) -> Target:
    try:
        place = _ADDRESS.validate_python(address)
    except ValidationError:
        raise LabError(f"{name}: {address!r} is no IP address and no DNS name", fix="correct it, then again") from None
    return Target(name=name, address=place, port=port, written=written, known=known, declared=declared, bastion=bastion)


def judge(target: Target, offer: Offer) -> Finding:
    """Compare what a host offers with what is pinned."""
    if not offer.keys:
        return Finding(target=target, state="silent", problem=offer.problem)
    best = next(iter(offer.keys.values()))
    if not target.known:
        return Finding(target=target, state="new", key=best)
    pinned = [" ".join(key.split()[:2]) for key in target.known.values()]
    same = next((key for key in offer.keys.values() if key in pinned), None)
    if same is not None:
        return Finding(target=target, state="same", key=same)
    alike = next((offer.keys[kind] for kind in target.known if kind in offer.keys), best)
    return Finding(target=target, state="changed", key=alike)


def report(findings: Sequence[Finding], file: str) -> list[str]:
    """Lines for review."""
    states = {"new": "new", "same": "pinned, unchanged", "changed": "CHANGED", "silent": "no key"}
    rows = [
        (
            found.target.name,
            f"{found.target.address}:{found.target.port}",
            found.key.split()[0] if found.key else "-",
            fingerprint(found.key) if found.key else found.problem,
            states[found.state] + ("" if found.target.declared else ", not declared in the stack"),
        )
        for found in findings
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)] if rows else []
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    ]
    for found in findings:
        if found.state == "changed":
            lines += _shout(found, file)
    owners: dict[str, list[str]] = {}
    for found in findings:
        if found.key:
            owners.setdefault(found.key, []).append(found.target.name)
    lines += [
        f"{fold(names)} have the same key: machines from one image? On each: rm /etc/ssh/ssh_host_* && ssh-keygen -A"
        for names in owners.values()
        if len(set(names)) > 1
    ]
    return lines


def _shout(found: Finding, file: str) -> list[str]:
    target = found.target
    return [
        "",
        f"!!! THE HOST KEY OF {target.name} ({target.address}:{target.port}) IS NOT THE PINNED ONE !!!",
        *(f"    pinned:  {kind} {fingerprint(key)}" for kind, key in target.known.items()),
        f"    offered: {found.key.split()[0]} {fingerprint(found.key)}",
        "    The machine was reinstalled, or somebody else answers in its place. Look at its console:",
        "      for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $key; done",
        f"    Only if the offered one is there: remove its old pin{f' from {file}' if file else ''} by hand, then again.",
        "",
    ]


def _ssh(config: Mapping[str, Any]) -> SshSettings | None:
    try:
        return TypeAdapter(SshSettings).validate_python(config.get("ssh") or {})
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(["ssh", *map(str, first["loc"])])
        unpinned = first["type"] == "missing" and path == "ssh.bastion.hostKey"
        fix = pin_bastion(first["input"]) if unpinned else "correct it, then again"
        raise LabError(f"opennebula:{path}: {first['msg']}", fix=fix) from None


def _ask(targets: Sequence[Target], ssh: SshSettings | None, request: Request) -> dict[Place, Offer]:
    jump = ssh.bastion if ssh else None
    direct = [target for target in targets if target.bastion or jump is None]
    behind = [target for target in targets if target not in direct]
    found = scan(target.place for target in direct)
    if behind and jump is not None and ssh is not None:
        bastion = Bastion(
            host=jump.host,
            port=jump.port,
            user=jump.user or ssh.user,
            key=jump.host_key,
            identity=request.identity,
        )
        known = {target.place: list(target.known) for target in behind}
        found |= scan((target.place for target in behind), bastion, known)
    return found


def _writable(config: Mapping[str, Any], file: Path, broken: Sequence[Problem]) -> None:
    if not isinstance(config.get("hostKeysFile"), str):
        raise LabError(
            "there is no file to write pins to",
            fix=f"opennebula:hostKeysFile: pins/{file.stem.partition('.')[2]}.known_hosts in {file.name}, then again",
        )
    if broken:
        raise LabError("the pins are not whole", cause="; ".join(map(str, broken)), fix="mend that first")


def append(path: Path, findings: Sequence[Finding]) -> list[str]:
    """Add the new keys to the file, once each; the names that were added."""
    text = path.read_text() if path.exists() else _HEAD
    pins, _ = parse(text)
    text += "" if text.endswith("\n") else "\n"
    added = []
    for found in findings:
        name = found.target.written
        if found.state == "new" and not found.target.bastion and not pins.of([name.lower()]):
            text += line(name, found.key) + "\n"
            added.append(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.replace(path)
    return added


def _finish(findings: Sequence[Finding], request: Request, config: Mapping[str, Any], stack: str) -> None:
    """Write, or say how to; raise for what is not as it should be."""
    new = [found for found in findings if found.state == "new"]
    if new and request.write:
        file = str(config["hostKeysFile"])
        added = append(PROJECT / file, new)
        say(f"written to {file}: {fold(added)}. Review it with your version control before it is used")
    elif new:
        say("compare each fingerprint on the host's console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
        where = "WRITE=1 adds them to it" if config.get("hostKeysFile") else "the lines above go into hostKeysFile"
        say(f"nothing is pinned yet; {where}, or put TYPE KEY below hostKeys, or as hostKey of the host")
    bad = [found.target.name for found in findings if found.state == "changed"]
    silent = [found for found in findings if found.state == "silent"]
    if bad:
        raise LabError(
            f"{fold(bad)}: not the pinned host key", fix="see the lines after !!! above; nothing of it is written"
        )
    if silent:
        raise LabError(
            f"{fold(found.target.name for found in silent)}: no host key",
            cause=f"{silent[0].target.name}: {silent[0].problem}",
            fix=f"start sshd there or mend the network, then: make pin{_again(silent, request, stack)}",
        )


def _again(silent: Sequence[Finding], request: Request, stack: str) -> str:
    """The words that ask the silent hosts once more."""
    words = [f"STACK={stack}"] if request.stack else []
    if request.group and not request.hosts.strip():
        words.append(f"GROUP={request.group}")
    elif request.hosts.strip():
        names = " ".join(found.target.name for found in silent)
        words.append(f"HOST='{names}'" if " " in names else f"HOST={names}")
    words += [f"PORT={request.port}"] if request.port else []
    words += [f"IDENTITY={request.identity}"] if request.identity else []
    return "".join(f" {word}" for word in [*words, *(["WRITE=1"] if request.write else [])])


def main() -> int:
    """Exit code for `python -m lab.pin`."""
    try:
        run()
    except LabError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
