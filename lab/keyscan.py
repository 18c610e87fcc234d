"""SSH host keys as hosts offer them now: by ssh-keyscan, or behind a bastion by ssh through it. Nothing is trusted here.

ssh-keyscan knows no jump hosts, so behind one the keys come from ssh itself: one connection to the bastion, whose own key
is pinned, and through it an attempt at every host that writes down the host's key and never logs in. Everything is
bounded: a silent host costs some seconds beside the others, not after them.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from components.domain import KEY_TYPES
from components.host_pins import parse
from lab import process
from lab.errors import LabError

LIMIT: Final = 5  # seconds that one step of a handshake may take
_AT_ONCE: Final = 8  # handshakes through a bastion, the default of its MaxStartups leaves room for others
_CHUNK: Final = 128  # hosts that one ssh-keyscan asks

_KINDS: Final = ",".join(dict.fromkeys(kind.removeprefix("ssh-").split("-")[0] for kind in KEY_TYPES))
"""As ssh-keyscan calls them: ed25519,ecdsa."""
_ALGORITHMS: Final = {
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")
}  # how a kind of key is signed with, where not by its name

Place = tuple[str, int]
"""Address and port."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What one host answered: its usable keys by type, or why there is none."""

    keys: Mapping[str, str]
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Bastion:
    """A jump host. `key`: its own pinned key. `identity`: a private key file; the agent and ssh's usual files if None."""

    host: str
    port: int
    user: str
    key: str
    identity: Path | None = None


def scan(
    places: Iterable[Place], bastion: Bastion | None = None, known: Mapping[Place, Sequence[str]] | None = None
) -> dict[Place, Offer]:
    """What every host offers. `known`: types of keys that are pinned already, which are asked for first."""
    wanted = sorted(set(places))
    if bastion is None:
        return _directly(wanted)
    with (
        tempfile.TemporaryDirectory(prefix="onelab-pin-") as scratch,
        _through(bastion, Path(scratch)) as words,
        ThreadPoolExecutor(max_workers=_AT_ONCE) as pool,
    ):
        found = pool.map(lambda place: _behind(place, words, (known or {}).get(place, ())), wanted)
        return dict(zip(wanted, found, strict=True))


def _directly(places: Sequence[Place]) -> dict[Place, Offer]:
    found: dict[Place, Offer] = {}
    for port in sorted({port for _, port in places}):
        addresses = [address for address, other in places if other == port]
        for begin in range(0, len(addresses), _CHUNK):
            found |= _keyscan(addresses[begin : begin + _CHUNK], port)
    return found


def _keyscan(addresses: Sequence[str], port: int) -> dict[Place, Offer]:
    command = ["ssh-keyscan", "-T", str(LIMIT), "-p", str(port), "-t", _KINDS, "-f", "-"]
    try:
        done = subprocess.run(
            process.tied(command),
            input="".join(f"{address}\n" for address in addresses),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=6 * LIMIT,
            check=False,
        )
        out = done.stdout
    except subprocess.TimeoutExpired as slow:
        out = slow.stdout.decode(errors="replace") if isinstance(slow.stdout, bytes) else slow.stdout or ""
    pins, _ = parse(out)
    keys = {address: pins.of([(f"[{address}]:{port}" if port != 22 else address).lower()]) for address in addresses}
    silent = [address for address in addresses if not keys[address]]
    with ThreadPoolExecutor(max_workers=max(1, min(32, len(silent)))) as pool:
        reasons = dict(zip(silent, pool.map(lambda address: _reason(address, port), silent), strict=True))
    return {(a, port): Offer(keys=keys[a], problem=reasons.get(a, "")) for a in addresses}


def _reason(address: str, port: int) -> str:
    """Why a host gave no key. ssh-keyscan itself does not tell one that refuses from one that is silent."""
    try:
        with socket.create_connection((address, port), timeout=LIMIT):
            return f"takes connections, but showed no {_KINDS.replace(',', ' or ')} key within {LIMIT} s"
    except TimeoutError:
        return f"no answer within {LIMIT} s"
    except OSError as error:
        return error.strerror or str(error)


@contextmanager
def _through(bastion: Bastion, scratch: Path) -> Iterator[list[str]]:
    """One connection to the bastion. Gives the words of a command that connects through it, up to the destination."""
    pinned = scratch / "bastion"
    pinned.write_text(f"bastion {bastion.key}\n")
    control = scratch / "connection"
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(LIMIT),
        "ConnectionAttempts": "1",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": "bastion",
        "ServerAliveInterval": str(LIMIT),
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "UserKnownHostsFile": str(pinned),
    }
    common = ["ssh", "-F", "none", "-S", str(control), "-p", str(bastion.port), "-l", bastion.user, *_words(options)]
    if bastion.identity is not None:
        common += ["-i", str(bastion.identity), "-o", "IdentitiesOnly=yes"]
    log = scratch / "log"
    with log.open("w") as errors:
        master = subprocess.Popen(
            process.tied([*common, "-M", "-N", bastion.host]), stdin=subprocess.DEVNULL, stderr=errors
        )
    try:
        deadline = time.monotonic() + 4 * LIMIT
        while not control.exists():
            if master.poll() is not None or time.monotonic() > deadline:
                raise LabError(
                    f"the bastion {bastion.host}:{bastion.port} lets nobody through",
                    cause=_last(log.read_text(errors="replace")) or f"no answer within {4 * LIMIT} s",
                    fix=f"ssh -p {bastion.port} {bastion.user}@{bastion.host}; a key that no agent has: IDENTITY=FILE",
                )
            time.sleep(0.05)
        yield [*common, "-W"]
    finally:
        master.terminate()
        master.wait(timeout=LIMIT)


def _behind(place: Place, through: Sequence[str], known: Sequence[str]) -> Offer:
    address, port = place
    with tempfile.TemporaryDirectory(prefix="onelab-pin-") as scratch:
        file = Path(scratch) / "offered"
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(LIMIT),
            "GlobalKnownHostsFile": "/dev/null",
            "HashKnownHosts": "no",
            "HostKeyAlgorithms": ",".join(_algorithms([*known, *KEY_TYPES])),
            "HostKeyAlias": "offered",
            "PreferredAuthentications": "none",
            "ProxyCommand": shlex.join([*through, f"[{address}]:{port}", "bastion"]).replace("%", "%%"),
            "PubkeyAuthentication": "no",
            # Into a file that is thrown away: the key is shown to people, who decide.
            "StrictHostKeyChecking": "accept-new",
            "UpdateHostKeys": "no",
            "UserKnownHostsFile": str(file),
        }
        command = ["ssh", "-F", "none", "-T", "-p", str(port), "-l", "nobody", *_words(options), address, "true"]
        said = ""
        try:
            done = subprocess.run(
                process.tied(command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=3 * LIMIT,
                check=False,
            )
            said = done.stderr
        except subprocess.TimeoutExpired:
            said = f"no answer within {3 * LIMIT} s"
        keys = parse(file.read_text())[0].of(["offered"]) if file.exists() else {}
        return Offer(keys=keys, problem="" if keys else _last(said))


def _algorithms(kinds: Sequence[str]) -> list[str]:
    """What to ask for so that these kinds of key come in this order."""
    return [name for kind in dict.fromkeys(kinds) for name in _ALGORITHMS.get(kind, (kind,))]


def _words(options: Mapping[str, str]) -> list[str]:
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Warning:")]
    # ssh's last line often says only that the connection closed; the reason is the one before.
    telling = [line for line in lines if "Connection closed by" not in line]
    return (telling or lines or [""])[-1]
