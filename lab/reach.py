"""Does an https URL answer, as a browser on this machine would find it? One bounded question, TLS verified, nothing sent but a GET.

`make status` asks it of every daemon behind the ingress: pods can be ready while the controller is dead, the certificate is
another one or the Ingress is missing. Deliberately not here: proxies of the environment and redirects, which are not followed.
"""

from __future__ import annotations

import http.client
import queue
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_ANSWER: Final = 4.0  # seconds that connecting, and then each read, may take
_PATIENCE: Final = 5.0  # seconds in which a controller may still be learning of an Ingress or of new pods
_PAUSE: Final = 0.5
_LIMIT: Final = _PATIENCE + 3 * _ANSWER + 1.0  # for all of it; a resolver knows no other bound
# Every daemon asks strangers to log in, and oned takes only POST. 404 is what controllers say of hosts that they do not know.
_FINE: Final = frozenset({401, 403, 405})


@dataclass(frozen=True)
class Answer:
    """`ready` is None where nothing can be said from this machine; `why` is a sentence, empty when all is well."""

    ready: bool | None
    why: str = ""


class _Unknown(Exception):
    """Nothing was asked, and asking again would not help."""


def ask_all(
    urls: Mapping[str, str],
    *,
    address: str | None = None,
    authority: Path | None = None,
    patience: float = _PATIENCE,
) -> dict[str, Answer]:
    """The answers by the same keys, all asked at once. `address` stands in for DNS, `authority` for the system's."""
    answers: queue.SimpleQueue[tuple[str, Answer]] = queue.SimpleQueue()

    def work(name: str, url: str) -> None:
        answers.put((name, ask(url, address=address, authority=authority, patience=patience)))

    for name, url in urls.items():
        # Daemons: a resolver that hangs must not keep the command from ending.
        threading.Thread(target=work, args=(name, url), daemon=True).start()
    end = time.monotonic() + _LIMIT
    found: dict[str, Answer] = {}
    while len(found) < len(urls):
        try:
            name, answer = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        found[name] = answer
    silent = Answer(None, f"no answer of DNS or the network in {_LIMIT:.0f} s, so nothing can be said of its URL")
    return {name: found.get(name, silent) for name in urls}


def ask(url: str, *, address: str | None = None, authority: Path | None = None, patience: float = _PATIENCE) -> Answer:
    """Whether something that knows the URL's host answers there, with a certificate that is valid for it."""
    end = time.monotonic() + patience
    while True:
        try:
            why = _once(url, address, authority)
        except _Unknown as unknown:
            return Answer(None, str(unknown))
        if not why:
            return Answer(True)
        if time.monotonic() + _PAUSE >= end:
            return Answer(False, why)
        time.sleep(_PAUSE)


def _once(url: str, address: str | None, authority: Path | None) -> str:
    """Empty, or what is wrong. Raises _Unknown."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    where = f"{address or host}:{port}"
    try:
        plain = socket.create_connection((address or host, port), timeout=_ANSWER)
    except socket.gaierror:
        raise _Unknown(f"the name {host} is not known on this machine, so its URL was not asked") from None
    except TimeoutError:
        return f"{where} does not take connections (no answer in {_ANSWER:.0f} s): is the ingress controller there?"
    except OSError as error:
        return f"{where} does not take connections ({error.strerror or error}): is the ingress controller there?"
    try:
        return _talk(plain, host, parts.path or "/", authority)
    except ssl.SSLCertVerificationError as error:
        hint = "" if authority else " (SSL_CERT_FILE names authorities of your own)"
        return f"the certificate at {where} is not good for {host}: {error.verify_message}{hint}"
    except TimeoutError:
        return f"{where} takes the connection and then says nothing for {_ANSWER:.0f} s"
    except (OSError, http.client.HTTPException) as error:
        words = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        return f"{where} breaks off the connection for {host} ({words}): has the controller its Ingress and its certificate?"
    finally:
        plain.close()


def _talk(plain: socket.socket, host: str, path: str, authority: Path | None) -> str:
    context = ssl.create_default_context(cafile=None if authority is None else str(authority))
    with context.wrap_socket(plain, server_hostname=host) as channel:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: make-status\r\nConnection: close\r\n\r\n"
        channel.sendall(request.encode())
        answer = http.client.HTTPResponse(channel, method="GET")
        answer.begin()  # the head alone: a page's body is of no interest
        status = answer.status
    if status < 400 or status in _FINE:
        return ""
    if status == 404:
        return f"https://{host}{path} is not found (404): has the controller its Ingress?"
    return f"https://{host}{path} answers {status}"
