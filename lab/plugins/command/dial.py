"""SSH connections as the official plugin makes them: a pinned host key, its way of retrying, a bastion or none.

No file of the user is read: neither ~/.ssh/config nor known_hosts nor default keys. Without a pinned key any host key
is taken, as the official does; the program's settings never leave it out.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncssh

from lab.plugins.errors import PluginError

_FIRST_PAUSE, _PAUSE_GROWTH, _LONGEST_PAUSE = 0.1, 1.5, 5.0  # seconds
# The official bounds the TCP connection only; a server that accepts and says nothing must not hold us for ever.
_LOGIN_LIMIT: Final = 120  # seconds for key exchange and authentication
_GOODBYE_LIMIT: Final = 5  # seconds
_KEEPALIVE, _KEEPALIVE_MISSES = 30, 4  # a host that dies under a running command is noticed after two minutes


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One end of an SSH connection. `repr` shows no secret."""

    host: str
    port: int
    user: str
    password: str | None
    private_key: str | None
    private_key_password: str | None
    agent: str | None
    dial_error_limit: int
    per_dial_timeout: int  # seconds, 0 for none
    host_key: str | None

    def __repr__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


def endpoint(values: Mapping[str, Any]) -> Endpoint:
    """An endpoint from a checked connection."""
    return Endpoint(
        host=values["host"],
        port=int(values["port"]),
        user=values["user"],
        password=values.get("password"),
        private_key=values.get("privateKey"),
        private_key_password=values.get("privateKeyPassword"),
        agent=values.get("agentSocketPath") or os.environ.get("SSH_AUTH_SOCK") or None,
        dial_error_limit=int(values["dialErrorLimit"]),
        per_dial_timeout=int(values["perDialTimeout"]),
        host_key=values.get("hostKey"),
    )


async def dial(values: Mapping[str, Any], tell: Callable[[str], None]) -> asyncssh.SSHClientConnection:
    """Connect and authenticate, through `proxy` if there is one. The caller closes it; the bastion closes with it.

    Raises PluginError in one line: which host, after how many attempts, and why.
    """
    target = endpoint(values)
    if not values.get("proxy"):
        return await _retrying(target, lambda: _connect(target), tell)
    bastion = endpoint(values["proxy"])
    try:
        through = await _retrying(bastion, lambda: _connect(bastion), tell)
    except PluginError as error:
        raise PluginError(f"proxy: {error}") from error
    try:
        connection = await _retrying(target, lambda: _connect(target, through), tell)
    except BaseException as error:
        through.abort()
        if isinstance(error, PluginError):
            raise PluginError(f"through proxy {bastion}: {error}") from error
        raise
    connection.set_extra_info(through=through)
    return connection


async def hang_up(connection: asyncssh.SSHClientConnection) -> None:
    """Close a connection and the bastion's under it."""
    for held in (connection, connection.get_extra_info("through")):
        if held is not None:
            held.close()
            try:
                await asyncio.wait_for(held.wait_closed(), _GOODBYE_LIMIT)
            except TimeoutError:  # the peer is gone; nothing more is expected from it
                held.abort()


async def _retrying(
    at: Endpoint,
    connect: Callable[[], Any],
    tell: Callable[[str], None],
) -> asyncssh.SSHClientConnection:
    """The official retries every failure, a wrong host key and a refused login included."""
    client, pause, failures = connect, _FIRST_PAUSE, 0
    while True:
        try:
            return await client()  # type: ignore[no-any-return]
        except (OSError, asyncssh.Error) as error:
            failures += 1
            if 0 <= at.dial_error_limit < failures:
                raise PluginError(f"dial {at}: {_cause(error, at)} ({failures} attempts)") from error
            limit = "inf" if at.dial_error_limit < 0 else at.dial_error_limit
            tell(f"dial {at} {failures}/{limit} failed: {_cause(error, at)}: retrying")
        await asyncio.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * _PAUSE_GROWTH)


