"""One XML-RPC exchange over one connection, with limits that hold: time, size, and no XML entities.

pyone's transport has neither time-out nor size limit (server_xrpc.py: `timeout=` only sets the process-wide socket
default, which requests overrides). So the bytes go through here: one connection a call, closed afterwards, because an
idle kept-alive client occupies one of oned's 15 connection slots. The time limit covers the whole answer, so a peer
that sends a byte now and then does not hold a worker for ever. Environment proxies are not used.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
import xmlrpc.client
from typing import Any, Protocol
from xml.parsers import expat

MAX_DEPTH = 32
"""Levels of XML. oned's deepest answer has fewer than ten; each open element costs memory until it ends."""
MAX_ANSWER = 64 * 1024 * 1024
"""Bytes. A host row with its probe values is 10-30 KB, so this is a zone of more than 2,000 hosts."""

_GATEWAY = (502, 503, 504)


class Channel(Protocol):
    """An open connection to oned."""

    @property
    def socket(self) -> socket.socket: ...

    def refusal(self) -> str:
        """Why the far end never got the request ('' if it may have got it). Known only after the connection ended."""

    def close(self) -> None: ...


class Dialer(Protocol):
    """A way to open connections to one oned."""

    @property
    def where(self) -> str:
        """For messages: a URL or a Service."""

    @property
    def url(self) -> str:
        """Host header and path of the requests."""

    @property
    def hint(self) -> str:
        """The command that shows why nobody answers."""

    def dial(self, seconds: float) -> Channel:
        """Raises NotSent (worth another try) or AccessError (not)."""


class NotSent(Exception):
    """The request cannot have been executed."""


class AnswerLost(Exception):
    """The request may have been executed; no complete answer came."""


class AnswerBroken(Exception):
    """An answer came that is not XML-RPC of oned. The request may have been executed."""


class _DeadlineReader(io.RawIOBase):
    """Reads a socket; every read gets only what is left of one common deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no complete answer in time")
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)


class _ResponseSource:
    """What http.client.HTTPResponse needs of a socket."""

    def __init__(self, reader: _DeadlineReader) -> None:
        self._reader = reader

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reader)


def exchange(channel: Channel, *, host: str, path: str, body: bytes, seconds: float, limit: int = MAX_ANSWER) -> bytes:
    """POST `body` and return the answer's body. Raises NotSent, AnswerLost, AnswerBroken."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/xml\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    deadline = time.monotonic() + seconds
    sock = channel.socket
    try:
        sock.settimeout(seconds)
        sock.sendall(head.encode("ascii") + body)
    except OSError as error:
        # The last byte was not even taken over by the kernel: oned cannot have a complete request.
        raise NotSent(f"the connection broke while sending ({_plain(error)})") from None
    try:
        return _read(_ResponseSource(_DeadlineReader(sock, deadline)), limit)
    except TimeoutError:
        raise AnswerLost(f"no complete answer within {seconds:g} s") from None
    except AnswerLost:
        refusal = channel.refusal()
        if refusal:
            raise NotSent(refusal) from None
        raise


def _read(source: _ResponseSource, limit: int) -> bytes:
    response = http.client.HTTPResponse(source, method="POST")  # type: ignore[arg-type]
    try:
        response.begin()
        _check_head(response, limit)
        return _body(response, limit)
    except http.client.RemoteDisconnected:
        raise AnswerLost("the connection ended without an answer") from None
    except http.client.IncompleteRead:
        raise AnswerLost("the connection ended before the end of the answer") from None
    except (http.client.HTTPException, ValueError) as error:
        raise AnswerBroken(f"no HTTP ({type(error).__name__})") from None
    except TimeoutError:
        raise
    except OSError as error:
        raise AnswerLost(_plain(error)) from None
    finally:
        response.close()


def _check_head(response: http.client.HTTPResponse, limit: int) -> None:
    if response.status in _GATEWAY:
        raise AnswerLost(f"a gateway on the way answered HTTP {response.status}")
    if response.status != http.HTTPStatus.OK:
        raise AnswerBroken(f"HTTP {response.status} {response.reason or ''}".rstrip()[:120])
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise AnswerBroken("a compressed answer, which was not asked for")
    if response.length is not None and response.length > limit:
        raise AnswerBroken(f"an answer of {response.length} bytes, more than the limit of {limit}")


def _body(response: http.client.HTTPResponse, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while chunk := response.read1(65536):
        size += len(chunk)
        if size > limit:
            raise AnswerBroken(f"an answer of more than {limit} bytes")
        parts.append(chunk)
    if response.length:
        raise AnswerLost(f"the connection ended {response.length} bytes before the end of the answer")
    return b"".join(parts)


def _plain(error: OSError) -> str:
    return str(error.strerror or error) or type(error).__name__


def safe_parser() -> expat.XMLParserType:
    """An expat parser that refuses any document type, and with it every entity that could expand or fetch."""
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_declaration: object) -> None:
        raise AnswerBroken("XML with a document type declaration")

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    return parser


def unmarshal(raw: bytes) -> Any:
    """The one value of an XML-RPC answer. Raises AnswerBroken, and xmlrpc.client.Fault for a fault."""
    target = xmlrpc.client.Unmarshaller(use_builtin_types=True)
    target.xml("", None)  # no encoding: expat hands over text
    parser = safe_parser()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise AnswerBroken(f"XML nested deeper than {MAX_DEPTH} levels")
        target.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        target.end(tag)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = target.data
    try:
        parser.Parse(raw, True)
        values = target.close()
    except expat.ExpatError as error:
        raise AnswerBroken(f"no XML ({expat.errors.messages.get(error.code, 'unreadable')})") from None
    except (AnswerBroken, xmlrpc.client.Fault):
        raise
    except Exception as error:  # the Unmarshaller raises whatever a wrong type makes int(), float() or list.pop raise
        raise AnswerBroken(f"no XML-RPC ({type(error).__name__})") from None
    if len(values) != 1:
        raise AnswerBroken(f"{len(values)} values instead of one")
    return values[0]
