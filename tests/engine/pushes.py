"""What a host pushes to onemonitord as it is on the wire, taken from the host's own interface before any translation.

Encryption is looked at here and not in the settings: a message's words are readable, and its payload must open with the
private key of the control plane and say nothing without it.
"""

from __future__ import annotations

import base64
import socket
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.engine.reachability import made_inside

_ETH_P_ALL = 3  # the host's own packets are shown to nobody who asks for one protocol
_ETH_P_IP = 0x0800
_MORE_FRAGMENTS_OR_OFFSET = 0x3FFF
_FIN, _SYN = 1, 2


@dataclass(frozen=True, kw_only=True)
class Push:
    """One message. `sealed` is its payload as it travels, unpacked and not yet decrypted."""

    protocol: str
    kind: str
    status: str
    host: int
    sealed: bytes

    @staticmethod
    def read(protocol: str, message: bytes) -> Push:
        kind, status, host, _stamp, packed = message.decode().split()
        sealed = zlib.decompress(base64.b64decode(packed, validate=True))
        return Push(protocol=protocol, kind=kind, status=status, host=int(host), sealed=sealed)

    def opened(self, key: RSAPrivateKey) -> bytes:
        """The payload, block by block. With a wrong key OpenSSL says so or gives something random: nothing either way."""
        size, plain = key.key_size // 8, b""
        try:
            for at in range(0, len(self.sealed), size):
                plain += key.decrypt(self.sealed[at : at + size], PKCS1v15())
        except ValueError:
            return b""
        return plain


@dataclass
class Wire:
    """Packets that a host sends to one address and port, put together again to messages."""

    tap: socket.socket
    target: IPv4Address
    port: int
    _pushes: list[Push] = field(default_factory=list)
    _segments: dict[int, dict[int, bytes]] = field(default_factory=dict)  # by source port, then sequence number

    def pushes(self) -> list[Push]:
        """All messages that were complete until now."""
        while True:
            try:
                packet, address = self.tap.recvfrom(1 << 16)
            except BlockingIOError:
                return self._pushes
            if address[1] == _ETH_P_IP:
                self._take(packet)

    def _take(self, packet: bytes) -> None:
        header, length = (packet[0] & 15) * 4, struct.unpack("!H", packet[2:4])[0]
        if IPv4Address(packet[16:20]) != self.target or struct.unpack("!H", packet[6:8])[0] & _MORE_FRAGMENTS_OR_OFFSET:
            return
        body = packet[header:length]
        source, port = struct.unpack("!HH", body[:4])
        if port != self.port:
            return
        if packet[9] == socket.IPPROTO_UDP:
            self._pushes.append(Push.read("UDP", body[8:]))
        elif packet[9] == socket.IPPROTO_TCP:
            self._stream(source, body)

    def _stream(self, source: int, body: bytes) -> None:
        """One connection is one message, and its end the message's. Those that began before the tap are left out."""
        sequence, data, flags = struct.unpack("!I", body[4:8])[0], body[(body[12] >> 4) * 4 :], body[13]
        if flags & _SYN:
            self._segments[source] = {}
        segments = self._segments.get(source)
        if segments is None:
            return
        if data:
            segments[sequence] = data
        if flags & _FIN and segments:
            del self._segments[source]
            self._pushes.append(Push.read("TCP", b"".join(segments[at] for at in sorted(segments))))


@contextmanager
def wire(namespace: Path, target: IPv4Address, port: int) -> Iterator[Wire]:
    """Listen on all interfaces of a network namespace for as long as the context lasts."""

    def make() -> socket.socket:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        tap.setblocking(False)
        return tap

    with made_inside(namespace, make) as tap:
        yield Wire(tap, target, port)
