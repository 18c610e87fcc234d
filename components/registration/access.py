"""How to reach oned, and as whom.

Two ways: straight to a URL, or by a port-forward to a ready pod behind oned's Service. The credential comes from
oneadmin's Secret in the cluster, or, where no cluster is given, from the stack's secret configuration; it is read with
the first call and never leaves this process.
"""

from __future__ import annotations

import socket
import ssl
import threading
from urllib.parse import urlsplit

from components.registration.clock import SYSTEM_CLOCK, Clock
from components.registration.errors import AccessError
from components.registration.forward import forward
from components.registration.kube import Cluster, PodPort
from components.registration.names import ONEADMIN, ONEADMIN_SECRET, ONED_SERVICE, SESSION_KEY, XMLRPC_PATH, XMLRPC_PORT
from components.registration.transport import Channel, NotSent

_POD_KNOWN = 5.0
"""Seconds for which the choice of a pod holds. A dial that fails ends it at once."""


class SocketChannel:
    """A Channel over TCP or TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    @property
    def socket(self) -> socket.socket:
        return self._socket

    def refusal(self) -> str:
        """Nothing: a refused TCP connection shows when dialling."""
        return ""

    def close(self) -> None:
        self._socket.close()


class UrlDialer:
    """Straight to `url` (http or https, certificates verified)."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise AccessError(
                "oned's URL cannot be used", repr(url), then="set `opennebula:api` url to http(s)://…/RPC2"
            )
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host, self._port = parts.hostname, parts.port or (443 if self._tls else 80)

    @property
    def where(self) -> str:
        return f"oned at {self.url}"

    @property
    def hint(self) -> str:
        return f"`curl -v {self.url}`, and look at oned's log"

    def dial(self, seconds: float) -> Channel:
        try:
            plain = socket.create_connection((self._host, self._port), timeout=seconds)
        except OSError as error:
            raise NotSent(f"cannot connect to {self._host}:{self._port} ({error.strerror or error})") from None
        if self._tls is None:
            return SocketChannel(plain)
        try:
            return SocketChannel(self._tls.wrap_socket(plain, server_hostname=self._host))
        except ssl.SSLCertVerificationError as error:
            plain.close()
            text = f"{self._host}:{self._port}: {error.verify_message}"
            raise AccessError("oned's certificate is refused", text, then=f"`curl -v {self.url}`") from None
        except OSError as error:
            plain.close()
            raise NotSent(f"no TLS with {self._host}:{self._port} ({error.strerror or error})") from None


class PodDialer:
    """A port-forward for every connection; the pod is chosen anew when one cannot be opened."""

    def __init__(self, cluster: Cluster, clock: Clock = SYSTEM_CLOCK) -> None:
        self._cluster, self._clock = cluster, clock
        self._lock = threading.Lock()
        self._known: tuple[PodPort, float] | None = None
        self.url = f"http://{ONED_SERVICE}.{cluster.namespace}.svc:{XMLRPC_PORT}{XMLRPC_PATH}"

    @property
    def where(self) -> str:
        return f"oned behind Service {self._cluster.namespace}/{ONED_SERVICE} (by port-forward)"

    @property
    def hint(self) -> str:
        kubectl, pod = self._cluster.kubectl, self._pod_name()
        return f"`{kubectl} logs {pod} --all-containers --tail=50`" if pod else f"`{kubectl} get pods`"

    def dial(self, seconds: float) -> Channel:
        target = self._target()
        try:
            return forward(self._cluster, target, seconds)
        except NotSent:
            with self._lock:
                self._known = None
            raise

    def _target(self) -> PodPort:
        with self._lock:
            now = self._clock.monotonic()
            if self._known is None or now - self._known[1] > _POD_KNOWN:
                self._known = (self._cluster.pod_behind(ONED_SERVICE, XMLRPC_PORT), now)
            return self._known[0]

    def _pod_name(self) -> str | None:
        with self._lock:
            return self._known[0].pod if self._known else None


class SecretCredential:
    """oneadmin's session from the Secret, read once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._session: str | None = None

    def session(self) -> str:
        with self._lock:
            if self._session is None:
                self._session = self._cluster.secret(ONEADMIN_SECRET, SESSION_KEY)
            return self._session

    def renewed(self) -> bool:
        with self._lock:
            before, self._session = self._session, self._cluster.secret(ONEADMIN_SECRET, SESSION_KEY)
            return self._session != before

    def known(self) -> tuple[str, ...]:
        with self._lock:
            return _secret_parts(self._session or "")

    def __repr__(self) -> str:
        return "SecretCredential(…)"


class GivenCredential:
    """oneadmin with a password from secret configuration."""

    def __init__(self, password: str) -> None:
        self._session = f"{ONEADMIN}:{password}"

    def session(self) -> str:
        return self._session

    def renewed(self) -> bool:
        return False

    def known(self) -> tuple[str, ...]:
        return _secret_parts(self._session)

    def __repr__(self) -> str:
        return "GivenCredential(…)"


def _secret_parts(session: str) -> tuple[str, ...]:
    """The session and its password; a password of under four characters hides nothing and would garble every text."""
    password = session.partition(":")[2]
    return (session, password) if len(password) >= 4 else ()