async def _connect(at: Endpoint, through: asyncssh.SSHClientConnection | None = None) -> asyncssh.SSHClientConnection:
    pinned = _public_key(at)
    keys = await _keys(at)
    options: dict[str, Any] = {
        "config": None,
        "username": at.user,
        "client_keys": keys or None,
        "password": at.password,
        "preferred_auth": "publickey,password,keyboard-interactive",
        "gss_host": None,
        "login_timeout": _LOGIN_LIMIT,
        "keepalive_interval": _KEEPALIVE,
        "keepalive_count_max": _KEEPALIVE_MISSES,
    }
    if pinned is None:
        options["known_hosts"] = None
    else:
        options["known_hosts"] = ([], [], [])
        options["client_factory"] = lambda: _Pinned(pinned, at)
        # As the official: it asks for the key's own algorithm only. For an RSA key that is SHA-1, which OpenSSH
        # has not offered since 8.8, so that a pinned RSA key fails there and here.
        options["server_host_key_algs"] = [pinned.get_algorithm()]
    if through is not None:
        return await asyncssh.connect(at.host, at.port, tunnel=through, **options)
    return await asyncssh.connect(at.host, at.port, sock=await _tcp(at), **options)


async def _tcp(at: Endpoint) -> socket.socket:
    """A TCP connection to the first address that takes it."""
    loop, last = asyncio.get_running_loop(), OSError(f"{at.host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await asyncio.wait_for(loop.sock_connect(sock, address), at.per_dial_timeout or None)
        except OSError as error:  # TimeoutError is one
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last


async def _keys(at: Endpoint) -> list[Any]:
    """The given key, else the agent's: the official never tries both."""
    if at.private_key is not None:
        try:
            return [asyncssh.import_private_key(at.private_key, at.private_key_password)]
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise PluginError(f"{at}: privateKey: {error}") from error
    if at.agent is None:
        return []
    try:
        agent = await asyncssh.connect_agent(at.agent)
        return list(await agent.get_keys())
    except (OSError, ValueError) as error:
        raise PluginError(f"{at}: SSH agent {at.agent}: {error}") from error


def _public_key(at: Endpoint) -> asyncssh.SSHKey | None:
    if at.host_key is None:
        return None
    try:
        return asyncssh.import_public_key(at.host_key)
    except asyncssh.KeyImportError as error:
        raise PluginError(f"{at}: failed to parse host key: {error}; give it as `ssh-ed25519 AAAA…`") from error


class _WrongHostKey(asyncssh.HostKeyNotVerifiable):
    """The server has another key than the pinned one."""


class _Pinned(asyncssh.SSHClient):
    """Takes one host key and no other."""

    def __init__(self, pinned: asyncssh.SSHKey, at: Endpoint) -> None:
        self._pinned = pinned
        self._at = at

    def validate_host_public_key(self, _host: str, _addr: str, _port: int, key: asyncssh.SSHKey) -> bool:
        if key.public_data != self._pinned.public_data:
            raise _WrongHostKey(
                f"host key mismatch: it offers {key.get_fingerprint()}, pinned is {self._pinned.get_fingerprint()}"
            )
        return True


def _cause(error: BaseException, at: Endpoint) -> str:
    """One line for why a dial failed."""
    text = _plain_cause(error, at)
    known = (_WrongHostKey, TimeoutError, ConnectionRefusedError, socket.gaierror, asyncssh.PermissionDenied)
    if (at.host_key or "").startswith("ssh-rsa") and not isinstance(error, known):
        text += "; the pinned host key is RSA, for which only ssh-rsa (SHA-1) is asked: pin the server's other key"
    return text


def _plain_cause(error: BaseException, at: Endpoint) -> str:
    match error:
        case TimeoutError():
            text = f"no answer within {at.per_dial_timeout} s"
        case ConnectionRefusedError():
            text = "connection refused"
        case socket.gaierror():
            text = f"name not found: {error.strerror}"
        case asyncssh.PermissionDenied():
            tried = "private key" if at.private_key else "keys of the SSH agent" if at.agent else "no key"
            text = f"authentication failed as {at.user} ({tried}{', password' if at.password else ''})"
        case asyncssh.ChannelOpenError():
            text = f"the bastion cannot reach it: {error.reason}"
        case asyncssh.DisconnectError():
            text = error.reason
        case OSError():
            text = error.strerror or str(error)
        case _:
            text = str(error)
    return text
