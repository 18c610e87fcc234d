"""Real packets between all parties of a running lab: which of them arrive.

A probe is one TCP SYN or UDP datagram with a mark in it, sent from inside the client's network namespace as the client's
address. It counts when the server's own namespace receives it, whether or not somebody listens there: a policy that
blocks answers as a closed port does, so asking "was the connection refused" would prove nothing. Replies are looked for
as well. Nothing is run in the pods, and no image needs a tool.

Addresses are translated on the way (a pod appears to hosts as its node); the mark is what identifies a probe. Needs
root, and to be run in the namespaces that see the lab's processes, outside of its box.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

from lab import cgroups, process
from lab.box import Box
from lab.paths import Instance

Made = TypeVar("Made")

OWN_NAMESPACE = Path("/proc/self/ns/net")

_CLONE_NEWNET = 0x40000000
_ETH_P_IP = 0x0800
_PACKET_HOST = 0  # to us, as the link layer sees it
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_ROUNDS = 3
_QUIET = 0.25  # seconds without any packet that end a round


@dataclass(frozen=True, kw_only=True)
class Party:
    """Somebody with a network namespace of its own (a pod, a host, the node, the outside). `filters`: policies are
    enforced in this very namespace, so only an answer proves that a packet was let in (TCP only)."""

    name: str
    address: IPv4Address
    namespace: Path = OWN_NAMESPACE
    filters: bool = False


@dataclass(frozen=True, kw_only=True, order=True)
class Probe:
    """One question: does a packet of this protocol get to this port?"""

    client: str
    server: str
    protocol: str
    port: int

    def __str__(self) -> str:
        return f"{self.client} → {self.server} {self.protocol} {self.port}"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """`arrived`: received by the server. `answered`: TCP whose SYN-ACK or RST came back to the client."""

    arrived: frozenset[Probe]
    answered: frozenset[Probe]


def namespaces(instance: Instance) -> dict[IPv4Address, Path]:
    """The network namespace of every address inside the lab: pods, hosts and the node."""
    init = Box(instance).init()
    assert init is not None, f"the lab {instance.name} does not run"
    found: dict[int, Path] = {}
    for pid in (init.pid, *oldest_first(cgroups.pids(instance))):
        path = Path(f"/proc/{pid}/ns/net")
        try:
            found.setdefault(path.stat().st_ino, path)
        except (FileNotFoundError, ProcessLookupError):
            continue
    found.pop(OWN_NAMESPACE.stat().st_ino, None)
    return {address: path for path in found.values() for address in _addresses(path)}


def oldest_first(pids: Iterable[int]) -> list[int]:
    """Those that run, by their start. A namespace is named by a process in it, and the oldest one (a pod's sandbox, a
    host's init) stays as long as the namespace; the lowest number may belong to a probe that ends in a moment."""
    found = [identity for identity in map(process.identify, pids) if identity is not None]
    return [identity.pid for identity in sorted(found, key=lambda identity: (identity.started, identity.pid))]


def _addresses(namespace: Path) -> Iterator[IPv4Address]:
    command = ["nsenter", f"--net={namespace}", "ip", "-json", "-4", "address", "show"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    for link in json.loads(done.stdout or "[]"):
        for entry in link.get("addr_info", ()):
            address = IPv4Address(entry["local"])
            if not address.is_loopback:
                yield address


def probe(parties: Iterable[Party], probes: Iterable[Probe]) -> Seen:
    """Send every probe up to three times, until it arrived; what did not arrive then is blocked."""
    known = {party.name: party for party in parties}
    with _sockets(known.values()) as sockets:
        return _Run(known, sockets, frozenset(probes)).run()


def every(clients: Iterable[str], servers: Iterable[str], ports: Mapping[str, Iterable[int]]) -> frozenset[Probe]:
    """Each client to each other server, at every given port of each protocol."""
    from_, to = tuple(clients), tuple(servers)
    return frozenset(
        Probe(client=client, server=server, protocol=protocol, port=port)
        for client in from_
        for server in to
        if client != server
        for protocol, numbers in ports.items()
        for port in numbers
    )


def until(parties: Iterable[Party], wanted: Callable[[Seen], bool], probes: Iterable[Probe], limit: float) -> Seen:
    """Probe until the answer is as wanted, or `limit` seconds are over; the last answer. For changes on their way."""
    known, questions = tuple(parties), frozenset(probes)
    deadline = time.monotonic() + limit
    while True:
        seen = probe(known, questions)
        if wanted(seen) or time.monotonic() > deadline:
            return seen


@dataclass(frozen=True)
class _Sockets:
    """What a party sends with, and what it receives with."""

    out: socket.socket
    tap: socket.socket


@contextmanager
def _sockets(parties: Iterable[Party]) -> Iterator[dict[str, _Sockets]]:
    with ExitStack() as stack:
        made = {}
        for party in parties:
            pair = _inside(party.namespace)
            stack.callback(pair.out.close)
            stack.callback(pair.tap.close)
            made[party.name] = pair
        yield made


def _inside(namespace: Path) -> _Sockets:
    def make() -> _Sockets:
        out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        tap.setblocking(False)
        return _Sockets(out, tap)

    return made_inside(namespace, make)


def made_inside(namespace: Path, make: Callable[[], Made]) -> Made:
    """Sockets belong to the namespace in which they are made: a thread goes there, makes them and ends."""
    made: list[Made] = []
    errors: list[OSError] = []

    def work() -> None:
        try:
            descriptor = os.open(namespace, os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
            finally:
                os.close(descriptor)
            made.append(make())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return made[0]


class _Run:
    """One set of probes on its way."""

    def __init__(self, parties: Mapping[str, Party], sockets: Mapping[str, _Sockets], probes: frozenset[Probe]) -> None:
        self._parties, self._sockets = parties, sockets
        # New marks and new source ports every time: a reply to an earlier probe would open the way for the same tuple.
        self._marks = dict(zip(_marks(), sorted(probes), strict=False))
        self._owner = {tap.tap.fileno(): name for name, tap in sockets.items()}
        self._arrived: set[Probe] = set()
        self._answered: set[Probe] = set()

    def run(self) -> Seen:
        for _ in range(_ROUNDS):
            missing = {mark: each for mark, each in self._marks.items() if each not in self._arrived}
            for mark, each in missing.items():
                self._send(mark, each)
                self._receive(0)
            while self._receive(_QUIET):
                pass
        return Seen(arrived=frozenset(self._arrived), answered=frozenset(self._answered))

    def _send(self, mark: int, each: Probe) -> None:
        client, server = self._parties[each.client], self._parties[each.server]
        source = 20000 + secrets.randbelow(40000)
        try:
            self._sockets[each.client].out.sendto(
                _packet(client.address, server.address, each, source, mark), (str(server.address), 0)
            )
        except OSError:
            return  # refused at once, by a route or a filter in the client's own namespace: it does not arrive

    def _receive(self, limit: float) -> bool:
        """Take what lies in the taps; False when nothing of ours came within the limit."""
        ready, _, _ = select.select([pair.tap for pair in self._sockets.values()], [], [], limit)
        ours = False
        for tap in ready:
            for packet, kind in _drain(tap):
                if kind == _PACKET_HOST:
                    ours |= self._look(self._owner[tap.fileno()], packet)
        return ours

    def _look(self, receiver: str, packet: bytes) -> bool:
        found = _read(packet)
        if found is None:
            return False
        destination, mark, reply = found
        each = self._marks.get(mark)
        if each is None or destination != self._parties[receiver].address:
            return False
        filters = self._parties[each.server].filters
        if reply and receiver == each.client:
            self._answered.add(each)
        if receiver == (each.client if filters else each.server) and reply == filters:
            self._arrived.add(each)
        return True


def _marks() -> Iterator[int]:
    """Different numbers that nobody else uses, far enough from the end for one to be added."""
    start = secrets.randbelow(1 << 31)
    while True:
        yield start
        start += 16


def _drain(tap: socket.socket) -> Iterator[tuple[bytes, int]]:
    while True:
        try:
            packet, address = tap.recvfrom(2048)
        except BlockingIOError:
            return
        yield packet, address[2]


def _packet(source: IPv4Address, target: IPv4Address, each: Probe, source_port: int, mark: int) -> bytes:
    if each.protocol == "TCP":
        number = socket.IPPROTO_TCP
        body = struct.pack("!HHIIBBHHH", source_port, each.port, mark, 0, 5 << 4, _SYN, 64240, 0, 0)
        place = 16
    else:
        number = socket.IPPROTO_UDP
        body = struct.pack("!HHHHI", source_port, each.port, 12, 0, mark)
        place = 6
    pseudo = source.packed + target.packed + struct.pack("!BBH", 0, number, len(body))
    body = body[:place] + struct.pack("!H", _checksum(pseudo + body)) + body[place + 2 :]
    # The kernel fills in the header's length, identification and checksum.
    return (
        struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, number, 0, source.packed, target.packed) + body
    )


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def _read(packet: bytes) -> tuple[IPv4Address, int, bool] | None:
    """(destination, mark, is it a reply) of a packet that may be a probe or the answer to one."""
    header = (packet[0] & 15) * 4
    number, destination, body = packet[9], IPv4Address(packet[16:20]), packet[header:]
    if number == socket.IPPROTO_UDP and len(body) >= 12:
        return destination, struct.unpack("!I", body[8:12])[0], False
    if number != socket.IPPROTO_TCP or len(body) < 20:
        return None
    sequence, acknowledged, flags = struct.unpack("!4xIIxB6x", body[:20])
    if flags & _SYN and not flags & _ACK:
        return destination, sequence, False
    if flags & _ACK and flags & (_SYN | _RST):
        return destination, (acknowledged - 1) & 0xFFFFFFFF, True
    return None
