"""The rehearsal stand-in for websockify as OpenNebula 6.10 starts it: a browser's WebSocket joined with a host's VNC port.

The target comes from a token file, a line `TOKEN: HOST:PORT` in any file of the directory given by --target-config. A
request without a known token is dropped before the handshake; a plain GET is answered 405, both as websockify does.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import ssl
import struct
import sys
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

BANNER: Final = "OpenNebula 6.10.5 noVNC proxy rehearsal stand-in"
MAGIC: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
LONGEST_HEADER: Final = 16384
LONGEST_FRAME: Final = 1 << 20
CHUNK: Final = 65536


def say(text: str) -> None:
    print(text, flush=True)


def target(directory: Path, token: str) -> tuple[str, int] | None:
    """Host and port that the token stands for."""
    for file in sorted(directory.iterdir()) if directory.is_dir() else ():
        for line in file.read_text().splitlines():
            name, found, address = line.partition(": ")
            if found and name.strip() == token:
                host, _, port = address.strip().rpartition(":")
                return host, int(port)
    return None


def frame(kind: int, content: bytes) -> bytes:
    size = len(content)
    if size < 126:
        return bytes((0x80 | kind, size)) + content
    if size < 65536:
        return struct.pack("!BBH", 0x80 | kind, 126, size) + content
    return struct.pack("!BBQ", 0x80 | kind, 127, size) + content


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Kind and content of the next frame of a client.

    :raises ValueError: for one that a client must not send.
    """
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", await reader.readexactly(8))
    if not second & 0x80 or size > LONGEST_FRAME:
        raise ValueError("a frame without mask, or too long")
    mask = await reader.readexactly(4)
    content = await reader.readexactly(size)
    return first & 15, bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))


async def to_host(reader: asyncio.StreamReader, browser: asyncio.StreamWriter, host: asyncio.StreamWriter) -> None:
    while True:
        kind, content = await read_frame(reader)
        if kind == CLOSE:
            return
        if kind == PING:
            browser.write(frame(PONG, content))
        elif kind <= BINARY:
            host.write(content)
            await host.drain()


async def to_browser(host: asyncio.StreamReader, browser: asyncio.StreamWriter) -> None:
    while content := await host.read(CHUNK):
        browser.write(frame(BINARY, content))
        await browser.drain()


async def converse(directory: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request, *lines = head.split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    key = headers.get("sec-websocket-key")
    if headers.get("upgrade", "").lower() != "websocket" or key is None:
        writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        return
    token = parse_qs(urlsplit(request.split(" ")[1]).query).get("token", [""])[0]
    address = target(directory, token)
    if address is None:
        say(f"Token '{token}' not found")
        return
    say(f"connecting to: {address[0]}:{address[1]}")
    host_reader, host_writer = await asyncio.open_connection(*address)
    proof = base64.b64encode(hashlib.sha1((key + MAGIC).encode(), usedforsecurity=False).digest()).decode()
    chosen = "Sec-WebSocket-Protocol: binary\r\n" if "binary" in headers.get("sec-websocket-protocol", "") else ""
    writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {proof}\r\n{chosen}\r\n".encode()
    )
    ways = [
        asyncio.create_task(to_host(reader, writer, host_writer)),
        asyncio.create_task(to_browser(host_reader, writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        writer.write(frame(CLOSE, struct.pack("!H", 1000)))
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        host_writer.close()


async def serve(directory: Path, host: str, port: int, context: ssl.SSLContext | None) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await converse(directory, reader, writer)
        except (OSError, ValueError, IndexError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            say(f"connection: {error}")
        finally:
            writer.close()

    server = await asyncio.start_server(client, host, port, ssl=context, limit=LONGEST_HEADER)
    say(f"{BANNER} listening on {host}:{port}")
    async with server:
        await server.serve_forever()


def main(words: list[str]) -> int:
    """Serve until killed; 1 when the address or the certificate cannot be used."""
    parser = argparse.ArgumentParser(prog="websockify")
    parser.add_argument("--target-config", type=Path, required=True)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--ssl-only", action="store_true")
    parser.add_argument("-6", dest="ipv6", action="store_true")
    parser.add_argument("listen")
    given = parser.parse_args(words)
    host, _, port = given.listen.rpartition(":")
    try:
        context = None
        if given.cert:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(given.cert, given.key)
        asyncio.run(serve(given.target_config, host or ("::" if given.ipv6 else "0.0.0.0"), int(port), context))
    except (OSError, ValueError) as error:
        print(f"{BANNER}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0
