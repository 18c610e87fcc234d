"""A look at the LDAP servers before anything is touched: the same steps that oned's driver takes, from this machine.

Not with `authentication.ldap.check: false`, which is for machines that cannot reach what the pods reach.
For every server: connect, TLS as configured, bind, then the base, the groups and the login attribute are looked for.
Nothing is written. Each step has `checkSeconds`. Blocking; called once, while the configuration is loaded.
ldap3 is imported only here and only then.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from importlib import import_module
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from components.authentication_settings import Encryption, LdapServer, LdapSettings
from components.ldap_passwords import PASSWORDS_KEY

# RFC 4511, appendix A
_CONFIDENTIALITY_REQUIRED = 13
_INVALID_DN = 34
_INAPPROPRIATE_AUTHENTICATION = 48
_INVALID_CREDENTIALS = 49

_STRONGER_REQUIRED = 8


class Refusal(Exception):
    """What one server's check found: the setting that it points at, and words for the operator."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field, self.text = field, text


def check_servers(settings: LdapSettings, passwords: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(config path, text) of every server that would not let the driver work; nothing unless `check` is on."""
    if not settings.check:
        return
    for index, server in enumerate(settings.servers):
        try:
            check_server(server, passwords.get(server.name), limit=settings.check_seconds)
        except Refusal as refusal:
            yield f"authentication.ldap.servers[{index}].{refusal.field}", refusal.text


def check_server(server: LdapServer, password: str | None, *, limit: int) -> None:
    """Raises Refusal. Takes at most a few times `limit` seconds."""
    where = f"{server.host}:{server.effective_port}"
    _connect(server, where, limit)
    with closing(_Session(server, password, where, limit)) as session:
        session.encrypt()
        session.bind()
        session.exists("base", server.base)
        for field, group in (("group", server.group), ("groupAdminGroupDn", server.group_admin_group_dn)):
            if group is not None:
                session.exists(field, group)
        session.users()


def _connect(server: LdapServer, where: str, limit: int) -> None:
    unless = "or set authentication.ldap.check: false if only the cluster can reach it"
    try:
        socket.create_connection((server.host, server.effective_port), timeout=limit).close()
    except socket.gaierror as error:
        raise Refusal(
            "host", f"the name {server.host} is not known here ({error.strerror}); correct it, {unless}"
        ) from None
    except TimeoutError:
        text = f"{where} did not answer in {limit} s: wrong address, or a firewall; correct it, {unless}"
        raise Refusal("host", text) from None
    except ConnectionRefusedError:
        raise Refusal("port", f"nobody listens at {where}; correct host or port, {unless}") from None
    except OSError as error:
        raise Refusal("host", f"{where} cannot be reached ({error.strerror}); correct it, {unless}") from None


class _Session:
    """One connection of ldap3, with its exceptions turned into Refusals."""

    def __init__(self, server: LdapServer, password: str | None, where: str, limit: int) -> None:
        # Untyped, and not needed by a program that checks nothing.
        self._ldap: Any = import_module("ldap3")
        self._errors: Any = import_module("ldap3.core.exceptions")
        self._server, self._where, self._limit = server, where, limit
        # From Python 3.12 on ldap3 compares names by itself, and knows no addresses in certificates: `encrypt` does.
        self._address = _address(server.host)
        tls = self._ldap.Tls(
            validate=ssl.CERT_REQUIRED if server.verify else ssl.CERT_NONE,
            ca_certs_data=server.ca,
            valid_names=None if self._address is None else ["*"],
        )
        target = self._ldap.Server(
            server.host,
            port=server.effective_port,
            use_ssl=server.encryption is Encryption.SIMPLE_TLS,
            tls=tls,
            get_info=self._ldap.NONE,
            connect_timeout=limit,
        )
        self._connection: Any = self._ldap.Connection(
            target,
            user=server.user,
            password=password if server.user is not None else None,
            receive_timeout=limit,
            read_only=True,
            auto_referrals=False,
            raise_exceptions=True,
        )

    def close(self) -> None:
        """Say goodbye; whether that arrives makes no difference to what was found."""
        with suppress(self._errors.LDAPExceptionError, OSError):
            self._connection.unbind()

    def _answer(self, step: Callable[[], object]) -> None:
        """One exchange. What ldap3 says of an LDAP answer comes out as its own exception."""
        try:
            step()
        except self._errors.LDAPExceptionError:
            raise
        except (LookupError, TypeError, ValueError, ArithmeticError):
            # ldap3 looks up what it reads without asking whether it is LDAP at all.
            text = f"{self._where} does not answer as an LDAP server does: correct host or port"
            raise Refusal("port", text) from None

    def encrypt(self) -> None:
        """Open, and TLS in one of its two ways."""
        try:
            self._answer(self._connection.open)
            if self._server.encryption is Encryption.START_TLS:
                self._answer(self._connection.start_tls)
        except self._errors.LDAPExceptionError as error:
            raise self._tls_refusal(_short(str(error))) from None
        checked = self._server.verify and self._server.encryption is not Encryption.NONE
        if checked and self._address and self._address not in _addresses(self._connection.socket.getpeercert()):
            raise self._other_server()

    def _other_server(self) -> Refusal:
        return Refusal(
            "host", f"the certificate of {self._where} names another server; give the name that stands in it"
        )

    def bind(self) -> None:
        """As the search user, or anonymously."""
        server = self._server
        who = server.user or "nobody (anonymously)"
        try:
            self._answer(self._connection.bind)
        except self._errors.LDAPOperationResult as error:
            if error.result in (_INVALID_CREDENTIALS, _INAPPROPRIATE_AUTHENTICATION) and server.user is not None:
                set_it = f"pulumi config set --secret --path 'opennebula:{PASSWORDS_KEY}.{server.name}'"
                text = f"{self._where} refuses {who}: wrong name or wrong password. The password is set with: {set_it}"
                raise Refusal("user", text) from None
            if error.result in (_CONFIDENTIALITY_REQUIRED, _STRONGER_REQUIRED):
                text = f"{self._where} accepts logins only over TLS: set encryption to startTls or simpleTls"
                raise Refusal("encryption", text) from None
            if error.result == _INVALID_DN:
                raise Refusal("user", f"{self._where} says that {who} is no valid name: a full DN is needed") from None
            raise Refusal("user", f"{self._where} refuses a login as {who}: {_words(error)}") from None
        except self._errors.LDAPExceptionError as error:
            text = (
                f"{self._where} broke off the login as {who} ({error}): is it an LDAP server, and the encryption right?"
            )
            raise Refusal("port", text) from None

    def exists(self, field: str, name: str) -> None:
        """An entry that a setting names."""
        if not self._search(field, name, "(objectClass=*)", self._ldap.BASE):
            who = self._server.user or "an anonymous reader"
            raise Refusal(
                field, f"{self._where} has no entry {name}, or {who} may not read it; correct the DN or the rights"
            )

    def users(self) -> None:
        """Somebody whom the driver could find, and find in the group."""
        server = self._server
        if not self._search("userField", server.base, f"({server.user_field}=*)", self._ldap.SUBTREE):
            text = f"no entry below {server.base} has the attribute {server.user_field}: nobody could log in. "
            text += "For AD it is sAMAccountName, else often uid"
            raise Refusal("userField", text)
        if server.group is not None and server.rfc2307bis:
            escaped = import_module("ldap3.utils.conv").escape_filter_chars(server.group)
            if not self._search("group", server.base, f"(memberOf={escaped})", self._ldap.SUBTREE):
                text = f"nobody below {server.base} has memberOf {server.group}: an empty group, "
                text += "or a server without memberOf (then rfc2307bis: false)"
                raise Refusal("group", text)

    def _search(self, field: str, base: str, condition: str, scope: Any) -> bool:
        try:
            search = partial(self._connection.search, base, condition, search_scope=scope, attributes=["1.1"])
            self._answer(partial(search, size_limit=1, time_limit=self._limit))
        except self._errors.LDAPSizeLimitExceededResult:
            return True
        except (self._errors.LDAPNoSuchObjectResult, self._errors.LDAPInsufficientAccessRightsResult):
            return False
        except (self._errors.LDAPInvalidDNSyntaxResult, self._errors.LDAPInvalidDnError):
            raise Refusal(field, f"{base} is no valid DN") from None
        except self._errors.LDAPExceptionError as error:
            raise Refusal(field, f"{self._where} did not answer a search below {base}: {_words(error)}") from None
        return any(entry.get("type") == "searchResEntry" for entry in self._connection.response or ())

    def _tls_refusal(self, cause: str) -> Refusal:
        server = self._server
        if "CERTIFICATE_VERIFY_FAILED" in cause or "certificate verify failed" in cause:
            known = (
                "is not signed by any of these"
                if server.ca
                else "is signed by nobody that this machine knows: give the CA"
            )
            return Refusal("ca", f"the certificate of {self._where} {known} ({cause})")
        if "match" in cause and "certificate" in cause.lower():
            return self._other_server()
        if server.encryption is Encryption.NONE:
            return Refusal("port", f"{self._where} cannot be opened: {cause}")
        text = f"{self._where} does not speak TLS with encryption {server.encryption.value} ({cause})"
        return Refusal(
            "encryption", f"{text}; simpleTls is for 636, startTls for 389 where the server has a certificate"
        )


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _addresses(certificate: Mapping[str, Any]) -> set[IPv4Address | IPv6Address | None]:
    """The addresses that a certificate is for, as `SSLSocket.getpeercert` gives it (RFC 2818: only these count for one)."""
    # OpenSSL's text of an IPv6 address ends with a line feed in some versions of Python.
    return {_address(value.strip()) for kind, value in certificate.get("subjectAltName", ()) if kind == "IP Address"}


def _words(error: Any) -> str:
    """ldap3's text without its Python parts."""
    description = getattr(error, "description", None)
    message = getattr(error, "message", None)
    return ": ".join(str(part) for part in (description, message) if part) or str(error)


def _short(cause: str) -> str:
    """ldap3 wraps one exception's text into the next one's tuple."""
    return re.sub(r" ?\(_ssl\.c:\d+\)", "", cause.replace("\n", " ")).strip("()',\" ")[:200]
